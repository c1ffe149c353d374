"""Smooth L1: Huber's loss divided by its threshold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from asrl_mlflow.losses.loss import Formulas
from asrl_mlflow.losses.regression.pointwise import THRESHOLD, Array, PointwiseLoss
from asrl_mlflow.losses.regression.scale import Automatic, ScaledLoss
from asrl_mlflow.losses.regression.segments import Segments


@dataclass(frozen=True)
class PointwiseSmoothL1(PointwiseLoss):
    """rho = r^2 / (2 beta) for |r| <= beta, else |r| - beta/2.

    Parameters
    ----------
    beta : float, in (0, inf)
        Threshold, in target units.
    fallback : {0, 1}
        1 where the scale was negligible and a wider one took its place.
    """

    beta: float = field(metadata=THRESHOLD)
    fallback: int = field(default=0, metadata=THRESHOLD)

    def value(self, r: npt.ArrayLike) -> Array:  # noqa: D102 - PointwiseLoss says it
        size = np.abs(np.asarray(r, dtype=np.float64))
        core = np.minimum(size, self.beta)
        value: Array = core * (core / self.beta) / 2 + (size - core)
        return value

    @property
    def segments(self) -> Segments:  # noqa: D102 - PointwiseLoss says it
        return Segments(low=self.beta, core=1 / self.beta)

    @property
    def regions(self) -> Mapping[str, float]:  # noqa: D102 - PointwiseLoss says it
        return {"core": self.beta, "middle": math.inf}


@dataclass(frozen=True)
class SmoothL1(ScaledLoss):
    """Smooth L1 loss: r^2 / (2 beta) for |r| <= beta, else |r| - beta/2.

    Parameters
    ----------
    beta : float in [1e-100, 1e100], or "auto"
        Largest quadratic |r|, **in target units**; "auto" is the robust scale of each round's residuals,
        1.4826 times the median of |r|.

    Raises
    ------
    InputError
        beta is neither a number in its interval nor "auto".

    Notes
    -----
    It is `Huber(delta=beta)` divided by beta, so that XGBoost, which is given weights relative to w(0),
    builds the same trees from both.

    References
    ----------
    R. Girshick, Fast R-CNN, arXiv 1504.08083, equation 3 (beta = 1).

    Examples
    --------
    >>> from asrl_mlflow.residuals import Residuals
    >>> SmoothL1(beta=2.0).adapt(Residuals([1.0])).value([1.0, 4.0])
    array([0.25, 3.  ])
    """

    name: ClassVar[str] = "smooth_l1"
    FORMULAS: ClassVar[Formulas] = Formulas(
        core="r²/(2β)", middle="|r| − β/2", thresholds="adaptive, or fixed in target units"
    )
    SCALE: ClassVar[str] = "beta"
    beta: Automatic = "auto"

    def _pointwise(self, scale: float, fallback: int) -> PointwiseSmoothL1:
        return PointwiseSmoothL1(scale, fallback)
