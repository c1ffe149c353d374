"""LightGBM's robust objectives, as rivals."""

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
class LightGBMObjective(LibraryObjective):
    """An objective of LightGBM's, of the target's distances from its median.

    Notes
    -----
    Its robust objectives begin far from a target that is far from 0, and would spend their rounds walking there.
    Trees have as many leaves as their depth allows, as XGBoost's have.
    """

    @property
    def library(self) -> str:  # noqa: D102 - Method says it
        return installed("LightGBM", "lightgbm")

    def fit(  # noqa: D102 - Method says it
        self, point: Point, learned: Rows, judged: Rows | None, boosting: Boosting
    ) -> Fitted:
        import lightgbm  # noqa: PLC0415 - installed on request only

        center = weighted_median(learned)
        measured: dict[str, dict[str, list[float]]] = {}
        callbacks = [lightgbm.record_evaluation(measured)] if judged is not None else []
        if judged is not None and boosting.early_stopping_rounds is not None:
            callbacks.append(lightgbm.early_stopping(boosting.early_stopping_rounds, verbose=False))
        data = _dataset(lightgbm, learned, center)
        model: Any = lightgbm.train(
            {
                "objective": self.objective,
                "metric": "mae",
                "max_depth": int(point[DEPTH]),
                "num_leaves": 2 ** int(point[DEPTH]),
                "lambda_l2": point[LAMBDA],
                "learning_rate": boosting.learning_rate,
                "seed": boosting.seed,
                "num_threads": 1,
                "verbosity": -1,
                **self.own(point),
            },
            data,
            boosting.rounds,
            valid_sets=[] if judged is None else [_dataset(lightgbm, judged, center, data)],
            callbacks=callbacks,
        )
        rounds = model.best_iteration if model.best_iteration > 0 else boosting.rounds
        return Fitted(
            lambda part: center + model.predict(_plain(part.features), num_iteration=rounds),
            rounds,
            measured["valid_0"]["l1"] if measured else (),
        )


def _dataset(lightgbm: Any, rows: Rows, center: float, reference: Any = None) -> Any:  # noqa: ANN401 - no types
    return lightgbm.Dataset(
        _plain(rows.features), rows.target - center, weight=rows.weight, reference=reference
    )


def _plain(features: pd.DataFrame) -> pd.DataFrame:
    """Features under names that LightGBM takes, which refuses some characters."""
    return features.set_axis([f"f{place}" for place in range(features.shape[1])], axis=1)
