"""Add one tree to a model, from what a loss says that rows weigh.

Gradient -w r and hessian w are weighted least squares. A tree is built from them in one of three ways,
to the same bits: from gradients that are computed here, which serves every loss, every kind of matrix
and every booster; faster, where the matrix is free and quantised, by handing its weights to XGBoost's
squared error; or by XGBoost's own objective, for the losses that have one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import xgboost

from asrl_mlflow.boosting.learner import Built
from asrl_mlflow.boosting.regression.rows import TrainingRows
from asrl_mlflow.losses import Loss, PointwiseLoss
from asrl_mlflow.losses.regression.weighing import Weighed, weigh


class LossBuilder(ABC):
    """Build trees from what a loss says that rows weigh.

    Parameters
    ----------
    loss : Loss
        What to minimise.
    rows : TrainingRows
        To learn from.
    factor : float
        By which gradients and hessians are multiplied.
    dropout : bool
        Whether trees are left out to build the next one, as DART does.
    """

    def __init__(
        self, loss: Loss, rows: TrainingRows, factor: float, *, dropout: bool = False
    ) -> None:
        self._loss, self._rows, self._factor, self._dropout = loss, rows, factor, dropout

    def build(self, model: xgboost.Booster, epoch: int) -> Built:
        """Look at the residuals, weigh them, add a tree."""
        rows = self._rows
        if self._dropout:
            rows.forget()
        pointwise = self._loss.adapt(rows.look(model, dropout=self._dropout))
        rows.forget()
        weighed = weigh(
            pointwise,
            rows.r,
            rows.rows.counts.values,
            self._factor,
            hessian=rows.scratch,
            gradient=rows.r,
            workers=rows.rows.sharing.workers,
        )
        self._add(model, epoch, weighed)
        return Built(pointwise, weighed.mean, weighed.floored)

    @abstractmethod
    def _add(self, model: xgboost.Booster, epoch: int, weighed: Weighed) -> None:
        """Add the tree."""


class GradientBuilder(LossBuilder):
    """Hand gradients and hessians to XGBoost."""

    def _add(self, model: xgboost.Booster, epoch: int, weighed: Weighed) -> None:
        model.boost(self._rows.rows.matrix, epoch, grad=weighed.gradient, hess=weighed.hessian)


class WeightBuilder(LossBuilder):
    """Hand weights to XGBoost's squared error, of a matrix that is lent.

    Not of a plain DMatrix, whose histogram would be cut by the weights of the first round.
    """

    def _add(self, model: xgboost.Booster, epoch: int, weighed: Weighed) -> None:
        matrix = self._rows.rows.matrix
        matrix.set_weight(weighed.hessian)
        model.update(matrix, epoch)


class ObjectiveBuilder:
    """Build trees by XGBoost's own objective.

    Parameters
    ----------
    loss : Loss
        Which has one.
    rows : TrainingRows
        To learn from.
    factor : float
        By which its weights are multiplied.
    is_heard : bool
        Whether somebody is told the pointwise loss of each round.
    """

    def __init__(self, loss: Loss, rows: TrainingRows, factor: float, *, is_heard: bool) -> None:
        self._loss, self._rows, self._factor, self._is_heard = loss, rows, factor, is_heard
        self._pointwise: PointwiseLoss | None = None

    def build(self, model: xgboost.Booster, epoch: int) -> Built:
        """Check the first gradients, as XGBoost does not; boost."""
        rows = self._rows
        if self._pointwise is None:
            self._pointwise = self._loss.adapt(rows.look(model))
            weigh(
                self._pointwise,
                rows.r,
                rows.rows.counts.values,
                self._factor,
                workers=rows.rows.sharing.workers,
            )
        elif self._is_heard:
            self._pointwise = self._loss.adapt(rows.look(model))
        rows.forget()
        model.update(rows.rows.matrix, epoch)
        return Built(self._pointwise)
