"""Find rows whose features are equal and whose targets contradict each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import norm

from asrl_mlflow.datasets.splits import Rows

# Of groups of equal rows, how many may hold a target that is taken for a contradiction by the noise alone.
_BY_CHANCE = 0.005


@dataclass(frozen=True)
class Repeats:
    """Rows that have the features of another row.

    Parameters
    ----------
    rows : int
        How many there are.
    contradicting : int
        How many of these have a target farther from the median of their group than normal noise explains, however
        many rows the group has.
    """

    rows: int
    contradicting: int


def find_repeats(rows: Rows, scale: float) -> Repeats:
    """Find rows with equal features, and those whose targets contradict each other.

    Parameters
    ----------
    rows : Rows
        A table with a target that is a number.
    scale : float, >= 0
        The scale of the noise, in target units.

    Examples
    --------
    >>> from asrl_mlflow.datasets import from_arrays
    >>> x, y = np.arange(30.0)[:, None], np.arange(30.0)
    >>> x[1], x[3], y[3] = x[0], x[2], 90
    >>> find_repeats(from_arrays(x, y).rows, scale=0.5)
    Repeats(rows=4, contradicting=2)
    """
    key = pd.util.hash_pandas_object(rows.features, index=False).to_numpy()
    targets = pd.Series(rows.target).groupby(key)
    count = targets.transform("size").to_numpy()
    away = np.abs(rows.target - targets.transform("median").to_numpy())
    # A target is one of those whose median it is held against.
    limit = norm.isf(_BY_CHANCE / (2 * count)) * np.sqrt(1 - 1 / count)
    return Repeats(
        rows=int(np.count_nonzero(count > 1)),
        contradicting=int(np.count_nonzero((count > 1) & (away > limit * scale))),
    )
