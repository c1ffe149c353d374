"""How often prediction intervals hold: clean test rows, clean and spoiled rows to calibrate by.

ASRL_DATA_DIR=... python benchmarks/intervals.py --seeds=5
"""

from __future__ import annotations

import math
import multiprocessing
import os
from collections import defaultdict
from statistics import mean, median

import click
import numpy as np
from tqdm import tqdm

from asrl_mlflow.boosting.training import train
from asrl_mlflow.datasets.contamination import Contamination
from asrl_mlflow.datasets.dataset import PAPER, load
from asrl_mlflow.datasets.matrices import make_matrix
from asrl_mlflow.datasets.splits import join
from asrl_mlflow.experiments.experiment import prepare_split
from asrl_mlflow.experiments.settings import Settings
from asrl_mlflow.losses import ContinuousASRL
from asrl_mlflow.records.unseen import predict_out_of_fold

LEVELS = (0.5, 0.8, 0.9, 0.95)
KINDS = {
    "none": (Contamination(), ContinuousASRL(0.9, 0.95)),
    "sym": (Contamination("sym", 0.1), ContinuousASRL(0.8, 0.85)),
    "asym": (Contamination("asym", 0.2), ContinuousASRL(0.7, 0.75)),
}


def covered(task: tuple[str, str, int]) -> tuple[str, str, list[float], float]:
    """One refit as `flows.tune` does it: shares covered at each level, the median width at 0.9."""
    data, kind, seed = task
    contamination, loss = KINDS[kind]
    parts = prepare_split(load(data), seed, contamination)
    known = join(parts.train, parts.valid)
    params = {**Settings().booster_params(seed), "nthread": 1}
    booster = train(params, make_matrix(known), 100, loss=loss)
    residuals = np.sort(np.abs(predict_out_of_fold(loss, params, 100, known, seed).residual))
    off = np.abs(parts.test.target - booster.inplace_predict(parts.test.features))
    halves = [residuals[math.ceil((len(residuals) + 1) * level) - 1] for level in LEVELS]
    shares = [float((off <= half).mean()) for half in halves]
    return data, kind, shares, 2 * float(halves[2])


@click.command()
@click.option("--seeds", default=5, show_default=True, help="From 0 on.")
@click.option("--jobs", default=os.cpu_count(), show_default=True, help="Processes.")
def main(seeds: int, jobs: int) -> None:
    """Print the table."""
    tasks = [(data, kind, seed) for kind in KINDS for data in PAPER for seed in range(seeds)]
    found: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    widths: dict[tuple[str, str], list[float]] = defaultdict(list)
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for data, kind, shares, width in tqdm(
            pool.imap(covered, tasks), total=len(tasks), disable=None
        ):
            found[kind, data].append(shares)
            widths[kind, data].append(width)
    print(
        f"{'spoiled':8}{'table':14}"
        + "".join(f"{level:>8}" for level in LEVELS)
        + "   width at 0.9"
    )
    for (kind, data), rows in found.items():
        means = "".join(f"{mean(column):8.3f}" for column in zip(*rows, strict=True))
        print(f"{kind:8}{data:14}{means}{median(widths[kind, data]):15.4g}")


if __name__ == "__main__":
    main()
