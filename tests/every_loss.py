"""The one list that every law runs over."""

from __future__ import annotations

import dataclasses
import math

from asrl_mlflow.losses import (
    ASRL,
    LOSSES,
    AdaptiveHuber,
    Barron,
    Bisquare,
    Cauchy,
    Charbonnier,
    ContinuousASRL,
    Expectile,
    Fair,
    Huber,
    LogCosh,
    PseudoHuber,
    Quantile,
    SmoothL1,
    auto,
)
from asrl_mlflow.losses.regression.scale import AUTO, ScaledLoss

# Every loss of the catalogue as it is by default, and some with other parameters.
EVERY_LOSS = [
    *(kind() for kind in LOSSES.values()),
    ASRL(q_low=0.7, q_high=0.75),
    ContinuousASRL(q_low=0.3, q_high=0.95, tail=0.2),
    ContinuousASRL(q_low=0.35, q_high=0.65, floor=1.0),
    ContinuousASRL(q_low=0.2, q_high=0.6, tail=3.0, floor=0.5),
    Huber(delta=30.0),
    Huber(delta=AUTO),
    AdaptiveHuber(quantile=0.6),
    SmoothL1(beta=2.0),
    PseudoHuber(delta=0.5),
    Charbonnier(eps=3.0),
    LogCosh(scale=4.0),
    Fair(scale=2.5),
    Barron(alpha=1.7),
    Barron(alpha=0.5, scale=2.0),
    Barron(alpha=-7.0, scale=40.0),
    Barron(alpha=-math.inf),
    Barron(alpha=2.0),
    Cauchy(scale=3.0),
    Bisquare(limit=9.0),
    Bisquare(scale=20.0),
    Quantile(level=0.85),
    Expectile(level=0.2),
    auto(),
]


def is_automatic(loss):
    """Whether the residuals tell a scale of the loss."""
    return isinstance(loss, ScaledLoss) and AUTO in dataclasses.astuple(loss)


def is_told(loss):
    """Whether the loss must be told how far a training has come, which only `train` does."""
    return loss.name == "mm" or getattr(loss, "q_low", None) == AUTO


# Those that no unit and no shift of the target changes.
ADAPTIVE = [
    loss
    for loss in EVERY_LOSS
    if loss.name in ("asrl_c", "adaptive_huber", "adaptive_barron", "mm") or is_automatic(loss)
]
