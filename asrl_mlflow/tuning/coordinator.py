"""Tuning: processes judge a study's trials, Optuna says what to try next, MLflow has a run for each.

This process alone speaks to Optuna and MLflow; its workers only train. A trial is told to Optuna
before its run ends, and whatever a kill leaves between the two is set right by whoever comes next.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Any

from optuna.trial import Trial

from asrl_mlflow import tracking
from asrl_mlflow.errors import InputError
from asrl_mlflow.losses import Loss, to_config
from asrl_mlflow.losses.search_space import Point
from asrl_mlflow.studies.study import ERROR, LOSS, ROUNDS, RUN_ID, SECONDS_BETWEEN_LEASES, Study
from asrl_mlflow.system.signals import hold_signals, stop_repeating
from asrl_mlflow.tracking.leftovers import REAPED_TAG
from asrl_mlflow.tracking.patience import hurry
from asrl_mlflow.tracking.run_log import RunLog
from asrl_mlflow.trials.judging import Contest, Verdict
from asrl_mlflow.trials.worker import Worker
from asrl_mlflow.tuning.study_runs import OBJECTIVE, PRUNED_TAG, TRIAL_TAG, Runs, run_tags

_FAILURES_IN_A_ROW = _DEATHS_IN_A_ROW = 10
_SECONDS_BETWEEN_LOOKS = 0.5


@dataclass(eq=False)
class _Attempt:
    """A trial in a worker, and its run."""

    trial: Trial
    log: RunLog
    rounds: dict[int, list[Mapping[str, float]]] = field(default_factory=lambda: defaultdict(list))

    def send(self, folds: int) -> None:
        """Log the rounds that so many folds have gone through: their means."""
        for number in [number for number, told in self.rounds.items() if len(told) >= folds]:
            told = self.rounds.pop(number)
            self.log.step(number, {key: _mean([one[key] for one in told]) for key in told[0]})


@dataclass
class Tuner:
    """One process's part in a study.

    Parameters
    ----------
    study : Study
        Which others may work on too.
    contest : Contest
        How its trials are judged.
    candidate : callable
        From a point of the study's space to the loss and the XGBoost parameters that it means.
    parent : RunLog
        The study's run.
    params : mapping
        What every trial's run has in common.
    logs : list of RunLog
        The log of each run is appended as it opens.
    """

    study: Study
    contest: Contest
    candidate: Callable[[Point], tuple[Loss, Mapping[str, Any]]]
    parent: RunLog
    params: Mapping[str, object]
    logs: list[RunLog] = field(default_factory=list)
    _busy: dict[Worker, _Attempt] = field(default_factory=dict)
    _idle: list[Worker] = field(default_factory=list)
    _starting: list[Worker] = field(default_factory=list)
    _ended: list[tuple[_Attempt, str, list[Any]]] = field(default_factory=list)
    _failed_in_a_row: int = 0
    _died_in_a_row: int = 0

    def run(
        self,
        *,
        trials: int,
        jobs: int,
        seconds: float | None,
        on_change: Callable[[Study], object],
    ) -> None:
        """Judge trials until the study has as many as it should, or the time is over.

        Parameters
        ----------
        trials : int
            Complete and pruned ones, of all processes together and of earlier ones.
        jobs : int
            Worker processes.
        seconds : float, optional
            Begin no trial later.
        on_change : callable
            Told when a trial has ended, here or elsewhere.

        Raises
        ------
        InputError
            Ten trials in a row failed.
        """
        deadline = time.monotonic() + (float("inf") if seconds is None else seconds)
        renewed = time.monotonic()
        runs = Runs(self.study, self.parent.run_id)
        self.study.reap()
        runs.settle()
        try:
            self._start(min(jobs, max(0, trials - self.study.judged())))
            while True:
                late = time.monotonic() > deadline
                with hold_signals(hurry):
                    if not late:
                        self._hand_out(trials)
                    # Meanwhile the workers are busy again.
                    self._record()
                    on_change(self.study)
                    if not self._busy and self._is_over(trials, late=late):
                        break
                # Until something happened here that may have changed the study, or elsewhere.
                until = time.monotonic() + _SECONDS_BETWEEN_LOOKS
                while not self._listen(max(0, until - time.monotonic())):
                    if time.monotonic() > until:
                        break
                if time.monotonic() - renewed > SECONDS_BETWEEN_LEASES:
                    renewed = time.monotonic()
                    with hold_signals(hurry):
                        self.study.renew()
                        self.study.reap()
                        runs.settle({log.run_id for log in self._open()})
        finally:
            stop_repeating()
            with hold_signals(hurry):
                self._stop()
        runs.settle()

    def _is_over(self, trials: int, *, late: bool) -> bool:
        if late:
            return True
        if self.study.judged() < trials:
            return False
        # One that was begun by a process that died before it said so: it shows in a few seconds.
        self.study.reap()
        return not self.study.has_nameless()

    def _listen(self, seconds: float) -> bool:
        """Hear what workers say; whether one of them has nothing to do any more."""
        inboxes = {worker.inbox: worker for worker in self._workers()}
        ready = wait(list(inboxes), seconds)
        with hold_signals(hurry):
            freed = [self._hear(worker) for inbox, worker in inboxes.items() if inbox in ready]
        return any(freed)

    def _open(self) -> list[RunLog]:
        ended = [attempt for attempt, *_ in self._ended]
        return [attempt.log for attempt in [*self._busy.values(), *ended]]

    def _workers(self) -> list[Worker]:
        return [*self._starting, *self._idle, *self._busy]

    def _start(self, count: int) -> None:
        new = [Worker() for _ in range(count)]
        self._starting += new
        for worker in new:
            worker.prepare(self.contest)

    def _hand_out(self, trials: int) -> None:
        while self._idle:
            trial = self.study.claim(trials)
            if trial is None:
                return
            loss, params = self.candidate(trial.params)
            log = tracking.begin(
                f"trial {trial.number}",
                flow="tune",
                parent=self.parent.run_id,
                tags={**run_tags(self.study), TRIAL_TAG: str(trial.number)},
            )
            self.logs.append(log)
            attempt = _Attempt(trial, log)
            log.params({**self.params, **tracking.loss_params(loss), **_booster_params(params)})
            if not self.study.note(trial, {RUN_ID: log.run_id, LOSS: to_config(loss)}):
                self._close(attempt, "KILLED", {})
                continue
            worker = self._idle.pop()
            self._busy[worker] = attempt
            worker.judge(loss, params)

    def _hear(self, worker: Worker) -> bool:
        """What a worker says next; whether it has nothing to do any more."""
        try:
            kind, *told = worker.inbox.recv()
        except (EOFError, OSError):
            self._bury(worker)
            return True
        if kind == "ready":
            self._starting.remove(worker)
            self._idle.append(worker)
            return True
        attempt = self._busy[worker]
        if kind == "rounds":
            for number, metrics in told[0]:
                attempt.rounds[number].append(metrics)
            attempt.send(len(self.contest.folds))
            return False
        if kind == "step":
            worker.keep(self.study.is_worth_it(attempt.trial, *told))
            return False
        del self._busy[worker]
        self._idle.append(worker)
        self._died_in_a_row = 0
        self._ended.append((attempt, kind, told))
        return True

    def _record(self) -> None:
        """Tell MLflow and Optuna of the trials that have ended."""
        while self._ended:
            attempt, kind, told = self._ended.pop(0)
            attempt.send(1)
            # Before Optuna hears of it: a run that it counts as complete has all its rounds.
            attempt.log.flush()
            if kind == "done":
                self._complete(attempt, *told)
            elif kind == "pruned":
                self._prune(attempt)
            else:
                self._fail(attempt, *told)

    def _complete(self, attempt: _Attempt, verdict: Verdict) -> None:
        self._failed_in_a_row = 0
        attempt.log.metrics({OBJECTIVE: verdict.value, "best_round": verdict.rounds - 1})
        told = self._is_ours(attempt) and self.study.note(attempt.trial, {ROUNDS: verdict.rounds})
        told = told and self.study.complete(attempt.trial, verdict.value)
        self._close(attempt, "FINISHED", {}, told=told)

    def _prune(self, attempt: _Attempt) -> None:
        self._failed_in_a_row = 0
        told = self._is_ours(attempt) and self.study.prune(attempt.trial)
        self._close(attempt, "KILLED", {PRUNED_TAG: "true"}, told=told)

    def _fail(self, attempt: _Attempt, why: str) -> None:
        told = self._is_ours(attempt) and self.study.fail(attempt.trial, why)
        self._close(attempt, "FAILED", {ERROR: why}, told=told)
        self._failed_in_a_row += 1
        if self._failed_in_a_row == _FAILURES_IN_A_ROW:
            msg = (
                f"Study {self.study.name!r} ended as {_FAILURES_IN_A_ROW} trials in a row failed; the "
                f"last: {why}"
            )
            raise InputError(msg)

    def _is_ours(self, attempt: _Attempt) -> bool:
        # On some storages two processes may take the same trial from the queue: the last word counts.
        if self.study.noted(attempt.trial, RUN_ID) == attempt.log.run_id:
            return True
        self.study.leave(attempt.trial)
        return False

    @staticmethod
    def _close(
        attempt: _Attempt, status: str, tags: Mapping[str, str], *, told: bool = False
    ) -> None:
        """End a run as its trial has ended; where that was not ours to end any more, as left."""
        attempt.log.tags(tags if told else {REAPED_TAG: "true"})
        attempt.log.close(status if told else "KILLED")

    def _bury(self, worker: Worker) -> None:
        """A worker died: its trial goes back, another takes its place."""
        worker.close()
        if worker in self._busy:
            attempt = self._busy.pop(worker)
            attempt.send(1)
            self.study.bury(attempt.trial.number)
            self._close(attempt, "KILLED", {})
        for living in (self._starting, self._idle):
            if worker in living:
                living.remove(worker)
        self._died_in_a_row += 1
        if self._died_in_a_row == _DEATHS_IN_A_ROW:
            msg = (
                f"tune needs worker processes that live; got {_DEATHS_IN_A_ROW} in a row that died; "
                "give it fewer --jobs, or more memory."
            )
            raise InputError(msg)
        self._start(1)

    def _stop(self) -> None:
        for worker in self._workers():
            worker.close()
        self._record()
        for attempt in self._busy.values():
            attempt.send(1)
            self.study.give_back(attempt.trial.number)
            self._close(attempt, "KILLED", {})
        self._busy.clear()


def _booster_params(params: Mapping[str, Any]) -> dict[str, object]:
    return {f"booster.{key}": value for key, value in params.items()}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
