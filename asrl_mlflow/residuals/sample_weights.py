"""Sample weights, read as numbers of rows."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from asrl_mlflow.errors import InputError
from asrl_mlflow.residuals.shared.sums import sum_in_any_order
from asrl_mlflow.residuals.shared.workers import ALONE, Workers

WeightRule = Literal["none", "counts", "mean 1"]

# Whole numbers are exact in float64, quarters included, up to here.
_MOST_ROWS = 2.0**50
# Rows whose intermediate results stay in a core's second-level cache.
_PART = 2**14


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
    sample_weight: npt.ArrayLike | RowCounts | None,
    rows: int,
    rule: WeightRule | None = None,
    workers: Workers = ALONE,
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
    workers : Workers, optional
        Who have the other rows of the table: the weights of all decide.

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
    sound = np.isfinite(weight) & (weight >= 0)
    own: dict[str, float] = {
        "rows": rows,
        "weights": weight.size,
        "misplaced": weight.size > 0 and weight.shape != (rows,),
        "bad": int(np.count_nonzero(~sound)),
        "positive": int(np.count_nonzero(weight > 0)),
        "fractions": int(np.count_nonzero(weight != np.floor(weight))),
        "others than 1": int(np.count_nonzero(weight != 1)),
        "whole": float(weight[sound].sum()),
    }
    summed: list[float] = workers.sum(np.array(list(own.values()), np.float64)).tolist()
    facts = dict(zip(own, summed, strict=True))
    if not facts["weights"]:
        return RowCounts(None, "none")
    if facts["misplaced"] or facts["weights"] != facts["rows"]:
        msg = f"Sample weights need shape ({rows},), one a row; got {weight.shape}."
        raise InputError(msg)
    if facts["bad"]:
        msg = (
            f"Sample weights must be finite and not negative; got {facts['bad']:.0f} others in "
            f"{facts['rows']:.0f} rows; weight 0 leaves a row out."
        )
        raise InputError(msg)
    if not facts["positive"]:
        msg = f"Sample weights need at least one above 0; got {facts['rows']:.0f} zeros."
        raise InputError(msg)
    if rule != "mean 1" and not facts["fractions"]:
        if facts["whole"] > _MOST_ROWS:
            msg = f"Whole sample weights count rows, at most 2**50; got {facts['whole']:g}; divide them."
            raise InputError(msg)
        return RowCounts(weight if facts["others than 1"] else None, "counts")
    if rule == "counts":
        msg = (
            "Sample weights that count rows are whole numbers; got fractions; leave the rule out, or "
            'pass "mean 1".'
        )
        raise InputError(msg)
    # The largest first: sums of extreme weights would overflow or vanish.
    weight = weight / workers.largest(weight.max(initial=0.0))
    parts = np.split(weight, range(_PART, weight.size, _PART))
    return RowCounts(weight * (facts["rows"] / sum_in_any_order(parts, 1.0, workers)), "mean 1")


def _check_rule(rule: str | None) -> None:
    if rule is not None and rule not in get_args(WeightRule):
        known = ", ".join(map(repr, get_args(WeightRule)))
        msg = f"Sample weights are read by one of the rules {known}; got {rule!r}."
        raise InputError(msg)
