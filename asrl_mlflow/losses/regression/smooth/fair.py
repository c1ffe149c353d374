"""Fair's loss: between squared and absolute error, with a weight that needs no root."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from asrl_mlflow.losses.loss import Formulas
from asrl_mlflow.losses.regression.pointwise import THRESHOLD, Array, PointwiseLoss
from asrl_mlflow.losses.regression.scale import Automatic, ScaledLoss

# Below, the difference x - log(1 + x) has lost digits, and its series has not.
_SMALL = 1e-3


@dataclass(frozen=True)
class PointwiseFair(PointwiseLoss):
    """rho = scale^2 (x - log(1 + x)), w = 1 / (1 + x) with x = |r|/scale.

    Parameters
    ----------
    scale : float, in (0, inf)
        At which the weight is a half, in target units.
    fallback : {0, 1}
        1 where the scale was negligible and a wider one took its place.
    """

    scale: float = field(metadata=THRESHOLD)
    fallback: int = field(default=0, metadata=THRESHOLD)

    def value(self, r: npt.ArrayLike) -> Array:  # noqa: D102 - PointwiseLoss says it
        x = np.abs(np.asarray(r, dtype=np.float64)) / self.scale
        tiny = np.minimum(x, _SMALL)
        near = tiny**2 * (1 / 2 - tiny * (1 / 3 - tiny * (1 / 4 - tiny * (1 / 5 - tiny / 6))))
        return self.scale * (self.scale * np.where(x < _SMALL, near, x - np.log1p(x)))

    def weight(self, r: npt.ArrayLike) -> Array:  # noqa: D102 - PointwiseLoss says it
        return 1 / (1 + np.abs(np.asarray(r, dtype=np.float64)) / self.scale)


@dataclass(frozen=True)
class Fair(ScaledLoss):
    """Fair's loss: scale^2 (|r|/scale - log(1 + |r|/scale)).

    Parameters
    ----------
    scale : float in [1e-100, 1e100], or "auto"
        |r| at which a row weighs a half, **in target units**; "auto" is the robust scale of each round's
        residuals, 1.4826 times the median of |r|.

    Raises
    ------
    InputError
        scale is neither a number in its interval nor "auto".

    Notes
    -----
    Convex; the influence goes to scale, slower than that of Huber's loss. The weight is a majoriser.

    References
    ----------
    R. C. Fair, On the robust estimation of econometric models, Annals of Economic and Social Measurement
    3, 1974.

    Examples
    --------
    >>> from asrl_mlflow.residuals import Residuals
    >>> Fair(scale=2.0).adapt(Residuals([1.0])).influence([2.0, 6.0])
    array([1. , 1.5])
    """

    name: ClassVar[str] = "fair"
    FORMULAS: ClassVar[Formulas] = Formulas(
        everywhere="c² (|r|/c − log(1 + |r|/c))", thresholds="c adaptive, or fixed in target units"
    )
    scale: Automatic = "auto"

    def _pointwise(self, scale: float, fallback: int) -> PointwiseFair:
        return PointwiseFair(scale, fallback)
