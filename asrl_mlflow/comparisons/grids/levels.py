"""The map of continuous ASRL's levels: methods that differ in q_low, q_high and tail only."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

_NAME = re.compile(r"asrl_c:q_low=([\d.]+):q_high=([\d.]+):tail=([\d.]+)")
# Fewer points are no map.
_FEWEST = 4


class Levels(NamedTuple):
    """A point of the map.

    Parameters
    ----------
    q_low, q_high, tail : float
        Parameters of `ContinuousASRL`.
    """

    q_low: float
    q_high: float
    tail: float


def level_name(q_low: float, q_high: float, tail: float) -> str:
    """Name the method at a point.

    Examples
    --------
    >>> level_name(0.5, 0.9, 1.0)
    'asrl_c:q_low=0.5:q_high=0.9:tail=1'
    """
    return f"asrl_c:q_low={q_low:g}:q_high={q_high:g}:tail={tail:g}"


def find_levels(methods: Iterable[str]) -> dict[str, Levels]:
    """Find the methods that are points of a map, where they are enough for one.

    Examples
    --------
    >>> points = [level_name(0.2, high, 1.0) for high in (0.3, 0.5, 0.7, 0.9)]
    >>> find_levels([*points, "huber"])[points[0]]
    Levels(q_low=0.2, q_high=0.3, tail=1.0)
    >>> find_levels(["huber", points[0]])
    {}
    """
    matches = {name: _NAME.fullmatch(name) for name in methods}
    found = {name: Levels(*map(float, match.groups())) for name, match in matches.items() if match}
    return found if len(found) >= _FEWEST else {}
