"""Split the rows of a table into training, validation and test rows, or into folds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from asrl_mlflow.errors import InputError
from asrl_mlflow.residuals.sample_weights import WeightRule

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
# Plain types, which JSON can hold.
Label = str | int | bool | float

# The shares of train and valid; the rest is test.
_SHARES = (0.6, 0.2)
# Fifths of a split: the first three train, the fourth validates, the last tests.
_FIFTHS, _TRAIN_FIFTHS = 5, 3
# Two moments in time give only one pair of past and future.
_FEWEST_IN_TIME = 2


@dataclass(frozen=True)
class Blocks:
    """Groups or moments in time whose rows a split never separates.

    Parameters
    ----------
    codes : int64 array of shape (n,)
        The block of each row: 0, 1, ... without gaps.
    in_time : bool
        Whether the blocks are ordered in time; then a split keeps that order.
    """

    codes: IntArray
    in_time: bool

    @property
    def count(self) -> int:
        """The number of blocks."""
        return int(self.codes.max()) + 1


@dataclass(frozen=True)
class Rows:
    """Some rows of a table.

    Parameters
    ----------
    features : DataFrame of shape (n, features)
        Numbers, booleans and categories; NaN is a missing value.
    target : float64 array of shape (n,)
        Finite, in target units; the codes 0, 1, ... of the classes where there are classes.
    weight : float64 array of shape (n,), optional
        Sample weights in [0, inf).
    blocks : Blocks, optional
        Rows that belong together.
    weight_rule : {"none", "counts", "mean 1"}
        How the weights of the whole table are read: not at all, as counts of rows, or rescaled to mean
        1. Some rows of a table may have whole weights only; they are read like the whole table.
    classes : tuple of str, int, bool or float
        The labels of the classes in the order of their codes; empty where the target is a number. Some
        rows of a table have all its classes, also those without a row among them.
    numbers : int64 array of shape (n,), optional
        The position of each row in the table, from 0.
    truth : float64 array of shape (n,), optional
        True targets, where the given ones may be wrong; NaN where they are unknown.
    """

    features: pd.DataFrame
    target: FloatArray
    weight: FloatArray | None = None
    blocks: Blocks | None = None
    weight_rule: WeightRule = "none"
    classes: tuple[Label, ...] = ()
    numbers: IntArray | None = None
    truth: FloatArray | None = None

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.target)

    @property
    def booster_params(self) -> dict[str, int]:
        """What a booster has to be told of the target: how many classes the whole table has."""
        return {"num_class": len(self.classes)} if self.classes else {}

    def find_classes_of(self, others: Rows) -> npt.NDArray[np.bool_]:
        """Find the rows whose class some of the other rows have that count; of numbers all rows."""
        if not self.classes:
            return np.ones(len(self), np.bool_)
        counts = np.ones(len(others), np.bool_) if others.weight is None else others.weight > 0
        return np.isin(self.target, others.target[counts])

    def take(self, order: IntArray) -> Rows:
        """Take the rows with these numbers, in this order."""
        blocks = None
        if self.blocks is not None:
            _, codes = np.unique(self.blocks.codes[order], return_inverse=True)
            blocks = replace(self.blocks, codes=codes)
        return replace(
            self,
            features=self.features.iloc[order].reset_index(drop=True),
            target=self.target[order],
            weight=None if self.weight is None else self.weight[order],
            blocks=blocks,
            numbers=None if self.numbers is None else self.numbers[order],
            truth=None if self.truth is None else self.truth[order],
        )

    def to_judge(self) -> Rows:
        """Give the rows whose true target is known, with it as the target; all where none may be wrong.

        Raises
        ------
        InputError
            No true target is known.
        """
        if self.truth is None:
            return self
        known = np.flatnonzero(np.isfinite(self.truth))
        if not known.size:
            msg = (
                f"Test rows are judged by true targets; got none in all {len(self)} rows to test; fill in more, "
                "or take another seed."
            )
            raise InputError(msg)
        rows = self.take(known)
        return replace(rows, target=self.truth[known])


@dataclass(frozen=True)
class Split:
    """Training rows, validation rows (to choose by) and test rows of one table."""

    train: Rows
    valid: Rows
    test: Rows

    def describe(self) -> str:
        """Give the numbers of rows in train, valid and test; 0 for valid where it is the same as test.

        Examples
        --------
        >>> from asrl_mlflow.datasets import load
        >>> split(load().rows, seed=0).describe()
        '265/88/89'
        """
        valid = 0 if self.valid is self.test else len(self.valid)
        return f"{len(self.train)}/{valid}/{len(self.test)}"


def split(rows: Rows, seed: int) -> Split:
    """Split rows into 60% train, 20% valid and 20% test.

    Rows are shuffled. Rows in groups are shuffled group by group. Rows with a time are not shuffled:
    train comes before valid, and valid before test. A group or a moment is never separated; the cuts
    are those nearest to the shares.

    Where the target names classes, each part has the same share of each class, to within a row; so a
    class of five rows is in every part. With groups this holds as nearly as whole groups allow; with a
    time it does not.

    Where true targets are known beside given ones, test rows have the true ones; those without are left out.

    Parameters
    ----------
    rows : Rows
        The rows of a table.
    seed : int
        The seed that shuffles them.

    Raises
    ------
    InputError
        None of the test rows has a true target that is known.

    Examples
    --------
    >>> from asrl_mlflow.datasets import load
    >>> parts = split(load().rows, seed=0)
    >>> len(parts.train), len(parts.valid), len(parts.test)
    (265, 88, 89)
    """
    rng = np.random.default_rng(seed)
    count = len(rows)
    fifth = _folds_by_class(rows, _FIFTHS, seed)
    if fifth is not None:
        shuffled = rng.permutation(count)
        place = fifth[shuffled] - _TRAIN_FIFTHS
        train, valid, test = (
            rows.take(shuffled[part]) for part in (place < 0, place == 0, place > 0)
        )
        return Split(train, valid, test.to_judge())
    first, second = (int(share * count) for share in np.cumsum(_SHARES))
    if rows.blocks is None:
        order = rng.permutation(count)
    else:
        blocks = rows.blocks.count
        place = np.arange(blocks) if rows.blocks.in_time else rng.permutation(blocks)
        placed = place[rows.blocks.codes]
        order = np.argsort(placed, kind="stable")
        ends = np.cumsum(np.bincount(placed, minlength=blocks))
        # Each part needs at least one block.
        cut = int(np.argmin(np.abs(ends[:-2] - first)))
        first, second = (
            ends[cut],
            ends[cut + 1 :][int(np.argmin(np.abs(ends[cut + 1 : -1] - second)))],
        )
    train, valid, test = (rows.take(part) for part in np.split(order, [first, second]))
    return Split(train, valid, test.to_judge())


def join(first: Rows, second: Rows) -> Rows:
    """Join rows of one table; the blocks of the second come after those of the first.

    Examples
    --------
    >>> from asrl_mlflow.datasets import load
    >>> parts = split(load().rows, seed=0)
    >>> len(join(parts.train, parts.valid))
    353
    """
    weight = blocks = numbers = truth = None
    if first.weight is not None and second.weight is not None:
        weight = np.concatenate([first.weight, second.weight])
    if first.blocks is not None and second.blocks is not None:
        later = second.blocks.codes + first.blocks.count
        blocks = replace(first.blocks, codes=np.concatenate([first.blocks.codes, later]))
    if first.numbers is not None and second.numbers is not None:
        numbers = np.concatenate([first.numbers, second.numbers])
    if first.truth is not None and second.truth is not None:
        truth = np.concatenate([first.truth, second.truth])
    features = pd.concat([first.features, second.features], ignore_index=True)
    target = np.concatenate([first.target, second.target])
    return replace(
        first,
        features=features,
        target=target,
        weight=weight,
        blocks=blocks,
        numbers=numbers,
        truth=truth,
    )


def folds(rows: Rows, count: int, seed: int) -> list[tuple[Rows, Rows]]:
    """Make the folds of a cross-validation: pairs of training rows and rows to measure on.

    Parameters
    ----------
    rows : Rows
        The rows to divide into folds.
    count : int, >= 2
        The number of pairs; fewer if there are fewer blocks.
    seed : int
        The seed that shuffles rows, or whole groups. Rows with a time are not shuffled: each pair
        learns from rows before those it is measured on.

    Notes
    -----
    Where the target names classes, each is divided evenly, as in `split`.

    Examples
    --------
    >>> from asrl_mlflow.datasets import load
    >>> [(len(learned), len(judged)) for learned, judged in folds(load().rows, 5, seed=0)]
    [(353, 89), (353, 89), (354, 88), (354, 88), (354, 88)]
    """
    fold = _folds_by_class(rows, count, seed)
    if fold is not None:
        return [
            (rows.take(np.flatnonzero(fold != each)), rows.take(np.flatnonzero(fold == each)))
            for each in range(count)
        ]
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


def _folds_by_class(rows: Rows, count: int, seed: int) -> IntArray | None:
    """Give each row the number of its fold so that every fold has its share of each class.

    Returns
    -------
    int64 array of shape (n,), or None
        None where the target is a number, rows are ordered in time, or there are too few groups, or
        too few rows of a class for every fold of groups.
    """
    if not rows.classes or (rows.blocks is not None and rows.blocks.in_time):
        return None
    codes = rows.target.astype(np.int64)
    fold = np.empty(len(rows), np.int64)
    rng = np.random.default_rng(seed)
    if rows.blocks is None:
        shuffled = rng.permutation(len(rows))
        by_class = shuffled[np.argsort(codes[shuffled], kind="stable")]
        # Class after class, the rows go to the folds in turn: five rows of a class to five folds.
        fold[by_class] = np.arange(len(rows)) % count
        return fold
    present = np.bincount(codes)
    if rows.blocks.count < count or present[present > 0].min() < count:
        return None
    # Here, not above: scikit-learn takes a second to import.
    from sklearn.model_selection import StratifiedGroupKFold  # noqa: PLC0415 - see above

    # Shuffled here: scikit-learn 1.6's own shuffling loses the shares of the classes, and that of 1.9
    # only moves groups that are alike. The folds' numbers are drawn too, so that each seed splits anew.
    group = rng.permutation(rows.blocks.count)[rows.blocks.codes]
    numbers = rng.permutation(count)
    by_group = StratifiedGroupKFold(count).split(fold, codes, group)
    for number, (_, judged) in zip(numbers, by_group, strict=True):
        fold[judged] = number
    return fold
