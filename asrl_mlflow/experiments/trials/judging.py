"""Judge a trial: train its loss on some rows and measure it on others, never on test rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

import xgboost

from asrl_mlflow.boosting.training import train
from asrl_mlflow.datasets.matrices import make_matrix
from asrl_mlflow.datasets.splits import Rows
from asrl_mlflow.losses import BaseLoss
from asrl_mlflow.rounds import Round

# Called after a round with its number, which begins anew in each fold, and its `Round.metrics`.
Listener = Callable[[int, Mapping[str, float]], object]
# Called at a step with the value so far; returns whether the trial goes on.
Keeper = Callable[[int, float], bool]


class Pruned(Exception):  # noqa: N818 - Optuna's word for a trial that was not worth finishing
    """Raised to end a trial early, as its metric is too poor."""


@dataclass(frozen=True)
class Contest:
    """Rows and rules by which all trials of a study are judged.

    Parameters
    ----------
    folds : tuple of (Rows, Rows)
        Rows to train on and rows to measure on: one pair, or those of a cross-validation.
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
        """Numbers of rounds, counted over all folds, after which a trial can be pruned."""
        within = {self.rounds // 4, self.rounds // 2} - {0}
        ends = range(self.rounds, self.rounds * len(self.folds), self.rounds)
        return tuple(sorted({*within, *ends}))


@dataclass(frozen=True)
class Verdict:
    """Result of a trial.

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
    """Judges trials one after another, on matrices that are built once.

    Parameters
    ----------
    contest : Contest
        Rows and rules.
    """

    contest: Contest
    _matrices: list[tuple[xgboost.QuantileDMatrix, xgboost.QuantileDMatrix]] = field(init=False)

    def __post_init__(self) -> None:
        self._matrices = []
        for learned, judged in self.contest.folds:
            dtrain = make_matrix(learned)
            self._matrices.append((dtrain, make_matrix(judged, ref=dtrain)))

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild the matrices from the rows, as XGBoost's cannot be moved to another process."""
        return Judge, (self.contest,)

    def judge(
        self,
        loss: BaseLoss,
        params: Mapping[str, Any],
        on_round: Listener | None,
        keep: Keeper,
    ) -> Verdict:
        """Train on every fold, and average the metric over the folds.

        Parameters
        ----------
        loss : BaseLoss
            The loss to minimise.
        params : mapping of str to object
            XGBoost's parameters of this trial; they take precedence over the contest's.
        on_round : callable, optional
            Called after every round with its number and metrics. Without it training rows are not measured,
            which takes less time, and `keep` is called between folds only.
        keep : callable
            Called after the rounds that `Contest.steps` names, with their number and the metric so
            far; returns whether to go on.

        Raises
        ------
        Pruned
            `keep` returned False.
        """
        contest = self.contest
        values: list[float] = []
        kept: list[int] = []
        for fold, (dtrain, dvalid) in enumerate(self._matrices):

            def listen(round_: Round, fold: int = fold) -> None:
                if on_round is not None:  # else nobody calls this
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
                on_round=None if on_round is None else listen,
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
