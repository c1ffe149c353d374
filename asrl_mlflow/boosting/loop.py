"""One training, round by round: a tree is built, its rows are measured, listeners are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import xgboost

from asrl_mlflow.boosting.early_stopping import with_categories
from asrl_mlflow.boosting.evaluation import Evaluation
from asrl_mlflow.boosting.learner import Builder, Built, LearnedRows
from asrl_mlflow.boosting.regularisation import Regularisation
from asrl_mlflow.errors import InputError
from asrl_mlflow.rounds import Round


class Boosting:
    """Run a training: in each round build a tree, evaluate the model, call the listeners.

    Parameters
    ----------
    builder : Builder
        What adds a tree.
    rows : LearnedRows
        What trees are built from.
    evaluation : Evaluation
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
        rows: LearnedRows,
        evaluation: Evaluation,
        regularisation: Regularisation,
        listeners: Sequence[xgboost.callback.TrainingCallback],
        on_round: Callable[[Round], None] | None,
    ) -> None:
        self._builder, self._rows, self._evaluation = builder, rows, evaluation
        self._regularisation, self._listeners, self._on_round = regularisation, listeners, on_round

    def run(self, model: xgboost.Booster, rounds: int) -> xgboost.Booster:
        """Add so many trees, or fewer where a listener stops."""
        regularisation, listeners, log = (
            self._regularisation,
            self._listeners,
            self._evaluation.history,
        )
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
            with name_round(first + epoch):
                built = self._builder.build(model, epoch)
                self._rows.pace.count(model)
                told = self._evaluate(model, epoch, first + epoch, built)
            with regularisation.as_given(model):
                if self._on_round is not None and told is not None:
                    self._on_round(told)
                stops = [each.after_iteration(model, epoch, log) for each in listeners]
            if any(stops):
                break
        regularisation.restore(model)
        with name_round(model.num_boosted_rounds() - 1):
            self._rows.forget()
            self._rows.see(model)  # refuses what is not finite
        for listener in listeners:
            whole, model = model, _returned(listener, listener.after_training(model))
            model = with_categories(model, whole)
        return model

    def _evaluate(
        self, model: xgboost.Booster, epoch: int, number: int, built: Built
    ) -> Round | None:
        self._rows.forget()
        train: dict[str, float] = {}
        if self._on_round is not None or self._evaluation.includes_training_rows:
            train = self._evaluation.measure(self._rows.see(model))
        heard = None if self._on_round is None else built
        valid, valid_shares = self._evaluation.evaluate(model, epoch, train, heard)
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
            targets=built.targets,
        )


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
def name_round(number: int) -> Iterator[None]:
    """Name the round in an InputError that is raised in the block."""
    try:
        yield
    except InputError as error:
        msg = f"Round {number}: {error}"
        raise InputError(msg) from error
