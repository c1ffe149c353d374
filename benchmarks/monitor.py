"""How often the monitor has an alarm: without a change, and from which size of a change on.

    OMP_WAIT_POLICY=PASSIVE ASRL_DATA_DIR=... python benchmarks/monitor.py

A model learns from 2,000 rows of a table, is measured on others, and meets batches of 200 of the rest: as they
are, with outcomes moved by a share of the scale of the residuals, or with residuals enlarged.
"""

from __future__ import annotations

from collections import defaultdict

import click
import numpy as np
import xgboost
from tqdm import tqdm

from asrl_mlflow.boosting import predict, train
from asrl_mlflow.datasets.dataset import load
from asrl_mlflow.datasets.matrices import make_matrix
from asrl_mlflow.losses import ContinuousASRL
from asrl_mlflow.monitoring import Reference, judge
from asrl_mlflow.records.distribution import describe_distribution

TABLES, ROWS, BATCH, RATE = ("power_plant", "california", "gas_turbine"), 2_000, 200, 0.01
MOVED, ENLARGED = (0.0, 0.25, 0.5, 1.0), (1.25, 1.5, 2.0)


@click.command()
@click.option(
    "--batches", default=1_000, show_default=True, help="For each table, without a change."
)
@click.option("--models", default=20, show_default=True, help="For each table; each meets as many.")
def main(batches: int, models: int) -> None:
    """Print the shares of batches with an alarm."""
    alarms: dict[tuple[str, str], list[bool]] = defaultdict(list)
    cells = [(data, seed) for data in TABLES for seed in range(models)]
    for data, seed in tqdm(cells, disable=None):
        rows = load(data).rows
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(rows))
        learned, measured, rest = np.split(order, [ROWS, 2 * ROWS])
        loss = ContinuousASRL()
        params = {"max_depth": 6, "learning_rate": 0.1, "nthread": 1, "seed": seed}
        booster = train(params, make_matrix(rows.take(learned)), 100, loss=loss)
        residual = rows.target - predict(booster, rows.features)
        scale = 1.4826 * float(np.median(np.abs(residual[measured])))
        known = np.abs(residual[measured])
        limits = {"delta_low": np.quantile(known, 0.5), "delta_high": np.quantile(known, 0.9)}
        reference = Reference(known, limits, describe_distribution(rows.features.iloc[measured]))
        for _ in range(batches // models):
            chosen = rng.choice(rest, BATCH, replace=False)
            features = rows.features.iloc[chosen]
            changes = {f"moved {share}": residual[chosen] + share * scale for share in MOVED}
            changes |= {f"enlarged {times}": residual[chosen] * times for times in ENLARGED}
            for change, values in changes.items():
                batch = judge(change, features, np.abs(values), reference)
                alarms[data, change].append(bool(batch.alarms(RATE)))
    print(f"XGBoost {xgboost.__version__}; batches of {BATCH} rows; alarm rate {RATE}")
    kinds = list(dict.fromkeys(change for _, change in alarms))
    print(f"{'table':13}" + "".join(f"{kind:>15}" for kind in kinds))
    for data in TABLES:
        shares = [float(np.mean(alarms[data, kind])) for kind in kinds]
        print(f"{data:13}" + "".join(f"{share:15.3f}" for share in shares))


if __name__ == "__main__":
    main()
