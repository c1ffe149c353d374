"""Sample weights, read as numbers of rows."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from asrl_mlflow.errors import InputError

WeightRule = Literal["none", "counts", "mean 1"]

# Whole numbers are exact in float64, quarters included, up to here.
_MOST_ROWS = 2.0**50


class RowCounts(NamedTuple):
    """Sample weights as numbers of rows; what `row_counts` makes of them.

    Parameters
    ----------
    values : float64 array of shape (n,), or None
        None where every row counts once.
    rule : {"none", "counts", "mean 1"}
        "counts": all were whole numbers, so weight k is the row k times. "mean 1": they were not,
        and were rescaled to mean 1.
    """

    values: npt.NDArray[np.float64] | None
    rule: WeightRule


def row_counts(
    sample_weight: npt.ArrayLike | RowCounts | None, rows: int, rule: WeightRule | None = None
) -> RowCounts:
    """Sample weights as numbers of rows.

    Parameters
    ----------
    sample_weight : array of shape (rows,), RowCounts or None
        In [0, inf), not all zero. Empty counts as None, as XGBoost has it. RowCounts are returned
        as they are.
    rows : int
        How many weights there must be.
    rule : {"none", "counts", "mean 1"}, optional
        "mean 1" also where all weights are whole: of a part of a table that has others.

    Raises
    ------
    InputError
        Wrong length, a negative or non-finite weight, or no positive one.

    Examples
    --------
    >>> row_counts([0, 2, 1], 3)
    RowCounts(values=array([0., 2., 1.]), rule='counts')
    >>> row_counts([0.5, 1.5], 2)
    RowCounts(values=array([0.5, 1.5]), rule='mean 1')
    >>> row_counts([0.2, 0.6], 2)
    RowCounts(values=array([0.5, 1.5]), rule='mean 1')
    """
    _check_rule(rule)
    if isinstance(sample_weight, RowCounts):
        return sample_weight
    if sample_weight is None:
        return RowCounts(None, "none")
    weight = np.asarray(sample_weight, dtype=np.float64)
    if weight.size == 0:
        return RowCounts(None, "none")
    if weight.shape != (rows,):
        msg = f"Sample weights need shape ({rows},), one a row; got {weight.shape}."
        raise InputError(msg)
    bad = int(np.count_nonzero(~(np.isfinite(weight) & (weight >= 0))))
    if bad:
        msg = (
            f"Sample weights must be finite and not negative; got {bad} others in {rows} rows; "
            "weight 0 leaves a row out."
        )
        raise InputError(msg)
    if not weight.any():
        msg = f"Sample weights need at least one above 0; got {rows} zeros."
        raise InputError(msg)
    if rule != "mean 1" and np.array_equal(weight, np.floor(weight)):
        if weight.sum() > _MOST_ROWS:
            msg = f"Whole sample weights count rows, at most 2**50; got {weight.sum():g}; divide them."
            raise InputError(msg)
        return RowCounts(None if np.all(weight == 1) else weight, "counts")
    if rule == "counts":
        msg = (
            "Sample weights that count rows are whole numbers; got fractions; leave the rule out, or "
            'pass "mean 1".'
        )
        raise InputError(msg)
    # The largest first: sums of extreme weights would overflow or vanish.
    weight = weight / weight.max()
    return RowCounts(weight * (rows / weight.sum()), "mean 1")


def _check_rule(rule: str | None) -> None:
    if rule is not None and rule not in get_args(WeightRule):
        known = ", ".join(map(repr, get_args(WeightRule)))
        msg = f"Sample weights are read by one of the rules {known}; got {rule!r}."
        raise InputError(msg)
