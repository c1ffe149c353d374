"""Compute error metrics of numbers from (target, prediction, sample_weight=None).

Arrays have shape (n,), n >= 1, in target units; weights count rows as `residuals.row_counts` reads
them. Predictions that are not finite and bad weights are refused, as `residuals.Residuals` says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from asrl_mlflow.errors import InputError
from asrl_mlflow.residuals.statistics import Residuals

# Share of the rows that the metrics trust which shall not see the worst errors.
_TRIMMED = 0.8


def _residuals(
    target: npt.ArrayLike, prediction: npt.ArrayLike, sample_weight: npt.ArrayLike | None
) -> Residuals:
    y, predicted = _pair(target, prediction)
    return Residuals(y - predicted, sample_weight)


def _pair(
    target: npt.ArrayLike, prediction: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Both as arrays; numpy would stretch one that is shorter."""
    y, predicted = np.asarray(target, np.float64), np.asarray(prediction, np.float64)
    if y.shape != predicted.shape:
        msg = (
            f"A metric needs one prediction a target; got shapes {y.shape} and {predicted.shape}; "
            "pass arrays of one length."
        )
        raise InputError(msg)
    return y, predicted


def mae(
    target: npt.ArrayLike, prediction: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> float:
    """Mean absolute error, in target units.

    Examples
    --------
    >>> mae([1.0, 2.0], [1.0, 5.0])
    1.5
    """
    return _residuals(target, prediction, sample_weight).mean_abs()


def mse(
    target: npt.ArrayLike, prediction: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> float:
    """Mean squared error, in target units squared.

    Examples
    --------
    >>> mse([1.0, 2.0], [1.0, 5.0])
    4.5
    """
    return _residuals(target, prediction, sample_weight).mean_square()


def rmse(
    target: npt.ArrayLike, prediction: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> float:
    """Root mean squared error, in target units.

    Examples
    --------
    >>> rmse([1.0, 2.0], [1.0, 4.0], sample_weight=[3, 1])
    1.0
    """
    return BY_RESIDUALS["rmse"](_residuals(target, prediction, sample_weight))


def medae(
    target: npt.ArrayLike, prediction: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> float:
    """Median absolute error, in target units.

    Examples
    --------
    >>> medae([1.0, 2.0, 3.0], [1.0, 4.0, 9.0])
    2.0
    """
    return _residuals(target, prediction, sample_weight).median_abs()


def r2(
    target: npt.ArrayLike, prediction: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> float:
    """Coefficient of determination, in (-inf, 1]; of a constant target 1 if hit exactly, else 0.

    Examples
    --------
    >>> r2([1.0, 2.0, 3.0], [1.0, 2.0, 4.0])
    0.5
    """
    unexplained = mse(target, prediction, sample_weight)
    total = Residuals(np.asarray(target, dtype=np.float64), sample_weight).variance()
    if total == 0:
        return float(unexplained == 0)
    return 1 - unexplained / total


def recall(
    target: npt.ArrayLike, prediction: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> float:
    """Share of the rows with a target above the median target that are predicted above it too.

    In [0, 1]; nan where no target is above the median (a constant one). The paper (arXiv
    2504.06935) reports a "recall" without a definition; this one reproduces its figures.

    Examples
    --------
    >>> recall([1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 2.0, 9.0])
    0.5
    """
    y, predicted = _pair(target, prediction)
    _residuals(y, predicted, sample_weight)  # refuses what is not finite
    median = Residuals(y, sample_weight).median()
    above = y > median
    weight = np.ones(y.shape) if sample_weight is None else np.asarray(sample_weight, np.float64)
    if not weight[above].any():
        return float("nan")
    return float(np.average(predicted[above] > median, weights=weight[above]))


def trimmed_mae(
    target: npt.ArrayLike, prediction: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> float:
    """Mean of the smallest 80% of the absolute errors, in target units: the rest may be outliers.

    Examples
    --------
    >>> round(trimmed_mae([1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 2.0, 3.0, 99.0]), 9)
    1.0
    """
    return BY_RESIDUALS["trimmed_mae"](_residuals(target, prediction, sample_weight))


def quantile(
    target: npt.ArrayLike, prediction: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> float:
    """The absolute error that 80% of the rows stay within (0.8 quantile), in target units.

    Examples
    --------
    >>> quantile([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 3.0, 5.0, 7.0, 9.0, 99.0])
    4.0
    """
    return _residuals(target, prediction, sample_weight).quantile_abs(_TRIMMED)


# Those that residuals alone decide: defined on any rows, and smaller is better.
BY_RESIDUALS: Mapping[str, Callable[[Residuals], float]] = {
    "mae": Residuals.mean_abs,
    "rmse": lambda stats: math.sqrt(stats.mean_square()),
    "mse": Residuals.mean_square,
    "medae": Residuals.median_abs,
    "trimmed_mae": lambda stats: stats.mean_smallest(_TRIMMED),
    "quantile": lambda stats: stats.quantile_abs(_TRIMMED),
}

METRICS: Mapping[str, Callable[..., float]] = {
    "mae": mae,
    "rmse": rmse,
    "mse": mse,
    "medae": medae,
    "r2": r2,
    "recall": recall,
    "trimmed_mae": trimmed_mae,
    "quantile": quantile,
}

# Those that a model can be selected by.
SELECTING = tuple(BY_RESIDUALS)
