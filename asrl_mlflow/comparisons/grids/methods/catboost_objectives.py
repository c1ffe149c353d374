"""CatBoost's robust objectives, as rivals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from asrl_mlflow.comparisons.grids.methods.installed import installed
from asrl_mlflow.comparisons.grids.methods.library_objective import LibraryObjective
from asrl_mlflow.comparisons.grids.methods.method import (
    DEPTH,
    LAMBDA,
    Boosting,
    Fitted,
    weighted_median,
)
from asrl_mlflow.datasets import Rows
from asrl_mlflow.losses.search_space import Point


@dataclass(frozen=True)
class CatBoostObjective(LibraryObjective):
    """An objective of CatBoost's, of the target's distances from its median."""

    @property
    def library(self) -> str:  # noqa: D102 - Method says it
        return installed("CatBoost", "catboost")

    def fit(  # noqa: D102 - Method says it
        self, point: Point, learned: Rows, judged: Rows | None, boosting: Boosting
    ) -> Fitted:
        import catboost  # noqa: PLC0415 - installed on request only

        center = weighted_median(learned)
        own = "".join(f":{name}={value}" for name, value in self.own(point).items())
        stops = judged is not None and boosting.early_stopping_rounds is not None
        model = catboost.CatBoostRegressor(
            loss_function=f"{self.objective}{own}",
            eval_metric="MAE",
            iterations=boosting.rounds,
            depth=int(point[DEPTH]),
            l2_leaf_reg=point[LAMBDA],
            learning_rate=boosting.learning_rate,
            random_seed=boosting.seed,
            early_stopping_rounds=boosting.early_stopping_rounds if stops else None,
            use_best_model=stops,
            thread_count=1,
            verbose=False,
            allow_writing_files=False,
        )
        model.fit(
            _pool(catboost, learned, center),
            eval_set=None if judged is None else _pool(catboost, judged, center),
        )
        curve = () if judged is None else model.evals_result_["validation"]["MAE"]
        return Fitted(
            lambda part: center + model.predict(_plain(part.features)), model.tree_count_, curve
        )


def _pool(catboost: Any, rows: Rows, center: float) -> Any:  # noqa: ANN401 - no types
    return catboost.Pool(
        _plain(rows.features),
        rows.target - center,
        weight=rows.weight,
        cat_features=_categories(rows.features),
    )


def _categories(features: pd.DataFrame) -> list[str]:
    return [str(name) for name, kind in features.dtypes.items() if kind == "category"]


def _plain(features: pd.DataFrame) -> pd.DataFrame:
    """Features with categories as text, missing ones too, as CatBoost takes them."""
    texts = {name: features[name].astype(object).map(str) for name in _categories(features)}
    return features.assign(**texts)
