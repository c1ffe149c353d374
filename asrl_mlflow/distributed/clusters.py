"""Connect to a Dask cluster, or start one on this machine."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import joblib
from distributed import Client, LocalCluster

from asrl_mlflow.errors import ClusterError

# Whoever cannot be reached so many seconds is not there.
_PATIENCE = 30


@contextmanager
def connect(scheduler: str | None, workers: int | None) -> Iterator[Client]:
    """Connect to a cluster for the block.

    Parameters
    ----------
    scheduler : str, optional
        Its address, as tcp://host:8786. Without one a cluster is started on this machine, and ended with the
        block.
    workers : int, optional
        How many processes that one has; without, 2. They share the cores.

    Raises
    ------
    ClusterError
        No scheduler answers, or it has no workers.
    """
    if scheduler is None:
        count = workers or 2
        with (
            LocalCluster(
                n_workers=count,
                threads_per_worker=max(1, joblib.cpu_count() // count),
                dashboard_address=":0",
                silence_logs=logging.CRITICAL,
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = Client(scheduler, timeout=_PATIENCE)
        client.wait_for_workers(1, timeout=_PATIENCE)
    except (OSError, ValueError) as error:
        msg = (
            f"--scheduler needs the address of a Dask scheduler with workers; got {scheduler}, {error}; start them, "
            "or leave it out for workers on this machine."
        )
        raise ClusterError(msg) from error
    with client:
        yield client
