"""Compute metrics of predicted probabilities from (target, probabilities, sample_weight=None).

Targets have shape (n,), n >= 1: the codes 0, 1, ... of the classes. Probabilities have shape (n, K): a
column for each class, K >= 2, so two columns for two classes; a row adds up to 1. The predicted class is
the one with the largest probability, the first of those where there are several. Weights count rows as
`residuals.row_counts` reads them.

With two classes `logloss` and `brier` take soft targets too: the probability in [0, 1] of the second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from asrl_mlflow.errors import InputError
from asrl_mlflow.residuals.sample_weights import row_counts

FloatArray = npt.NDArray[np.float64]

# The logarithm of 0 is infinite, and one row that is predicted so would decide the mean alone.
_SMALLEST = float(np.finfo(np.float64).eps)
# Float32 probabilities of many classes add up to 1 within less.
_ROUNDING = 1e-3
_BINS = 15
_TWO = 2


def logloss(
    target: npt.ArrayLike, probabilities: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> float:
    """Mean of minus the logarithm of the target's probability, in [0, 36.05).

    Probabilities under 2.2e-16 (float64's eps) count as that, so that the mean is finite. A soft target t
    gives -t log(p) - (1 - t) log(1 - p).

    Examples
    --------
    >>> round(logloss([0, 1], [[0.9, 0.1], [0.5, 0.5]]), 4)
    0.3993
    >>> round(logloss([0.5, 0.5], [[0.5, 0.5], [0.5, 0.5]]), 4)
    0.6931
    """
    given, table, weight = _checked(target, probabilities, sample_weight, soft=True)
    if _is_soft(given):
        logs = np.log(np.maximum(table, _SMALLEST, dtype=np.float64))
        return _mean(-given * logs[:, 1] - (1 - given) * logs[:, 0], weight)
    # A float32 probability may be a little above 1.
    return _mean(-np.log(np.clip(_of_target(given, table), _SMALLEST, 1)), weight)


def error(
    target: npt.ArrayLike, probabilities: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> float:
    """Share of the rows whose predicted class is not the target, in [0, 1].

    Examples
    --------
    >>> error([0, 1, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4]])
    0.25
    """
    given, table, weight = _checked(target, probabilities, sample_weight)
    return _mean(_predicted(table) != given, weight)


def accuracy(
    target: npt.ArrayLike, probabilities: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> float:
    """Share of the rows whose predicted class is the target, in [0, 1].

    Examples
    --------
    >>> accuracy([0, 1, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4]])
    0.75
    """
    given, table, weight = _checked(target, probabilities, sample_weight)
    return _mean(_predicted(table) == given, weight)


def balanced_accuracy(
    target: npt.ArrayLike, probabilities: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> float:
    """Mean over the classes of the share of a class's rows that are predicted as it, in [0, 1].

    Classes without a row are left out.

    Examples
    --------
    >>> balanced_accuracy([0, 1, 1, 1, 1], [[0.1, 0.9]] * 5)
    0.5
    """
    return float(np.nanmean(_recalls(target, probabilities, sample_weight)))


def recall(
    target: npt.ArrayLike, probabilities: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> float:
    """Share of the second class's rows that are predicted as it; of more classes, the mean over them.

    In [0, 1]; nan where such a class has no row. Where each of more than two classes has a row, it is
    `balanced_accuracy`.

    Examples
    --------
    >>> recall([0, 1, 1, 1, 1], [[0.1, 0.9]] * 3 + [[0.9, 0.1]] * 2)
    0.5
    """
    shares = _recalls(target, probabilities, sample_weight)
    return float(shares[1] if shares.size == _TWO else shares.mean())


def auc(
    target: npt.ArrayLike, probabilities: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> float:
    """Area under the ROC curve, in [0, 1]: 0.5 is chance.

    It is the share of the pairs, of a row of the class and a row of another, in which the first has the
    larger probability of the class; equal ones count half. With more than two classes, the mean over the
    classes of one against the rest. nan where a class has no row.

    Examples
    --------
    >>> auc([0, 0, 1, 1], [[0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.2, 0.8]])
    0.75
    """
    given, table, weight = _checked(target, probabilities, sample_weight)
    counts = np.ones(given.size) if weight is None else weight
    # Two classes have one curve: that of the second.
    judged = [1] if table.shape[1] == _TWO else range(table.shape[1])
    return float(np.mean([_area(given == code, table[:, code], counts) for code in judged]))


def brier(
    target: npt.ArrayLike, probabilities: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> float:
    """Brier score: mean of the squared differences from 0 and 1, summed over the classes; in [0, 2].

    Of two classes it is twice the mean of (p - t)**2, which others call by the same name.

    Examples
    --------
    >>> round(brier([0, 1], [[0.9, 0.1], [0.5, 0.5]]), 4)
    0.26
    """
    given, table, weight = _checked(target, probabilities, sample_weight, soft=True)
    return _mean(np.square(table - _shares(given, table)).sum(axis=1), weight)


def calibration_error(
    target: npt.ArrayLike, probabilities: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> float:
    """Expected calibration error of the predicted class's probability, in [0, 1].

    Rows are put into 15 bins of equal width by the probability of their predicted class. In each bin the
    mean probability is compared with the share of rows that are right; the differences' sizes are
    averaged over the rows (Guo et al. 2017, On Calibration of Modern Neural Networks, arXiv 1706.04599).

    Examples
    --------
    >>> round(calibration_error([0, 0, 0, 1], [[0.8, 0.2]] * 4), 4)
    0.05
    """
    given, table, weight = _checked(target, probabilities, sample_weight)
    sure = np.clip(table.max(axis=1).astype(np.float64), 0, 1)
    counts = np.ones(given.size) if weight is None else weight
    # A bin has its upper edge.
    place = np.maximum(np.ceil(sure * _BINS).astype(np.int64) - 1, 0)
    gaps = np.bincount(place, counts * ((_predicted(table) == given) - sure))
    return float(np.abs(gaps).sum() / counts.sum())


def dice(
    target: npt.ArrayLike, probabilities: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
) -> float:
    """Dice coefficient of probabilities p and targets g, in [0, 1]: larger is better.

    2 sum(p g) / (sum(p**2) + sum(g**2)) over all rows and classes; g is 1 for a row's class and 0 for
    the others. It is no mean over the rows, so it is a metric only, and no loss.

    Examples
    --------
    >>> dice([0, 1], [[1.0, 0.0], [0.0, 1.0]])
    1.0
    """
    given, table, weight = _checked(target, probabilities, sample_weight)
    both = 2 * _mean(_of_target(given, table), weight)
    return both / (_mean(np.square(table, dtype=np.float64).sum(axis=1), weight) + 1)


def _checked(
    target: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None,
    *,
    soft: bool = False,
) -> tuple[FloatArray, npt.NDArray[np.floating[Any]], FloatArray | None]:
    """Give targets, probabilities and weights as arrays, and refuse what cannot be measured."""
    given, table = np.asarray(target, np.float64), np.asarray(probabilities)
    if not np.issubdtype(table.dtype, np.floating):
        table = table.astype(np.float64)
    fits = table.ndim == _TWO and table.shape[1] >= _TWO and given.shape == table.shape[:1]
    if not (fits and given.size):
        msg = (
            "A metric of classes needs a target and a row of probabilities for each row, and a column "
            f"for each class; got shapes {given.shape} and {table.shape}; of two classes pass two columns."
        )
        raise InputError(msg)
    # `einsum`, because numpy's own sums and minima of short rows take ten times as long; nan is bad too.
    sums_to_one = np.abs(np.einsum("ij->i", table) - 1) <= _ROUNDING
    if not (sums_to_one.all() and table.min() >= 0):
        row = int((sums_to_one & (table.min(axis=1) >= 0)).argmin())
        msg = (
            f"Probabilities must be at least 0 and add up to 1 in each row; got "
            f"{np.array2string(table[row], precision=4, threshold=4, edgeitems=2)} in row {row + 1}; "
            "pass probabilities, not margins."
        )
        raise InputError(msg)
    classes = table.shape[1]
    between = soft and classes == _TWO
    allowed = (given >= 0) & (given <= classes - 1)
    if not between:
        allowed &= given == np.floor(given)
    if not allowed.all():
        row = int(allowed.argmin())
        what = "in [0, 1]" if between else f"codes of classes, 0 to {classes - 1}"
        msg = f"Targets must be {what}; got {given[row]:g} in row {row + 1}; encode the classes."
        raise InputError(msg)
    return given, table, row_counts(sample_weight, given.size).values


def _is_soft(given: FloatArray) -> bool:
    """Check whether some target lies between two classes."""
    return bool((given != np.floor(given)).any())


def _mean(values: npt.NDArray[Any], weight: FloatArray | None) -> float:
    """Mean over the rows as the weights count them."""
    return float(values.mean() if weight is None else np.average(values, weights=weight))


def _predicted(table: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.int64]:
    """Give the code of each row's predicted class."""
    if table.shape[1] == _TWO:  # much faster than argmax, and every round of boosting asks
        return (table[:, 1] > table[:, 0]).astype(np.int64)
    return table.argmax(axis=1)


def _of_target(given: FloatArray, table: npt.NDArray[np.floating[Any]]) -> FloatArray:
    """Give the probability of each row's class."""
    picked: FloatArray = table[np.arange(given.size), given.astype(np.int64)].astype(np.float64)
    return picked


def _shares(given: FloatArray, table: npt.NDArray[np.floating[Any]]) -> FloatArray:
    """Give the targets as probabilities: shape (n, K), 1 for the class of a row; two may share it."""
    if table.shape[1] == _TWO:
        return np.column_stack([1 - given, given])
    return np.equal.outer(given, np.arange(table.shape[1])).astype(np.float64)


def _recalls(
    target: npt.ArrayLike, probabilities: npt.ArrayLike, sample_weight: npt.ArrayLike | None
) -> FloatArray:
    """Give for each class the share of its rows that are predicted as it; nan where it has none."""
    given, table, weight = _checked(target, probabilities, sample_weight)
    codes, classes = given.astype(np.int64), table.shape[1]
    counts = np.ones(given.size) if weight is None else weight
    hits = np.bincount(codes, counts * (_predicted(table) == codes), minlength=classes)
    rows = np.bincount(codes, counts, minlength=classes)
    shares: FloatArray = np.divide(hits, rows, out=np.full(classes, np.nan), where=rows > 0)
    return shares


def _area(member: npt.NDArray[np.bool_], score: npt.NDArray[Any], counts: FloatArray) -> float:
    """Give the share of pairs (member, other) in which the member has the larger score."""
    _, place = np.unique(score, return_inverse=True)
    members, others = (np.bincount(place, counts * some) for some in (member, ~member))
    # At each score: the others below it, and half of those at it.
    below = np.cumsum(others) - others / 2
    pairs = members.sum() * others.sum()
    return float((members * below).sum() / pairs) if pairs else float("nan")


METRICS: Mapping[str, Callable[..., float]] = {
    "logloss": logloss,
    "error": error,
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "auc": auc,
    "recall": recall,
    "brier": brier,
    "calibration_error": calibration_error,
    "dice": dice,
}

# Those that a model can be selected by: defined on any rows, and smaller is better.
SELECTING = ("logloss", "error", "brier", "calibration_error")
