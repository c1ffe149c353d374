"""One training seen from inside: what happens before, in and after each round.

Gradient -w r and hessian w are weighted least squares, so in most cases no gradient passes through
Python: before each round the matrix's weights are set to w times the user's own and
`reg:squarederror` builds the tree. On a QuantileDMatrix the trees are identical to those of a
custom objective. On a plain DMatrix they would not be (its histogram cuts are made from the weights
set at the first round), nor with DART (its gradients are those of a part of the trees): there a
custom objective does the same work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost

from asrl_mlflow.errors import InputError
from asrl_mlflow.losses import Loss, PointwiseLoss
from asrl_mlflow.losses.squared_error import PointwiseSquaredError
from asrl_mlflow.losses.weighing import Weighed, gradient, weigh
from asrl_mlflow.margins import residuals
from asrl_mlflow.metrics import BY_RESIDUALS
from asrl_mlflow.residuals import Residuals, distances
from asrl_mlflow.rounds import Round
from asrl_mlflow.row_counts import RowCounts, row_counts

Float32Array = npt.NDArray[np.float32]

# What XGBoost's own objectives leave to the matrix's weights.
_UNWEIGHTED = PointwiseSquaredError()


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
    counts : RowCounts
        The sample weights as numbers of rows.
    """

    matrix: xgboost.DMatrix
    target: Float32Array
    own_weight: Float32Array
    counts: RowCounts

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
        return cls(matrix, target, own_weight, row_counts(own_weight, target.size))

    def residuals(self, model: xgboost.Booster, out: Float32Array | None = None) -> Float32Array:
        """Target minus the prediction of all trees so far, in target units, shape (n,)."""
        return residuals(model, self.matrix, self.target, out)


def shares(stats: Residuals, pointwise: PointwiseLoss) -> dict[str, float]:
    """How rows fall into a pointwise loss's regions; sums to 1."""
    within = [stats.share_within(limit) for limit in pointwise.regions.values()]
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
            loss.XGBOOST_OBJECTIVE is None or scale != 1 or rows.counts.rule == "mean 1"
        )
        # Where the user's own weights serve, their products with residuals must be finite still.
        self._weighs = self._sets_weights or (
            loss.XGBOOST_OBJECTIVE == "reg:squarederror" and rows.counts.values is not None
        )
        self._number = 0
        # Computed once, and only for a loss that asks.
        self._start = cache(partial(distances, rows.target, rows.counts))
        # One array for a round's sorted residuals and, once the thresholds are known, its hessians.
        self._buffer = np.empty_like(rows.target)
        self._r = np.empty_like(rows.target)
        self._stats: Residuals | None = None
        self._weighed = Weighed(mean=1.0, floored=0)

    def before_training(self, model: Any) -> Any:  # noqa: ANN401 - XGBoost's signature
        """Where training starts: no tree, or the trees of the model that goes on."""
        self._number = model.num_boosted_rounds()
        for listener in self._listeners:
            model = listener.before_training(model)
        return model

    def before_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ANN401 - XGBoost's signature
        """Weigh the rows at the predictions so far."""
        if not self.by_objective:
            with self._round_named():
                stats = self._look(model)
                if self._sets_weights or self._on_round is not None:
                    self._pointwise = self._loss.adapt(stats)
                if self._weighs:
                    # Into the buffer of the sorted residuals, which are not asked again.
                    self._stats = None
                    hessian = self._weigh(self._r, out=self._buffer)
                    if self._sets_weights:
                        self._rows.matrix.set_weight(hessian)
        return any(each.before_iteration(model, epoch, evals_log) for each in self._listeners)

    def objective(
        self,
        predt: Float32Array,
        dtrain: xgboost.DMatrix,  # noqa: ARG002 - XGBoost's signature
    ) -> tuple[Float32Array, Float32Array]:
        """Gradient and hessian, for `xgboost.train(obj=...)`."""
        # Not the residuals at hand: DART asks for the gradient at a part of the trees.
        r = self._rows.target - predt
        with self._round_named():
            self._pointwise = self._loss.adapt(Residuals(r, self._rows.counts, start=self._start))
            hessian = self._weigh(r)
        return gradient(r, hessian), hessian

    def _look(self, model: xgboost.Booster) -> Residuals:
        """The statistics of the training rows at the predictions so far."""
        if self._stats is None:
            self._rows.residuals(model, out=self._r)
            self._stats = Residuals(
                self._r, self._rows.counts, scratch=self._buffer, start=self._start
            )
        return self._stats

    def _weigh(self, r: Float32Array, out: Float32Array | None = None) -> Float32Array:
        # Where XGBoost's own objective does the weighing, only scale and sample weights are ours.
        pointwise = _UNWEIGHTED if self._loss.XGBOOST_OBJECTIVE else self._pointwise
        hessian, self._weighed = weigh(pointwise, r, self._rows.counts.values, self._scale, out=out)
        return hessian

    @contextmanager
    def _round_named(self) -> Iterator[None]:
        try:
            yield
        except InputError as error:
            msg = f"Round {self._number}: {error}"
            raise InputError(msg) from error

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ANN401 - XGBoost's signature
        """Measure the new tree and tell the listener."""
        self._stats = None
        train: dict[str, float] = {}
        valid: dict[str, float] = {}
        valid_shares: dict[str, float] = {}
        with self._round_named():
            if self._on_round is not None or any(rows is self._rows for _, rows in self._evals):
                train = self._measure(self._look(model))
            for name, rows in self._evals:
                own = rows is self._rows
                stats = self._look(model) if own else Residuals(rows.residuals(model), rows.counts)
                valid = train if own else self._measure(stats)
                # XGBoost's own road for metrics prints them with six decimals and reads them back.
                for metric, value in valid.items():
                    evals_log.setdefault(name, {}).setdefault(metric, []).append(value)
            if self._evals and self._on_round is not None:
                valid_shares = shares(stats, self._pointwise)
        if self._on_round is not None:
            self._on_round(
                Round(
                    number=self._number,
                    pointwise=self._pointwise,
                    mean_weight=self._weighed.mean,
                    floored=self._weighed.floored,
                    train=train,
                    valid=valid,
                    valid_shares=valid_shares,
                )
            )
        self._number += 1
        return any(each.after_iteration(model, epoch, evals_log) for each in self._listeners)

    def _measure(self, stats: Residuals) -> dict[str, float]:
        return {name: BY_RESIDUALS[name](stats) for name in self._metrics}

    def after_training(self, model: Any) -> Any:  # noqa: ANN401 - XGBoost's signature
        """The listeners' last word: early stopping cuts the model here."""
        for listener in self._listeners:
            model = listener.after_training(model)
        return model

    def restore_weights(self) -> None:
        """Give the user's matrix back as it was: with no weights where there were none."""
        if self._sets_weights:
            self._rows.matrix.set_weight(self._rows.own_weight)
