"""Where the quantiles of a round's |r| probably lie: near those of the rounds before.

A pass over the rows that must be made anyway can count the rows below a narrow bracket and collect
those inside. Where the quantile does lie inside, it is found among the few rows that were collected,
to the same bits as among all; where it does not, nothing is lost but the forecast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from asrl_mlflow.residuals.selection import Selection

# Below so many rows a partition of all of them takes no longer than the bookkeeping.
_FEWEST_ROWS = 2**16
# Half the width of a bracket, as a share of where its middle lies. A wider one would hold so many rows
# that a partition of all of them is faster.
_NARROWEST, _WIDEST = 0.004, 0.04
# How much of the newest change is in the next one that is expected.
_NEWS = 0.3
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
    """Remember quantiles from round to round, and say where the next ones will lie.

    Parameters
    ----------
    rows : int
        How many there are.

    Examples
    --------
    >>> forecast = Forecast(100_000)
    >>> forecast.brackets().shape
    (0, 2)
    >>> for round_ in range(8):
    ...     forecast.learn({0.5: 0.9**round_})
    >>> bool(forecast.brackets()[0, 0] < 0.9**8 < forecast.brackets()[0, 1])
    True
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._trends: dict[float, _Trend] = {}

    def brackets(self) -> npt.NDArray[np.float32]:
        """The interval [low, high] for each level that was asked for, shape (levels, 2)."""
        narrow = [trend.bracket() for trend in self._trends.values() if trend.width <= _WIDEST]
        return np.array(narrow[:_MOST], np.float32).reshape(-1, 2)

    def learn(self, quantiles: Mapping[float, float]) -> None:
        """Take in what a round's quantiles were, by level."""
        if self._rows < _FEWEST_ROWS:
            return
        self._trends = {
            level: self._trends[level].after(value) if level in self._trends else _Trend(value)
            for level, value in quantiles.items()
        }


class _Trend(NamedTuple):
    """A quantile, by which factor it changes in a round, and how far off forecasts have been."""

    value: float
    change: float = 1.0
    off: float = 1.0

    @property
    def width(self) -> float:
        return max(1.5 * self.off, _NARROWEST)

    def bracket(self) -> tuple[float, float]:
        middle = self.value * self.change
        return middle * (1 - self.width), middle * (1 + self.width)

    def after(self, value: float) -> _Trend:
        if not (self.value > 0 and value > 0):
            return _Trend(value)
        newest = value / self.value
        if self.off == 1:
            return _Trend(value, newest, 0.5)
        change = self.change + (newest - self.change) * _NEWS
        # A large miss counts at once, and is forgotten by halves.
        return _Trend(value, change, max(abs(newest / self.change - 1), self.off / 2))
