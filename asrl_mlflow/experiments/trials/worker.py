"""Start a worker process of this host, send it trials to judge, and end it.

They are processes and not threads: XGBoost's rounds are short, and between them Python computes
statistics, so threads would wait for one another. Each has one thread and its own matrices.
"""

from __future__ import annotations

import os
import subprocess
import sys
from multiprocessing.connection import Connection

from asrl_mlflow.experiments.trials.assignment import Assignment
from asrl_mlflow.experiments.trials.judging import Contest


class Worker:
    """A worker process, started at once; it sends ("ready",) when it can judge.

    Attributes
    ----------
    pid : int
        Number of the process.
    inbox : Connection
        For its messages: `multiprocessing.connection.wait` waits for one, and `recv` raises EOFError
        once the process has died.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "asrl_mlflow.experiments.trials"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Signals of the terminal reach the parent alone, which ends its workers.
            process_group=0,
            # It imports this package from the same place, whatever the working folder.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        # For the type checker: both are pipes, as asked for above.
        reads, writes = self._process.stdin, self._process.stdout
        if reads is None or writes is None:
            raise AssertionError
        self.pid = self._process.pid
        self.inbox = Connection(os.dup(writes.fileno()), writable=False)
        self._outbox = Connection(os.dup(reads.fileno()), readable=False)
        reads.close()
        writes.close()

    def prepare(self, contest: Contest) -> None:
        """Send rows and rules; once, before anything else."""
        self._send(contest)

    def judge(self, assignment: Assignment) -> None:
        """Send a trial to judge; the worker answers as `assignment.Message` says."""
        self._send(assignment)

    def close(self) -> None:
        """Kill the process, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        self.inbox.close()
        self._outbox.close()

    def _send(self, message: object) -> None:
        try:
            self._outbox.send(message)
        except OSError:
            # The process has died, which the inbox shows.
            return
