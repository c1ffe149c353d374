"""A process that judges one trial after another for the one that started it, and ends with it.

`python -m asrl_mlflow.trials` is started by `worker.Worker`. Messages are pickled tuples, through
standard input and output.
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
    """Judge until standard input ends."""
    inbox, outbox = Connection(os.dup(0), writable=False), Connection(os.dup(1), readable=False)
    # Whatever a library prints must not run into the messages.
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    with suppress(EOFError, OSError):  # the parent is gone
        _serve(inbox, outbox)


def _serve(inbox: Connection, outbox: Connection) -> None:
    judge = Judge(inbox.recv())
    outbox.send(("ready",))
    said: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_listen, args=(inbox, said), daemon=True).start()
    while True:
        path, loss, params = said.get()
        outbox.send(_judged(judge, path, loss, params, outbox, said))


def _listen(inbox: Connection, said: SimpleQueue[Any]) -> None:
    """Pass messages on; when there are none any more the parent is gone, and so must we be."""
    try:
        while True:
            said.put(inbox.recv())
    except (EOFError, OSError):
        os._exit(0)


def _judged(
    judge: Judge,
    path: str | None,
    loss: dict[str, Any],
    params: dict[str, Any],
    outbox: Connection,
    said: SimpleQueue[Any],
) -> tuple[Any, ...]:
    rounds: list[tuple[int, Mapping[str, float]]] = []
    sent = time.monotonic()

    def send_rounds() -> None:
        nonlocal sent
        outbox.send(("rounds", rounds))
        rounds.clear()
        sent = time.monotonic()

    def on_round(number: int, metrics: Mapping[str, float]) -> None:
        rounds.append((number, metrics))
        # Not each by itself: the parent has other things to do.
        if time.monotonic() - sent > _SECONDS_BETWEEN_ROUNDS:
            send_rounds()

    def keep(step: int, value: float) -> bool:
        outbox.send(("step", step, value))
        return bool(said.get())

    try:
        if path is not None:
            register_from(path)
        verdict = judge.judge(from_config(loss), params, on_round, keep)
    except OSError:
        # Not the trial's: the parent is gone.
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
