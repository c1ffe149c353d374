"""Presets: what a grid compares where nobody says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from asrl_mlflow.datasets import Contamination


@dataclass(frozen=True)
class Preset:
    """The values of options that are not given.

    Parameters
    ----------
    losses, rivals : tuple of str
        Names of what is asked about, and of what it is compared with.
    contaminations : tuple of Contamination
        How training and validation targets are spoiled.
    learning_rates : tuple of float
        Shrinkages of trees.
    repeats : int
        Seeds.
    trials : int
        Points of its search space that each method is tried at.
    """

    losses: tuple[str, ...]
    rivals: tuple[str, ...]
    contaminations: tuple[Contamination, ...]
    learning_rates: tuple[float, ...]
    repeats: int
    trials: int


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "contamination": Preset(
            losses=("asrl_c", "auto", "asrl"),
            rivals=(
                "xgboost_squared",
                "xgboost_absolute",
                "xgboost_pseudo_huber",
                "xgboost_quantile",
                "adaptive_huber",
            ),
            contaminations=(
                Contamination(),
                Contamination("sym", 0.1),
                Contamination("asym", 0.2),
                Contamination("cauchy"),
            ),
            learning_rates=(0.1,),
            repeats=5,
            trials=20,
        ),
    }
)
