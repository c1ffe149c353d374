"""RRBoost: first the smallest robust scale of the residuals, then bisquare with that scale: a rival."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost

from asrl_mlflow.comparisons.grids.methods.boosters import (
    XGBoostMethod,
    fit_booster,
    fitted_booster,
    xgboost_params,
)
from asrl_mlflow.comparisons.grids.methods.method import Boosting, Fitted, weighted_median
from asrl_mlflow.datasets import Rows
from asrl_mlflow.losses import Bisquare, Statistics
from asrl_mlflow.losses.regression.weighing import weigh
from asrl_mlflow.losses.search_space import Interval, Point, SearchSpace
from asrl_mlflow.residuals import NORMAL, Residuals, RowCounts, distances, row_counts

_FIRST = "first_rounds"
# Limits of the bisquare in scales: with the first a scale that half of the rows cannot spoil, and that is the
# standard deviation of normal residuals; with the second a loss 95% as efficient as squared error on them.
_ROBUST, _EFFICIENT = 1.547, 4.685
_HALF, _ITERATIONS = 0.5, 50
# The tree to begin with, among those that its authors choose from; and in robust deviations where targets are cut.
_FIRST_TREE = {"learning_rate": 1.0, "max_depth": 4, "min_child_weight": 10.0, "lambda": 0.0}
_FAR = 3.0
_EACH_ONCE = RowCounts(None, "none")


@dataclass(frozen=True)
class RRBoost(XGBoostMethod):
    """Robust boosting in two stages, in XGBoost.

    It begins with one small tree, of targets that are cut at three robust deviations from their median (in the
    publication a tree of absolute error). Then every round adapts the bisquare to the
    M-scale of the residuals, which is what the first stage makes small; after so many rounds, which are
    searched, that scale stays, and the bisquare becomes a wider one.

    References
    ----------
    X. Ju, M. Salibian-Barrera, Robust boosting for regression problems, Computational Statistics & Data
    Analysis 153, 2021, doi:10.1016/j.csda.2020.107065. It fits trees to gradients; here they are weighted
    least squares, as for every loss of this package.
    """

    def space(self, target: Statistics) -> SearchSpace:  # noqa: ARG002, D102 - Method says it
        return {_FIRST: Interval(5, 60, whole=True, log=True)}

    def starts(self, target: Statistics) -> Sequence[Point]:  # noqa: ARG002, D102 - Method says it
        return ({_FIRST: 20},)

    def fit(  # noqa: D102 - Method says it
        self, point: Point, learned: Rows, judged: Rows | None, boosting: Boosting
    ) -> Fitted:
        params = xgboost_params(point, boosting)
        start, _, first = fit_booster(
            {**params, **_FIRST_TREE, "base_score": weighted_median(learned)},
            replace(learned, target=_cut(learned)),
            judged,
            replace(boosting, rounds=1, early_stopping_rounds=None),
        )
        booster, rounds, rest = fit_booster(
            params,
            learned,
            judged,
            replace(boosting, rounds=boosting.rounds - 1),
            obj=_Stages(int(point[_FIRST])).gradients,
            xgb_model=start,
        )
        curve = [*first, *rest]
        if curve and boosting.early_stopping_rounds is not None:
            # Early stopping has not seen the first tree, which may be the best there is.
            rounds = int(np.argmin(curve)) + 1
        return fitted_booster(booster, rounds, curve)


def _cut(rows: Rows) -> npt.NDArray[np.float64]:
    """Targets, those that are far out moved to where far begins."""
    middle = weighted_median(rows)
    far = _FAR * NORMAL * distances(rows.target, rows.weight).median_abs()
    return np.clip(rows.target, middle - far, middle + far) if far else rows.target


class _Stages:
    """Gradients of one training, which remembers its rounds and the scale of its first stage."""

    def __init__(self, first: int) -> None:
        self._left = first
        self._scale = 1.0

    def gradients(
        self, predt: npt.NDArray[Any], dtrain: xgboost.DMatrix
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Gradient and hessian of the stage that it is at."""
        r = dtrain.get_label().astype(np.float64) - predt
        weight = dtrain.get_weight()
        counts = row_counts(weight if weight.size else None, r.size)
        limit = _EFFICIENT
        if self._left > 0:
            self._scale, limit = m_scale(r, counts), _ROBUST
            self._left -= 1
        point = Bisquare(self._scale, limit).adapt(Residuals(r, counts))
        weighed = weigh(point, r, counts.values)
        return weighed.gradient, weighed.hessian


def m_scale(r: npt.NDArray[np.float64], counts: RowCounts = _EACH_ONCE) -> float:
    """The scale at which the mean of the bisquare, whose largest value is 1, is a half.

    Parameters
    ----------
    r : float64 array of shape (n,)
        Residuals, in target units.
    counts : RowCounts
        How many rows each counts for; one by default.

    Examples
    --------
    >>> normal = np.random.default_rng(0).normal(size=10_000)
    >>> round(m_scale(normal), 1), round(m_scale(np.append(normal, np.full(2_000, 1e6))), 1)
    (1.0, 1.3)
    >>> three, counts = np.array([1.0, 2.0, 90.0]), row_counts([5, 5, 0], 3)
    >>> round(m_scale(three, counts), 6) == round(m_scale(np.repeat([1.0, 2.0], 5)), 6)
    True
    """
    scale = NORMAL * Residuals(r, counts).median_abs()
    if not scale:  # more than half of the rows are fitted exactly
        return float(np.average(np.abs(r), weights=counts.values)) or 1.0
    for _ in range(_ITERATIONS):
        inside = np.minimum((r / (_ROBUST * scale)) ** 2, 1.0)
        mean = np.average(1 - (1 - inside) ** 3, weights=counts.values)
        scale *= float(np.sqrt(mean / _HALF))
    return scale
