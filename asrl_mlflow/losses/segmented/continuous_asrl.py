"""Continuous ASRL: the idea of the published loss, made continuous and free of units."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from asrl_mlflow.losses.loss import (
    NEGLIGIBLE,
    Formulas,
    Loss,
    Statistics,
    check_levels,
    check_positive,
    check_share,
    widened,
)
from asrl_mlflow.losses.pointwise import THRESHOLD, Array, PointwiseLoss
from asrl_mlflow.losses.search_space import (
    LEVELS,
    Interval,
    Point,
    SearchSpace,
    levels_at,
    point_of,
)
from asrl_mlflow.losses.segments import Segments


@dataclass(frozen=True)
class PointwiseContinuousASRL(PointwiseLoss):
    """Quadratic core, linear middle, logarithmic tail, joined with equal value and slope.

    Parameters
    ----------
    delta_low, delta_high : float, 0 < delta_low <= delta_high < inf
        Thresholds, in target units.
    tail : float, in (0, inf)
        Scale of the tail in units of delta_high.
    fallback : int, 0 to 2
        How many of the thresholds came from a fallback because their quantile was zero.
    """

    delta_low: float = field(metadata=THRESHOLD)
    delta_high: float = field(metadata=THRESHOLD)
    tail: float
    fallback: int = field(default=0, metadata=THRESHOLD)

    def value(self, r: npt.ArrayLike) -> Array:  # noqa: D102 - PointwiseLoss says it
        size = np.abs(np.asarray(r, dtype=np.float64))
        core = np.minimum(size, self.delta_low)
        middle = np.minimum(size, self.delta_high) - core
        tau = self.tail * self.delta_high
        beyond = tau * np.log1p(np.maximum(size - self.delta_high, 0) / tau)
        return core**2 / 2 + self.delta_low * (middle + beyond)

    @property
    def segments(self) -> Segments:  # noqa: D102 - PointwiseLoss says it
        tau = self.tail * self.delta_high
        return Segments(
            low=self.delta_low,
            high=self.delta_high,
            middle=self.delta_low,
            tail=self.delta_low,
            shift=self.delta_high,
            scale=tau,
        )

    @property
    def regions(self) -> Mapping[str, float]:  # noqa: D102 - PointwiseLoss says it
        return {"core": self.delta_low, "middle": self.delta_high, "tail": math.inf}


# Of q_low, q_high, tail and floor. Thresholds that stay choose best on most tables, the lower the more
# is spoiled; then two levels just below 1 - s for a share s of outliers, both of Huber's losses, and
# one that is nearly squared error.
_STARTS = (
    (0.5, 0.9, 1.0, 0.0),
    (0.35, 0.65, 1.0, 1.0),
    (0.2, 0.5, 1.0, 1.0),
    (0.7, 0.75, 1.0, 0.0),
    (0.9, 0.99, 10.0, 1.0),
    (0.2, 0.8, 1.0, 1.0),
    (0.75, 0.9, 1.0, 1.0),
    (0.1, 0.5, 1.0, 1.0),
    (0.85, 0.99, 10.0, 0.0),
    (0.1, 0.99, 10.0, 1.0),
    (0.5, 0.99, 10.0, 1.0),
)


@dataclass(frozen=True)
class ContinuousASRL(Loss):
    """Segmented robust loss that is continuous, slope included, and free of the target's unit.

    r^2/2 for |r| <= delta_low; delta_low |r| - delta_low^2/2 for |r| <= delta_high; beyond, with
    tau = tail delta_high, the value at delta_high plus
    delta_low tau log(1 + (|r| - delta_high)/tau). Each threshold is

        delta = (1 - floor) Q(|r|) + floor Q(|y - median(y)|)

    with the quantile Q at its level: the second, of the training target y, is what the first is
    where boosting starts, and the same in every round.

    Parameters
    ----------
    q_low, q_high : float, 0 < q_low < q_high < 1
        Levels of the quantiles that give delta_low and delta_high.
    tail : float, in [1e-100, 1e100]
        Scale of the logarithmic tail in units of delta_high. Small rejects outliers harder; with
        1 the influence beyond delta_high is delta_low delta_high / |r|.
    floor : float, in [0, 1]
        Share of what it is at the start below which no threshold falls. With 0 thresholds follow
        the residuals, with 1 they stay where they start. Trees fit training rows closer and closer,
        so thresholds that follow these residuals end below the noise of rows not seen yet.

    Raises
    ------
    InputError
        A parameter outside its interval.

    Notes
    -----
    The weight never increases with |r|, so as a hessian it is a majoriser: at fixed thresholds no
    boosting step raises the training loss. Targets multiplied by c give thresholds times c, values
    times c^2 and the same weights. Special cases: q_high to 1 or tail to infinity is Huber's
    loss with threshold delta_low, adaptive with floor 0 and fixed with floor 1; q_low to 1 is
    squared error. Where training goes on from a model, the start is that of the target it goes on
    with.

    A delta_low of zero (more than q_low of the residuals are 0, as with zero-inflated targets) is
    replaced by delta_high, and a delta_high of zero by the 0.95 quantile, or where that is zero too
    by the standard deviation; `fallback` counts it. Zero is what is under a millionth of its
    replacement.

    Examples
    --------
    >>> from asrl_mlflow.residuals import Residuals
    >>> point = ContinuousASRL(q_low=0.5, q_high=0.75).adapt(Residuals([0.0, 1.0, 2.0, -4.0, 50.0]))
    >>> point.delta_low, point.delta_high
    (2.0, 4.0)
    >>> point.influence([1.0, 3.0, 8.0])
    array([1., 2., 1.])
    >>> from asrl_mlflow.residuals import distances
    >>> late = Residuals([0.1, -0.1, 0.2, 0.0], start=lambda: distances([1.0, 2.0, 3.0, 60.0]))
    >>> ContinuousASRL(q_low=0.5, q_high=0.75, floor=0.5).adapt(late).delta_low
    0.55
    """

    name: ClassVar[str] = "asrl_c"
    FORMULAS: ClassVar[Formulas] = Formulas(
        core="r²/2",
        middle="δ_low |r| − δ_low²/2",
        tail="logarithmic, joined with equal value and slope",
        thresholds="adaptive; with `floor=1` as at the start",
    )
    q_low: float = 0.5
    q_high: float = 0.9
    tail: float = 1.0
    floor: float = 0.0

    def __post_init__(self) -> None:
        check_levels(self, self.q_low, self.q_high)
        check_positive(self, "tail", "1.0")
        check_share(self, "floor", "0.0")

    @classmethod
    def search_space(cls, target: Statistics) -> SearchSpace:  # noqa: ARG003, D102 - Loss says it
        return {**LEVELS, "tail": Interval(0.1, 10.0, log=True), "floor": Interval(0.0, 1.0)}

    @classmethod
    def at(cls, point: Point) -> ContinuousASRL:  # noqa: D102 - Loss says it
        # Studies begun before there was a floor go on without one.
        return cls(**levels_at(point), tail=point["tail"], floor=point.get("floor", 0.0))

    @classmethod
    def starts(cls, target: Statistics) -> Sequence[Point]:  # noqa: ARG003, D102 - Loss says it
        return tuple(
            {**point_of(q_low, q_high), "tail": tail, "floor": floor}
            for q_low, q_high, tail, floor in _STARTS
        )

    def adapt(self, stats: Statistics) -> PointwiseContinuousASRL:
        """Thresholds from the quantiles of this round's |r| and, with a floor, of the start's."""
        low, high, fallback = self._thresholds(stats)
        if self.floor:
            start_low, start_high, _ = self._thresholds(stats.start)
            low = (1 - self.floor) * low + self.floor * start_low
            high = (1 - self.floor) * high + self.floor * start_high
        return PointwiseContinuousASRL(low, high, self.tail, fallback)

    def _thresholds(self, stats: Statistics) -> tuple[float, float, int]:
        """delta_low, delta_high, and how many of them came from a fallback."""
        low, high = (float(q) for q in stats.quantile_abs([self.q_low, self.q_high]))
        high, replaced = widened(high, stats)
        core_is_empty = low <= NEGLIGIBLE * high
        return high if core_is_empty else low, high, replaced + int(core_is_empty)
