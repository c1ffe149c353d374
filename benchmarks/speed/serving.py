"""What a prediction costs: in this process beside MLflow's own flavor, behind HTTP under load, and under attack.

pip install psutil
ASRL_DATA_DIR=... python benchmarks/speed/serving.py --seconds=60
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Any

import click
import mlflow
import numpy as np
import pandas as pd
import psutil

from asrl_mlflow import registry, tracking
from asrl_mlflow.datasets.contamination import Contamination
from asrl_mlflow.datasets.dataset import Dataset, load
from asrl_mlflow.experiments.experiment import prepare_split, run_experiment
from asrl_mlflow.experiments.settings import Settings
from asrl_mlflow.losses import ContinuousASRL

NAME, CLIENTS, PAIRS = "served", 16, 15


def seconds_of(call: Callable[[], object], times: int) -> float:
    """The mean of some calls."""
    started = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - started) / times


def ratio(
    ours: Callable[[], object], theirs: Callable[[], object], times: int
) -> tuple[float, float, list[float]]:
    """Median seconds of both, and their ratios, of interleaved pairs."""
    pairs = [(seconds_of(ours, times), seconds_of(theirs, times)) for _ in range(PAIRS)]
    first, second = (median(each) for each in zip(*pairs, strict=True))
    return first, second, sorted(a / b for a, b in pairs)


def in_process(table: Dataset) -> None:
    """One row and a million, side by side."""
    uri = f"models:/{NAME}/1"
    ours, booster = mlflow.pyfunc.load_model(uri), registry.load_booster(uri)
    features = table.rows.features
    signature = mlflow.models.infer_signature(features, booster.inplace_predict(features))
    mlflow.xgboost.save_model(booster, "theirs", signature=signature, pip_requirements=["xgboost"])
    theirs = mlflow.pyfunc.load_model("theirs")
    one = features.head(1)
    million = pd.concat([features] * (1_000_000 // len(features) + 1), ignore_index=True)[
        :1_000_000
    ]
    cases: list[tuple[str, Callable[[], Any], Callable[[], Any], int]] = [
        ("one row / mlflow.xgboost", lambda: ours.predict(one), lambda: theirs.predict(one), 50),
        (
            "1e6 rows / inplace_predict",
            lambda: ours.predict(million),
            lambda: booster.inplace_predict(million),
            1,
        ),
    ]
    print(f"{'in process':30}{'ours ms':>10}{'theirs ms':>11}{'ratio':>8}   (lowest to highest)")
    for name, mine, other, times in cases:
        first, second, ratios = ratio(mine, other, times)
        spread = f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(f"{name:30}{first * 1e3:10.3f}{second * 1e3:11.3f}{median(ratios):8.2f}   {spread}")


class Load:
    """Clients that ask one after another, without a pause."""

    def __init__(self, port: int, body: bytes, rows: int, seconds: float) -> None:
        self.latencies: list[float] = []
        self.failed = 0
        self._port, self._body, self._rows = port, body, rows
        self._end = time.monotonic() + seconds
        clients = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()

    def _ask(self) -> None:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=60)
        while time.monotonic() < self._end:
            started = time.perf_counter()
            try:
                connection.request(
                    "POST", "/invocations", self._body, {"Content-Type": "application/json"}
                )
                answer = connection.getresponse()
                good = len(json.loads(answer.read())["predictions"]) == self._rows
            except (OSError, ValueError, KeyError):
                good, connection = False, HTTPConnection("127.0.0.1", self._port, timeout=60)
            self.failed += not good
            self.latencies.append(time.perf_counter() - started)


def behind_http(table: Dataset, seconds: float) -> None:
    """Both servers, with bodies of one row and of a hundred."""
    model = f"models:/{NAME}/1"
    print(
        f"\n{CLIENTS} clients, {seconds:.0f} s each"
        f"\n{'server':22}{'rows':>6}{'requests':>10}{'failed':>8}{'p50 ms':>8}{'p99 ms':>8}"
        f"{'MB at first':>13}{'MB at last':>12}"
    )
    for name, command in {
        "mlflow models serve": [
            "mlflow",
            "models",
            "serve",
            "-m",
            model,
            "--env-manager=local",
            "-p",
        ],
        "flows.serve": ["flows.serve", f"--model-uri={model}", "--port"],
    }.items():
        port = _free_port()
        server = subprocess.Popen(  # noqa: S603 - this project's own commands
            [sys.executable, "-m", *command, str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            _wait_for(port)
            for rows in (1, 100):
                body = json.dumps(
                    {"dataframe_split": table.rows.features.head(rows).to_dict(orient="split")}
                ).encode()
                Load(port, body, rows, 3)
                before = _megabytes(server.pid)
                load_ = Load(port, body, rows, seconds)
                after = _megabytes(server.pid)
                p50, p99 = np.quantile(load_.latencies, [0.5, 0.99]) * 1e3
                print(
                    f"{name:22}{rows:6}{len(load_.latencies):10}{load_.failed:8}{p50:8.1f}{p99:8.1f}"
                    f"{before:13.0f}{after:12.0f}"
                )
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait()


def beside_hostile(table: Dataset, seconds: float) -> None:
    """Good clients of our server, while others send what is no table, or one that is far too large."""
    names = ",".join(f"c{each}" for each in range(1_500_000))
    row = table.rows.features.head(1).to_dict(orient="records")[0]
    cell = json.dumps({"dataframe_records": [{**row, next(iter(row)): "x" * 10_000_000}]})
    hostile = [
        (names + "\n" + "1," * 1_500_000, "text/csv"),
        ("a," * 4_000_000 + "\n1", "text/csv"),
        (json.dumps({"dataframe_records": [dict.fromkeys(names[:4_000_000].split(","), 1)]}), ""),
        (json.dumps({"dataframe_records": [{f"c{each}": 1} for each in range(300_000)]}), ""),
        *((each, "") for each in ("", "[" * 100_000, "x" * 15_000_000, cell, "9" * 5000, "1e999")),
        ("x" * 100_000_000, ""),
    ]
    port, body = _free_port(), json.dumps({"dataframe_records": [row]}).encode()
    server = subprocess.Popen(  # noqa: S603 - this project's own commands
        [sys.executable, "-m", "flows.serve", f"--model-uri=models:/{NAME}/1", f"--port={port}"],
        stdout=subprocess.DEVNULL,
    )
    slowest, sent, refused, end = 0.0, 0, 0, threading.Event()

    def send() -> None:
        nonlocal slowest, sent, refused
        while not end.is_set():
            for content, kind in hostile:
                connection = HTTPConnection("127.0.0.1", port, timeout=60)
                started = time.perf_counter()
                headers = {"Content-Type": kind or "application/json"}
                connection.request("POST", "/invocations", content.encode(), headers)
                refused += connection.getresponse().status // 100 == 4  # noqa: PLR2004 - HTTP's own
                connection.close()
                slowest, sent = max(slowest, time.perf_counter() - started), sent + 1

    try:
        _wait_for(port)
        Load(port, body, 1, 3)
        before, sender = _megabytes(server.pid), threading.Thread(target=send)
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
        sender.start()
        load_ = Load(port, body, 1, seconds)
        end.set()
        sender.join()
        time.sleep(3)
        after = _megabytes(server.pid)
        print(
            f"\nbeside {sent} hostile bodies ({refused} refused) and {len(idle)} mute connections: "
            f"{len(load_.latencies)} requests, {load_.failed} failed; slowest refusal {slowest:.1f} s; "
            f"{before:.0f} MB before, {after:.0f} MB after"
        )
    finally:
        server.terminate()
        server.wait()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _wait_for(port: int) -> None:
    while True:
        try:
            connection = HTTPConnection("127.0.0.1", port)
            connection.request("GET", "/ping")
            if connection.getresponse().status == 200:  # noqa: PLR2004 - HTTP's own
                return
        except OSError:
            time.sleep(0.2)


def _megabytes(pid: int) -> float:
    process = psutil.Process(pid)
    family: Sequence[psutil.Process] = [process, *process.children(recursive=True)]
    return float(sum(each.memory_info().rss for each in family) / 2**20)


@click.command()
@click.option("--data", default="california", show_default=True, help="The table.")
@click.option("--seconds", default=60.0, show_default=True, help="Of each load.")
def main(data: str, seconds: float) -> None:
    """Print both tables."""
    root = Path(__file__).parents[2]
    os.environ["PYTHONPATH"] = str(root)
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    tracking.connect()
    table, seed = load(data), 0
    with tracking.run("served", flow="benchmark") as log:
        run_experiment(
            ContinuousASRL(),
            table,
            prepare_split(table, seed, Contamination()),
            log,
            seed=seed,
            settings=Settings(figures=False),
            contamination=Contamination(),
            on_round=lambda _: None,
        )
    registry.register(log.run_id, NAME)
    in_process(table)
    behind_http(table, seconds)
    beside_hostile(table, seconds)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
