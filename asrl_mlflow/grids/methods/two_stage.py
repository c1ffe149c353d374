"""RRBoost: first the smallest robust scale of the residuals, then bisquare with that scale: a rival."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost

from asrl_mlflow.datasets import Rows
from asrl_mlflow.datasets.matrices import make_matrix
from asrl_mlflow.grids.methods.method import Boosting, Fitted, Method
from asrl_mlflow.grids.methods.package_losses import fitted_booster, xgboost_params
from asrl_mlflow.losses import Bisquare, Statistics
from asrl_mlflow.losses.regression.weighing import weigh
from asrl_mlflow.losses.search_space import Interval, Point, SearchSpace
from asrl_mlflow.residuals import Residuals
from asrl_mlflow.residuals.sample_weights import row_counts

_FIRST = "first_rounds"
# Limits of the bisquare in scales: with the first a scale that half of the rows cannot spoil, and that is the
# standard deviation of normal residuals; with the second a loss 95% as efficient as squared error on them.
_ROBUST, _EFFICIENT = 1.547, 4.685
_HALF, _NORMAL, _ITERATIONS = 0.5, 1.4826, 50
# The tree to begin with, among those that its authors choose from; and in robust deviations where targets are cut.
_FIRST_TREE = {"learning_rate": 1.0, "max_depth": 4, "min_child_weight": 10.0, "lambda": 0.0}
_FAR = 3.0


@dataclass(frozen=True)
class RRBoost(Method):
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

    @property
    def library(self) -> str:  # noqa: D102 - Method says it
        return f"XGBoost {xgboost.__version__}"

    def space(self, target: Statistics) -> SearchSpace:  # noqa: ARG002, D102 - Method says it
        return {_FIRST: Interval(5, 60, whole=True, log=True)}

    def starts(self, target: Statistics) -> Sequence[Point]:  # noqa: ARG002, D102 - Method says it
        return ({_FIRST: 20},)

    def fit(  # noqa: D102 - Method says it
        self, point: Point, learned: Rows, judged: Rows | None, boosting: Boosting
    ) -> Fitted:
        params = {**xgboost_params(point, boosting), "eval_metric": "mae"}
        first: dict[str, dict[str, list[float]]] = {}
        dtrain, evals = _matrices(replace(learned, target=_cut(learned.target)), judged)
        start = xgboost.train(
            {**params, **_FIRST_TREE, "base_score": float(np.median(learned.target))},
            dtrain,
            1,
            evals=evals,
            evals_result=first,
            verbose_eval=False,
        )
        measured: dict[str, dict[str, list[float]]] = {}
        dtrain, evals = _matrices(learned, judged)
        booster = xgboost.train(
            params,
            dtrain,
            max(boosting.rounds - 1, 0),
            obj=_Stages(int(point[_FIRST])).gradients,
            evals=evals,
            early_stopping_rounds=None if judged is None else boosting.early_stopping_rounds,
            evals_result=measured,
            verbose_eval=False,
            xgb_model=start,
        )
        curve = [*first["valid"]["mae"], *measured["valid"]["mae"]] if measured else ()
        stopped = judged is not None and boosting.early_stopping_rounds is not None and measured
        rounds = booster.best_iteration + 1 if stopped else booster.num_boosted_rounds()
        return fitted_booster(booster, rounds, curve)


def _matrices(
    learned: Rows, judged: Rows | None
) -> tuple[xgboost.DMatrix, list[tuple[xgboost.DMatrix, str]]]:
    """Matrices to learn from and to judge by."""
    dtrain = make_matrix(learned)
    return dtrain, [] if judged is None else [(make_matrix(judged, ref=dtrain), "valid")]


def _cut(target: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Targets, those that are far out moved to where far begins."""
    middle = float(np.median(target))
    far = _FAR * _NORMAL * float(np.median(np.abs(target - middle)))
    return np.clip(target, middle - far, middle + far) if far else target


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
            self._scale, limit = m_scale(r), _ROBUST
            self._left -= 1
        point = Bisquare(self._scale, limit).adapt(Residuals(r, counts))
        weighed = weigh(point, r, counts.values)
        return weighed.gradient, weighed.hessian


def m_scale(r: npt.NDArray[np.float64]) -> float:
    """The scale at which the mean of the bisquare, whose largest value is 1, is a half.

    Examples
    --------
    >>> normal = np.random.default_rng(0).normal(size=10_000)
    >>> round(m_scale(normal), 1), round(m_scale(np.append(normal, np.full(2_000, 1e6))), 1)
    (1.0, 1.3)
    """
    scale = _NORMAL * float(np.median(np.abs(r)))
    if not scale:  # more than half of the rows are fitted exactly
        return float(np.abs(r).mean()) or 1.0
    for _ in range(_ITERATIONS):
        inside = np.minimum((r / (_ROBUST * scale)) ** 2, 1.0)
        scale *= float(np.sqrt(np.mean(1 - (1 - inside) ** 3) / _HALF))
    return scale
