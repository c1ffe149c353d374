"""Connect to a Dask cluster, or start one on this host. Loaded where it is asked for: needs the extra `dask`."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from distributed import Client, LocalCluster

from asrl_mlflow.errors import ClusterError

# Whoever cannot be reached so many seconds is not there.
_SECONDS_TO_CONNECT = 30


@contextmanager
def connect(scheduler: str | None, workers: int | None) -> Iterator[Client]:
    """Connect to a cluster for the block.

    Parameters
    ----------
    scheduler : str, optional
        Its address, as tcp://host:8786. Without one a cluster is started on this host, and ended with the
        block.
    workers : int, optional
        How many processes that one has, which share the cores; without, as many as Dask finds good.

    Raises
    ------
    ClusterError
        No scheduler answers, or it has no workers.
    """
    with ExitStack() as stack:
        try:
            cluster = scheduler or stack.enter_context(_start(workers))
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
def _start(workers: int | None) -> Iterator[LocalCluster]:
    """Start a cluster of processes on this host, which share its cores."""
    before = dict(os.environ)
    try:
        with LocalCluster(
            n_workers=workers, dashboard_address=":0", silence_logs=logging.CRITICAL
        ) as cluster:
            # Dask sets OMP_NUM_THREADS and others for its workers, and leaves them set here.
            _restore(before)
            yield cluster
    finally:
        _restore(before)  # again, as workers that are started anew set them


def _restore(environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
