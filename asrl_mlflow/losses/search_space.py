"""Search spaces: the intervals in which a tuner looks for the parameters of a loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# One value for each interval of a search space.
Point = Mapping[str, float]


@dataclass(frozen=True)
class Interval:
    """Interval in which a tuner looks for one number.

    Parameters
    ----------
    low, high : float, low < high
        Both ends belong to it.
    log : bool
        Whether equal ratios are equally likely, not equal differences.
    whole : bool
        Whether it holds whole numbers only.

    Examples
    --------
    >>> 0.5 in Interval(0.1, 1.0), 2 in Interval(0.1, 1.0)
    (True, False)
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __contains__(self, number: float) -> bool:
        """Check whether a number lies in the interval, ends included."""
        return self.low <= number <= self.high


SearchSpace = Mapping[str, Interval]

# Two levels as a level and the share of the room above it that the gap to the second takes, so that
# every point is valid; logarithmic, as on spoiled targets the best gap is often tiny.
LEVELS: SearchSpace = {"q_low": Interval(0.05, 0.99), "gap": Interval(0.01, 0.99, log=True)}
_DIGITS = 9


def levels_at(point: Point) -> dict[str, float]:
    """Convert a point of `LEVELS` to the levels q_low and q_high.

    Examples
    --------
    >>> levels_at({"q_low": 0.7, "gap": 0.5})
    {'q_low': 0.7, 'q_high': 0.85}
    """
    q_low, gap = point["q_low"], point["gap"]
    return {"q_low": q_low, "q_high": round(q_low + gap * (1 - q_low), _DIGITS)}


def point_of(q_low: float, q_high: float) -> dict[str, float]:
    """Convert the levels q_low and q_high to a point of `LEVELS`.

    Examples
    --------
    >>> levels_at(point_of(0.7, 0.75))
    {'q_low': 0.7, 'q_high': 0.75}
    """
    return {"q_low": q_low, "gap": (q_high - q_low) / (1 - q_low)}
