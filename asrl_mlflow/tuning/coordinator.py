"""Coordinate the trials of a study: workers judge them, Optuna chooses them, MLflow has their runs.

Only this process calls Optuna and MLflow; its workers only train. Optuna hears the result of a trial
before the trial's run ends. Where a kill falls between the two, the next process ends the run.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from optuna.trial import Trial

from asrl_mlflow import tracking
from asrl_mlflow.errors import InputError
from asrl_mlflow.experiments.trials.assignment import Assignment, Message
from asrl_mlflow.experiments.trials.judging import Contest, Verdict
from asrl_mlflow.experiments.trials.pool import Pool, Worker
from asrl_mlflow.losses import BaseLoss, describe_params, to_config
from asrl_mlflow.losses.search_space import Point
from asrl_mlflow.studies.leases import ERROR, SECONDS_BETWEEN_LEASES
from asrl_mlflow.studies.showing import LOSS
from asrl_mlflow.studies.study import ROUNDS, RUN_ID, Study
from asrl_mlflow.system.signals import hold_signals, stop_repeating
from asrl_mlflow.tracking.keys import PARTIAL, PRUNED_TAG, REAPED_TAG, TRIAL_TAG
from asrl_mlflow.tracking.retries import stop_waiting
from asrl_mlflow.tracking.run_log import RunLog
from asrl_mlflow.tuning.study_runs import OBJECTIVE, StudyRuns, run_tags

_FAILURES_IN_A_ROW = 10
_SECONDS_BETWEEN_LOOKS = 0.5
# A run's name shows no more values than these.
_VALUES_IN_A_NAME = 4


@dataclass(eq=False)
class _Attempt:
    """A trial that a worker judges, with its run.

    Parameters
    ----------
    trial : Trial
        As the study gave it out.
    log : RunLog
        Of its run.
    rounds : dict of int to list of mapping
        By number of the round, the metrics of the folds that have had it; rounds that were logged are
        taken out.
    """

    trial: Trial
    log: RunLog
    rounds: dict[int, list[Mapping[str, float]]] = field(default_factory=lambda: defaultdict(list))

    def log_rounds(self, folds: int) -> None:
        """Log the rounds that all folds have had: the means over them."""
        for number in [number for number, metrics in self.rounds.items() if len(metrics) == folds]:
            self.log.step(number, self._take_means(number))

    def log_partial_rounds(self) -> None:
        """Log the rounds that only some folds have had, under keys of their own."""
        for number in list(self.rounds):
            means = self._take_means(number)
            self.log.step(number, {f"{PARTIAL}{key}": value for key, value in means.items()})

    def _take_means(self, number: int) -> dict[str, float]:
        metrics = self.rounds.pop(number)
        return {key: fmean(each[key] for each in metrics) for key in metrics[0]}


@dataclass(kw_only=True, eq=False)
class Coordinator:
    """Judges trials of a study with a pool of workers; other coordinators may do so at the same time.

    Parameters
    ----------
    study : Study
        Whose trials they are.
    contest : Contest
        How trials are judged.
    pool : Pool
        Where they are judged; started and closed here.
    candidate : callable
        From a point of the study's space to the loss and the XGBoost parameters that it stands for.
    parent : RunLog
        Log of the study's parent run.
    params : mapping of str to object
        Params that every trial's run has.
    on_change : callable
        Called with the study when a trial may have ended, in this process or in another.
    """

    study: Study
    contest: Contest
    pool: Pool
    candidate: Callable[[Point], tuple[BaseLoss, Mapping[str, Any]]]
    parent: RunLog
    params: Mapping[str, object]
    on_change: Callable[[Study], object]
    _runs: StudyRuns = field(init=False)
    _busy: dict[Worker, _Attempt] = field(default_factory=dict)
    _idle: list[Worker] = field(default_factory=list)
    _ended: list[tuple[_Attempt, str, list[Any]]] = field(default_factory=list)
    _failed_in_a_row: int = 0
    _renewed_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Prepare to compare the study's runs with Optuna's record."""
        self._runs = StudyRuns(self.study, self.parent)

    def run(self, *, trials: int, jobs: int, seconds: float | None) -> None:
        """Judge trials until the study has as many as it should, or the time is over.

        Parameters
        ----------
        trials : int, >= 1
            How many complete and pruned trials the study should have, those of other processes and of
            earlier ones included.
        jobs : int, >= 1
            How many trials to judge at once.
        seconds : float, optional
            Begin no trial after so many seconds.

        Raises
        ------
        InputError
            Ten trials in a row failed, or ten worker processes in a row died.
        ClusterError
            The workers are those of a cluster, which does not answer, or they died.
        """
        deadline = time.monotonic() + (float("inf") if seconds is None else seconds)
        self.study.leases.give_back_abandoned()
        self._runs.end_abandoned()
        try:
            self.pool.start(self.contest, min(jobs, max(0, trials - self.study.count_judged())))
            while not self._take_turn(trials, is_late=time.monotonic() > deadline):
                self._wait()
                self._renew_leases()
        finally:
            stop_repeating()
            with hold_signals(stop_waiting):
                self._stop()
        self._runs.end_abandoned()

    def _take_turn(self, trials: int, *, is_late: bool) -> bool:
        """Hand trials out and record those that have ended; True where nothing is left to do."""
        with hold_signals(stop_waiting):
            if not is_late:
                self._hand_out(trials)
            # The workers are busy again while the store is called.
            self._record()
            self.on_change(self.study)
            return not self._busy and (is_late or self._is_complete(trials))

    def _is_complete(self, trials: int) -> bool:
        if self.study.count_judged() < trials:
            return False
        # A process may have died before it named itself as a trial's owner: known in a few seconds.
        self.study.leases.give_back_abandoned()
        return not self.study.leases.has_unowned()

    def _wait(self) -> None:
        """Wait until a worker is free, or for a moment: other processes may have changed the study."""
        until = time.monotonic() + _SECONDS_BETWEEN_LOOKS
        while not self._receive(max(0, until - time.monotonic())):
            if time.monotonic() > until:
                return

    def _receive(self, seconds: float) -> bool:
        """Receive messages of workers; whether one of them is free now."""
        self.pool.wait(seconds)
        with hold_signals(stop_waiting):
            are_free = [self._handle(*each) for each in self.pool.receive()]
        return any(are_free)

    def _renew_leases(self) -> None:
        """Renew leases and end what killed processes have left, every few seconds."""
        if time.monotonic() - self._renewed_at <= SECONDS_BETWEEN_LEASES:
            return
        self._renewed_at = time.monotonic()
        with hold_signals(stop_waiting):
            self.study.leases.renew()
            self.study.leases.give_back_abandoned()
            attempts = [*self._busy.values(), *(attempt for attempt, *_ in self._ended)]
            self._runs.end_abandoned({attempt.log.run_id for attempt in attempts})

    def _hand_out(self, trials: int) -> None:
        """Give each idle worker a trial, as long as the study has some."""
        while self._idle:
            trial = self.study.claim(trials)
            if trial is None:
                return
            loss, params = self.candidate(trial.params)
            attempt = _Attempt(trial, self._open_run(trial, loss, params))
            written = {RUN_ID: attempt.log.run_id, LOSS: to_config(loss)}
            if not self.study.leases.write(trial, written):
                self._close(attempt, "KILLED", {}, is_ours=False)
                continue
            limits = self.study.limits(trial, self.contest.steps)
            worker = self._idle.pop()
            self._busy[worker] = attempt
            worker.judge(Assignment.of(loss, params, limits))
            # All that follows takes time in which the worker trains.
            attempt.log.params(
                {**self.params, **tracking.loss_params(loss), **tracking.booster_params(params)}
            )
            # Beside the point, whose coordinates are not always parameters: q_high, where the point has a gap.
            self.study.leases.write(trial, _searched_fields(trial, loss, params))

    def _open_run(self, trial: Trial, loss: BaseLoss, params: Mapping[str, Any]) -> RunLog:
        return tracking.open_child(
            _run_name(trial, loss, params),
            flow="tune",
            parent=self.parent,
            tags={**run_tags(self.study), TRIAL_TAG: str(trial.number)},
        )

    def _handle(self, worker: Worker, message: Message) -> bool:
        """Handle a message of a worker; whether a worker is free now, or a trial is."""
        kind, *content = message
        if kind == "died":
            self._give_back(worker)
            return True
        if kind == "ready":
            self._idle.append(worker)
            return True
        attempt = self._busy[worker]
        if kind == "rounds":
            for number, metrics in content[0]:
                attempt.rounds[number].append(metrics)
            attempt.log_rounds(len(self.contest.folds))
            return False
        if kind == "step":
            self.study.report(attempt.trial, *content)
            return False
        del self._busy[worker]
        self._idle.append(worker)
        self._ended.append((attempt, kind, content))
        return True

    def _record(self) -> None:
        """Record the trials that have ended in Optuna and MLflow."""
        while self._ended:
            attempt, kind, content = self._ended.pop(0)
            attempt.log_partial_rounds()
            if kind == "done":
                (verdict,) = content
                # With the last rounds, as each call takes time.
                attempt.log.step(0, {OBJECTIVE: verdict.value, "best_round": verdict.rounds - 1})
            # Before Optuna has the result: the run of a complete trial then has all its rounds.
            attempt.log.flush()
            if kind == "done":
                self._complete(attempt, *content)
            elif kind == "pruned":
                self._prune(attempt)
            else:
                self._fail(attempt, *content)

    def _complete(self, attempt: _Attempt, verdict: Verdict) -> None:
        self._failed_in_a_row = 0
        is_ours = (
            self._owns(attempt)
            and self.study.leases.write(attempt.trial, {ROUNDS: verdict.rounds})
            and self.study.complete(attempt.trial, verdict.value)
        )
        self._close(attempt, "FINISHED", {}, is_ours=is_ours)

    def _prune(self, attempt: _Attempt) -> None:
        self._failed_in_a_row = 0
        is_ours = self._owns(attempt) and self.study.prune(attempt.trial)
        self._close(attempt, "KILLED", {PRUNED_TAG: "true"}, is_ours=is_ours)

    def _fail(self, attempt: _Attempt, why: str) -> None:
        is_ours = self._owns(attempt) and self.study.leases.fail(attempt.trial, why)
        self._close(attempt, "FAILED", {ERROR: why}, is_ours=is_ours)
        self._failed_in_a_row += 1
        if self._failed_in_a_row == _FAILURES_IN_A_ROW:
            msg = (
                f"Study {self.study.name!r} ended as {_FAILURES_IN_A_ROW} trials in a row failed; the "
                f"last: {why}"
            )
            raise InputError(msg)

    def _owns(self, attempt: _Attempt) -> bool:
        """Check whether the trial has this process's run; else leave it to the other process.

        On some storages two processes may take the same trial from the queue: the last write counts.
        """
        if self.study.leases.read(attempt.trial, RUN_ID) == attempt.log.run_id:
            return True
        self.study.leases.disown(attempt.trial.number)
        return False

    @staticmethod
    def _close(attempt: _Attempt, status: str, tags: Mapping[str, str], *, is_ours: bool) -> None:
        """End a run with its trial's status; where this process did not end the trial, as KILLED."""
        attempt.log.tags(tags if is_ours else {REAPED_TAG: "true"})
        attempt.log.close(status if is_ours else "KILLED")

    def _give_back(self, worker: Worker) -> None:
        """Give back the trial of a worker that died."""
        if worker in self._idle:
            self._idle.remove(worker)
        if worker in self._busy:
            attempt = self._busy.pop(worker)
            attempt.log_partial_rounds()
            self.study.leases.give_back_after_death(attempt.trial.number)
            self._close(attempt, "KILLED", {}, is_ours=False)

    def _stop(self) -> None:
        """End all workers, and give their trials back."""
        self.pool.close()
        self._record()
        for attempt in self._busy.values():
            attempt.log_partial_rounds()
            self.study.leases.give_back(attempt.trial.number)
            self._close(attempt, "KILLED", {}, is_ours=False)
        self._busy.clear()


def _run_name(trial: Trial, loss: BaseLoss, params: Mapping[str, Any]) -> str:
    """Name the run of a trial by its values, such as "trial 7: q_low=0.62, q_high=0.71"."""
    values = describe_params({**_searched_fields(trial, loss, params), **params}, 2)
    if len(values) > _VALUES_IN_A_NAME:
        values[_VALUES_IN_A_NAME:] = ["..."]
    return f"trial {trial.number}: {', '.join(values)}"


def _searched_fields(trial: Trial, loss: BaseLoss, params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a loss that a trial's point stands for, by their names."""
    # Each coordinate of a point stands for one value, and a loss names its fixed values last.
    searched = len(trial.params) - len(params)
    return dict(itertools.islice(dataclasses.asdict(loss).items(), searched))
