"""Where the quantiles of a round's |r| probably lie: near those of a sample of its rows.

A pass over the rows that must be made anyway can count the rows below a narrow bracket and collect
those inside. Where the quantile does lie inside, it is found among the few rows that were collected,
to the same bits as among all; where it does not, nothing is lost but the forecast. (Floyd and Rivest,
Expected time bounds for selection, 1975.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asrl_mlflow.residuals import kernel
from asrl_mlflow.residuals.selection import Selection

# Below so many rows a partition of all of them takes no longer than the bookkeeping.
_FEWEST_ROWS = 5_000
# A sample has so many times n^(2/3) of n rows: more would take longer to sort, fewer have wider brackets.
_SAMPLE = 1.5
# Half the width of a bracket, in standard deviations of the sample's quantile: one in hundreds misses.
_DEVIATIONS = 3.0
# As many as the kernel takes; no loss asks for more.
_MOST = 8


@dataclass(frozen=True)
class Bracket:
    """The rows whose |r| lies in a closed interval.

    Parameters
    ----------
    below : int
        How many rows have a smaller |r|.
    count : int
        How many lie in it.
    sizes : Selection
        Their |r|.
    """

    below: int
    count: int
    sizes: Selection

    def kth(self, k: int) -> float | None:
        """The k-th smallest |r| of all rows; None where it is not one of these."""
        inside = k - self.below
        return self.sizes.kth(inside) if 0 <= inside < self.count else None


class Forecast:
    """Say where the quantiles of a round lie that were asked for in the one before, by a sample of its rows.

    Parameters
    ----------
    rows : int
        How many there are.

    Examples
    --------
    >>> target = np.arange(100_000, dtype=np.float32)
    >>> forecast = Forecast(target.size)
    >>> forecast.learn([0.5])
    >>> brackets = forecast.brackets(target, np.zeros_like(target))
    >>> bool(np.all((brackets > 45_000) & (brackets < 55_000)))
    True
    """

    def __init__(self, rows: int) -> None:
        # Without the kernel no pass collects rows.
        is_worth_it = rows >= _FEWEST_ROWS and kernel.native is not None
        self._step = max(1, round(rows ** (1 / 3) / _SAMPLE)) if is_worth_it else 0
        self._last = (rows - 1) // max(1, self._step)
        self._levels: Sequence[float] = ()
        self._places = np.empty((0, 2), np.int64)

    def learn(self, levels: Iterable[float]) -> None:
        """Take in which levels a round was asked for."""
        levels = tuple(levels)[:_MOST] if self._step else ()
        if levels != self._levels:
            self._levels, middle = levels, np.array(levels)
            spread = _DEVIATIONS * np.sqrt(middle * (1 - middle) * self._last) + 1
            ends = [middle * self._last - spread, middle * self._last + spread]
            # Nothing in a sample is as small, or as large, as what lies at the ends.
            self._places = np.clip(np.stack(ends, axis=1), -1, self._last + 1).astype(np.int64) + 1

    def brackets(
        self, target: npt.NDArray[np.float32], margin: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """The interval [low, high] of |target - margin| for each of the levels, shape (levels, 2).

        Parameters
        ----------
        target, margin : float32 arrays of shape (n,)
            In target units.
        """
        if not self._levels:
            return np.empty((0, 2), np.float32)
        sizes = np.empty(self._last + 3, np.float32)
        sizes[0], sizes[-1] = 0, np.inf
        sample = sizes[1:-1]
        np.subtract(target[:: self._step], margin[:: self._step], out=sample)
        np.abs(sample, out=sample)
        sample.sort()
        return sizes[self._places]
