"""Where the trials of a study are judged: what all pools of workers can do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from asrl_mlflow.experiments.trials.assignment import Assignment, Message
from asrl_mlflow.experiments.trials.judging import Contest

# Where so many workers die and none ends a trial, the reason is no accident.
MOST_DEATHS_IN_A_ROW = 10


class Worker(Protocol):
    """Judges one trial at a time."""

    def judge(self, assignment: Assignment) -> None:
        """Begin a trial; the pool of the worker receives what it tells."""


class Pool(Protocol):
    """Workers that come and go: processes of this host, or of a cluster."""

    def start(self, contest: Contest, count: int) -> None:
        """Start workers for a study's trials, once.

        Parameters
        ----------
        contest : Contest
            How trials are judged.
        count : int, >= 0
            How many trials are judged at once, at most. A worker that dies is replaced.
        """

    def wait(self, seconds: float) -> None:
        """Wait until a worker has told something, or so long; a signal may end it at any moment."""

    def receive(self) -> Sequence[tuple[Worker, Message]]:
        """What workers have told since the last call, in the order of each; does not wait.

        Beside the messages of `assignment.Message` these are ("ready",), of a worker that may be given a trial,
        and ("died",), of one that must not be given any more.

        Raises
        ------
        InputError
            `MOST_DEATHS_IN_A_ROW` workers of this host have died.
        ClusterError
            As many of a cluster have; it does not answer; or its workers lack this package.
        """

    def close(self) -> None:
        """End all workers, or what they do for this study, at once."""
