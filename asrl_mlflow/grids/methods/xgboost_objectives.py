"""XGBoost's own objectives, as rivals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import xgboost

from asrl_mlflow.datasets import Rows
from asrl_mlflow.datasets.matrices import make_matrix
from asrl_mlflow.grids.methods.method import Boosting, Fitted, Method
from asrl_mlflow.grids.methods.package_losses import fitted_booster, xgboost_params
from asrl_mlflow.grids.methods.scaled import space_in_scales, start_in_scales
from asrl_mlflow.losses import Statistics
from asrl_mlflow.losses.search_space import Point, SearchSpace


@dataclass(frozen=True)
class XGBoostObjective(Method):
    """An objective of XGBoost's, begun at the median of the target as our losses are.

    Parameters
    ----------
    objective : str
        XGBoost's name.
    parameter : str, optional
        The objective's parameter in target units, which is searched.
    fixed : mapping of str to number
        Parameters of the objective that stay.
    """

    objective: str
    parameter: str | None = None
    fixed: Mapping[str, float] = field(default_factory=dict, hash=False)

    @property
    def library(self) -> str:  # noqa: D102 - Method says it
        return f"XGBoost {xgboost.__version__}"

    def space(self, target: Statistics) -> SearchSpace:  # noqa: D102 - Method says it
        return space_in_scales(self.parameter, target)

    def starts(self, target: Statistics) -> Sequence[Point]:  # noqa: D102 - Method says it
        return (start_in_scales(self.parameter, target),)

    def fit(  # noqa: D102 - Method says it
        self, point: Point, learned: Rows, judged: Rows | None, boosting: Boosting
    ) -> Fitted:
        own = {self.parameter: point[self.parameter]} if self.parameter else {}
        dtrain = make_matrix(learned)
        measured: dict[str, dict[str, list[float]]] = {}
        booster = xgboost.train(
            {
                **xgboost_params(point, boosting),
                "objective": self.objective,
                "base_score": float(np.median(learned.target)),
                "eval_metric": "mae",
                **self.fixed,
                **own,
            },
            dtrain,
            boosting.rounds,
            evals=[] if judged is None else [(make_matrix(judged, ref=dtrain), "valid")],
            early_stopping_rounds=None if judged is None else boosting.early_stopping_rounds,
            evals_result=measured,
            verbose_eval=False,
        )
        stopped = judged is not None and boosting.early_stopping_rounds is not None
        rounds = booster.best_iteration + 1 if stopped else booster.num_boosted_rounds()
        return fitted_booster(booster, rounds, measured["valid"]["mae"] if measured else ())
