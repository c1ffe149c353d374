"""Run a worker process: judge one trial after another, until the process that started it is gone.

`worker.Worker` starts it as `python -m asrl_mlflow.trials`. Messages are pickled tuples, which pass
through standard input and output.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

from asrl_mlflow.errors import InputError
from asrl_mlflow.losses import from_config, register_from
from asrl_mlflow.trials.judging import Judge, Pruned

_SECONDS_BETWEEN_ROUNDS = 0.3


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
    received: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_receive, args=(inbox, received), daemon=True).start()
    while True:
        path, loss, params = received.get()
        outbox.send(_judge(judge, path, loss, params, outbox, received))


def _receive(inbox: Connection, received: SimpleQueue[Any]) -> None:
    """Receive messages in a thread; end the process at once when the parent is gone."""
    try:
        while True:
            received.put(inbox.recv())
    except (EOFError, OSError):
        os._exit(0)


def _judge(
    judge: Judge,
    path: str | None,
    loss: dict[str, Any],
    params: dict[str, Any],
    outbox: Connection,
    received: SimpleQueue[Any],
) -> tuple[Any, ...]:
    """Judge one trial, send its rounds meanwhile, and return the message that ends it."""
    rounds: list[tuple[int, Mapping[str, float]]] = []
    sent = time.monotonic()

    def send_rounds() -> None:
        nonlocal sent
        outbox.send(("rounds", rounds))
        rounds.clear()
        sent = time.monotonic()

    def on_round(number: int, metrics: Mapping[str, float]) -> None:
        rounds.append((number, metrics))
        # Several in one message: each message takes time of the parent's.
        if time.monotonic() - sent > _SECONDS_BETWEEN_ROUNDS:
            send_rounds()

    def keep(step: int, value: float) -> bool:
        outbox.send(("step", step, value))
        return bool(received.get())

    try:
        if path is not None:
            register_from(path)
        verdict = judge.judge(from_config(loss), params, on_round, keep)
    except OSError:
        # Not of the trial: the parent is gone.
        raise
    except Pruned:
        send_rounds()
        return ("pruned",)
    except Exception as error:  # noqa: BLE001 - one trial's failure is not the study's
        send_rounds()
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        return ("failed", f"{kind}{error}")
    send_rounds()
    return ("done", verdict)


if __name__ == "__main__":
    main()
    sys.exit()
