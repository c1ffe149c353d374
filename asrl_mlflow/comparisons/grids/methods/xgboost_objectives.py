"""XGBoost's own objectives, as rivals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from asrl_mlflow.comparisons.grids.methods.boosters import (
    XGBoostMethod,
    fit_booster,
    fitted_booster,
    xgboost_params,
)
from asrl_mlflow.comparisons.grids.methods.library_objective import LibraryObjective
from asrl_mlflow.comparisons.grids.methods.method import Boosting, Fitted, weighted_median
from asrl_mlflow.datasets import Rows
from asrl_mlflow.losses.search_space import Point


@dataclass(frozen=True)
class XGBoostObjective(LibraryObjective, XGBoostMethod):
    """An objective of XGBoost's, begun at the median of the target as our losses are.

    Parameters
    ----------
    fixed : mapping of str to number
        Parameters of the objective that stay.
    """

    fixed: Mapping[str, float] = field(default_factory=dict, hash=False)

    def fit(  # noqa: D102 - Method says it
        self, point: Point, learned: Rows, judged: Rows | None, boosting: Boosting
    ) -> Fitted:
        params = {
            **xgboost_params(point, boosting),
            "objective": self.objective,
            "base_score": weighted_median(learned),
            **self.fixed,
            **self.own(point),
        }
        return fitted_booster(*fit_booster(params, learned, judged, boosting))
