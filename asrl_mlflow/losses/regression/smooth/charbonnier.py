"""Charbonnier's loss: absolute error without a kink."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from asrl_mlflow.losses.loss import Formulas
from asrl_mlflow.losses.regression.pointwise import THRESHOLD, Array, PointwiseLoss
from asrl_mlflow.losses.regression.scale import Automatic, ScaledLoss


@dataclass(frozen=True)
class PointwiseCharbonnier(PointwiseLoss):
    """rho = sqrt(r^2 + eps^2) - eps, w = 1 / sqrt(r^2 + eps^2).

    Parameters
    ----------
    eps : float, in (0, inf)
        Half the width of the rounded kink, in target units.
    fallback : {0, 1}
        1 where the scale was negligible and a wider one took its place.
    """

    eps: float = field(metadata=THRESHOLD)
    fallback: int = field(default=0, metadata=THRESHOLD)

    def value(self, r: npt.ArrayLike) -> Array:  # noqa: D102 - PointwiseLoss says it
        r = np.asarray(r, dtype=np.float64)
        # Not the root less eps, which loses all digits near zero.
        value: Array = r * (r / (np.sqrt(r * r + self.eps**2) + self.eps))
        return value

    def weight(self, r: npt.ArrayLike) -> Array:  # noqa: D102 - PointwiseLoss says it
        r = np.asarray(r, dtype=np.float64)
        weight: Array = 1 / np.sqrt(r * r + self.eps**2)
        return weight


@dataclass(frozen=True)
class Charbonnier(ScaledLoss):
    """Charbonnier's loss, sqrt(r^2 + eps^2) - eps: absolute error, smooth within eps of zero.

    Parameters
    ----------
    eps : float in [1e-100, 1e100], or "auto"
        Half the width of the rounded kink, **in target units**; "auto" is a tenth of the robust scale of
        each round's residuals (1.4826 times the median of |r|).

    Raises
    ------
    InputError
        eps is neither a number in its interval nor "auto".

    Notes
    -----
    It is `PseudoHuber(delta=eps)` divided by eps, so that XGBoost, which is given weights relative to
    w(0), builds the same trees from both; they differ in what "auto" means. A small eps makes most rows
    weigh little beside one at zero, and `min_child_weight` counts that.

    References
    ----------
    Charbonnier et al., Two deterministic half-quadratic regularization algorithms for computed imaging,
    1994, doi:10.1109/ICIP.1994.413553.

    Examples
    --------
    >>> from asrl_mlflow.residuals import Residuals
    >>> Charbonnier(eps=3.0).adapt(Residuals([4.0])).value([4.0])
    array([2.])
    """

    name: ClassVar[str] = "charbonnier"
    FORMULAS: ClassVar[Formulas] = Formulas(
        everywhere="√(r² + ε²) − ε", thresholds="ε adaptive, or fixed in target units"
    )
    SCALE: ClassVar[str] = "eps"
    SHARE: ClassVar[float] = 0.1
    eps: Automatic = "auto"

    def _pointwise(self, scale: float, fallback: int) -> PointwiseCharbonnier:
        return PointwiseCharbonnier(scale, fallback)
