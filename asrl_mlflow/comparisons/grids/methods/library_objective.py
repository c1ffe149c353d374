"""Search an objective's parameter that is in target units, by the target's robust scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from asrl_mlflow.comparisons.grids.methods.method import Method
from asrl_mlflow.losses import Statistics
from asrl_mlflow.losses.search_space import Interval, Point, SearchSpace
from asrl_mlflow.residuals import NORMAL

# Ends of the interval and where to start, in scales.
_LOW, _HIGH, _START = 0.01, 10.0, 0.5


@dataclass(frozen=True)
class LibraryObjective(Method):
    """An objective that a library ships.

    Parameters
    ----------
    objective : str
        The library's name for it.
    parameter : str, optional
        The objective's parameter in target units, which is searched.

    Examples
    --------
    >>> from asrl_mlflow.comparisons.grids.methods.xgboost_objectives import XGBoostObjective
    >>> from asrl_mlflow.residuals import distances
    >>> method = XGBoostObjective("reg:pseudohubererror", "huber_slope")
    >>> round(method.space(distances([0.0, 1.0, 2.0]))["huber_slope"].high, 3)
    14.826
    """

    objective: str
    parameter: str | None = None

    def space(self, target: Statistics) -> SearchSpace:  # noqa: D102 - Method says it
        if self.parameter is None:
            return {}
        scale = _scale(target)
        return {self.parameter: Interval(_LOW * scale, _HIGH * scale, log=True)}

    def starts(self, target: Statistics) -> Sequence[Point]:  # noqa: D102 - Method says it
        return ({} if self.parameter is None else {self.parameter: _START * _scale(target)},)

    def own(self, point: Point) -> Mapping[str, float]:
        """The objective's parameter at a point; nothing where there is none."""
        return {self.parameter: point[self.parameter]} if self.parameter else {}


def _scale(target: Statistics) -> float:
    # Where most targets are equal, the distances of the others.
    return NORMAL * (float(target.quantile_abs(0.5)) or float(target.variance()) ** 0.5)
