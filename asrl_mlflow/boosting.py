"""One training, round by round: a tree is built, its rows are measured, listeners are told.

Gradient -w r and hessian w are weighted least squares. A tree is built from them in one of three ways,
to the same bits: from gradients that are computed here, which serves every loss, every kind of matrix
and every booster; faster, where the matrix is free and quantised, by handing its weights to XGBoost's
squared error; or by XGBoost's own objective, for the losses that have one.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol, cast

import xgboost

from asrl_mlflow.errors import InputError
from asrl_mlflow.losses import Loss, PointwiseLoss
from asrl_mlflow.losses.weighing import Weighed, weigh
from asrl_mlflow.metrics import BY_RESIDUALS
from asrl_mlflow.residuals import Residuals
from asrl_mlflow.rounds import Round
from asrl_mlflow.rows import Rows, TrainingRows, shares
from asrl_mlflow.scaling import Regularisation

# By entry of `evals` and metric, one value a round; of XGBoost's type, which allows for more.
History = dict[str, dict[str, Any]]


class Built(NamedTuple):
    """What the newest tree was built from.

    Parameters
    ----------
    pointwise : PointwiseLoss
        Of this round.
    mean_weight : float
        Mean weight of a row, relative to a full one.
    floored : int
        Rows whose weight was held up.
    """

    pointwise: PointwiseLoss
    mean_weight: float = 1.0
    floored: int = 0


class Builder(Protocol):
    """What adds one tree to a model."""

    def build(self, model: xgboost.Booster, epoch: int) -> Built:
        """Add the tree of this round, which counts from 0 in each training."""


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
            weigh(self._pointwise, rows.r, rows.rows.counts.values, self._factor)
        elif self._is_heard:
            self._pointwise = self._loss.adapt(rows.look(model))
        rows.forget()
        model.update(rows.rows.matrix, epoch)
        return Built(self._pointwise)


class Judge:
    """Measure a model on the rows of `evals` after each round.

    Parameters
    ----------
    rows : TrainingRows
        What trees are built from.
    evals : sequence of (name, Rows)
        Where metrics are computed; the last is the one that is told as `valid`.
    metrics : sequence of str
        Names of ours.
    selecting : str, optional
        The one of ours that selects, and so comes last; without it XGBoost's last one does.
    native : bool
        Whether XGBoost computes metrics too.
    """

    def __init__(
        self,
        *,
        rows: TrainingRows,
        evals: Sequence[tuple[str, Rows]],
        metrics: Sequence[str],
        selecting: str | None,
        native: bool,
    ) -> None:
        self._rows, self._evals, self._metrics = rows, evals, metrics
        self._selecting, self._native = selecting, native
        # XGBoost's own container asks for its metrics and files the answers.
        self._container = xgboost.callback.CallbackContainer([])
        self.history: History = cast("History", self._container.history)

    @property
    def includes_training_rows(self) -> bool:
        """Whether the training rows are measured for `evals`."""
        return any(rows is self._rows.rows for _, rows in self._evals)

    def measure(self, stats: Residuals) -> dict[str, float]:
        """Our metrics of some rows."""
        return {name: BY_RESIDUALS[name](stats) for name in self._metrics}

    def judge(
        self,
        model: xgboost.Booster,
        epoch: int,
        train: dict[str, float],
        heard: PointwiseLoss | None,
    ) -> tuple[dict[str, float], Mapping[str, float]]:
        """File the metrics of a round; give those of the last entry and, if heard, its shares."""
        if self._native:
            matrices = [(rows.matrix, name) for name, rows in self._evals]
            self._container.after_iteration(model, epoch, self._rows.rows.matrix, matrices)
        valid: dict[str, float] = {}
        found: Mapping[str, float] = {}
        for name, rows in self._evals:
            own = rows is self._rows.rows
            stats = self._rows.look(model) if own else rows.look(model)
            valid = train if own else self.measure(stats)
            log = self.history.setdefault(name, {})
            natives = [metric for metric in log if metric not in valid]
            for metric, value in valid.items():
                log.setdefault(metric, []).append(value)
            # The last metric selects, as XGBoost has it: XGBoost's behind ours, in front of `metric`.
            for metric in [*natives, *filter(None, [self._selecting])]:
                log[metric] = log.pop(metric)
            if heard is not None and rows is self._evals[-1][1]:
                found = shares(stats, heard)
        return valid, found


class Boosting:
    """A training: builds trees, judges them, tells of them.

    Parameters
    ----------
    builder : Builder
        What adds a tree.
    rows : TrainingRows
        What trees are built from.
    judge : Judge
        What measures the model.
    regularisation : Regularisation
        In whose unit trees are built, while listeners are shown the user's.
    listeners : sequence of TrainingCallback
        Called in this order, all of them, after the metrics of a round are known.
    on_round : callable, optional
        Told of each round before them.
    """

    def __init__(
        self,
        *,
        builder: Builder,
        rows: TrainingRows,
        judge: Judge,
        regularisation: Regularisation,
        listeners: Sequence[xgboost.callback.TrainingCallback],
        on_round: Callable[[Round], None] | None,
    ) -> None:
        self._builder, self._rows, self._judge = builder, rows, judge
        self._regularisation, self._listeners, self._on_round = regularisation, listeners, on_round

    def run(self, model: xgboost.Booster, rounds: int) -> xgboost.Booster:
        """Add so many trees, or fewer where a listener stops."""
        regularisation, listeners, log = self._regularisation, self._listeners, self._judge.history
        first = model.num_boosted_rounds()
        for listener in listeners:
            model = _returned(listener, listener.before_training(model))
        regularisation.scale(model)
        for epoch in range(rounds):
            with regularisation.as_given(model):
                # All of them are called, also after one has stopped: they may count rounds.
                stops = [each.before_iteration(model, epoch, log) for each in listeners]
            if any(stops):
                break
            with named(first + epoch):
                built = self._builder.build(model, epoch)
                told = self._judged(model, epoch, first + epoch, built)
            with regularisation.as_given(model):
                if self._on_round is not None and told is not None:
                    self._on_round(told)
                stops = [each.after_iteration(model, epoch, log) for each in listeners]
            if any(stops):
                break
        regularisation.restore(model)
        with named(model.num_boosted_rounds() - 1):
            self._rows.forget()
            self._rows.look(model)  # refuses what is not finite
        for listener in listeners:
            whole, model = model, _returned(listener, listener.after_training(model))
            model = with_categories(model, whole)
        return model

    def _judged(
        self, model: xgboost.Booster, epoch: int, number: int, built: Built
    ) -> Round | None:
        self._rows.forget()
        train: dict[str, float] = {}
        if self._on_round is not None or self._judge.includes_training_rows:
            train = self._judge.measure(self._rows.look(model))
        heard = None if self._on_round is None else built.pointwise
        valid, valid_shares = self._judge.judge(model, epoch, train, heard)
        if self._on_round is None:
            return None
        return Round(
            number=number,
            pointwise=built.pointwise,
            mean_weight=built.mean_weight,
            floored=built.floored,
            train=train,
            valid=valid,
            valid_shares=valid_shares,
        )


class CutAtBest(xgboost.callback.TrainingCallback):
    """Stop when nothing improves, and return the model of the best round.

    Parameters
    ----------
    rounds : int
        Patience.
    data_name : str
        The entry of `evals` that decides, by its last metric.
    maximize : bool, optional
        Whether larger is better; without it XGBoost decides by the metric's name.
    """

    def __init__(self, rounds: int, data_name: str, *, maximize: bool | None) -> None:
        super().__init__()
        self._stopping = xgboost.callback.EarlyStopping(
            rounds=rounds, data_name=data_name, maximize=maximize, save_best=False
        )

    def before_training(self, model: Any) -> Any:  # noqa: ANN401 - XGBoost's signature
        """Hand on to XGBoost's own callback."""
        return self._stopping.before_training(model)

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ANN401 - XGBoost's signature
        """Hand on to XGBoost's own callback."""
        return bool(self._stopping.after_iteration(model, epoch, evals_log))

    def after_training(self, model: Any) -> Any:  # noqa: ANN401 - XGBoost's signature
        """Cut behind the best round, if any was judged."""
        if not self._stopping.stopping_history:
            return model
        cut = model[: model.best_iteration + 1]
        cut.set_attr(
            best_iteration=model.attr("best_iteration"), best_score=model.attr("best_score")
        )
        return cut


def with_categories(model: xgboost.Booster, whole: xgboost.Booster) -> xgboost.Booster:
    """A part of a booster, with the categories that the whole one knows.

    XGBoost before 3.4 drops them from slices, which then take categories in another order for others.
    """
    if model is whole or "c" not in (whole.feature_types or ()):
        return model
    part, known = (json.loads(bytes(each.save_raw("json"))) for each in (model, whole))
    inside, outside = (_trees(each) for each in (part, known))
    if inside["cats"] != outside["cats"]:
        inside["cats"] = outside["cats"]
        config = model.save_config()
        model.load_model(bytearray(json.dumps(part).encode()))
        model.load_config(config)
    return model


def _trees(model: dict[str, Any]) -> dict[str, Any]:
    booster = model["learner"]["gradient_booster"]
    trees: dict[str, Any] = booster.get("gbtree", booster)["model"]  # DART's are in a gbtree
    return trees


def _returned(
    listener: xgboost.callback.TrainingCallback, model: xgboost.Booster | None
) -> xgboost.Booster:
    if not isinstance(model, xgboost.Booster):
        msg = (
            f"before_training and after_training of a callback must return the model; got {model!r} "
            f"of {type(listener).__name__}; end them with return model."
        )
        raise InputError(msg)
    return model


@contextmanager
def named(number: int) -> Iterator[None]:
    """Say in an error which round it is about."""
    try:
        yield
    except InputError as error:
        msg = f"Round {number}: {error}"
        raise InputError(msg) from error
