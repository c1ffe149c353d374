"""Find rows whose features are equal and whose targets contradict each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from asrl_mlflow.datasets.splits import Rows

# Targets of equal rows that are farther apart than so many scales of the noise contradict each other: two
# draws of it are so in one of some 300 pairs.
_SCALES_APART = 4.0


@dataclass(frozen=True)
class Repeats:
    """Rows that have the features of another row.

    Parameters
    ----------
    rows : int
        How many there are.
    contradicting : int
        How many of these have a group whose targets are farther apart than noise explains.
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
    apart = (targets.transform("max") - targets.transform("min")).to_numpy()
    return Repeats(
        rows=int(np.count_nonzero(count > 1)),
        contradicting=int(np.count_nonzero((count > 1) & (apart > _SCALES_APART * scale))),
    )
