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
from asrl_mlflow.judging import Contest, Verdict
from asrl_mlflow.losses import Loss, to_config
from asrl_mlflow.losses.space import Point
from asrl_mlflow.run_log import RunLog
from asrl_mlflow.studies import (
    ERROR,
    LOSS,
    ROUNDS,
    RUN_ID,
    SECONDS_BETWEEN_LEASES,
    Study,
)
from asrl_mlflow.study_runs import (
    OBJECTIVE,
    PRUNED_TAG,
    REAPED_TAG,
    TRIAL_TAG,
    Runs,
    run_tags,
)
from asrl_mlflow.workers import Worker

_FAILURES_IN_A_ROW = 10
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
    _failed_in_a_row: int = 0

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
                with tracking.signals_held():
                    late = time.monotonic() > deadline
                    if not late:
                        self._hand_out(trials)
                    on_change(self.study)
                    if not self._busy and (late or self.study.judged() >= trials):
                        if not self.study.has_nameless() or late:
                            break
                        self.study.reap()
                inboxes = {worker.inbox: worker for worker in self._workers()}
                ready = wait(list(inboxes), _SECONDS_BETWEEN_LOOKS)
                with tracking.signals_held():
                    for inbox in ready:
                        self._hear(inboxes[inbox])  # type: ignore[index]  # what was waited for
                    if time.monotonic() - renewed > SECONDS_BETWEEN_LEASES:
                        renewed = time.monotonic()
                        self.study.renew()
                        self.study.reap()
                        runs.settle({attempt.log.run_id for attempt in self._busy.values()})
        finally:
            with tracking.signals_held():
                self._stop()
        runs.settle()

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
            worker = self._idle.pop()
            self._busy[worker] = _Attempt(trial, log)
            log.params({**self.params, **tracking.loss_params(loss), **_booster_params(params)})
            self.study.note(trial, {RUN_ID: log.run_id, LOSS: to_config(loss)})
            worker.judge(loss, params)

    def _hear(self, worker: Worker) -> None:
        try:
            kind, *told = worker.inbox.recv()
        except (EOFError, OSError):
            self._bury(worker)
            return
        if kind == "ready":
            self._starting.remove(worker)
            self._idle.append(worker)
            return
        attempt = self._busy[worker]
        trial, log = attempt.trial, attempt.log
        if kind == "round":
            _, number, metrics = told
            attempt.rounds[number].append(metrics)
            attempt.send(len(self.contest.folds))
            return
        if kind == "step":
            worker.keep(self.study.is_worth_it(trial, *told))
            return
        del self._busy[worker]
        self._idle.append(worker)
        attempt.send(1)
        if kind == "done":
            self._complete(trial, log, *told)
        elif kind == "pruned":
            self._failed_in_a_row = 0
            log.tags({PRUNED_TAG: "true"})
            self.study.prune(trial)
            log.close("KILLED")
        else:
            (why,) = told
            log.tags({ERROR: why})
            self.study.fail(trial, why)
            log.close("FAILED")
            self._failed_in_a_row += 1
            if self._failed_in_a_row == _FAILURES_IN_A_ROW:
                msg = (
                    f"Study {self.study.name!r} ended as {_FAILURES_IN_A_ROW} trials in a row "
                    f"failed; the last: {why}"
                )
                raise InputError(msg)

    def _complete(self, trial: Trial, log: RunLog, verdict: Verdict) -> None:
        self._failed_in_a_row = 0
        log.metrics({OBJECTIVE: verdict.value, "best_round": verdict.rounds - 1})
        noted = self.study.note(trial, {ROUNDS: verdict.rounds})
        if noted and self.study.complete(trial, verdict.value):
            log.close("FINISHED")
        else:
            # Somebody took us for dead, and the trial is queued again.
            log.tags({REAPED_TAG: "true"})
            log.close("KILLED")

    def _bury(self, worker: Worker) -> None:
        """A worker died: its trial goes back, another takes its place."""
        worker.close()
        if worker in self._starting:
            msg = "A worker process ended before its first trial; see above for its reason."
            raise RuntimeError(msg)
        if worker in self._idle:
            self._idle.remove(worker)
        else:
            self._give_back(worker)
        self._start(1)

    def _give_back(self, worker: Worker) -> None:
        attempt = self._busy.pop(worker)
        attempt.send(1)
        self.study.give_back(attempt.trial.number)
        attempt.log.tags({REAPED_TAG: "true"})
        attempt.log.close("KILLED")

    def _stop(self) -> None:
        for worker in self._workers():
            worker.close()
        for worker in list(self._busy):
            self._give_back(worker)


def _booster_params(params: Mapping[str, Any]) -> dict[str, object]:
    return {f"booster.{key}": value for key, value in params.items()}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
