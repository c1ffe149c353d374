"""Keep track of which process owns which trial, and give back the trials of processes that are gone.

A process writes its name into each trial that it begins. Processes of the same host are looked up; a
process on another host renews a mark in its trials, its lease, and counts as gone when the mark has
stayed the same for a minute.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from asrl_mlflow.system.processes import Owner, Watch

_logger = logging.getLogger(__name__)

# Attributes of trials: why a trial failed, and by what a queued point is known.
ERROR, KEY = "asrl.error", "asrl.key"
_OWNER, _LEASE = "asrl.owner", "asrl.lease"
# The point of a trial that is to be queued again, and how often its worker process has died.
_AGAIN, _DEATHS = "asrl.again", "asrl.deaths"

# How often a process renews its leases, and for how long a lease holds.
SECONDS_BETWEEN_LEASES, SECONDS_OF_SILENCE = 10.0, 60.0
# Between a trial's creation and its owner's name in it there are milliseconds, as a rule.
_SECONDS_WITHOUT_OWNER = 10.0

# A point whose worker process has died so often is not tried again.
_MOST_DEATHS = 3


def _watch_leases() -> Watch:
    return Watch(SECONDS_OF_SILENCE)


def _watch_unowned() -> Watch:
    return Watch(_SECONDS_WITHOUT_OWNER)


@dataclass(eq=False)
class Leases:
    """The trials of a study that this process owns, and what it has seen of other processes' trials.

    Parameters
    ----------
    study : optuna.Study
        Whose trials they are.
    storage : optuna.storages.BaseStorage
        Where the study is kept.
    """

    study: optuna.Study
    storage: BaseStorage
    _me: Owner = field(default_factory=Owner.here)
    _mine: dict[int, Trial] = field(default_factory=dict)
    _renewals: int = 0
    _leases_seen: Watch = field(default_factory=_watch_leases)
    _unowned_seen: Watch = field(default_factory=_watch_unowned)

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Trials of the study in these states, or all of them, by number."""
        return self.study.get_trials(deepcopy=False, states=states or None)

    def own(self, trial: Trial) -> None:
        """Name this process as the owner of a trial.

        Raises
        ------
        UpdateFinishedTrialError
            Another process has ended the trial.
        """
        self._mine[trial.number] = trial
        trial.set_user_attr(_OWNER, vars(self._me))

    def disown(self, number: int) -> None:
        """Leave a trial to another process: this one neither ends it nor waits for it."""
        self._mine.pop(number, None)

    def lowest_owned(self) -> int | None:
        """Lowest number of this process's trials; None where it has none."""
        return min(self._mine, default=None)

    def write(self, trial: Trial, attributes: Mapping[str, Any]) -> bool:
        """Write attributes into a trial; False where another process has ended it."""
        try:
            for key, value in attributes.items():
                trial.set_user_attr(key, value)
        except UpdateFinishedTrialError:
            self.disown(trial.number)
            return False
        return True

    def read(self, trial: Trial, attribute: str) -> Any:  # noqa: ANN401 - whatever JSON was written
        """Read an attribute of a trial from the storage: another process may have written it."""
        stored = self.storage.get_trial(self._trial_id(trial.number))
        return stored.user_attrs.get(attribute)

    def end(self, number: int, state: TrialState, value: float | None = None) -> bool:
        """End a trial in a state; False where another process has ended it."""
        self.disown(number)
        try:
            self.study.tell(number, value, state=state)
        except (UpdateFinishedTrialError, ValueError):
            # Optuna raises either, as it was ended before the call or during it.
            return False
        return True

    def fail(self, trial: Trial, why: str) -> bool:
        """End a trial that cannot be judged; False where another process has ended it."""
        return self.write(trial, {ERROR: why}) and self.end(trial.number, TrialState.FAIL)

    def give_back(self, number: int) -> bool:
        """Fail an unfinished trial and queue its point again; False where it has ended."""
        trial_id = self._trial_id(number)
        trial = self.storage.get_trial(trial_id)
        point = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        try:
            # Written first: if this process is killed before it has queued the point, another does.
            self.storage.set_trial_user_attr(trial_id, _AGAIN, point)
        except UpdateFinishedTrialError:
            self.disown(number)
            return False
        if not self.end(number, TrialState.FAIL):
            return False
        _logger.info(
            "Trial %d of study %s is given back, to be tried again.", number, self.study.study_name
        )
        self._queue_again()
        return True

    def give_back_after_death(self, number: int) -> bool:
        """Give back a trial whose worker process died; fail it where that was the third time.

        Returns
        -------
        bool
            False where another process has ended the trial.
        """
        trial = self._mine[number]
        deaths = int(trial.user_attrs.get(_DEATHS, 0)) + 1
        if deaths == _MOST_DEATHS:
            return self.fail(trial, f"its worker process died {deaths} times")
        return self.write(trial, {_DEATHS: deaths}) and self.give_back(number)

    def give_back_abandoned(self) -> list[int]:
        """Give back the trials whose processes are gone; their numbers."""
        self._queue_again()
        return [
            trial.number
            for trial in self.trials(TrialState.RUNNING)
            if self._is_abandoned(trial) and self.give_back(trial.number)
        ]

    def has_unowned(self) -> bool:
        """Check whether another process has begun a trial and not yet named itself as the owner."""
        return any(
            _OWNER not in trial.user_attrs and trial.number not in self._mine
            for trial in self.trials(TrialState.RUNNING)
        )

    def renew(self) -> None:
        """Renew this process's leases, for processes of other hosts that cannot look it up."""
        self._renewals += 1
        for trial in list(self._mine.values()):
            self.write(trial, {_LEASE: self._renewals})

    @cached_property
    def _study_id(self) -> int:
        return self.storage.get_study_id_from_name(self.study.study_name)

    def _trial_id(self, number: int) -> int:
        return self.storage.get_trial_id_from_study_id_trial_number(self._study_id, number)

    def _is_abandoned(self, trial: FrozenTrial) -> bool:
        if trial.number in self._mine:
            return False
        owner = Owner.from_json(trial.user_attrs.get(_OWNER))
        if owner is None:
            return self._unowned_seen.is_stale(trial.number, None)
        if owner == self._me:
            return True
        is_alive = owner.is_alive()
        if is_alive is None:
            return self._leases_seen.is_stale(trial.number, trial.user_attrs.get(_LEASE))
        return not is_alive

    def _queue_again(self) -> None:
        """Queue the points of trials that were given back, those that are not yet queued."""
        trials = self.trials()
        keys = {trial.user_attrs.get(KEY) for trial in trials}
        for trial in trials:
            point = trial.user_attrs.get(_AGAIN)
            key = f"again {trial.number}"
            if point and trial.state == TrialState.FAIL and key not in keys:
                deaths = trial.user_attrs.get(_DEATHS, 0)
                self.study.enqueue_trial(point, user_attrs={KEY: key, _DEATHS: deaths})
