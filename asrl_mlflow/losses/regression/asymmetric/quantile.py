"""Quantile loss (pinball): the loss whose minimiser is a quantile."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from asrl_mlflow.losses.checks import check_level
from asrl_mlflow.losses.loss import Formulas
from asrl_mlflow.losses.regression.loss import Loss, widened
from asrl_mlflow.losses.regression.pointwise import THRESHOLD, Array, PointwiseLoss
from asrl_mlflow.losses.statistics import Statistics

# Below this share of the median |r| the weight 1/|r| stops growing.
_SHARE = 0.01


@dataclass(frozen=True)
class PointwiseQuantile(PointwiseLoss):
    """rho = level |r| for r > 0, (1 - level) |r| for r < 0; w = rho / max(r^2, r scale/100).

    Parameters
    ----------
    level : float, in (0, 1)
        Of the quantile.
    scale : float, in (0, inf)
        The median |r|, in target units.
    fallback : {0, 1}
        1 where the median was zero and a wider scale took its place.
    """

    level: float
    scale: float
    fallback: int = field(default=0, metadata=THRESHOLD)
    is_even: ClassVar[bool] = False

    def value(self, r: npt.ArrayLike) -> Array:  # noqa: D102 - PointwiseLoss says it
        r = np.asarray(r, dtype=np.float64)
        return np.maximum(self.level * r, (self.level - 1) * r)

    def influence(self, r: npt.ArrayLike) -> Array:  # noqa: D102 - PointwiseLoss says it
        r = np.asarray(r, dtype=np.float64)
        return np.where(r > 0, self.level, (self.level - 1) * (r < 0))

    def weight(self, r: npt.ArrayLike) -> Array:
        """Slope / |r|, which has no limit at 0, so it is held below that at a hundredth of `scale`."""
        r = np.asarray(r, dtype=np.float64)
        slope = np.where(r >= 0, self.level, 1 - self.level)
        weight: Array = slope / np.maximum(np.abs(r), _SHARE * self.scale)
        return weight

    @property
    def regions(self) -> Mapping[str, float]:  # noqa: D102 - PointwiseLoss says it
        return {"middle": math.inf}

    @property
    def row_weight(self) -> float:
        """1/2 / `scale`, in the mean of both sides: that of half the absolute error, whatever the level."""
        return 0.5 / self.scale


@dataclass(frozen=True)
class Quantile(Loss):
    """Quantile loss: level |r| for targets above the prediction, (1 - level) |r| for those below.

    What is learned is the quantile of the target at that level, given the features: with 0.9 one
    target in ten is larger. With 0.5 it is half the absolute error, and the median.

    Parameters
    ----------
    level : float, in (0, 1)
        Of the quantile.

    Raises
    ------
    InputError
        level is not a number inside (0, 1).

    Notes
    -----
    Not symmetric: a residual r and -r cost and weigh different amounts. `asrl_mlflow.train` trains it
    through XGBoost's own `reg:quantileerror` and starts, as always, from the median, so that levels
    near 0 or 1 need more rounds. Before XGBoost 3.4 that refits leaves to quantiles; since then it
    weighs rows as a smooth loss does. `objective` and `sklearn_objective` are an approximation by
    reweighted least squares, whose weight (level or 1 - level) / max(|r|, a hundredth of the median |r|)
    is no majoriser: where a step takes a row to the other side, the loss may rise.

    MAE selects another model than this loss asks for. Early stopping by the quantile loss itself is
    `train({"eval_metric": "quantile"}, ...)`, XGBoost's own metric, which takes this level. `tune` does
    not choose the level: it is what is asked for.

    References
    ----------
    R. Koenker, G. Bassett, Regression quantiles, Econometrica 46, 1978, doi:10.2307/1913643.

    Examples
    --------
    >>> from asrl_mlflow.residuals import Residuals
    >>> point = Quantile(level=0.9).adapt(Residuals([1.0, -1.0]))
    >>> point.value([2.0, -2.0]), point.influence([2.0, -2.0])
    (array([1.8, 0.2]), array([ 0.9, -0.1]))
    """

    name: ClassVar[str] = "quantile"
    FORMULAS: ClassVar[Formulas] = Formulas(middle="level |r| for r > 0, (1 − level) |r| for r < 0")
    XGBOOST_OBJECTIVE: ClassVar[str | None] = "reg:quantileerror"
    level: float = 0.5

    def __post_init__(self) -> None:
        check_level(self, "level", "0.5")

    @property
    def xgboost_parameters(self) -> Mapping[str, float]:
        """The level, as XGBoost's objective and metric for quantiles take it."""
        return {"quantile_alpha": self.level}

    def adapt(self, stats: Statistics) -> PointwiseQuantile:
        """Only the approximation adapts: its scale is the median |r|."""
        return PointwiseQuantile(self.level, *widened(stats.quantile_abs(0.5), stats))
