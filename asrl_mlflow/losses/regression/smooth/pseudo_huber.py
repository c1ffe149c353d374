"""Pseudo-Huber loss: Huber's without a kink."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from asrl_mlflow.losses.loss import Formulas
from asrl_mlflow.losses.regression.pointwise import THRESHOLD, Array, PointwiseLoss
from asrl_mlflow.losses.regression.scale import Automatic, ScaledLoss


@dataclass(frozen=True)
class PointwisePseudoHuber(PointwiseLoss):
    """rho = delta^2 (sqrt(1 + r^2/delta^2) - 1), w = 1 / sqrt(1 + r^2/delta^2).

    Parameters
    ----------
    delta : float, in (0, inf)
        Where quadratic turns into linear, in target units.
    fallback : {0, 1}
        1 where the scale was negligible and a wider one took its place.
    """

    delta: float = field(metadata=THRESHOLD)
    fallback: int = field(default=0, metadata=THRESHOLD)

    def value(self, r: npt.ArrayLike) -> Array:  # noqa: D102 - PointwiseLoss says it
        x = np.asarray(r, dtype=np.float64) / self.delta
        # Not the root less 1, which loses all digits near zero.
        value: Array = np.square(self.delta * x) / (np.sqrt(1 + x * x) + 1)
        return value

    def weight(self, r: npt.ArrayLike) -> Array:  # noqa: D102 - PointwiseLoss says it
        x = np.asarray(r, dtype=np.float64) / self.delta
        return 1 / np.sqrt(1 + x * x)


@dataclass(frozen=True)
class PseudoHuber(ScaledLoss):
    """Pseudo-Huber loss: squared for small residuals, absolute for large ones, smooth between them.

    rho(r) = delta^2 (sqrt(1 + r^2/delta^2) - 1).

    Parameters
    ----------
    delta : float in [1e-100, 1e100], or "auto"
        Where quadratic turns into linear, **in target units**; "auto" is the robust scale of each
        round's residuals, 1.4826 times the median of |r|.

    Raises
    ------
    InputError
        delta is neither a number in its interval nor "auto".

    Notes
    -----
    XGBoost's own `reg:pseudohubererror` has this form, but up to 3.4 the true second derivative as
    hessian, and diverges on targets that are not of size 1. The weight is a majoriser. It is Barron's
    loss with alpha = 1, times delta^2.

    References
    ----------
    Charbonnier et al., Two deterministic half-quadratic regularization algorithms for computed imaging,
    1994, doi:10.1109/ICIP.1994.413553.

    Examples
    --------
    >>> from asrl_mlflow.residuals import Residuals
    >>> PseudoHuber(delta=3.0).adapt(Residuals([4.0])).value([4.0])
    array([6.])
    """

    name: ClassVar[str] = "pseudo_huber"
    FORMULAS: ClassVar[Formulas] = Formulas(
        everywhere="δ² (√(1 + r²/δ²) − 1)", thresholds="δ adaptive, or fixed in target units"
    )
    SCALE: ClassVar[str] = "delta"
    delta: Automatic = "auto"

    def _pointwise(self, scale: float, fallback: int) -> PointwisePseudoHuber:
        return PointwisePseudoHuber(scale, fallback)
