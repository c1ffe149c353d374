"""What a robust loss costs beside XGBoost's own objectives, in time and memory.

    OMP_WAIT_POLICY=PASSIVE ASRL_DATA_DIR=... python benchmarks/speed/training.py

Each ratio is the median over pairs (squared error, the other, squared error, ...) on the same
QuantileDMatrix with the same parameters. "same trees": statistics and weights are computed as ever,
but weights of 1 are handed to XGBoost, so that it builds the trees of squared error and only our own
work is added. "real trees": as users train. "handed over": squared error whose rows are handed weights of 1
before each round, which XGBoost takes for itself whatever computes them. Memory is that of fresh processes.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
import xgboost
from tqdm import tqdm

from asrl_mlflow import datasets, train
from asrl_mlflow.losses import ASRL, AdaptiveHuber, ContinuousASRL, Loss
from asrl_mlflow.residuals.statistics import backend

LOSSES = (ContinuousASRL(), ASRL(), AdaptiveHuber())
BYTES_A_ROW = 24
HANDED_OVER = "handed over"
# Beyond what the same trees cost.
REAL_TREES = 0.08


@dataclass(frozen=True)
class Table:
    """A table to train on, and what may be asked on it.

    Parameters
    ----------
    rows, features, threads : int
        Its size, and XGBoost's nthread.
    rounds, pairs : int
        Rounds of one training, and how often each pair is timed.
    limit : float
        Most that ContinuousASRL may take, in trainings with squared error.
    beside_absolute : float, optional
        The same, in trainings with XGBoost's absolute error.
    data : str
        A real table's name; empty for a synthetic one.
    """

    rows: int
    features: int
    threads: int
    rounds: int
    pairs: int
    limit: float
    beside_absolute: float | None = None
    data: str = ""

    def __str__(self) -> str:
        """As the report calls it."""
        return self.data or f"{self.rows:.0e} x {self.features}".replace("e+0", "e")

    def matrix(self) -> Rows:
        """The rows, quantised."""
        if self.data:
            part = datasets.load(self.data).rows
            return Rows(part.features, label=part.target, nthread=self.threads)
        rng = np.random.default_rng(0)
        x = rng.standard_normal((self.rows, self.features), dtype=np.float32)
        y = 3 * x[:, 0] + np.sin(3 * x[:, 1]) + x[:, 2] * x[:, 3]
        y += rng.standard_t(3, self.rows)  # heavy tails
        return Rows(x, label=y, nthread=self.threads)


# The limits are for XGBoost 3.4, whose absolute error is several times faster than that of 3.2.
TABLES = (
    Table(1030, 8, 1, 100, 15, 1.15, data="concrete"),
    Table(20640, 8, 1, 100, 11, 1.15, data="california"),
    Table(100_000, 8, 1, 50, 9, 1.15, 1.0),
    Table(1_000_000, 8, 2, 20, 7, 1.15, 1.0),
    Table(1_000_000, 30, 2, 10, 5, 1.10, 1.0),
    Table(10_000_000, 8, 2, 5, 3, 1.15, 1.0),
)
# XGBoost's own robust losses, which are to be no faster on large tables.
NATIVES: dict[str, dict[str, Any]] = {
    "reg:absoluteerror": {},
    "reg:quantileerror": {"quantile_alpha": 0.5},
    "reg:pseudohubererror": {},
}


class Rows(xgboost.QuantileDMatrix):
    """Rows that can be made to weigh 1 whatever they are told to weigh: then trees stay the same."""

    same_trees = False

    def set_weight(self, weight: Any) -> None:  # noqa: ANN401 - XGBoost's signature
        """The weights as they are, or as many ones."""
        if self.same_trees and weight.size:
            weight = ONES[: weight.size]
        super().set_weight(weight)


def seconds(function: Callable[[], object]) -> float:
    """How long a call takes."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


ONES = np.ones(max(table.rows for table in TABLES), np.float32)


@dataclass(frozen=True)
class Bench:
    """One table's trainings."""

    table: Table
    matrix: Rows

    @property
    def params(self) -> dict[str, Any]:
        """Those of every training."""
        return {"max_depth": 6, "nthread": self.table.threads}

    def native(self, objective: str) -> None:
        """XGBoost by itself; its base_score is given, as ours computes the same one."""
        start = float(np.median(self.matrix.get_label()))
        xgboost.train(
            self.params
            | NATIVES.get(objective, {})
            | {"objective": objective, "base_score": start},
            self.matrix,
            self.table.rounds,
        )

    def ours(self, loss: Loss, *, same_trees: bool = False) -> None:
        """`train`, heard by nobody."""
        self.matrix.same_trees = same_trees
        train(self.params, self.matrix, self.table.rounds, loss=loss)

    def handed_over(self) -> None:
        """Squared error as XGBoost boosts it, with weights of 1 set before each round, and nothing computed."""
        matrix, start = self.matrix, float(np.median(self.matrix.get_label()))
        matrix.same_trees = False
        booster = xgboost.Booster({**self.params, "base_score": start}, [matrix])
        for epoch in range(self.table.rounds):
            matrix.set_weight(ONES[: matrix.num_row()])
            booster.update(matrix, epoch)
        matrix.set_weight(ONES[:0])

    def ratios(self, progress: tqdm[Any]) -> dict[str, list[float]]:
        """Each method's time over that of the squared error beside it."""
        methods: dict[str, Callable[[], None]] = {
            objective: partial(self.native, objective) for objective in NATIVES
        }
        methods[HANDED_OVER] = self.handed_over
        for loss in LOSSES:
            methods[f"{loss.name} same"] = partial(self.ours, loss, same_trees=True)
            methods[f"{loss.name} real"] = partial(self.ours, loss)
        self.native("reg:squarederror")
        found: dict[str, list[float]] = {name: [] for name in methods}
        for _ in range(self.table.pairs):
            for name, method in methods.items():
                plain = seconds(lambda: self.native("reg:squarederror"))
                found[name].append(seconds(method) / plain)
                progress.update()
        return found


def spread(ratios: list[float]) -> str:
    """Median, with the smallest and largest."""
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def peak_memory(rows: int, method: str) -> int:
    """Bytes at most held by a fresh process that trains, beyond its matrix's own."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[3])\n"
        "from training import Bench, Table, LOSSES\n"
        "table = Table(int(sys.argv[1]), 8, 2, 4, 1, 0)\n"
        "bench = Bench(table, table.matrix())\n"
        "loss = {each.name: each for each in LOSSES}.get(sys.argv[2])\n"
        "open('/proc/self/clear_refs', 'w').write('5')\n"
        "bench.ours(loss) if loss else bench.native('reg:squarederror')\n"
        "high = [l for l in open('/proc/self/status') if l.startswith('VmHWM')]\n"
        "print(1024 * int(high[0].split()[1]))\n"
    )
    command = [sys.executable, "-c", code, str(rows), method, str(Path(__file__).parent)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603 - ourselves


def import_seconds() -> float:
    """How long `import asrl_mlflow` takes, in the median of fresh processes."""
    code = (
        "import time; t = time.perf_counter(); import asrl_mlflow; print(time.perf_counter() - t)"
    )
    command = [sys.executable, "-c", code]
    return median(
        float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603 - ourselves
        for _ in range(7)
    )


@click.command()
@click.option("--tables", default=len(TABLES), show_default=True, help="How many, smallest first.")
@click.option("--memory-rows", default=4_000_000, show_default=True, help="0: not measured.")
def main(tables: int, memory_rows: int) -> None:
    """Measure, and print the tables."""
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, numpy "
        f"{np.__version__}, xgboost {xgboost.__version__}, {backend()} weights\n"
    )
    print(
        "| rows x features, threads | loss | same trees | real trees | / absolute error | limits |"
    )
    print("|---|---|---|---|---|---|")
    for table in TABLES[:tables]:
        steps = table.pairs * (2 * len(LOSSES) + len(NATIVES) + 1)
        with tqdm(total=steps, desc=str(table), leave=False, disable=None) as progress:
            found = Bench(table, table.matrix()).ratios(progress)
        print(f"| {table}, {table.threads} | {HANDED_OVER} | {spread(found[HANDED_OVER])} | | | |")
        for objective in NATIVES:
            print(f"| {table}, {table.threads} | {objective} | | {spread(found[objective])} | | |")
        for loss in LOSSES:
            same, real = found[f"{loss.name} same"], found[f"{loss.name} real"]
            beside = [a / b for a, b in zip(real, found["reg:absoluteerror"], strict=True)]
            limits = f"{table.limit:.2f}, {table.limit + REAL_TREES:.2f}"
            if table.beside_absolute is not None:
                limits += f", {table.beside_absolute:.2f}"
            print(
                f"| {table}, {table.threads} | {loss.name} | {spread(same)} | {spread(real)} | "
                f"{spread(beside)} | {limits} |",
                flush=True,
            )
    if memory_rows:
        native = peak_memory(memory_rows, "native")
        print(
            f"\npeak memory over squared error, {memory_rows:,} rows; limit {BYTES_A_ROW} bytes a row"
        )
        for loss in LOSSES:
            more = (peak_memory(memory_rows, loss.name) - native) / memory_rows
            print(f"{loss.name:16}{more:6.1f} bytes a row")
    print(f"\nimport asrl_mlflow: {import_seconds():.3f} s; limit 0.25 s")


if __name__ == "__main__":
    main()
