"""What adds up numbers that many workers have parts of."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.floating[Any] | np.integer[Any]]


class Workers(Protocol):
    """Interface for the workers of a training, each with a part of its rows.

    Every worker must ask the same questions in the same order: an answer needs all of them.
    """

    @property
    def count(self) -> int:
        """How many there are."""

    @property
    def rank(self) -> int:
        """Which of them this is, in [0, count)."""

    def sum(self, values: Numbers) -> Numbers:
        """Sum arrays of one shape and type over the workers."""

    def largest(self, value: float) -> float:
        """Find the largest of the workers' numbers."""


class Alone:
    """One worker, which has all rows.

    Examples
    --------
    >>> Alone().sum(np.array([1, 2])), Alone().largest(3.0)
    (array([1, 2]), 3.0)
    """

    count, rank = 1, 0

    def sum(self, values: Numbers) -> Numbers:
        """Return the values themselves."""
        return values

    def largest(self, value: float) -> float:
        """Return the value itself."""
        return value


ALONE = Alone()
