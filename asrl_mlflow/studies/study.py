"""Optuna: one study that many processes work on, that any of them may leave at any moment.

Optuna's record is the truth. What must be decided once among processes is decided by the order of
trial numbers, which every storage gives out one by one: which run is the parent, which of two equal
points is tried, who of those that found one place left has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from asrl_mlflow.errors import InputError
from asrl_mlflow.losses.search_space import Interval, Point, SearchSpace
from asrl_mlflow.studies.sampler import UNDER_WAY, SeededTPE, known
from asrl_mlflow.system.processes import Owner, Watch

# Attributes of trials.
RUN_ID, LOSS, ROUNDS, ERROR = "asrl.run_id", "asrl.loss", "asrl.rounds", "asrl.error"
_PARENT, _KEY, _OWNER, _LEASE = "asrl.parent", "asrl.key", "asrl.owner", "asrl.lease"
_SURPLUS, _AGAIN, _DEATHS = "asrl.surplus", "asrl.again", "asrl.deaths"
# Of the study.
_DEFINITION = "asrl.definition"

JUDGED = (TrialState.COMPLETE, TrialState.PRUNED)

# A worker elsewhere renews its lease every so often, and is given up when it has not for so long.
SECONDS_BETWEEN_LEASES, SECONDS_OF_SILENCE = 10.0, 60.0
# Between a trial's creation and its owner's name in it there are milliseconds, as a rule.
_SECONDS_WITHOUT_OWNER = 10.0

# A point that takes its worker along so often is not tried again.
_MOST_DEATHS = 3
FEWEST_TO_PRUNE_BY, _FEWEST_FOR_IMPORTANCE = 10, 8


@dataclass(frozen=True)
class Best:
    """The best trial of a study."""

    number: int
    value: float
    loss: Mapping[str, Any]
    point: Point
    rounds: int


class Study:
    """A study, found again by its name.

    Parameters
    ----------
    name : str
        Its name in the storage.
    storage : optuna.storages.BaseStorage
        As `storages.opened` gives it.
    space : mapping of name to Interval
        Where to search; not empty.
    seed : int
        Of the sampler, with the number of the trial.
    under_way : int, >= 1
        How many trials this process may have at once. A trial knows, to be chosen and to be pruned
        by, only what those say that lie so far back: with one process at work, equal studies are
        equal trial by trial, whoever is faster.
    """

    def __init__(
        self,
        name: str,
        storage: BaseStorage,
        space: SearchSpace,
        seed: int,
        under_way: int = UNDER_WAY,
    ) -> None:
        self.name = name
        self._storage = storage
        self._space = {key: _distribution(interval) for key, interval in space.items()}
        self._study = optuna.create_study(
            study_name=name,
            storage=storage,
            sampler=SeededTPE(seed, self._space, under_way),
            pruner=optuna.pruners.NopPruner(),
            load_if_exists=True,
        )
        self._id = storage.get_study_id_from_name(name)
        self._under_way = under_way
        self._owner = Owner.here()
        self._mine: dict[int, Trial] = {}
        self._leases = 0
        self._silent = Watch(SECONDS_OF_SILENCE)
        self._nameless = Watch(_SECONDS_WITHOUT_OWNER)

    def define(self, definition: Mapping[str, object]) -> None:
        """Say what the study is about, all values that may not change while it lasts.

        Raises
        ------
        InputError
            It was begun with others.
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
        """The id of the parent run; None where none was proposed yet."""
        return next(
            (
                str(trial.user_attrs[_PARENT])
                for trial in self.trials()
                if _PARENT in trial.user_attrs
            ),
            None,
        )

    def begin(self, parent: str, starts: Sequence[Point]) -> str:
        """Propose a parent run and queue the points to start with, those that are not yet there.

        Returns
        -------
        str
            The parent that all processes agree on: the one of the first trial.
        """
        known = self.parent()
        keys = {trial.user_attrs.get(_KEY) for trial in self.trials()}
        for index, point in enumerate(starts or [{}]):
            key = f"start {index}"
            if key not in keys:
                first = {_PARENT: parent} if known is None and index == 0 else {}
                self._study.enqueue_trial(dict(point), user_attrs={_KEY: key, **first})
        return self.parent() or parent

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Trials in these states, or all of them, by number."""
        return self._study.get_trials(deepcopy=False, states=states or None)

    def judged(self) -> int:
        """How many trials have a verdict."""
        return len(self.trials(*JUDGED))

    def best(self) -> Best | None:
        """The best complete trial, the first of equals; None where there is none."""
        complete = self.trials(TrialState.COMPLETE)
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
        """A trial to judge, its parameters set; None while it has to wait or all places are used.

        Parameters
        ----------
        trials : int
            How many places the study has.
        """
        if len(self.trials(*JUDGED, TrialState.RUNNING)) >= trials:
            return None
        if self._next() - min(self._mine, default=self._next()) >= self._under_way:
            # What that one will say, this one would have to know.
            return None
        trial = None
        try:
            trial = self._study.ask(self._space)
            self._mine[trial.number] = trial
            trial.set_user_attr(_OWNER, vars(self._owner))
            # Whoever has a lower number was first, also where we looked before he was there.
            earlier = [other for other in self.trials() if other.number < trial.number]
            taken = sum(other.state != TrialState.FAIL for other in earlier) >= trials
            key = trial.user_attrs.get(_KEY)
            twice = key is not None and any(
                other.user_attrs.get(_KEY) == key and _SURPLUS not in other.user_attrs
                for other in earlier
            )
            if not (taken or twice):
                return trial
            trial.set_user_attr(_SURPLUS, value=True)
            self._tell(trial.number, TrialState.FAIL)
        except UpdateFinishedTrialError:
            # Somebody took us for dead.
            if trial is not None:
                self._mine.pop(trial.number, None)
        return None

    def note(self, trial: Trial, attributes: Mapping[str, Any]) -> bool:
        """Write attributes into a trial; False where somebody took us for dead and ended it."""
        try:
            for key, value in attributes.items():
                trial.set_user_attr(key, value)
        except UpdateFinishedTrialError:
            self.leave(trial)
            return False
        return True

    def leave(self, trial: Trial) -> None:
        """A trial is another process's: it is no more this one's to end or to wait for."""
        self._mine.pop(trial.number, None)

    def noted(self, trial: Trial, attribute: str) -> Any:  # noqa: ANN401 - whatever JSON was noted
        """An attribute of a trial as it stands now, whoever wrote it."""
        return self._storage.get_trial(self._trial_id(trial.number)).user_attrs.get(attribute)

    def is_worth_it(self, trial: Trial, step: int, value: float) -> bool:
        """Record an intermediate value; False where the trial should be pruned.

        It should where it is worse than the median, at the same step, of the judged trials that it
        may know of. (Optuna's
        median pruner takes a trial's best step so far, but steps after the first fold are means
        over more rows, no later points of one curve.)
        """
        try:
            trial.report(value, step)
        except UpdateFinishedTrialError:
            return False
        others = [
            other.intermediate_values[step]
            for other in known(self.trials(), trial.number, self._under_way)
            if step in other.intermediate_values
        ]
        return len(others) < FEWEST_TO_PRUNE_BY or value <= median(others)

    def complete(self, trial: Trial, value: float) -> bool:
        """End a trial with a value; False where somebody else has ended it."""
        return self._tell(trial.number, TrialState.COMPLETE, value)

    def prune(self, trial: Trial) -> bool:
        """End a trial that was not worth finishing; False where somebody else has ended it."""
        return self._tell(trial.number, TrialState.PRUNED)

    def fail(self, trial: Trial, why: str) -> bool:
        """End a trial that cannot be judged; False where somebody else has ended it."""
        return self.note(trial, {ERROR: why}) and self._tell(trial.number, TrialState.FAIL)

    def bury(self, number: int) -> bool:
        """Give a trial back whose worker process died; fail it where that was not the first time."""
        trial = self._mine[number]
        deaths = int(trial.user_attrs.get(_DEATHS, 0)) + 1
        if deaths == _MOST_DEATHS:
            return self.fail(trial, f"its worker process died {deaths} times")
        return self.note(trial, {_DEATHS: deaths}) and self.give_back(number)

    def give_back(self, number: int) -> bool:
        """Fail an unfinished trial and queue its point again; False where it has ended."""
        trial_id = self._trial_id(number)
        trial = self._storage.get_trial(trial_id)
        point = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        try:
            # Noted first: should we be killed in between, whoever comes next queues it.
            self._storage.set_trial_user_attr(trial_id, _AGAIN, point)
        except UpdateFinishedTrialError:
            self._mine.pop(number, None)
            return False
        if not self._tell(number, TrialState.FAIL):
            return False
        self._queue_again()
        return True

    def reap(self) -> list[int]:
        """Give back the trials of processes that are no more; their numbers."""
        self._queue_again()
        return [
            trial.number
            for trial in self.trials(TrialState.RUNNING)
            if self._is_abandoned(trial) and self.give_back(trial.number)
        ]

    def has_nameless(self) -> bool:
        """Whether a trial was begun whose owner has not yet put his name to it."""
        return any(
            _OWNER not in trial.user_attrs and trial.number not in self._mine
            for trial in self.trials(TrialState.RUNNING)
        )

    def renew(self) -> None:
        """Show those who cannot see this process that it lives."""
        self._leases += 1
        for trial in list(self._mine.values()):
            self.note(trial, {_LEASE: self._leases})

    def importance(self) -> dict[str, float]:
        """How much each parameter moved the value, a share of 1; empty where that cannot be told."""
        if len(self.trials(TrialState.COMPLETE)) < _FEWEST_FOR_IMPORTANCE:
            return {}
        try:
            evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
            return optuna.importance.get_param_importances(self._study, evaluator=evaluator)
        except RuntimeError:
            # All trials have the same value.
            return {}

    def _next(self) -> int:
        """The number of the trial that would be begun now."""
        waiting = self.trials(TrialState.WAITING)
        return waiting[0].number if waiting else len(self.trials())

    def _trial_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._id, number)

    def _tell(self, number: int, state: TrialState, value: float | None = None) -> bool:
        self._mine.pop(number, None)
        try:
            self._study.tell(number, value, state=state)
        except (UpdateFinishedTrialError, ValueError):
            # Ended by somebody else, before we looked or while we did.
            return False
        return True

    def _is_abandoned(self, trial: FrozenTrial) -> bool:
        if trial.number in self._mine:
            return False
        owner = Owner.from_json(trial.user_attrs.get(_OWNER))
        if owner is None:
            return self._nameless.is_stale(trial.number, None)
        if owner == self._owner:
            return True
        alive = owner.is_alive()
        if alive is None:
            return self._silent.is_stale(trial.number, trial.user_attrs.get(_LEASE))
        return not alive

    def _queue_again(self) -> None:
        trials = self.trials()
        keys = {trial.user_attrs.get(_KEY) for trial in trials}
        for trial in trials:
            point = trial.user_attrs.get(_AGAIN)
            key = f"again {trial.number}"
            if point and trial.state == TrialState.FAIL and key not in keys:
                deaths = trial.user_attrs.get(_DEATHS, 0)
                self._study.enqueue_trial(point, user_attrs={_KEY: key, _DEATHS: deaths})


def _distribution(interval: Interval) -> BaseDistribution:
    if interval.whole:
        return IntDistribution(int(interval.low), int(interval.high), log=interval.log)
    return FloatDistribution(interval.low, interval.high, log=interval.log)
