"""The one list that every law runs over."""

from __future__ import annotations

from asrl_mlflow.losses import (
    ASRL,
    AbsoluteError,
    AdaptiveHuber,
    ContinuousASRL,
    Huber,
    SquaredError,
)

EVERY_LOSS = [
    ASRL(),
    ASRL(q_low=0.7, q_high=0.75),
    ContinuousASRL(),
    ContinuousASRL(q_low=0.3, q_high=0.95, tail=0.2),
    ContinuousASRL(q_low=0.35, q_high=0.65, floor=1.0),
    ContinuousASRL(q_low=0.2, q_high=0.6, tail=3.0, floor=0.5),
    SquaredError(),
    AbsoluteError(),
    Huber(),
    Huber(delta=30.0),
    AdaptiveHuber(),
    AdaptiveHuber(quantile=0.6),
]

# Those that no unit and no shift of the target changes.
ADAPTIVE = [loss for loss in EVERY_LOSS if loss.name in ("asrl_c", "adaptive_huber")]
