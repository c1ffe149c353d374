"""Huber's loss, with a threshold in target units or one that follows the residuals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from asrl_mlflow.losses.checks import check_level
from asrl_mlflow.losses.loss import Formulas
from asrl_mlflow.losses.regression.loss import Loss, widened
from asrl_mlflow.losses.regression.pointwise import THRESHOLD, Array, PointwiseLoss
from asrl_mlflow.losses.regression.scale import AUTO, Automatic, ScaledLoss, robust_scale
from asrl_mlflow.losses.regression.segments import Segments
from asrl_mlflow.losses.search_space import Interval, Point, SearchSpace
from asrl_mlflow.losses.statistics import Statistics

# In standard deviations of normal noise: with it Huber's loss is 95% as efficient as squared error.
_EFFICIENT = 1.345
_DEFAULT = 1.0


@dataclass(frozen=True)
class PointwiseHuber(PointwiseLoss):
    """rho = r^2/2 for |r| <= delta, else delta |r| - delta^2/2.

    Parameters
    ----------
    delta : float, in (0, inf)
        Threshold, in target units.
    fallback : {0, 1}
        1 where the quantile was zero and a wider scale took its place.
    """

    delta: float = field(metadata=THRESHOLD)
    fallback: int = field(default=0, metadata=THRESHOLD)

    def value(self, r: npt.ArrayLike) -> Array:  # noqa: D102 - PointwiseLoss says it
        size = np.abs(np.asarray(r, dtype=np.float64))
        core = np.minimum(size, self.delta)
        return core**2 / 2 + self.delta * (size - core)

    @property
    def segments(self) -> Segments:  # noqa: D102 - PointwiseLoss says it
        return Segments(low=self.delta, middle=self.delta)

    @property
    def regions(self) -> Mapping[str, float]:  # noqa: D102 - PointwiseLoss says it
        return {"core": self.delta, "middle": math.inf}


@dataclass(frozen=True)
class Huber(ScaledLoss):
    """Huber's loss with a fixed threshold.

    Parameters
    ----------
    delta : float in [1e-100, 1e100], or "auto"
        Largest quadratic |r|, **in target units**: a number must be chosen for each target, and is
        exempt from every statement that losses here do not depend on units. "auto" is 1.345 robust
        scales of each round's residuals, at which it is 95% as efficient as squared error on normal noise.

    Raises
    ------
    InputError
        delta is neither a number in its interval nor "auto".

    References
    ----------
    P. J. Huber, Robust Estimation of a Location Parameter, 1964, doi:10.1214/aoms/1177703732.

    Examples
    --------
    >>> from asrl_mlflow.residuals import Residuals
    >>> Huber(delta=1.0).adapt(Residuals([0.5, 3.0])).value([0.5, 3.0])
    array([0.125, 2.5  ])
    """

    name: ClassVar[str] = "huber"
    FORMULAS: ClassVar[Formulas] = Formulas(
        core="r²/2", middle="δ |r| − δ²/2", thresholds="fixed, **in target units**, or adaptive"
    )
    SCALE: ClassVar[str] = "delta"
    SHARE: ClassVar[float] = _EFFICIENT
    delta: Automatic = _DEFAULT

    @classmethod
    def search_space(cls, target: Statistics) -> SearchSpace:  # noqa: D102 - Loss says it
        scale, _ = robust_scale(target)
        return {"delta": Interval(0.01 * scale, 10 * scale, log=True)}

    @classmethod
    def starts(cls, target: Statistics) -> Sequence[Point]:  # noqa: D102 - Loss says it
        (scale, _), space = robust_scale(target), cls.search_space(target)
        # As usual beside Gaussian noise, were the model to leave a half, or a tenth, of the scale.
        deltas = (_DEFAULT, 0.5 * _EFFICIENT * scale, 0.1 * _EFFICIENT * scale)
        return tuple({"delta": delta} for delta in deltas if delta in space["delta"])

    def adapt(self, stats: Statistics) -> PointwiseLoss:
        """The same in every round, unless delta is "auto"."""
        # A number is taken as it is, however small: it has always been so.
        return super().adapt(stats) if self.delta == AUTO else PointwiseHuber(float(self.delta))

    def _pointwise(self, scale: float, fallback: int) -> PointwiseHuber:
        return PointwiseHuber(scale, fallback)


@dataclass(frozen=True)
class AdaptiveHuber(Loss):
    """Huber's loss whose threshold is a quantile of this round's |r|.

    Parameters
    ----------
    quantile : float, in (0, 1)
        Share of the training rows that lie in the quadratic core.

    Raises
    ------
    InputError
        quantile is not a number inside (0, 1).

    Notes
    -----
    Where the quantile is zero (under a millionth of the 0.95 quantile), that quantile takes its
    place, or where it is zero too the standard deviation of the residuals; `fallback` records it.

    Examples
    --------
    >>> from asrl_mlflow.residuals import Residuals
    >>> AdaptiveHuber(quantile=0.5).adapt(Residuals([1.0, -2.0, 30.0]))
    PointwiseHuber(delta=2.0, fallback=0)
    """

    name: ClassVar[str] = "adaptive_huber"
    FORMULAS: ClassVar[Formulas] = Formulas(
        core="r²/2", middle="δ |r| − δ²/2", thresholds="adaptive"
    )
    quantile: float = 0.9

    def __post_init__(self) -> None:
        check_level(self, "quantile", "0.9")

    @classmethod
    def search_space(cls, target: Statistics) -> SearchSpace:  # noqa: ARG003, D102 - Loss says it
        return {"quantile": Interval(0.05, 0.995)}

    @classmethod
    def starts(cls, target: Statistics) -> Sequence[Point]:  # noqa: ARG003, D102 - Loss says it
        return tuple({"quantile": level} for level in (0.9, 0.75, 0.5, 0.98))

    def adapt(self, stats: Statistics) -> PointwiseHuber:
        """The threshold at the quantile of |r|."""
        return PointwiseHuber(*widened(stats.quantile_abs(self.quantile), stats))
