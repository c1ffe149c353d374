"""What a loss for classes costs beside XGBoost's own log loss, in time.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/speed/classes.py

Each ratio is the median over pairs (log loss, the other, log loss, ...) on the same QuantileDMatrix with the
same parameters. Losses make other trees than log loss, larger or smaller ones, and XGBoost takes its time
for those; so the time of the gradients, our own work, stands beside: a share of the round of log loss.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any, cast

import click
import numpy as np
import xgboost
from tqdm import tqdm

from asrl_mlflow import train
from asrl_mlflow.errors import InputError
from asrl_mlflow.losses import CLASSIFICATION_LOSSES, ClassificationLoss, from_name


@dataclass(frozen=True)
class Table:
    """A synthetic table to train on.

    Parameters
    ----------
    rows, features, classes, threads : int
        Its size, and XGBoost's nthread.
    rounds, pairs : int
        Rounds of one training, and how often each pair is timed.
    """

    rows: int
    features: int
    classes: int
    threads: int
    rounds: int
    pairs: int

    def __str__(self) -> str:
        """As the report calls it."""
        return f"{self.rows:,} x {self.features}, {self.classes} classes"

    def matrix(self) -> xgboost.QuantileDMatrix:
        """The rows, quantised; classes overlap, and one label in ten is wrong."""
        rng = np.random.default_rng(0)
        x = rng.standard_normal((self.rows, self.features), dtype=np.float32)
        scores = x @ rng.standard_normal((self.features, self.classes))
        label = (scores + rng.gumbel(size=scores.shape)).argmax(axis=1)
        wrong = rng.random(self.rows) < 0.1  # noqa: PLR2004 - one in ten
        label[wrong] = rng.integers(0, self.classes, wrong.sum())
        return xgboost.QuantileDMatrix(x, label=label, nthread=self.threads)


# The first is of breast_cancer's size.
TABLES = (
    Table(569, 30, 2, 1, 60, 9),
    Table(100_000, 8, 2, 1, 20, 5),
    Table(100_000, 8, 5, 1, 8, 5),
)


@dataclass(frozen=True)
class Bench:
    """One table's trainings."""

    table: Table
    matrix: xgboost.QuantileDMatrix

    @property
    def params(self) -> dict[str, Any]:
        """Those of every training."""
        return {"max_depth": 6, "nthread": self.table.threads}

    def native(self) -> None:
        """XGBoost by itself, one margin for two classes."""
        two = self.table.classes == 2  # noqa: PLR2004 - two classes
        objective: dict[str, Any] = {"objective": "binary:logistic"}
        if not two:
            objective = {"objective": "multi:softprob", "num_class": self.table.classes}
        xgboost.train(self.params | objective, self.matrix, self.table.rounds)

    def ours(self, loss: ClassificationLoss) -> None:
        """`train`, heard by nobody."""
        several = {"num_class": self.table.classes}
        train(self.params | several, self.matrix, self.table.rounds, loss=loss)

    def gradients(self, loss: ClassificationLoss) -> None:
        """What `train` asks of a loss, as often as there are rounds."""
        label = self.matrix.get_label()
        outputs = loss.outputs(self.table.classes)
        rng = np.random.default_rng(0)
        margin = rng.standard_normal((len(label), outputs), dtype=np.float32)
        margin = margin[:, 0] if outputs == 1 else margin
        for _ in range(self.table.rounds):
            loss.gradient_pair(label, margin, None)

    def measure(
        self, losses: list[ClassificationLoss], progress: tqdm[Any]
    ) -> dict[str, tuple[list[float], list[float]]]:
        """Each loss's training, and its gradients alone, over the training with log loss beside it."""
        self.native()
        found: dict[str, tuple[list[float], list[float]]] = {each.name: ([], []) for each in losses}
        for _ in range(self.table.pairs):
            for loss in losses:
                plain = seconds(self.native)
                trained, computed = found[loss.name]
                trained.append(seconds(lambda: self.ours(loss)) / plain)  # noqa: B023 - called at once
                if loss.XGBOOST_OBJECTIVE is None:
                    computed.append(seconds(lambda: self.gradients(loss)) / plain)  # noqa: B023 - called at once
                progress.update()
        return found


def seconds(function: Callable[[], object]) -> float:
    """How long a call takes."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def losses_for(table: Table) -> list[ClassificationLoss]:
    """Those that have a form for so many classes."""
    fitting = []
    for name in CLASSIFICATION_LOSSES:
        loss = cast("ClassificationLoss", from_name(name))
        try:
            loss.check_outputs(loss.outputs(table.classes))
        except InputError:
            continue
        fitting.append(loss)
    return fitting


def spread(ratios: list[float]) -> str:
    """Median, with the smallest and largest."""
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


@click.command()
@click.option("--tables", default=len(TABLES), show_default=True, help="How many, smallest first.")
def main(tables: int) -> None:
    """Measure, and print the table."""
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, numpy "
        f"{np.__version__}, xgboost {xgboost.__version__}\n"
    )
    print("| rows x features | loss | training | gradients alone |")
    print("|---|---|---|---|")
    for table in TABLES[:tables]:
        losses = losses_for(table)
        with tqdm(
            total=table.pairs * len(losses), desc=str(table), leave=False, disable=None
        ) as progress:
            found = Bench(table, table.matrix()).measure(losses, progress)
        for name, (trained, computed) in found.items():
            alone = spread(computed) if computed else ""
            print(f"| {table} | `{name}` | {spread(trained)} | {alone} |", flush=True)


if __name__ == "__main__":
    main()
