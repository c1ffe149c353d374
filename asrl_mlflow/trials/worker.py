"""Start worker processes, send them trials to judge, and end them.

They are processes and not threads: XGBoost's rounds are short, and between them Python computes
statistics, so threads would wait for one another. Each has one thread and its own matrices.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

from asrl_mlflow.losses import BaseLoss, import_path, is_built_in, to_config
from asrl_mlflow.trials.judging import Contest


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
            [sys.executable, "-m", "asrl_mlflow.trials"],
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

    def judge(self, loss: BaseLoss, params: Mapping[str, Any]) -> None:
        """Send a trial to judge.

        The worker answers with messages ("rounds", [(number, metrics), ...]) and ("step", step,
        value), and at the end with ("done", verdict), ("pruned",) or ("failed", why).

        Raises
        ------
        InputError
            The loss is a user's own, and the process could not import its class.
        """
        kind = type(loss)
        path = None if is_built_in(kind) else import_path(kind)
        self._send((path, to_config(loss), dict(params)))

    def keep(self, keep: bool) -> None:  # noqa: FBT001 - it is the whole answer
        """Answer its last message "step" with whether the trial goes on."""
        self._send(keep)

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
