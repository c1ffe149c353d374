"""Run one function on many values: on a Dask cluster, or on a Spark cluster. The only file that knows either."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Protocol, TypeVar

import joblib

from asrl_mlflow.errors import ClusterError
from asrl_mlflow.system.extras import needing

Value = TypeVar("Value")
Result = TypeVar("Result")


class Engine(Protocol):
    """Calls a function for each of some values on a cluster."""

    def __call__(
        self,
        work: Callable[[Value], Result],
        values: Sequence[Value],
        *,
        scheduler: str | None,
        workers: int | None,
    ) -> Iterable[Result]:
        """Call it; what the calls return, in any order.

        Parameters
        ----------
        work : callable
            Can be pickled; is sent to each worker once, however large.
        values : sequence
            Not empty.
        scheduler : str, optional
            Address of the cluster. Without it one of this host is started, and ended with the last call.
        workers : int, optional
            Worker processes of that one; as many as the engine finds good where it is not given.

        Raises
        ------
        InputError
            The engine is not installed.
        ClusterError
            The cluster does not answer, or its workers died again and again.
        """


def run_on_dask(
    work: Callable[[Value], Result],
    values: Sequence[Value],
    *,
    scheduler: str | None,
    workers: int | None,
) -> Iterator[Result]:
    """Run on a Dask cluster; see `Engine`."""
    with needing("dask"):
        from distributed import CancelledError, KilledWorker, as_completed  # noqa: PLC0415 - an extra

        from asrl_mlflow.system.clusters import connect, send  # noqa: PLC0415 - as above
    with connect(scheduler, workers) as client:
        sent = send(client, work)  # it may hold a model of many megabytes
        try:
            for future in as_completed(client.map(_call, values, work=sent, pure=False)):
                yield future.result()
        except (CancelledError, KilledWorker, ImportError, OSError, RuntimeError) as error:
            needed = "a scheduler and workers that live and have this package"
            raise ClusterError(_no_cluster("dask", scheduler, needed, error)) from error


def run_on_spark(
    work: Callable[[Value], Result],
    values: Sequence[Value],
    *,
    scheduler: str | None,
    workers: int | None,
) -> Iterator[Result]:
    """Run on a Spark cluster, whose own bar shows how far it is; see `Engine`.

    Without an address that of `spark-submit` counts, where that has started this process.
    """
    with needing("spark"):
        from py4j.protocol import Py4JError  # noqa: PLC0415 - an extra
        from pyspark import SparkConf  # noqa: PLC0415 - as above
        from pyspark.errors import PySparkException  # noqa: PLC0415 - as above
        from pyspark.sql import SparkSession  # noqa: PLC0415 - as above
    settings = SparkConf().setAppName("asrl")
    settings.set("spark.ui.showConsoleProgress", str(sys.stderr.isatty()).lower())
    if scheduler:
        settings.setMaster(scheduler)
    settings.setIfMissing("spark.master", f"local[{workers or joblib.cpu_count()}]")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    with ExitStack() as stack:
        try:
            theirs = SparkSession.getActiveSession()
            session = theirs or SparkSession.builder.config(conf=settings).getOrCreate()
            if theirs is None:
                stack.callback(session.stop)
            context = session.sparkContext
            context.setLogLevel("ERROR")
            sent = context.broadcast(work)
            results = context.parallelize(values, len(values)).map(
                lambda value: _call(value, sent.value)
            )
            yield from results.collect()
        except (Py4JError, PySparkException) as error:
            needed = "a master that answers, workers that live, and Java here"
            raise ClusterError(_no_cluster("spark", scheduler, needed, error)) from error


# By the names that --engine takes.
ENGINES: Mapping[str, Engine] = {"dask": run_on_dask, "spark": run_on_spark}


def _call(value: Value, work: Callable[[Value], Result]) -> Result:
    return work(value)


def _no_cluster(engine: str, scheduler: str | None, needed: str, error: Exception) -> str:
    got = " ".join(str(error).split())[:200] or type(error).__name__
    return (
        f"--engine={engine} needs {needed} at {scheduler or 'this host'}; got: {got}; start it, or name another "
        "--scheduler; what is done stays done."
    )
