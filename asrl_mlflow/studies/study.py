"""Share one Optuna study among many processes, any of which may be killed at any moment.

Optuna's record is the truth. What processes must agree on follows from the order of trial numbers,
which every storage gives out one by one: which run is the parent, which of two equal points is tried,
which process gets the last place of the study.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from statistics import median
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from asrl_mlflow.cards import Card
from asrl_mlflow.errors import InputError
from asrl_mlflow.losses.search_space import Interval, Point, SearchSpace
from asrl_mlflow.studies.leases import KEY, Leases
from asrl_mlflow.studies.sampler import UNDER_WAY, SeededTPE, visible_trials
from asrl_mlflow.studies.showing import LOSS, trials_table

# Attributes of trials.
RUN_ID, ROUNDS = "asrl.run_id", "asrl.rounds"
# The parent run that a process has proposed, and what marks a trial that was one too many.
_PARENT, _SURPLUS = "asrl.parent", "asrl.surplus"
# Attribute of the study.
_DEFINITION = "asrl.definition"

JUDGED = (TrialState.COMPLETE, TrialState.PRUNED)

FEWEST_TO_PRUNE_BY, _FEWEST_FOR_IMPORTANCE = 10, 8


@dataclass(frozen=True)
class Best:
    """The best trial of a study.

    Parameters
    ----------
    number : int, >= 0
        Of the trial.
    value : float
        Its objective; smaller is better.
    loss : mapping
        Its loss, as `losses.to_config` writes it.
    point : mapping of str to float
        Its point of the search space.
    rounds : int, >= 1
        How many boosting rounds were kept.
    """

    number: int
    value: float
    loss: Mapping[str, Any]
    point: Point
    rounds: int


@dataclass(eq=False)
class Study:
    """A study, created or found by its name.

    Parameters
    ----------
    name : str
        Its name in the storage.
    storage : optuna.storages.BaseStorage
        As `storages.open_storage` gives it.
    space : mapping of str to Interval
        Where to search; not empty.
    seed : int, >= 0
        Of the sampler, together with the number of the trial.
    under_way : int, >= 1
        How many trials this process may have at once. A trial is chosen and pruned by the trials that
        lie at least so many numbers before it, and by no others: where one process works on them,
        equal studies are equal trial by trial, however fast its workers are.

    Attributes
    ----------
    leases : Leases
        Which process owns which trial.
    """

    name: str
    storage: BaseStorage
    space: InitVar[SearchSpace]
    seed: InitVar[int]
    under_way: int = UNDER_WAY
    leases: Leases = field(init=False)
    _study: optuna.Study = field(init=False)
    _distributions: dict[str, BaseDistribution] = field(init=False)

    def __post_init__(self, space: SearchSpace, seed: int) -> None:
        """Create the study, or load it where its name is taken."""
        self._distributions = {key: _distribution(interval) for key, interval in space.items()}
        self._study = optuna.create_study(
            study_name=self.name,
            storage=self.storage,
            sampler=SeededTPE(seed, self._distributions, self.under_way),
            pruner=optuna.pruners.NopPruner(),
            load_if_exists=True,
        )
        self.leases = Leases(self._study, self.storage)

    def define(self, definition: Mapping[str, object]) -> None:
        """Record what the study is about; none of it may change while the study lasts.

        Raises
        ------
        InputError
            The study was begun with other values.
        """
        begun: Mapping[str, object] | None = self._study.user_attrs.get(_DEFINITION)
        if begun is None:
            self._study.set_user_attr(_DEFINITION, dict(definition))
            return
        for key, value in definition.items():
            if begun.get(key) != value:
                msg = (
                    f"Study {self.name!r} was begun with {key}={begun.get(key)}; got {value}; give "
                    "another --study a name, or leave --study out."
                )
                raise InputError(msg)

    def parent(self) -> str | None:
        """Id of the parent run; None where no process has proposed one."""
        return next(
            (
                str(trial.user_attrs[_PARENT])
                for trial in self.trials()
                if _PARENT in trial.user_attrs
            ),
            None,
        )

    def set_up(self, parent: str, starts: Sequence[Point]) -> str:
        """Propose a parent run, and queue the points to start with unless they are queued.

        Parameters
        ----------
        parent : str
            Id of the run that this process proposes.
        starts : sequence of points
            May be empty.

        Returns
        -------
        str
            Id of the parent run that all processes agree on: the one that was proposed first.
        """
        proposed = self.parent()
        keys = {trial.user_attrs.get(KEY) for trial in self.trials()}
        for index, point in enumerate(starts or [{}]):
            key = f"start {index}"
            if key not in keys:
                first = {_PARENT: parent} if proposed is None and index == 0 else {}
                self._study.enqueue_trial(dict(point), user_attrs={KEY: key, **first})
        return self.parent() or parent

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Trials in these states, or all of them, by number."""
        return self.leases.trials(*states)

    def count_judged(self) -> int:
        """Count the trials that are complete or pruned."""
        return len(self.trials(*JUDGED))

    def best(self, among: Iterable[FrozenTrial] | None = None) -> Best | None:
        """Best of the complete trials, the first of equals; None where none is complete.

        Parameters
        ----------
        among : iterable of FrozenTrial, optional
            Trials that were read already; by default they are read now.
        """
        trials = self.trials() if among is None else among
        complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
        if not complete:
            return None
        best = min(complete, key=lambda trial: (trial.value, trial.number))
        return Best(
            number=best.number,
            value=float(best.values[0]),
            loss=best.user_attrs[LOSS],
            point=dict(best.params),
            rounds=int(best.user_attrs[ROUNDS]),
        )

    def claim(self, trials: int) -> Trial | None:
        """Begin a trial, its parameters set.

        Parameters
        ----------
        trials : int, >= 1
            How many places the study has.

        Returns
        -------
        Trial or None
            None where all places are taken, or a trial must wait for an earlier one of this process.
        """
        # Once: each time costs the database some ten queries.
        known = self.trials()
        if sum(each.state in (*JUDGED, TrialState.RUNNING) for each in known) >= trials:
            return None
        lowest = self.leases.lowest_owned()
        if lowest is not None and _next_number(known) - lowest >= self.under_way:
            # The new trial is chosen by the result of that one.
            return None
        trial = None
        try:
            trial = self._study.ask(self._distributions)
            self.leases.own(trial)
            if not self._is_surplus(trial, trials):
                return trial
            trial.set_user_attr(_SURPLUS, value=True)
            self.leases.end(trial.number, TrialState.FAIL)
        except UpdateFinishedTrialError:
            # Another process took this one for dead and ended its trial.
            if trial is not None:
                self.leases.disown(trial.number)
        return None

    def limits(self, trial: Trial, steps: Iterable[int]) -> dict[int, float]:
        """The values above which a trial should be pruned, at those steps where enough trials have one.

        A limit is the median, at the same step, of the judged trials that are visible to this one; all of these
        have ended when this process begins it. (Optuna's median pruner takes the best step of a trial so far,
        but steps after the first fold are means over more rows, not later points of one curve.)

        Parameters
        ----------
        trial : Trial
            One that this process has claimed.
        steps : iterable of int
            After how many rounds, over all folds.
        """
        visible = visible_trials(self.trials(), trial.number, self.under_way)
        reached = {
            step: [
                other.intermediate_values[step]
                for other in visible
                if step in other.intermediate_values
            ]
            for step in steps
        }
        return {
            step: median(values)
            for step, values in reached.items()
            if len(values) >= FEWEST_TO_PRUNE_BY
        }

    def report(self, trial: Trial, step: int, value: float) -> bool:
        """Record a trial's objective at a step; False where another process has ended it."""
        try:
            trial.report(value, step)
        except UpdateFinishedTrialError:
            return False
        return True

    def complete(self, trial: Trial, value: float) -> bool:
        """End a trial with its objective; False where another process has ended it."""
        return self.leases.end(trial.number, TrialState.COMPLETE, value)

    def prune(self, trial: Trial) -> bool:
        """End a trial that is not worth finishing; False where another process has ended it."""
        return self.leases.end(trial.number, TrialState.PRUNED)

    def _repr_html_(self) -> str:
        """Show the study in a notebook: how far it is, and its best trials."""
        best, trials = self.best(), self.trials()
        judged = sum(trial.state in JUDGED for trial in trials)
        facts = {"trials": f"{judged} complete or pruned, of {len(trials)}"}
        if best is not None:
            facts |= {
                "best": f"trial {best.number}, {best.rounds} rounds",
                **{key: str(value) for key, value in best.loss["params"].items()},
            }
        return Card(
            title=f"study {self.name}", facts=facts, tables=[trials_table(trials, "objective")]
        ).html()

    def importance(self) -> dict[str, float]:
        """Share of the objective's variance that each parameter explains (fANOVA).

        Returns
        -------
        dict of str to float
            Shares of 1; empty where too few trials are complete, or all have the same objective.
        """
        if len(self.trials(TrialState.COMPLETE)) < _FEWEST_FOR_IMPORTANCE:
            return {}
        try:
            evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
            return optuna.importance.get_param_importances(self._study, evaluator=evaluator)
        except RuntimeError:
            # All trials have the same value.
            return {}

    def _is_surplus(self, trial: Trial, trials: int) -> bool:
        """Check whether trials with lower numbers take all places, or have the same queued point.

        They were begun first, even where they were not there yet when this process looked.
        """
        earlier = [other for other in self.trials() if other.number < trial.number]
        if sum(other.state != TrialState.FAIL for other in earlier) >= trials:
            return True
        key = trial.user_attrs.get(KEY)
        return key is not None and any(
            other.user_attrs.get(KEY) == key and _SURPLUS not in other.user_attrs
            for other in earlier
        )


def _next_number(known: Sequence[FrozenTrial]) -> int:
    """Number of the trial that would be begun now."""
    waiting = (trial.number for trial in known if trial.state == TrialState.WAITING)
    return next(waiting, len(known))


def _distribution(interval: Interval) -> BaseDistribution:
    if interval.whole:
        return IntDistribution(int(interval.low), int(interval.high), log=interval.log)
    return FloatDistribution(interval.low, interval.high, log=interval.log)
