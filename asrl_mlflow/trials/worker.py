"""Processes that judge trials; each is one that can be asked, watched and ended.

Processes, not threads: XGBoost's rounds are short, and between them Python computes statistics, so
threads would wait for one another. Each has one thread and its own matrices.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

from asrl_mlflow.losses import LOSSES, Loss, import_path, to_config
from asrl_mlflow.trials.judging import Contest


class Worker:
    """A process, started at once; it says ("ready",) when it can be asked.

    Attributes
    ----------
    pid : int
        Its number.
    inbox : Connection
        What it says: `multiprocessing.connection.wait` tells when there is something, and `recv`
        raises EOFError once it has died.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "asrl_mlflow.trials"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Signals of the terminal are for the parent, who decides.
            process_group=0,
            # Found where this process found it, whatever the folder.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        # Pipes are there, as they were asked for.
        reads, writes = self._process.stdin, self._process.stdout
        if reads is None or writes is None:
            raise AssertionError
        self.pid = self._process.pid
        self.inbox = Connection(os.dup(writes.fileno()), writable=False)
        self._outbox = Connection(os.dup(reads.fileno()), readable=False)
        reads.close()
        writes.close()

    def prepare(self, contest: Contest) -> None:
        """Hand over the rows and the rules, once, before anything else."""
        self._send(contest)

    def judge(self, loss: Loss, params: Mapping[str, Any]) -> None:
        """Ask for a verdict.

        ("rounds", [(number, metrics), ...]) and ("step", step, value) will come, and at the end
        ("done", verdict), ("pruned",) or ("failed", why).

        Raises
        ------
        InputError
            The loss is a user's own, and the process could not import its class.
        """
        kind = type(loss)
        path = None if kind in LOSSES.values() else import_path(kind)
        self._send((path, to_config(loss), dict(params)))

    def keep(self, keep: bool) -> None:  # noqa: FBT001 - it is the whole answer
        """Answer its last "step": whether the trial goes on."""
        self._send(keep)

    def close(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        self.inbox.close()
        self._outbox.close()

    def _send(self, message: object) -> None:
        try:
            self._outbox.send(message)
        except OSError:
            # It died: the inbox says so.
            return
