"""Barron's general loss, and the named losses that are cases of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from asrl_mlflow.errors import InputError
from asrl_mlflow.losses.checks import is_real, shorten
from asrl_mlflow.losses.loss import Formulas
from asrl_mlflow.losses.regression.pointwise import THRESHOLD, Array, PointwiseLoss
from asrl_mlflow.losses.regression.scale import Automatic, ScaledLoss
from asrl_mlflow.losses.search_space import Interval, Point, SearchSpace
from asrl_mlflow.losses.statistics import Statistics

# Squared error, the least and the greatest alpha of a search.
_SQUARED, _LEAST, _GREATEST = 2.0, -8.0, 1.9
# The general formula divides by alpha: nearer to 0 than this, where it overflows in the end, its limit has
# the same digits.
_NEARLY_ZERO = 1e-100


def barron_value(x: Array, alpha: float) -> Array:
    """Barron's rho with the second derivative 1 at zero, of r in units of the scale.

    Parameters
    ----------
    x : array of any shape
        Residuals divided by the scale.
    alpha : float, in [-inf, 2]
        Shape.
    """
    square = x * x
    if alpha == _SQUARED:
        return square / 2
    if abs(alpha) < _NEARLY_ZERO:
        return np.log1p(square / 2)
    if alpha == -math.inf:
        return -np.expm1(-square / 2)
    if alpha == 1:
        # As the general formula, whose logarithm and power here undo each other.
        value: Array = square / (np.sqrt(1 + square) + 1)
        return value
    width = abs(alpha - 2)
    general: Array = width / alpha * np.expm1(alpha / 2 * np.log1p(square / width))
    return general


def barron_weight(x: Array, alpha: float) -> Array:
    """The weight of `barron_value`: its derivative divided by x; 1 at zero.

    Parameters
    ----------
    x : array of any shape
        Residuals divided by the scale.
    alpha : float, in [-inf, 2]
        Shape.
    """
    square = x * x
    if alpha == _SQUARED:
        return np.ones_like(x)
    if alpha == -math.inf:
        return np.exp(-square / 2)
    width = abs(alpha - 2)
    square /= width
    if alpha == 1:
        return 1 / np.sqrt(1 + square)
    if abs(alpha) < _NEARLY_ZERO:
        return 1 / (1 + square)
    return np.exp((alpha / 2 - 1) * np.log1p(square))


@dataclass(frozen=True)
class PointwiseBarron(PointwiseLoss):
    """rho = scale^2 (b/alpha) ((x^2/b + 1)^(alpha/2) - 1), with x = r/scale and b = |alpha - 2|.

    Parameters
    ----------
    alpha : float, in [-inf, 2]
        Shape; at 0, 2 and -inf rho is its limit.
    scale : float, in (0, inf)
        Where the quadratic part ends, in target units.
    fallback : {0, 1}
        1 where the scale was negligible and a wider one took its place.
    """

    alpha: float
    scale: float = field(metadata=THRESHOLD)
    fallback: int = field(default=0, metadata=THRESHOLD)

    def value(self, r: npt.ArrayLike) -> Array:  # noqa: D102 - PointwiseLoss says it
        x = np.asarray(r, dtype=np.float64) / self.scale
        return self.scale * (self.scale * barron_value(x, self.alpha))

    def weight(self, r: npt.ArrayLike) -> Array:  # noqa: D102 - PointwiseLoss says it
        return barron_weight(np.asarray(r, dtype=np.float64) / self.scale, self.alpha)


@dataclass(frozen=True)
class Barron(ScaledLoss):
    """Barron's general and adaptive robust loss, with its shape alpha and its scale fixed.

    rho(r) = scale^2 (b/alpha) ((x^2/b + 1)^(alpha/2) - 1), with x = r/scale and b = |alpha - 2|: the
    smaller alpha, the less far rows pull. Where the formula has no value it is the limit: alpha = 2 is
    squared error, 1 `PseudoHuber`, 0 `Cauchy`, -2 `GemanMcClure`, -inf `Welsch`.

    Parameters
    ----------
    alpha : float, in [-inf, 2]
        Shape.
    scale : float in [1e-100, 1e100], or "auto"
        Where the quadratic part ends, **in target units**; "auto" is the robust scale of each round's
        residuals, 1.4826 times the median of |r|.

    Raises
    ------
    InputError
        alpha above 2, where far rows pull *more* than in squared error, and the weight is no majoriser;
        a scale that is neither a number in its interval nor "auto".

    Notes
    -----
    The paper's rho is divided by scale^2; ours has the second derivative 1 at zero, so that a row there
    counts as one row. The weight (x^2/b + 1)^(alpha/2 - 1) is a majoriser. Below alpha = 1 the influence
    falls again far out: far rows are nearly left alone, those too that are far only because training
    has not come to them yet.

    References
    ----------
    J. T. Barron, A general and adaptive robust loss function, CVPR 2019, arXiv 1701.03077, equations 8
    and 9.

    Examples
    --------
    >>> from asrl_mlflow.residuals import Residuals
    >>> point = Barron(alpha=-2.0, scale=1.0).adapt(Residuals([1.0]))
    >>> point.value([2.0]), point.weight([0.0, 2.0])
    (array([1.]), array([1.  , 0.25]))
    """

    name: ClassVar[str] = "barron"
    FORMULAS: ClassVar[Formulas] = Formulas(
        everywhere="c² (b/α) ((r²/(b c²) + 1)^(α/2) − 1), b = |α − 2|",
        thresholds="c adaptive, or fixed in target units",
    )
    alpha: float = 1.0
    scale: Automatic = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (is_real(self.alpha) and self.alpha <= _SQUARED):
            msg = (
                f"{type(self).__name__} needs alpha <= 2; got alpha={shorten(self.alpha)}; above 2 far "
                "rows pull more than in squared error, which is alpha=2."
            )
            raise InputError(msg)

    @classmethod
    def search_space(cls, target: Statistics) -> SearchSpace:  # noqa: D102 - Loss says it
        return {**super().search_space(target), "alpha": Interval(_LEAST, _GREATEST)}

    @classmethod
    def starts(cls, target: Statistics) -> Sequence[Point]:  # noqa: D102 - Loss says it
        scales = super().starts(target)
        return tuple({**point, "alpha": alpha} for alpha in (1.0, 0.0, -2.0) for point in scales)

    def _pointwise(self, scale: float, fallback: int) -> PointwiseBarron:
        return PointwiseBarron(self.alpha, scale, fallback)


@dataclass(frozen=True)
class Cauchy(ScaledLoss):
    """Cauchy's loss, scale^2 log(1 + x^2/2) with x = r/scale: the likelihood of Cauchy noise.

    Parameters
    ----------
    scale : float in [1e-100, 1e100], or "auto"
        **In target units**; a row at 1.41 scales weighs a half. "auto" is the robust scale of each
        round's residuals, 1.4826 times the median of |r|.

    Raises
    ------
    InputError
        scale is neither a number in its interval nor "auto".

    Notes
    -----
    `Barron(alpha=0)`. Scales of other texts, which write log(1 + (r/c)^2), are 1.41 times ours.

    References
    ----------
    J. T. Barron, arXiv 1701.03077, section 1.

    Examples
    --------
    >>> from asrl_mlflow.residuals import Residuals
    >>> Cauchy(scale=1.0).adapt(Residuals([1.0])).influence([0.5, 1.4142, 50.0]).round(2)
    array([0.44, 0.71, 0.04])
    """

    name: ClassVar[str] = "cauchy"
    FORMULAS: ClassVar[Formulas] = Formulas(
        everywhere="c² log(1 + r²/(2c²))", thresholds="c adaptive, or fixed in target units"
    )
    scale: Automatic = "auto"

    def _pointwise(self, scale: float, fallback: int) -> PointwiseBarron:
        return PointwiseBarron(0.0, scale, fallback)


@dataclass(frozen=True)
class GemanMcClure(ScaledLoss):
    """Geman and McClure's loss, scale^2 2 x^2/(x^2 + 4) with x = r/scale: far rows cost the same.

    Parameters
    ----------
    scale : float in [1e-100, 1e100], or "auto"
        **In target units**; a row at 2 scales weighs a quarter. "auto" is the robust scale of each
        round's residuals, 1.4826 times the median of |r|.

    Raises
    ------
    InputError
        scale is neither a number in its interval nor "auto".

    Notes
    -----
    `Barron(alpha=-2)`. Rows far out are left alone from the first round on, also those that are far only
    because training has not come to them: with a small fixed scale little is learned. `MM` starts from a
    loss that leaves no row alone.

    References
    ----------
    J. T. Barron, arXiv 1701.03077, section 1.

    Examples
    --------
    >>> from asrl_mlflow.residuals import Residuals
    >>> GemanMcClure(scale=1.0).adapt(Residuals([1.0])).value([0.0, 2.0, 1e6]).round(2)
    array([0., 1., 2.])
    """

    name: ClassVar[str] = "geman_mcclure"
    FORMULAS: ClassVar[Formulas] = Formulas(
        everywhere="2c² r²/(r² + 4c²)", thresholds="c adaptive, or fixed in target units"
    )
    scale: Automatic = "auto"

    def _pointwise(self, scale: float, fallback: int) -> PointwiseBarron:
        return PointwiseBarron(-2.0, scale, fallback)


@dataclass(frozen=True)
class Welsch(ScaledLoss):
    """Welsch's loss, scale^2 (1 - exp(-x^2/2)) with x = r/scale: far rows cost the same.

    Parameters
    ----------
    scale : float in [1e-100, 1e100], or "auto"
        **In target units**; a row at 1.18 scales weighs a half. "auto" is the robust scale of each
        round's residuals, 1.4826 times the median of |r|.

    Raises
    ------
    InputError
        scale is neither a number in its interval nor "auto".

    Notes
    -----
    `Barron(alpha=-inf)`, known as Leclerc's loss too. Rows beyond 13 scales have a weight under 2**-120,
    which is held up there and counted. See `GemanMcClure` for what far rows mean to the first rounds.

    References
    ----------
    J. T. Barron, arXiv 1701.03077, section 1.

    Examples
    --------
    >>> from asrl_mlflow.residuals import Residuals
    >>> Welsch(scale=1.0).adapt(Residuals([1.0])).weight([0.0, 1.0, 3.0]).round(3)
    array([1.   , 0.607, 0.011])
    """

    name: ClassVar[str] = "welsch"
    FORMULAS: ClassVar[Formulas] = Formulas(
        everywhere="c² (1 − exp(−r²/(2c²)))", thresholds="c adaptive, or fixed in target units"
    )
    scale: Automatic = "auto"

    def _pointwise(self, scale: float, fallback: int) -> PointwiseBarron:
        return PointwiseBarron(-math.inf, scale, fallback)
