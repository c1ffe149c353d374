"""Add one tree, or one a class, to a model, from what a loss says of labels and margins."""

from __future__ import annotations

import xgboost

from asrl_mlflow.boosting.classification.rows import TrainingLabels, margins
from asrl_mlflow.boosting.learner import Built
from asrl_mlflow.losses import ClassificationLoss


class ClassGradientBuilder:
    """Hand gradients and hessians to XGBoost.

    Parameters
    ----------
    loss : ClassificationLoss
        What to minimise.
    rows : TrainingLabels
        To learn from.
    dropout : bool
        Whether trees are left out to build the next one, as DART does.
    """

    def __init__(self, loss: ClassificationLoss, rows: TrainingLabels, *, dropout: bool) -> None:
        self._loss, self._rows, self._dropout = loss, rows, dropout

    def build(self, model: xgboost.Booster, epoch: int) -> Built:
        """Look at the margins, compute gradients, add trees."""
        rows = self._rows.rows
        margin = (
            margins(model, rows.matrix, dropout=True)
            if self._dropout
            else self._rows.see(model).margin
        )
        self._rows.forget()
        gradient, hessian, mean = self._loss.gradient_pair(rows.target, margin, rows.counts.values)
        model.boost(rows.matrix, epoch, grad=gradient, hess=hessian)
        return Built(None, mean)


class ClassObjectiveBuilder:
    """Build trees by XGBoost's own objective, which reads labels and weights from the matrix.

    Parameters
    ----------
    rows : TrainingLabels
        To learn from.
    """

    def __init__(self, rows: TrainingLabels) -> None:
        self._rows = rows

    def build(self, model: xgboost.Booster, epoch: int) -> Built:
        """Boost."""
        self._rows.forget()
        model.update(self._rows.rows.matrix, epoch)
        return Built(None)
