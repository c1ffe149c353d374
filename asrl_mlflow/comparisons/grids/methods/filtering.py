"""Leave out the labels that look most wrong, and learn from the others with squared error: a rival."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from asrl_mlflow.comparisons.grids.methods.boosters import XGBoostMethod
from asrl_mlflow.comparisons.grids.methods.method import Boosting, Fitted
from asrl_mlflow.comparisons.grids.methods.xgboost_objectives import XGBoostObjective
from asrl_mlflow.datasets import Rows, folds
from asrl_mlflow.losses import Statistics
from asrl_mlflow.losses.search_space import Interval, Point, SearchSpace

_SQUARED = XGBoostObjective("reg:squarederror")
_SHARE = "left_out"
# As cleanlab has them.
_FOLDS = 5


@dataclass(frozen=True)
class FilterAndRefit(XGBoostMethod):
    """Squared error on the rows whose out-of-fold residuals are smallest, as cleanlab does for numbers.

    Which share is left out is searched. (cleanlab divides residuals by an estimate of their spread first, and
    chooses the share by R2 on the labels as they are.)

    References
    ----------
    H. Zhou, J. Mueller, M. Kumar, J.-L. Wang, J. Lei, Detecting Errors in a Numerical Response via any
    Regression Model, arXiv 2305.16583.
    """

    def space(self, target: Statistics) -> SearchSpace:  # noqa: ARG002, D102 - Method says it
        return {_SHARE: Interval(0.005, 0.4, log=True)}

    def starts(self, target: Statistics) -> Sequence[Point]:  # noqa: ARG002, D102 - Method says it
        return ({_SHARE: 0.1},)

    def fit(  # noqa: D102 - Method says it
        self, point: Point, learned: Rows, judged: Rows | None, boosting: Boosting
    ) -> Fitted:
        # Rows that no fold predicts, the first ones in time, are kept.
        size = np.zeros(len(learned))
        numbered = replace(learned, numbers=np.arange(len(learned)))
        whole = replace(boosting, early_stopping_rounds=None)
        for known, unseen in folds(numbered, _FOLDS, boosting.seed):
            prediction = _SQUARED.fit(point, known, None, whole).predict(unseen)
            size[unseen.numbers] = np.abs(unseen.target - prediction)
        kept = round(len(learned) * (1 - point[_SHARE]))
        smallest = np.sort(np.argsort(size, kind="stable")[:kept])
        return _SQUARED.fit(point, learned.take(smallest), judged, boosting)
