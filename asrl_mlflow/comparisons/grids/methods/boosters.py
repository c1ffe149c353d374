"""Train boosters of XGBoost: what losses of this package and XGBoost's own have in common as methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import xgboost

from asrl_mlflow.comparisons.grids.methods.method import (
    BOOSTER_SPACE,
    Boosting,
    Fitted,
    Method,
    Prediction,
)
from asrl_mlflow.datasets import Rows
from asrl_mlflow.datasets.matrices import make_matrix
from asrl_mlflow.losses.search_space import Point

Evals = list[tuple[xgboost.DMatrix, str]]


class XGBoostMethod(Method):
    """A method whose trees XGBoost builds."""

    @property
    def library(self) -> str:  # noqa: D102 - Method says it
        return f"XGBoost {xgboost.__version__}"


def xgboost_params(point: Point, boosting: Boosting) -> dict[str, float]:
    """XGBoost's parameters, but for those of its objective."""
    return {
        **{name: point[name] for name in BOOSTER_SPACE},
        "learning_rate": boosting.learning_rate,
        "seed": boosting.seed,
        "nthread": 1,
    }


def make_matrices(learned: Rows, judged: Rows | None) -> tuple[xgboost.DMatrix, Evals]:
    """Make the matrices to learn from and to judge by."""
    dtrain = make_matrix(learned)
    return dtrain, [] if judged is None else [(make_matrix(judged, ref=dtrain), "valid")]


def fit_booster(
    params: Mapping[str, Any],
    learned: Rows,
    judged: Rows | None,
    boosting: Boosting,
    **given: Any,  # noqa: ANN401 - more of `xgboost.train`
) -> tuple[xgboost.Booster, int, Sequence[float]]:
    """Train by `xgboost.train`; give the booster, how many rounds of it count, and the MAE after each.

    Parameters
    ----------
    params : mapping
        XGBoost's, with those of the objective.
    learned, judged, boosting
        As for `Method.fit`.
    **given
        More arguments of `xgboost.train`.
    """
    dtrain, evals = make_matrices(learned, judged)
    measured: dict[str, dict[str, list[float]]] = {}
    stops = bool(evals) and boosting.early_stopping_rounds is not None
    booster = xgboost.train(
        {**params, "eval_metric": "mae"},
        dtrain,
        boosting.rounds,
        evals=evals,
        early_stopping_rounds=boosting.early_stopping_rounds if stops else None,
        evals_result=measured,
        verbose_eval=False,
        **given,
    )
    rounds = booster.best_iteration + 1 if stops and measured else booster.num_boosted_rounds()
    return booster, rounds, measured["valid"]["mae"] if measured else ()


def fitted_booster(booster: xgboost.Booster, rounds: int, curve: Sequence[float]) -> Fitted:
    """A booster of which so many rounds count."""

    def predict(part: Rows) -> Prediction:
        predicted: Prediction = booster.inplace_predict(part.features, iteration_range=(0, rounds))
        return predicted

    return Fitted(predict, rounds, curve)
