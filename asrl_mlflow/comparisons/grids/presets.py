"""Presets: what a grid compares where nobody says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from asrl_mlflow.comparisons.grids.levels import level_name
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
    rounds : int
        Boosting rounds, at most.
    curves : bool
        Whether the test MAE is measured after each round.
    shifts : tuple of str
        Where test rows lie, as in `Cell`.
    """

    losses: tuple[str, ...]
    rivals: tuple[str, ...]
    contaminations: tuple[Contamination, ...]
    learning_rates: tuple[float, ...]
    repeats: int
    trials: int
    rounds: int = 100
    curves: bool = False
    shifts: tuple[str, ...] = ("none",)


# The levels and tails of the map.
_LOW, _HIGH, _TAILS = (0.2, 0.4, 0.6, 0.8), (0.3, 0.5, 0.7, 0.9, 0.97), (0.2, 1.0, 5.0)
_MAP = tuple(
    level_name(low, high, tail) for tail in _TAILS for low in _LOW for high in _HIGH if low < high
)
_VARIANTS = (
    *("asrl_c/hessian=second", "asrl_c/hessian=one"),
    *("asrl_c/refresh=5", "asrl_c/refresh=25", "asrl_c/refresh=0"),
    *("asrl", "asrl/regions=off", "asrl/hessian=one"),
)

_CONTAMINATION = Preset(
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
    repeats=9,  # what intervals of twelve comparisons take
    trials=20,
)

_SHARES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4)
REAL_ERRORS = "real-errors"

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "contamination": _CONTAMINATION,
        # What each choice of the design is worth, beside the loss as it is.
        "ablation": Preset(
            losses=(*_VARIANTS, *_MAP),
            rivals=("asrl_c",),
            contaminations=(Contamination(), Contamination("sym", 0.1), Contamination("asym", 0.2)),
            learning_rates=(0.1,),
            repeats=5,
            trials=1,
        ),
        # Test rows from where nothing was learned, beside those from where it was.
        "shift": replace(
            _CONTAMINATION,
            contaminations=(Contamination(), Contamination("asym", 0.2)),
            shifts=("none", "features"),
        ),
        # Up to which share of wrong labels squared error would do, and which loss beyond.
        "label-noise": replace(
            _CONTAMINATION,
            contaminations=(
                Contamination(),
                *(Contamination(kind, share) for kind in ("sym", "asym") for share in _SHARES),
            ),
        ),
        # Few wrong labels, where they hurt, beside as many at random.
        "adversarial": replace(
            _CONTAMINATION,
            contaminations=(
                Contamination(),
                Contamination("asym", 0.01),
                Contamination("adversarial", 0.01),
            ),
        ),
        # Labels that are wrong by themselves, of tables that have the true ones too.
        REAL_ERRORS: replace(_CONTAMINATION, contaminations=(Contamination(),)),
        # How fast methods learn.
        "convergence": Preset(
            losses=("asrl_c", "auto"),
            rivals=("xgboost_squared", "xgboost_absolute"),
            contaminations=(Contamination(), Contamination("asym", 0.2)),
            learning_rates=(0.03, 0.1, 0.3, 0.5),
            repeats=5,
            trials=1,
            rounds=300,
            curves=True,
        ),
    }
)
