"""How often prediction intervals hold right targets where some targets were spoiled, and how wide they are.

    OMP_WAIT_POLICY=PASSIVE ASRL_DATA_DIR=... python benchmarks/quality/intervals.py --seeds=5

The model is refitted as `tune` does it, with `losses.auto()` on train and valid together, whose targets are
spoiled, and judged on clean test rows. Three kinds of intervals are made from the same out-of-fold predictions:
"plain" ones count every residual, "clean" ones leave those of gross outliers out, and "known" ones, which
nobody can make, take residuals of the clean targets. "adaptive" ones are clean, and wider where residuals are
expected to be spread wider. Widths are ratios to the known ones', of adaptive ones their mean. "clean least" and
"adaptive least" are the shares that are held in that third of the test rows, by expected spread, where it is
smallest. Means over seeds.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import defaultdict
from dataclasses import replace
from statistics import mean

import click
import numpy as np
import xgboost
from tqdm import tqdm

from asrl_mlflow.boosting import predict, train
from asrl_mlflow.datasets.contamination import Contamination
from asrl_mlflow.datasets.dataset import PAPER, load
from asrl_mlflow.datasets.matrices import make_matrix
from asrl_mlflow.datasets.splits import join
from asrl_mlflow.experiments.experiment import prepare_split
from asrl_mlflow.experiments.settings import Settings
from asrl_mlflow.intervals import predict_spread
from asrl_mlflow.losses import auto
from asrl_mlflow.records.unseen import calibrate_out_of_fold, predict_out_of_fold
from asrl_mlflow.residuals.conformal import Calibration

KINDS = {
    "none": Contamination(),
    "asym 0.02": Contamination("asym", 0.02),
    "sym 0.1": Contamination("sym", 0.1),
    "asym 0.2": Contamination("asym", 0.2),
    "asym 0.4": Contamination("asym", 0.4),
    "cauchy": Contamination("cauchy"),
}
LEVEL, MOST_ROWS, ROUNDS = 0.9, 12_000, 100
COLUMNS = (
    "found",
    "plain",
    "clean",
    "known",
    "adaptive",
    "plain width",
    "clean width",
    "adaptive width",
    "clean least",
    "adaptive least",
)


def measure(task: tuple[str, str, int]) -> tuple[str, str, list[float]]:
    """One refit: the share of gross outliers, the shares covered, and the widths."""
    data, kind, seed = task
    table = load(data)
    if len(table.rows) > MOST_ROWS:
        chosen = np.random.default_rng(seed).permutation(len(table.rows))[:MOST_ROWS]
        table = replace(table, rows=table.rows.take(np.sort(chosen)))
    right, parts = (prepare_split(table, seed, each) for each in (Contamination(), KINDS[kind]))
    known, truth = join(parts.train, parts.valid), join(right.train, right.valid)
    params = {**Settings().booster_params(seed), "nthread": 1}
    booster = train(params, make_matrix(known), ROUNDS, loss=auto())
    found = predict_out_of_fold(auto(), params, ROUNDS, known, seed)
    off = np.abs(parts.test.target - predict(booster, parts.test.features))
    targets = dict(zip(np.asarray(truth.numbers), truth.target, strict=True))
    clean_target = np.array([targets[number] for number in found.numbers])
    calibration = calibrate_out_of_fold(auto(), found, known)
    oracle = Calibration.of_errors(np.abs(clean_target - found.prediction))
    plain, clean, best = (
        calibration.half_width(LEVEL),
        calibration.half_width(LEVEL, clean=True),
        oracle.half_width(LEVEL),
    )
    spread = predict_spread(
        calibration, xgboost.DMatrix(parts.test.features, enable_categorical=True)
    )
    adaptive = calibration.half_width(LEVEL, clean=True, adaptive=True) * spread
    covered = [float((off <= half).mean()) for half in (plain, clean, best, adaptive)]
    thirds = np.array_split(np.argsort(spread), 3)
    least = [
        min(float(held[third].mean()) for third in thirds)
        for held in (off <= clean, off <= adaptive)
    ]
    share = float(calibration.is_outlier.mean())
    widths = [half / best for half in (plain, clean, float(adaptive.mean()))]
    return data, kind, [share, *covered, *widths, *least]


@click.command()
@click.option("--seeds", default=5, show_default=True, help="From 0 on.")
@click.option(
    "--kinds", default=",".join(KINDS), show_default=True, help="How targets are spoiled."
)
@click.option("--jobs", default=os.cpu_count(), show_default=True, help="Processes.")
def main(seeds: int, kinds: str, jobs: int) -> None:
    """Print the table."""
    chosen = kinds.split(",")
    tasks = [(data, kind, seed) for kind in chosen for data in PAPER for seed in range(seeds)]
    cells: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for data, kind, row in tqdm(
            pool.imap_unordered(measure, tasks), total=len(tasks), disable=None
        ):
            cells[kind, data].append(row)
    print(f"XGBoost {xgboost.__version__}, level {LEVEL}, {seeds} seeds, at most {MOST_ROWS} rows")
    print(f"{'spoiled':11}{'table':13}" + "".join(f"{name:>15}" for name in COLUMNS))
    for kind in chosen:
        rows = [[mean(column) for column in zip(*cells[kind, data], strict=True)] for data in PAPER]
        for data, row in zip(PAPER, rows, strict=True):
            print(f"{kind:11}{data:13}" + "".join(f"{value:15.3f}" for value in row))


if __name__ == "__main__":
    main()
