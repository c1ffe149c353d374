"""Log-cosh: the logarithm of the hyperbolic cosine."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from asrl_mlflow.losses.loss import Formulas
from asrl_mlflow.losses.regression.pointwise import THRESHOLD, Array, PointwiseLoss
from asrl_mlflow.losses.regression.scale import Automatic, ScaledLoss

# Below, tanh(x) / x is 1 to the last digit.
_LEAST = 1e-150


@dataclass(frozen=True)
class PointwiseLogCosh(PointwiseLoss):
    """rho = scale^2 log cosh(r/scale), w = tanh(x)/x with x = r/scale.

    Parameters
    ----------
    scale : float, in (0, inf)
        Where quadratic turns into linear, in target units.
    fallback : {0, 1}
        1 where the scale was negligible and a wider one took its place.
    """

    scale: float = field(metadata=THRESHOLD)
    fallback: int = field(default=0, metadata=THRESHOLD)

    def value(self, r: npt.ArrayLike) -> Array:  # noqa: D102 - PointwiseLoss says it
        x = np.abs(np.asarray(r, dtype=np.float64)) / self.scale
        # The second form loses digits near zero, the first overflows far out.
        near = np.log1p(np.sinh(np.minimum(x, 1.0)) ** 2) / 2
        far = x + np.log1p(np.exp(-2 * x)) - math.log(2)
        return self.scale * (self.scale * np.where(x <= 1, near, far))

    def weight(self, r: npt.ArrayLike) -> Array:  # noqa: D102 - PointwiseLoss says it
        x = np.abs(np.asarray(r, dtype=np.float64)) / self.scale
        x = np.maximum(x, _LEAST)
        return np.tanh(x) / x


@dataclass(frozen=True)
class LogCosh(ScaledLoss):
    """Log-cosh loss: scale^2 log cosh(r/scale).

    Parameters
    ----------
    scale : float in [1e-100, 1e100], or "auto"
        Where quadratic turns into linear, **in target units**; "auto" is the robust scale of each
        round's residuals, 1.4826 times the median of |r|.

    Raises
    ------
    InputError
        scale is neither a number in its interval nor "auto".

    References
    ----------
    Q. Wang et al., A comprehensive survey of loss functions in machine learning, 2020,
    doi:10.1007/s40745-020-00253-5 (scale = 1).

    Examples
    --------
    >>> from asrl_mlflow.residuals import Residuals
    >>> LogCosh(scale=1.0).adapt(Residuals([1.0])).value([0.0, 1.0, 100.0]).round(4)
    array([ 0.    ,  0.4338, 99.3069])
    """

    name: ClassVar[str] = "log_cosh"
    FORMULAS: ClassVar[Formulas] = Formulas(
        everywhere="c² log cosh(r/c)", thresholds="c adaptive, or fixed in target units"
    )
    scale: Automatic = "auto"

    def _pointwise(self, scale: float, fallback: int) -> PointwiseLogCosh:
        return PointwiseLogCosh(scale, fallback)
