"""The losses of this package and of its users, as methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from asrl_mlflow.boosting.training import train
from asrl_mlflow.comparisons.grids.methods.boosters import (
    XGBoostMethod,
    fitted_booster,
    make_matrices,
    xgboost_params,
)
from asrl_mlflow.comparisons.grids.methods.method import BOOSTER_SPACE, Boosting, Fitted
from asrl_mlflow.datasets import Rows
from asrl_mlflow.losses import BaseLoss, Statistics
from asrl_mlflow.losses.search_space import Point, SearchSpace
from asrl_mlflow.tracking import loss_params


@dataclass(frozen=True)
class PackageLoss(XGBoostMethod):
    """A loss of this package, in XGBoost.

    Parameters
    ----------
    loss : BaseLoss
        The loss.
    is_searched : bool
        Whether its own parameters are searched, or stay as they are.

    Examples
    --------
    >>> from asrl_mlflow.losses import AdaptiveHuber
    >>> from asrl_mlflow.residuals import distances
    >>> list(PackageLoss(AdaptiveHuber()).space(distances([1.0, 2.0, 3.0])))
    ['quantile']
    """

    loss: BaseLoss
    is_searched: bool = True

    def space(self, target: Statistics) -> SearchSpace:  # noqa: D102 - Method says it
        return type(self.loss).search_space(target) if self.is_searched else {}

    def starts(self, target: Statistics) -> Sequence[Point]:  # noqa: D102 - Method says it
        return (self.space(target) and type(self.loss).starts(target)) or ({},)

    def params(self, point: Point) -> Mapping[str, object]:  # noqa: D102 - Method says it
        return loss_params(self._at(point))

    def _at(self, point: Point) -> BaseLoss:
        own = {name: value for name, value in point.items() if name not in BOOSTER_SPACE}
        return type(self.loss).at(own) if own else self.loss

    def fit(  # noqa: D102 - Method says it
        self, point: Point, learned: Rows, judged: Rows | None, boosting: Boosting
    ) -> Fitted:
        measured: dict[str, dict[str, list[float]]] = {}
        dtrain, evals = make_matrices(learned, judged)
        booster = train(
            xgboost_params(point, boosting),
            dtrain,
            boosting.rounds,
            loss=self._at(point),
            evals=evals,
            early_stopping_rounds=None if judged is None else boosting.early_stopping_rounds,
            evals_result=measured,
            weight_rule=learned.weight_rule,
        )
        return fitted_booster(
            booster, booster.num_boosted_rounds(), measured["valid"]["mae"] if measured else ()
        )
