"""Search parameters that are in target units, by the target's robust scale."""

from __future__ import annotations

from asrl_mlflow.losses import Statistics
from asrl_mlflow.losses.search_space import Interval, Point, SearchSpace

# A normal distribution's standard deviation is so many times the median of its distances from the median.
_CONSISTENT = 1.4826
# Ends of the interval and where to start, in scales.
_LOW, _HIGH, _START = 0.01, 10.0, 0.5


def space_in_scales(parameter: str | None, target: Statistics) -> SearchSpace:
    """Where to search a parameter in target units; nothing where there is none.

    Examples
    --------
    >>> from asrl_mlflow.residuals import distances
    >>> round(space_in_scales("delta", distances([0.0, 1.0, 2.0]))["delta"].high, 3)
    14.826
    """
    if parameter is None:
        return {}
    scale = _scale(target)
    return {parameter: Interval(_LOW * scale, _HIGH * scale, log=True)}


def start_in_scales(parameter: str | None, target: Statistics) -> Point:
    """Where such a search begins."""
    return {} if parameter is None else {parameter: _START * _scale(target)}


def _scale(target: Statistics) -> float:
    # Where most targets are equal, the distances of the others.
    return _CONSISTENT * (float(target.quantile_abs(0.5)) or float(target.variance()) ** 0.5)
