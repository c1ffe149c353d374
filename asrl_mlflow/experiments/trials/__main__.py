"""Run a worker process: judge one trial after another, until the process that started it is gone.

`worker.Worker` starts it as `python -m asrl_mlflow.experiments.trials`. Messages are pickled tuples, which pass
through standard input and output.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue

from asrl_mlflow.experiments.trials.assignment import Assignment
from asrl_mlflow.experiments.trials.judging import Judge


def main() -> None:
    """Judge trials until standard input ends."""
    inbox, outbox = Connection(os.dup(0), writable=False), Connection(os.dup(1), readable=False)
    # What a library prints must not run into the messages.
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    with suppress(EOFError, OSError):  # the parent is gone
        _serve(inbox, outbox)


def _serve(inbox: Connection, outbox: Connection) -> None:
    """Receive the contest, then judge each trial that is sent."""
    judge = Judge(inbox.recv())
    outbox.send(("ready",))
    received: SimpleQueue[Assignment] = SimpleQueue()
    threading.Thread(target=_receive, args=(inbox, received), daemon=True).start()
    while True:
        received.get().work(judge, outbox.send)


def _receive(inbox: Connection, received: SimpleQueue[Assignment]) -> None:
    """Receive trials in a thread; end the process at once when the parent is gone."""
    try:
        while True:
            received.put(inbox.recv())
    except (EOFError, OSError):
        os._exit(0)


if __name__ == "__main__":
    main()
    sys.exit()
