"""Measure what a regression target is like: tails, gross outliers, contradictions, digits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from asrl_mlflow.datasets.splits import FloatArray, Rows
from asrl_mlflow.diagnosis.advice import Advice, advise, advise_levels
from asrl_mlflow.diagnosis.repeats import Repeats, find_repeats
from asrl_mlflow.errors import InputError
from asrl_mlflow.losses import auto
from asrl_mlflow.records.unseen import OutOfFold, predict_out_of_fold
from asrl_mlflow.residuals.outliers import Outliers, find_outliers
from asrl_mlflow.tracking.keys import doctor_metrics

# Enough to see residuals of a model that is nearly as good as a careful one.
_FOLDS, _FEWEST_ROWS = 5, 50
# XGBoost keeps targets in float32, of 24 bits.
_FLOAT32 = 2.0**-24


@dataclass(frozen=True)
class Diagnosis:
    """What a regression target is like, and which loss suits it.

    Parameters
    ----------
    found : OutOfFold
        Rows with what boosters predict that did not learn from them.
    outliers : Outliers
        Gross outliers among these rows' residuals, and the tails of the others.
    repeats : Repeats
        Rows with equal features.
    explained : float
        Share of the spread of the target that the fit explains, robustly: 1 minus the ratio of the squared
        median distances; negative where it explains nothing.
    digits : float
        How many decimal digits of the noise float32 keeps, which is how XGBoost keeps targets.
    most_frequent : float, in (0, 1]
        Share of the rows that have the target's most frequent value.
    farthest : float, >= 0
        How far the farthest target is from its prediction, in scales of the noise.
    advice : Advice
        The loss to begin with, and why.
    levels : Advice, optional
        `asrl_c` with levels to start from, for those who want to choose or tune levels; None where what is said of
        outliers means nothing.
    """

    found: OutOfFold
    outliers: Outliers
    repeats: Repeats
    explained: float
    digits: float
    most_frequent: float
    farthest: float
    advice: Advice
    levels: Advice | None

    @property
    def metrics(self) -> dict[str, float]:
        """The measurements as numbers, for a run."""
        return doctor_metrics(
            {
                "outliers_above": self.outliers.above,
                "outliers_below": self.outliers.below,
                "degrees": self.outliers.degrees,
                "scale": self.outliers.scale,
                "explained": self.explained,
                "repeated_rows": self.repeats.rows,
                "contradicting_rows": self.repeats.contradicting,
                "digits": self.digits,
                "most_frequent": self.most_frequent,
                "farthest": self.farthest,
            }
        )


def diagnose(rows: Rows, params: Mapping[str, Any], rounds: int, seed: int) -> Diagnosis:
    """Measure a target by the out-of-fold residuals of one quick fit, with `losses.auto()` and five folds.

    Parameters
    ----------
    rows : Rows
        A table with a target that is a number.
    params : mapping
        XGBoost's parameters of the fit.
    rounds : int, >= 1
        Its number of rounds.
    seed : int
        The seed that shuffles rows into folds.

    Raises
    ------
    InputError
        The target is a class, or there are fewer than 50 rows.

    Examples
    --------
    >>> from asrl_mlflow.datasets import load
    >>> found = diagnose(load("diabetes").rows, {"max_depth": 2, "nthread": 1}, 20, seed=0)
    >>> found.outliers.share < 0.02, found.repeats.rows
    (True, 0)
    """
    if rows.classes:
        msg = f"A diagnosis needs a target of numbers; got {len(rows.classes)} classes; see which_labels for those."
        raise InputError(msg)
    if len(rows) < _FEWEST_ROWS:
        msg = f"A diagnosis needs at least {_FEWEST_ROWS} rows; got {len(rows)}; collect more."
        raise InputError(msg)
    found = predict_out_of_fold(auto(), params, rounds, rows, seed, count=_FOLDS)
    outliers = find_outliers(found.residual, found.weight)
    explained = _explained(found.target, found.residual)
    most_frequent = float(np.unique(rows.target, return_counts=True)[1].max() / len(rows))
    farthest = _farthest(found.residual, outliers)
    return Diagnosis(
        found=found,
        outliers=outliers,
        repeats=find_repeats(rows, outliers.scale),
        explained=explained,
        digits=_digits(rows.target, outliers.scale),
        most_frequent=most_frequent,
        farthest=farthest,
        advice=advise(outliers, most_frequent, farthest),
        levels=advise_levels(outliers, most_frequent),
    )


def _explained(target: FloatArray, residual: FloatArray) -> float:
    before, after = (
        float(np.median(np.abs(each - np.median(each)))) for each in (target, residual)
    )
    return 1 - (after / before) ** 2 if before > 0 else 0.0


def _farthest(residual: FloatArray, outliers: Outliers) -> float:
    """How far the farthest residual is from the center of the others, in their scales; 0 where these are equal."""
    if outliers.scale == 0:
        return 0.0
    return float(np.max(np.abs(residual - outliers.center))) / outliers.scale


def _digits(target: FloatArray, scale: float) -> float:
    """Decimal digits of the noise that are left once targets are float32."""
    step = float(np.max(np.abs(target))) * _FLOAT32
    return math.log10(scale / step) if scale > 0 and step > 0 else math.inf
