"""Connect to a Dask cluster, or start one on this host. Loaded where it is asked for: needs the extra `dask`."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

import dask
from distributed import Client, Future, LocalCluster

from asrl_mlflow.errors import ClusterError

Value = TypeVar("Value")
Answer = TypeVar("Answer")

# Whoever cannot be reached so many seconds is not there.
_SECONDS_TO_CONNECT = 30
# Workers tell Dask every few seconds, also while they train, that they are there.
SILENCE = 40.0


@contextmanager
def connect(
    scheduler: str | None, workers: int | None, *, threads: int | None = None
) -> Iterator[Client]:
    """Connect to a cluster for the block.

    Parameters
    ----------
    scheduler : str, optional
        Its address, as tcp://host:8786. Without one a cluster is started on this host, and ended with the
        block.
    workers : int, optional
        How many processes that one has, which share the cores; without, as many as Dask finds good.
    threads : int, optional
        How many threads each of them has; without, as many as its share of the cores.

    Raises
    ------
    ClusterError
        No scheduler answers, or it has no workers.
    """
    with ExitStack() as stack:
        stack.enter_context(_without_tracebacks())
        try:
            cluster = scheduler or stack.enter_context(_start(workers, threads))
            client = stack.enter_context(Client(cluster, timeout=_SECONDS_TO_CONNECT))
            client.wait_for_workers(1, timeout=_SECONDS_TO_CONNECT)
        except (OSError, ValueError) as error:
            got = " ".join(str(error).split()) or type(error).__name__
            msg = f"Workers of Dask must start on this host; got: {got}; pass fewer as --workers."
            if scheduler:
                msg = (
                    f"--scheduler needs the address of a Dask scheduler with workers; got {scheduler}, {got}; start "
                    "them, or leave it out for workers on this host."
                )
            raise ClusterError(msg) from error
        yield client


@contextmanager
def _without_tracebacks() -> Iterator[None]:
    """Let Dask's loggers be silent for the block: where a scheduler is gone they tell how they noticed."""
    loggers = [logging.getLogger("distributed"), logging.getLogger("distributed.client")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


class SilenceError(TimeoutError):
    """The cluster does not answer."""


def ask(call: Callable[..., Answer], *arguments: Any, **known: Any) -> Answer:  # noqa: ANN401 - of any call
    """Ask a cluster, but not for ever: Dask waits for a frozen process as long as that lasts.

    Parameters
    ----------
    call : callable
        Of Dask's; called with the arguments.

    Raises
    ------
    SilenceError
        There was no answer for 40 seconds.
    """
    answers: SimpleQueue[tuple[bool, Any]] = SimpleQueue()

    def run() -> None:
        try:
            answers.put((True, call(*arguments, **known)))
        except BaseException as error:  # noqa: BLE001 - raised below
            answers.put((False, error))

    Thread(target=run, daemon=True).start()
    try:
        is_sound, answer = answers.get(timeout=SILENCE)
    except Empty:
        msg = f"no answer within {SILENCE:.0f} s"
        raise SilenceError(msg) from None
    if not is_sound:
        raise answer
    found: Answer = answer
    return found


def send(client: Client, value: Value) -> Future[Value]:
    """Send a value to a cluster once, however large; tasks that are given the future have the value.

    It is a task's result, so that another worker makes it anew where all that had it are gone.
    """
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": sys.maxsize}):
        return client.submit(_itself, value, pure=False)


def _itself(value: Value) -> Value:
    return value


@contextmanager
def _start(workers: int | None, threads: int | None) -> Iterator[LocalCluster]:
    """Start a cluster of processes on this host, which share its cores."""
    before = dict(os.environ)
    try:
        with _deaf_to_interrupts():
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=threads,
                dashboard_address=":0",
                silence_logs=logging.CRITICAL,
            )
        with cluster:
            # Dask sets OMP_NUM_THREADS and others for its workers, and leaves them set here.
            _restore(before)
            yield cluster
    finally:
        _restore(before)  # again, as workers that are started anew set them


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Let threads and processes that are started in the block ignore Ctrl-C, which a terminal sends to all.

    This process answers it, after the block, and ends its workers. They would print tracebacks.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # It is started with the first process otherwise, and lets the thread hear them again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _restore(environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
