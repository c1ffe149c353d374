"""One training seen from inside: what happens before, in and after each round.

Gradient -w r and hessian w are weighted least squares, so in most cases no gradient passes through
Python: before each round the matrix's weights are set to w times the user's own and
`reg:squarederror` builds the tree. On a QuantileDMatrix the trees are identical to those of a
custom objective. On a plain DMatrix they would not be (its histogram cuts are made from the weights
set at the first round), nor with DART (its gradients are those of a part of the trees): there a
custom objective does the same work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost

from asrl_mlflow.errors import InputError
from asrl_mlflow.losses import Loss, PointwiseLoss
from asrl_mlflow.losses.loss import gradient_pair
from asrl_mlflow.metrics import METRICS
from asrl_mlflow.residuals import Residuals, WeightRule, row_counts
from asrl_mlflow.rounds import Round

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Rows:
    """The rows of one matrix: what is asked of it every round and never changes.

    Parameters
    ----------
    matrix : DMatrix
        The user's.
    target : float32 array of shape (n,)
        Its labels, in target units.
    own_weight : float32 array of shape (n,) or (0,)
        The sample weights as the user set them.
    counts : float64 array of shape (n,), or None
        The sample weights as numbers of rows.
    weight_rule : {"none", "counts", "mean 1"}
        How they were read: see `residuals.row_counts`.
    """

    matrix: xgboost.DMatrix
    target: Float32Array
    own_weight: Float32Array
    counts: npt.NDArray[np.float64] | None
    weight_rule: WeightRule

    @classmethod
    def of(cls, matrix: xgboost.DMatrix, name: str) -> Rows:
        """The rows of a matrix; `name` is what an error calls it.

        Raises
        ------
        InputError
            No labels or several columns of them, or bad sample weights.
        """
        target = matrix.get_label()
        if target.shape != (matrix.num_row(),):
            msg = (
                f"train needs one label a row in {name}; got labels of shape {target.shape} for "
                f"{matrix.num_row()} rows; pass one target column as label=."
            )
            raise InputError(msg)
        own_weight = matrix.get_weight()
        return cls(matrix, target, own_weight, *row_counts(own_weight, target.size))

    def predict(self, model: xgboost.Booster) -> Float32Array:
        """Predictions of all trees so far, in target units, shape (n,)."""
        # XGBoost caches a matrix's margin, so this adds the last tree and copies.
        return model.predict(self.matrix, output_margin=True)

    def measure(self, metrics: Sequence[str], prediction: Float32Array) -> dict[str, float]:
        """Metrics by name, at these predictions."""
        return {name: METRICS[name](self.target, prediction, self.counts) for name in metrics}

    def shares(self, pointwise: PointwiseLoss, prediction: Float32Array) -> dict[str, float]:
        """How the rows fall into a pointwise loss's regions; sums to 1."""
        size = np.abs(self.target - prediction)
        within = [
            float(np.average(size <= limit, weights=self.counts))
            for limit in pointwise.regions.values()
        ]
        return dict(zip(pointwise.regions, np.diff(within, prepend=0.0).tolist(), strict=True))


class Boosting(xgboost.callback.TrainingCallback):
    """The callback that weighs the rows before each tree and tells of it after.

    Parameters
    ----------
    loss : Loss
        What to minimise.
    rows : Rows
        To train on.
    scale : float
        The power of two by which hessians (and with them gradients) are multiplied.
    by_objective : bool
        Whether XGBoost is given `objective`; otherwise the matrix's weights are set.
    evals : sequence of (name, Rows)
        Where metrics are computed; the last is the one that is told as `valid`.
    metrics : sequence of str
        Names of metrics.
    on_round : callable, optional
        Told of each round.
    listeners : sequence of TrainingCallback
        The user's callbacks, early stopping and printing.
    """

    def __init__(
        self,
        *,
        loss: Loss,
        rows: Rows,
        scale: float,
        by_objective: bool,
        evals: Sequence[tuple[str, Rows]],
        metrics: Sequence[str],
        on_round: Callable[[Round], None] | None,
        listeners: Sequence[xgboost.callback.TrainingCallback],
    ) -> None:
        super().__init__()
        self.by_objective = by_objective
        self._loss, self._rows, self._scale = loss, rows, scale
        self._evals, self._metrics, self._on_round = evals, metrics, on_round
        # Called from here, after the metrics are in: XGBoost 3.1 calls callbacks in any order.
        self._listeners = listeners
        # Where XGBoost's own objective does the weighing, the user's weights may serve as they are.
        self._sets_weights = not by_objective and (
            loss.XGBOOST_OBJECTIVE is None or scale != 1 or rows.weight_rule == "mean 1"
        )
        self._number = 0

    def before_training(self, model: Any) -> Any:  # noqa: ANN401 - XGBoost's signature
        """Where training starts: no tree, or the trees of the model that goes on."""
        self._number = model.num_boosted_rounds()
        self._margin = self._rows.predict(model)
        for listener in self._listeners:
            model = listener.before_training(model)
        return model

    def before_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ANN401 - XGBoost's signature
        """Weigh the rows at the predictions so far."""
        if not self.by_objective:
            _, hessian = self._gradient_pair(self._margin)
            if self._sets_weights:
                self._rows.matrix.set_weight(hessian)
        return any(each.before_iteration(model, epoch, evals_log) for each in self._listeners)

    def objective(
        self,
        predt: Float32Array,
        dtrain: xgboost.DMatrix,  # noqa: ARG002 - XGBoost's signature
    ) -> tuple[Float32Array, Float32Array]:
        """Gradient and hessian, for `xgboost.train(obj=...)`."""
        # Not self._margin: DART asks for the gradient at a part of the trees.
        return self._gradient_pair(predt)

    def _gradient_pair(self, prediction: Float32Array) -> tuple[Float32Array, Float32Array]:
        rows, r = self._rows, self._rows.target - prediction
        try:
            self._pointwise = self._loss.adapt(Residuals(r, rows.counts))
            if self._loss.XGBOOST_OBJECTIVE is None:
                weight, self._floored = self._pointwise.relative_weight(r)
            else:
                weight, self._floored = np.ones(r.size), 0
            self._mean_weight = float(np.average(weight, weights=rows.counts))
            return gradient_pair(r, weight * self._scale, rows.counts)
        except InputError as error:
            msg = f"Round {self._number}: {error}"
            raise InputError(msg) from error

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ANN401 - XGBoost's signature
        """Measure the new tree and tell the listener."""
        self._margin = self._rows.predict(model)
        train = self._rows.measure(self._metrics, self._margin)
        valid: dict[str, float] = {}
        shares: dict[str, float] = {}
        for name, rows in self._evals:
            prediction = self._margin if rows is self._rows else rows.predict(model)
            valid = train if rows is self._rows else rows.measure(self._metrics, prediction)
            shares = rows.shares(self._pointwise, prediction)
            # XGBoost's own road for metrics prints them with six decimals and reads them back.
            for metric, value in valid.items():
                evals_log.setdefault(name, {}).setdefault(metric, []).append(value)
        if self._on_round is not None:
            self._on_round(
                Round(
                    number=self._number,
                    pointwise=self._pointwise,
                    mean_weight=self._mean_weight,
                    floored=self._floored,
                    train=train,
                    valid=valid,
                    valid_shares=shares,
                )
            )
        self._number += 1
        return any(each.after_iteration(model, epoch, evals_log) for each in self._listeners)

    def after_training(self, model: Any) -> Any:  # noqa: ANN401 - XGBoost's signature
        """The listeners' last word: early stopping cuts the model here."""
        for listener in self._listeners:
            model = listener.after_training(model)
        return model

    def restore_weights(self) -> None:
        """Give the user's matrix back as it was: with no weights where there were none."""
        if self._sets_weights:
            self._rows.matrix.set_weight(self._rows.own_weight)
