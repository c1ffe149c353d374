"""A pool of worker processes of this host."""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing.connection import wait

from asrl_mlflow.errors import InputError
from asrl_mlflow.experiments.trials.assignment import ENDS, Message
from asrl_mlflow.experiments.trials.judging import Contest
from asrl_mlflow.experiments.trials.pool import MOST_DEATHS_IN_A_ROW
from asrl_mlflow.experiments.trials.worker import Worker


class ProcessPool:
    """Worker processes of this host, of one thread each; see `pool.Pool`."""

    def __init__(self) -> None:
        self._contest: Contest | None = None
        self._workers: list[Worker] = []
        self._died_in_a_row = 0

    def start(self, contest: Contest, count: int) -> None:
        """Start so many; see `Pool`."""
        self._contest = contest
        new = [Worker() for _ in range(count)]
        self._workers += new
        for worker in new:
            worker.prepare(contest)

    def wait(self, seconds: float) -> None:
        """Wait for a message; see `Pool`."""
        wait([worker.inbox for worker in self._workers], seconds)

    def receive(self) -> Sequence[tuple[Worker, Message]]:
        """One message of each worker that has sent any; see `Pool`."""
        inboxes = {worker.inbox: worker for worker in self._workers}
        ready = wait(list(inboxes), 0)
        return [(worker, self._next(worker)) for inbox, worker in inboxes.items() if inbox in ready]

    def close(self) -> None:
        """Kill all; see `Pool`."""
        while self._workers:
            self._workers.pop().close()

    def _next(self, worker: Worker) -> Message:
        try:
            message: Message = worker.inbox.recv()
        except (EOFError, OSError):
            self._replace(worker)
            return ("died",)
        if message[0] in ENDS:
            self._died_in_a_row = 0
        return message

    def _replace(self, worker: Worker) -> None:
        """Start another in the place of one that died."""
        self._workers.remove(worker)
        worker.close()
        self._died_in_a_row += 1
        if self._died_in_a_row == MOST_DEATHS_IN_A_ROW:
            msg = (
                f"tune needs worker processes that live; got {MOST_DEATHS_IN_A_ROW} in a row that died; "
                "give it fewer --jobs, or more memory."
            )
            raise InputError(msg)
        if self._contest is not None:
            self.start(self._contest, 1)
