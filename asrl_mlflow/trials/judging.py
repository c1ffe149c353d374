"""What a trial is worth: its loss learns from some rows and is judged by others, never by test rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

import xgboost

from asrl_mlflow.boosting.training import train
from asrl_mlflow.datasets.matrices import make_matrix
from asrl_mlflow.datasets.splits import Rows
from asrl_mlflow.losses import Loss
from asrl_mlflow.rounds import Round

# Told of a round: its number, which each fold has anew, and what `Round.metrics` says of it.
Listener = Callable[[int, Mapping[str, float]], object]
# Asked at a step, with the value so far, whether to go on.
Keeper = Callable[[int, float], bool]


class Pruned(Exception):  # noqa: N818 - Optuna's word for a trial that was not worth finishing
    """A trial is not worth its remaining rounds."""


@dataclass(frozen=True)
class Contest:
    """The same for all trials of a study: rows, rules and measure.

    Parameters
    ----------
    folds : tuple of (Part, Part)
        Rows to learn from and rows to judge by: one pair, or those of a cross-validation.
    params : mapping
        XGBoost's parameters, unless a trial has its own.
    rounds : int, >= 1
        Boosting rounds, at most.
    early_stopping_rounds : int, optional
        Stop when the metric has not improved for so many rounds.
    metric : str
        One of `metrics.SELECTING`; smaller is better.
    """

    folds: tuple[tuple[Rows, Rows], ...]
    params: Mapping[str, Any]
    rounds: int
    early_stopping_rounds: int | None
    metric: str

    @property
    def steps(self) -> tuple[int, ...]:
        """After how many rounds in all, over the folds, a trial can be pruned."""
        within = {self.rounds // 4, self.rounds // 2} - {0}
        ends = range(self.rounds, self.rounds * len(self.folds), self.rounds)
        return tuple(sorted({*within, *ends}))


@dataclass(frozen=True)
class Verdict:
    """What came out of a trial.

    Parameters
    ----------
    value : float
        The metric, its mean over the folds, each at the round that is kept.
    rounds : int
        How many rounds were kept, the mean over the folds.
    """

    value: float
    rounds: int


@dataclass
class Judge:
    """Judges trials one after another, by matrices that are built once.

    Parameters
    ----------
    contest : Contest
        Rows, rules and measure.
    """

    contest: Contest
    _matrices: list[tuple[xgboost.QuantileDMatrix, xgboost.QuantileDMatrix]] = field(init=False)

    def __post_init__(self) -> None:
        self._matrices = []
        for learned, judged in self.contest.folds:
            dtrain = make_matrix(learned)
            self._matrices.append((dtrain, make_matrix(judged, ref=dtrain)))

    def judge(
        self, loss: Loss, params: Mapping[str, Any], on_round: Listener, keep: Keeper
    ) -> Verdict:
        """Train on every fold.

        Parameters
        ----------
        loss : Loss
            What to minimise.
        params : mapping
            XGBoost's parameters that are this trial's own.
        on_round : callable
            Told of every round.
        keep : callable
            Asked whether to go on, after the rounds that `Contest.steps` names.

        Raises
        ------
        Pruned
            It said no.
        """
        contest = self.contest
        values: list[float] = []
        kept: list[int] = []
        for fold, (dtrain, dvalid) in enumerate(self._matrices):

            def listen(round_: Round, fold: int = fold) -> None:
                on_round(round_.number, round_.metrics())
                step = fold * contest.rounds + round_.number + 1
                if fold == 0 and step in contest.steps and step < contest.rounds:
                    self._ask(keep, step, round_.valid[contest.metric])

            measured: dict[str, dict[str, list[float]]] = {}
            booster = train(
                {**contest.params, **params},
                dtrain,
                contest.rounds,
                loss=loss,
                evals=[(dvalid, "valid")],
                early_stopping_rounds=contest.early_stopping_rounds,
                metric=contest.metric,
                on_round=listen,
                evals_result=measured,
                weight_rule=contest.folds[fold][0].weight_rule,
            )
            kept.append(booster.num_boosted_rounds())
            values.append(measured["valid"][contest.metric][kept[-1] - 1])
            if fold + 1 < len(self._matrices):
                self._ask(keep, (fold + 1) * contest.rounds, mean(values))
        return Verdict(mean(values), round(mean(kept)))

    @staticmethod
    def _ask(keep: Keeper, step: int, value: float) -> None:
        if not keep(step, value):
            raise Pruned
