"""What tracking costs: a run of 100 rounds with and without it, side by side, and how soon it is seen.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/speed/tracking.py

Stores: a sqlite file, and an `mlflow server` on this machine that keeps its runs in another. Pairs
are interleaved (untracked, tracked, untracked, ...); what is printed is the median difference, with
the smallest and largest.
"""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import click
import mlflow
import numpy as np
import xgboost
from tqdm import tqdm

from asrl_mlflow import Round, losses, tracking, train

ROUNDS, ROWS = 100, 20_000
LOSS = losses.ASRL()
LIMITS = {"sqlite": 0.5, "server": 1.0}
SECONDS_UNTIL_SEEN = 2.0


def matrices() -> tuple[xgboost.QuantileDMatrix, xgboost.QuantileDMatrix]:
    """Rows to train on and to validate with."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, 8))
    y = x[:, 0] + np.sin(3 * x[:, 1]) + rng.normal(size=ROWS)
    half = ROWS // 2
    dtrain = xgboost.QuantileDMatrix(x[:half], label=y[:half])
    return dtrain, xgboost.QuantileDMatrix(x[half:], label=y[half:], ref=dtrain)


def untracked(on_round: Callable[[Round], None] | None = None) -> None:
    """One training."""
    dtrain, dvalid = DATA
    params = {"max_depth": 6, "nthread": 1}
    train(params, dtrain, ROUNDS, loss=LOSS, evals=[(dvalid, "valid")], on_round=on_round)


def tracked() -> None:
    """The same, as a run."""
    with tracking.run("benchmark", flow="benchmark") as log:
        log.params(tracking.loss_params(LOSS))
        untracked(log.round)


def seconds(function: Callable[[], None]) -> float:
    """How long a call takes."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def lags() -> list[float]:
    """Seconds from each of 40 slow rounds until its metrics can be read through the API."""
    told: dict[int, float] = {}
    seen: dict[int, float] = {}
    over = threading.Event()

    def look(run_id: str) -> None:
        client = mlflow.MlflowClient()
        while not over.is_set() or len(seen) < len(told):
            for metric in client.get_metric_history(run_id, "valid.mae"):
                seen.setdefault(metric.step, time.perf_counter())
            time.sleep(0.05)

    with tracking.run("lag", flow="benchmark") as log:
        watcher = threading.Thread(target=look, args=[log.run_id])
        watcher.start()

        def slowly(round_: Round) -> None:
            log.round(round_)
            told[round_.number] = time.perf_counter()
            time.sleep(0.15)

        dtrain, dvalid = DATA
        train({"nthread": 1}, dtrain, 40, loss=LOSS, evals=[(dvalid, "valid")], on_round=slowly)
    over.set()
    watcher.join()
    return [seen[number] - told[number] for number in told]


@contextlib.contextmanager
def sqlite_store(folder: Path) -> Iterator[str]:
    """The address of a fresh sqlite file."""
    yield f"sqlite:///{folder}/mlflow.db"


@contextlib.contextmanager
def server_store(folder: Path) -> Iterator[str]:
    """The address of an `mlflow server`, which is stopped afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/server.db"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(  # noqa: S603 - our own mlflow
            command, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(120):
            time.sleep(0.5)
            with contextlib.suppress(OSError):
                urlopen(f"{address}/health").close()  # noqa: S310 - the address is ours
                break
        yield address
    finally:
        os.killpg(server.pid, 15)
        server.wait()


@click.command()
@click.option("--pairs", default=9, show_default=True, help="Pairs of runs for each store.")
def main(pairs: int) -> None:
    """Measure, and print a table."""
    metrics: list[int] = []
    untracked(lambda round_: metrics.append(len(round_.metrics())))
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, mlflow "
        f"{mlflow.__version__}, xgboost {xgboost.__version__}; {ROUNDS} rounds, {metrics[0]} metrics a "
        f"round, {ROWS // 2} rows; {pairs} pairs\n"
    )
    print(
        f"{'store':8}{'untracked':>11}{'overhead':>10}{'from':>8}{'to':>8}{'limit':>7}{'seen after':>12}"
    )
    for name, store in {"sqlite": sqlite_store, "server": server_store}.items():
        with tempfile.TemporaryDirectory() as folder, store(Path(folder)) as address:
            mlflow.set_tracking_uri(address)
            os.chdir(folder)
            tracking.connect()
            tracked()  # the first makes the schema's caches
            plain, extra = [], []
            for _ in tqdm(range(pairs), desc=name, leave=False, disable=None):
                plain.append(seconds(untracked))
                extra.append(seconds(tracked) - plain[-1])
            lag = max(lags())
            print(
                f"{name:8}{statistics.median(plain):10.2f}s{statistics.median(extra):9.2f}s"
                f"{min(extra):7.2f}s{max(extra):7.2f}s{LIMITS[name]:6.1f}s{lag:11.2f}s"
            )
            os.chdir("/")
    print(
        f"\nseen after: the longest time from a round to its metrics in the API; limit {SECONDS_UNTIL_SEEN} s"
    )


DATA = matrices()

if __name__ == "__main__":
    main()
