"""Absolute error: the loss whose minimiser is the median."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from asrl_mlflow.losses.loss import Formulas
from asrl_mlflow.losses.regression.loss import Loss, widened
from asrl_mlflow.losses.regression.pointwise import THRESHOLD, Array, PointwiseLoss
from asrl_mlflow.losses.regression.segments import Segments
from asrl_mlflow.losses.statistics import Statistics

# Below this share of the median |r| the weight 1/|r| stops growing.
_SHARE = 0.01


@dataclass(frozen=True)
class PointwiseAbsoluteError(PointwiseLoss):
    """rho = |r|, psi = sign r, w = 1 / max(|r|, a hundredth of `scale`).

    Parameters
    ----------
    scale : float, in (0, inf)
        The median |r|, in target units: a residual of this size weighs one row.
    fallback : {0, 1}
        1 where the median was zero and a wider scale took its place.
    """

    scale: float
    fallback: int = field(default=0, metadata=THRESHOLD)

    def value(self, r: npt.ArrayLike) -> Array:  # noqa: D102 - PointwiseLoss says it
        return np.abs(np.asarray(r, dtype=np.float64))

    def influence(self, r: npt.ArrayLike) -> Array:  # noqa: D102 - PointwiseLoss says it
        return np.sign(np.asarray(r, dtype=np.float64))

    @property
    def segments(self) -> Segments:
        """1 / |r|, which has no limit at 0, so it is held below 100 / `scale`."""
        low = _SHARE * self.scale
        return Segments(low=low, core=1 / low)

    @property
    def regions(self) -> Mapping[str, float]:  # noqa: D102 - PointwiseLoss says it
        return {"middle": math.inf}

    @property
    def row_weight(self) -> float:
        """1 / `scale`: w(0) is infinite in truth, so the median residual counts as one row."""
        return 1 / self.scale


@dataclass(frozen=True)
class AbsoluteError(Loss):
    """rho(r) = |r|: no residual pulls harder than another.

    `asrl_mlflow.train` trains it through XGBoost's own `reg:absoluteerror`. Before XGBoost 3.4 that
    refits every leaf to the median of its residuals, which a custom objective cannot; since then it
    weighs rows as a smooth loss does. `objective` and `sklearn_objective` are an approximation by
    reweighted least squares, with weight 1 / max(|r|, a hundredth of the median |r|).

    Examples
    --------
    >>> from asrl_mlflow.residuals import Residuals
    >>> AbsoluteError().adapt(Residuals([1.0, -4.0])).weight([1.0, -4.0])
    array([1.  , 0.25])
    """

    name: ClassVar[str] = "absolute_error"
    FORMULAS: ClassVar[Formulas] = Formulas(middle="|r|")
    XGBOOST_OBJECTIVE: ClassVar[str | None] = "reg:absoluteerror"

    def adapt(self, stats: Statistics) -> PointwiseAbsoluteError:
        """Only the approximation adapts: its scale is the median |r|."""
        return PointwiseAbsoluteError(*widened(stats.quantile_abs(0.5), stats))
