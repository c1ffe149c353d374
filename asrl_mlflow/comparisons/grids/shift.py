"""Take the test rows from another part of the feature space than the rows that are learned from."""

from __future__ import annotations

import numpy as np

from asrl_mlflow.datasets import Rows, Split
from asrl_mlflow.datasets.columns import standardise
from asrl_mlflow.errors import InputError

# The shares of train and valid among all rows; the rest is test.
_TRAIN, _VALID = 0.6, 0.2


def split_apart(rows: Rows, seed: int) -> Split:
    """Split rows 60/20/20 so that the test rows lie furthest in a direction of the feature space.

    Parameters
    ----------
    rows : Rows
        With features that are numbers, and without groups or times.
    seed : int
        That draws the direction, and which of the other rows validate.

    Raises
    ------
    InputError
        No feature is a number that differs between rows; or rows have groups or times.

    Examples
    --------
    >>> from asrl_mlflow.datasets import load
    >>> parts = split_apart(load("diabetes").rows, seed=0)
    >>> parts.describe()
    '265/88/89'
    """
    if rows.blocks is not None:
        msg = (
            "A shift by features splits rows one by one; got rows with groups or times, which stay together; "
            "leave --group, or --time, which is a shift by itself, or the shift out."
        )
        raise InputError(msg)
    rng = np.random.default_rng(seed)
    standard = standardise(rows.features)
    order = np.argsort(standard @ rng.normal(size=standard.shape[1]), kind="stable")
    train, valid = int(_TRAIN * len(rows)), int(_VALID * len(rows))
    near, far = rng.permutation(order[: train + valid]), order[train + valid :]
    return Split(rows.take(near[:train]), rows.take(near[train:]), rows.take(far).to_judge())
