"""Rows of a table, and how they are parted: to learn from, to choose by, to judge by; and spoiled."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from asrl_mlflow.residuals.sample_weights import WeightRule

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Of the rows, in this order: train, valid; the rest is test.
_SHARES = (0.6, 0.2)
# Of so few moments there is but one pair of past and future.
_FEWEST_IN_TIME = 2


@dataclass(frozen=True)
class Blocks:
    """Rows that no split parts.

    Parameters
    ----------
    codes : int64 array of shape (n,)
        The block of each row: 0, 1, ... without gaps.
    in_time : bool
        Whether blocks follow one another in time, and so must the parts of a split.
    """

    codes: IntArray
    in_time: bool

    @property
    def count(self) -> int:
        """How many blocks there are."""
        return int(self.codes.max()) + 1


@dataclass(frozen=True)
class Rows:
    """Some rows of a table.

    Parameters
    ----------
    features : DataFrame of shape (n, features)
        Numbers, booleans and categories; NaN is a missing value.
    target : float64 array of shape (n,)
        Finite, in target units.
    weight : float64 array of shape (n,), optional
        Sample weights in [0, inf), read as `residuals.row_counts` says.
    blocks : Blocks, optional
        Rows that belong together.
    weight_rule : {"none", "counts", "mean 1"}
        How the weights of the whole table are read. A part may have whole weights only where the
        table has others: it is read as the table is.
    """

    features: pd.DataFrame
    target: FloatArray
    weight: FloatArray | None = None
    blocks: Blocks | None = None
    weight_rule: WeightRule = "none"

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.target)

    def take(self, order: IntArray) -> Rows:
        """These rows, in this order."""
        blocks = None
        if self.blocks is not None:
            _, codes = np.unique(self.blocks.codes[order], return_inverse=True)
            blocks = replace(self.blocks, codes=codes)
        return Rows(
            self.features.iloc[order].reset_index(drop=True),
            self.target[order],
            None if self.weight is None else self.weight[order],
            blocks,
            self.weight_rule,
        )


@dataclass(frozen=True)
class Split:
    """Rows to learn from, rows to choose by, rows to judge by."""

    train: Rows
    valid: Rows
    test: Rows

    def describe(self) -> str:
        """How many rows are in train, valid and test; none in valid where those are the test rows.

        Examples
        --------
        >>> from asrl_mlflow.datasets import load
        >>> split(load().rows, seed=0).describe()
        '265/88/89'
        """
        valid = 0 if self.valid is self.test else len(self.valid)
        return f"{len(self.train)}/{valid}/{len(self.test)}"


def split(rows: Rows, seed: int) -> Split:
    """60% train, 20% valid, 20% test.

    Rows are shuffled by seed. Where they belong to groups, groups are shuffled, and where they have
    a time nothing is: train comes before valid, and valid before test. Either way no group and no
    moment is parted, and the cuts are those nearest to the shares.

    Examples
    --------
    >>> from asrl_mlflow.datasets import load
    >>> parts = split(load().rows, seed=0)
    >>> len(parts.train), len(parts.valid), len(parts.test)
    (265, 88, 89)
    """
    rng = np.random.default_rng(seed)
    count = len(rows)
    first, second = (int(share * count) for share in np.cumsum(_SHARES))
    if rows.blocks is None:
        order = rng.permutation(count)
    else:
        blocks = rows.blocks.count
        place = np.arange(blocks) if rows.blocks.in_time else rng.permutation(blocks)
        placed = place[rows.blocks.codes]
        order = np.argsort(placed, kind="stable")
        ends = np.cumsum(np.bincount(placed, minlength=blocks))
        # Each part has a block at least.
        cut = int(np.argmin(np.abs(ends[:-2] - first)))
        first, second = (
            ends[cut],
            ends[cut + 1 :][int(np.argmin(np.abs(ends[cut + 1 : -1] - second)))],
        )
    train, valid, test = (rows.take(part) for part in np.split(order, [first, second]))
    return Split(train, valid, test)


def join(first: Rows, second: Rows) -> Rows:
    """The rows of both parts of one table; blocks of the second come after those of the first.

    Examples
    --------
    >>> from asrl_mlflow.datasets import load
    >>> parts = split(load().rows, seed=0)
    >>> len(join(parts.train, parts.valid))
    353
    """
    weight = blocks = None
    if first.weight is not None and second.weight is not None:
        weight = np.concatenate([first.weight, second.weight])
    if first.blocks is not None and second.blocks is not None:
        later = second.blocks.codes + first.blocks.count
        blocks = replace(first.blocks, codes=np.concatenate([first.blocks.codes, later]))
    features = pd.concat([first.features, second.features], ignore_index=True)
    target = np.concatenate([first.target, second.target])
    return Rows(features, target, weight, blocks, first.weight_rule)


def folds(rows: Rows, count: int, seed: int) -> list[tuple[Rows, Rows]]:
    """Cross-validation: pairs of rows to learn from and rows to judge by.

    Parameters
    ----------
    rows : Part
        Those of training and validation.
    count : int, >= 2
        How many pairs; fewer where there are fewer blocks.
    seed : int
        Of the shuffling. Groups stay whole. Where rows have a time nothing is shuffled: each pair
        learns from the past of what it is judged by.

    Examples
    --------
    >>> from asrl_mlflow.datasets import load
    >>> [(len(learned), len(judged)) for learned, judged in folds(load().rows, 5, seed=0)]
    [(353, 89), (353, 89), (354, 88), (354, 88), (354, 88)]
    """
    # Here, not above: scikit-learn takes a second to import.
    from sklearn.model_selection import KFold, TimeSeriesSplit  # noqa: PLC0415 - see above

    shuffled = KFold(count, shuffle=True, random_state=seed)
    if rows.blocks is None:
        return [(rows.take(one), rows.take(other)) for one, other in shuffled.split(rows.target)]
    codes, blocks = rows.blocks.codes, rows.blocks.count

    def of(some: IntArray) -> Rows:
        return rows.take(np.flatnonzero(np.isin(codes, some)))

    if rows.blocks.in_time and blocks == _FEWEST_IN_TIME:
        return [(of(np.array([0])), of(np.array([1])))]
    if rows.blocks.in_time:
        by = TimeSeriesSplit(min(count, blocks - 1))
    else:
        by = KFold(min(count, blocks), shuffle=True, random_state=seed)
    return [(of(one), of(other)) for one, other in by.split(np.arange(blocks))]
