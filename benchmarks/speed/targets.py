"""Several targets: what trees that they share are worth, and what a robust loss costs there.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/speed/targets.py

The table is made: `targets` targets are sums of the same steps of 10 features in other proportions, each in
its own unit, with noise of half their scale; of the training rows a share is spoiled in each target on its
own. Errors are the mean over the targets of the MAE on clean test rows in robust scales, at the best of the
learning rates; medians over the seeds. Costs are medians of interleaved pairs of trainings.
"""

from __future__ import annotations

import itertools
import time
from statistics import median
from typing import Any

import click
import numpy as np
import xgboost
from tqdm import tqdm

from asrl_mlflow import train
from asrl_mlflow.losses import AdaptiveHuber, ContinuousASRL, Loss, SquaredError

LOSSES: tuple[Loss, ...] = (SquaredError(), AdaptiveHuber(), ContinuousASRL(q_low=0.7, q_high=0.75))
STRATEGIES = ("one_output_per_tree", "multi_output_tree")
SPOILED = (0.0, 0.2)
RATES, ROUNDS, TARGETS = (0.1, 0.3), 100, 5
FEATURES, STEPS, TEST_ROWS = 10, 30, 2000


def made(rows: int, targets: int, spoiled: float, seed: int) -> tuple[Any, Any, Any, Any]:
    """Arrays: all features, training targets, clean targets of the test rows behind them, and units."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows + TEST_ROWS, FEATURES))
    where, at = rng.integers(FEATURES, size=(2, STEPS)), rng.normal(size=(2, STEPS))
    steps = (x[:, where[0]] > at[0]) & (x[:, where[1]] > at[1])
    signal = steps @ rng.normal(size=(STEPS, targets))
    signal /= signal.std(axis=0)
    unit = 10.0 ** rng.integers(-1, 4, size=targets)
    y = signal[:rows] + 0.5 * rng.normal(size=(rows, targets))
    wrong = rng.random(y.shape) < spoiled
    y[wrong] += rng.uniform(5, 20, np.count_nonzero(wrong))
    return x, y * unit, signal[rows:], unit


def error(loss: Loss, strategy: str, rows: int, targets: int, spoiled: float, seed: int) -> float:
    """Mean over the targets of the MAE in their scales, at the best learning rate."""
    x, y, clean, unit = made(rows, targets, spoiled, seed)
    dtrain = xgboost.QuantileDMatrix(x[:rows], label=y)
    found = []
    for rate in RATES:
        params = {"max_depth": 6, "eta": rate, "multi_strategy": strategy, "nthread": 1}
        booster = train(params, dtrain, ROUNDS, loss=loss)
        found.append(float(np.abs(booster.inplace_predict(x[rows:]) / unit - clean).mean()))
    return min(found)


def cost(loss: Loss, strategy: str, rows: int, targets: int, pairs: int) -> float:
    """Time of a training over that of XGBoost's squared error with the same strategy."""
    x, y, _, _ = made(rows, targets, 0.2, 0)
    dtrain = xgboost.QuantileDMatrix(x[:rows], label=y)
    params = {"max_depth": 6, "multi_strategy": strategy, "nthread": 1}
    start = np.median(y, axis=0).tolist()
    native = {**params, "objective": "reg:squarederror", "base_score": start}
    ratios = []
    for _ in range(pairs):
        began = time.perf_counter()
        xgboost.train(native, dtrain, 50)
        between = time.perf_counter()
        train(params, dtrain, 50, loss=loss)
        ratios.append((time.perf_counter() - between) / (between - began))
    return median(ratios)


@click.command()
@click.option("--seeds", default=3, show_default=True, help="Tables of each kind.")
@click.option(
    "--pairs", default=5, show_default=True, help="Pairs of trainings to measure costs by."
)
def main(seeds: int, pairs: int) -> None:
    """Measure, and print two tables."""
    click.echo(f"XGBoost {xgboost.__version__}")
    kinds = list(itertools.product((500, 2000), SPOILED))
    with tqdm(total=len(LOSSES) * len(STRATEGIES) * len(kinds) * seeds, leave=False) as progress:
        for loss, strategy in itertools.product(LOSSES, STRATEGIES):
            cells = []
            for rows, spoiled in kinds:
                errors = []
                for seed in range(seeds):
                    errors.append(error(loss, strategy, rows, TARGETS, spoiled, seed))
                    progress.update()
                cells.append(f"{rows} rows, {spoiled:.0%} spoiled: {median(errors):.3f}")
            progress.write(f"{loss.name:15} {strategy:20} {'; '.join(cells)}")
    for loss, strategy in itertools.product(LOSSES, STRATEGIES):
        ratios = [
            f"{rows} x {targets}: {cost(loss, strategy, rows, targets, pairs):.2f}"
            for rows, targets in ((1000, 2), (20000, 4))
        ]
        click.echo(f"cost {loss.name:15} {strategy:20} {'; '.join(ratios)}")


if __name__ == "__main__":
    main()
