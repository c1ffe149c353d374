"""ASRL as published: the Adaptive Segmented Robust Loss of arXiv 2504.06935."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from asrl_mlflow.losses.checks import check_levels, check_positive
from asrl_mlflow.losses.loss import Formulas
from asrl_mlflow.losses.regression.loss import NEGLIGIBLE, Loss
from asrl_mlflow.losses.regression.pointwise import THRESHOLD, WEIGHT, Array, PointwiseLoss
from asrl_mlflow.losses.regression.segments import Segments
from asrl_mlflow.losses.search_space import LEVELS, Point, SearchSpace, levels_at, point_of
from asrl_mlflow.losses.statistics import Statistics


@dataclass(frozen=True)
class PointwiseASRL(PointwiseLoss):
    """Equation 4: three regions, each with a weight of its own.

    Parameters
    ----------
    delta_low, delta_high : float, in [0, inf)
        Thresholds, in target units; a residual on a threshold belongs to the inner region.
    alpha, beta, gamma : float, in (0, inf)
        Weights of core, middle and tail.
    fallback : int, 0 to 3
        How many of the weights came from a fallback because their spread was zero.
    """

    delta_low: float = field(metadata=THRESHOLD)
    delta_high: float = field(metadata=THRESHOLD)
    alpha: float = field(metadata=WEIGHT)
    beta: float = field(metadata=WEIGHT)
    gamma: float = field(metadata=WEIGHT)
    fallback: int = field(default=0, metadata=WEIGHT)

    def value(self, r: npt.ArrayLike) -> Array:
        """rho(r), equation 4; it jumps at both thresholds, up at the first and down at the second."""
        size = np.abs(np.asarray(r, dtype=np.float64))
        outside = np.where(size <= self.delta_high, self.beta * size, self.gamma * np.log1p(size))
        return np.where(size <= self.delta_low, self.alpha * size**2 / 2, outside)

    @property
    def segments(self) -> Segments:
        """alpha; beta/|r|; gamma/(|r| (1 + |r|)): not a majoriser across the jumps."""
        return Segments(
            low=self.delta_low,
            high=self.delta_high,
            core=self.alpha,
            middle=self.beta,
            tail=self.gamma,
        )

    @property
    def regions(self) -> Mapping[str, float]:  # noqa: D102 - PointwiseLoss says it
        return {"core": self.delta_low, "middle": self.delta_high, "tail": math.inf}


@dataclass(frozen=True)
class ASRL(Loss):
    """Adaptive Segmented Robust Loss, as published.

    alpha r^2/2 for |r| <= delta_low; beta |r| for |r| <= delta_high; gamma log(1 + |r|) beyond.

    Parameters
    ----------
    q_low, q_high : float, 0 < q_low < q_high < 1
        Levels of the quantiles of |r| that give delta_low and delta_high (equations 1 to 3). The
        paper does not tell its values.
    eps : float, in [1e-100, 1e100]
        Added to each denominator: alpha = 1/(variance of r + eps), beta = 1/(IQR of |r| + eps),
        gamma = 1/(MAD of r + eps) (equations 5 to 7; population variance, unscaled MAD).

    Raises
    ------
    InputError
        Levels or eps outside their intervals.

    Notes
    -----
    The published loss jumps at its thresholds and depends on the target's unit (the tail is
    log(1 + |r|), eps is added to quantities with units), and its core weight is 1/variance, so
    gross outliers shift weight to the tail just when they should lose it. `ContinuousASRL` keeps
    the idea without these faults.

    The paper does not say what happens when a spread is zero. Here an IQR or MAD under a millionth
    of the upper quartile of |r| is replaced by the standard deviation (1/eps = 1e6 would explode
    its weight), and where all residuals are equal every weight is 1. `fallback` counts it.

    References
    ----------
    arXiv 2504.06935, equations 1 to 7 and Algorithm 1.

    Examples
    --------
    >>> from asrl_mlflow.residuals import Residuals
    >>> point = ASRL(q_low=0.5, q_high=0.75).adapt(Residuals([-1.0, 0.0, 1.0, 3.0, 12.0]))
    >>> point.delta_low, point.delta_high, round(point.beta, 3), round(point.gamma, 3)
    (1.0, 3.0, 0.5, 0.5)
    """

    name: ClassVar[str] = "asrl"
    FORMULAS: ClassVar[Formulas] = Formulas(
        core="α r²/2", middle="β |r|", tail="γ log(1 + |r|)", thresholds="adaptive"
    )
    q_low: float = 0.5
    q_high: float = 0.9
    eps: float = 1e-6

    def __post_init__(self) -> None:
        check_levels(self)
        check_positive(self, "eps", "1e-6")

    @classmethod
    def search_space(cls, target: Statistics) -> SearchSpace:  # noqa: ARG003, D102 - Loss says it
        return LEVELS

    @classmethod
    def at(cls, point: Point) -> ASRL:  # noqa: D102 - Loss says it
        return cls(**levels_at(point))

    @classmethod
    def starts(cls, target: Statistics) -> Sequence[Point]:  # noqa: ARG003, D102 - Loss says it
        levels = ((0.5, 0.9), (0.25, 0.75), (0.7, 0.75), (0.9, 0.95))
        return tuple(point_of(*pair) for pair in levels)

    def adapt(self, stats: Statistics) -> PointwiseASRL:
        """Algorithm 1: thresholds and weights from this round's residuals."""
        # The MAD first: it needs the rows in order, in which quantiles are looked up.
        mad, variance = stats.mad(), stats.variance()
        delta_low, delta_high, lower, upper = map(
            float, stats.quantile_abs([self.q_low, self.q_high, 0.25, 0.75])
        )
        spreads = [variance, upper - lower, mad]
        # The variance has no wider spread to fall back on: zero means that all residuals are equal.
        zero = [variance == 0, *(spread <= NEGLIGIBLE * upper for spread in spreads[1:])]
        wider = math.sqrt(variance)
        alpha, beta, gamma = (
            1 / ((wider if replaced else spread) + self.eps) if variance else 1.0
            for spread, replaced in zip(spreads, zero, strict=True)
        )
        return PointwiseASRL(delta_low, delta_high, alpha, beta, gamma, fallback=int(sum(zero)))
