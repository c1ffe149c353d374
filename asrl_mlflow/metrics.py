"""What a prediction is judged by. Every function takes (target, prediction, sample_weight=None).

Arrays have shape (n,), n >= 1, in target units; weights count rows as `residuals.row_counts` reads
them. Metrics must be the same function in every round, which no adaptive loss is: early stopping
and selection use these, never a loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from asrl_mlflow.residuals import Residuals

Metric = Callable[..., float]

# Share of the rows that the metrics trust which shall not see the worst errors.
_TRIMMED = 0.8


def _residuals(target: npt.ArrayLike, prediction: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return np.asarray(target, dtype=np.float64) - np.asarray(prediction, dtype=np.float64)


def _mean(values: npt.NDArray[np.float64], sample_weight: npt.ArrayLike | None) -> float:
    weight = None if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    return float(np.average(values, weights=weight))


def mae(
    target: npt.ArrayLike, prediction: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> float:
    """Mean absolute error, in target units.

    Examples
    --------
    >>> mae([1.0, 2.0], [1.0, 5.0])
    1.5
    """
    return _mean(np.abs(_residuals(target, prediction)), sample_weight)


def mse(
    target: npt.ArrayLike, prediction: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> float:
    """Mean squared error, in target units squared.

    Examples
    --------
    >>> mse([1.0, 2.0], [1.0, 5.0])
    4.5
    """
    return _mean(_residuals(target, prediction) ** 2, sample_weight)


def rmse(
    target: npt.ArrayLike, prediction: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> float:
    """Root mean squared error, in target units.

    Examples
    --------
    >>> rmse([1.0, 2.0], [1.0, 4.0], sample_weight=[3, 1])
    1.0
    """
    return float(np.sqrt(mse(target, prediction, sample_weight)))


def medae(
    target: npt.ArrayLike, prediction: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> float:
    """Median absolute error, in target units.

    Examples
    --------
    >>> medae([1.0, 2.0, 3.0], [1.0, 4.0, 9.0])
    2.0
    """
    return Residuals(np.abs(_residuals(target, prediction)), sample_weight).median()


def r2(
    target: npt.ArrayLike, prediction: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> float:
    """Coefficient of determination, in (-inf, 1]; of a constant target 1 if hit exactly, else 0.

    Examples
    --------
    >>> r2([1.0, 2.0, 3.0], [1.0, 2.0, 4.0])
    0.5
    """
    y = np.asarray(target, dtype=np.float64)
    unexplained = mse(y, prediction, sample_weight)
    total = mse(y, np.full_like(y, _mean(y, sample_weight)), sample_weight)
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
    y = np.asarray(target, dtype=np.float64)
    median = Residuals(y, sample_weight).median()
    above = y > median
    if not above.any():
        return float("nan")
    weight = None if sample_weight is None else np.asarray(sample_weight)[above]
    if weight is not None and not weight.any():
        return float("nan")
    return _mean((np.asarray(prediction)[above] > median).astype(np.float64), weight)


def trimmed_mae(
    target: npt.ArrayLike, prediction: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> float:
    """Mean of the smallest 80% of the absolute errors, in target units: the rest may be outliers.

    Examples
    --------
    >>> trimmed_mae([1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 2.0, 3.0, 99.0])
    1.0
    """
    size = np.abs(_residuals(target, prediction))
    kept = size <= Residuals(size, sample_weight).quantile_abs(_TRIMMED)
    weight = None if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)[kept]
    return _mean(size[kept], weight)


def quantile(
    target: npt.ArrayLike, prediction: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> float:
    """The absolute error that 80% of the rows stay within (0.8 quantile), in target units.

    Examples
    --------
    >>> quantile([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 3.0, 5.0, 7.0, 9.0, 99.0])
    4.0
    """
    return Residuals(_residuals(target, prediction), sample_weight).quantile_abs(_TRIMMED)


METRICS: Mapping[str, Metric] = {
    "mae": mae,
    "rmse": rmse,
    "mse": mse,
    "medae": medae,
    "r2": r2,
    "recall": recall,
    "trimmed_mae": trimmed_mae,
    "quantile": quantile,
}

# Those that a model can be selected by: defined on any rows, and smaller is better.
SELECTING = ("mae", "rmse", "mse", "medae", "trimmed_mae", "quantile")
