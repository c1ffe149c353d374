"""How often the monitor has an alarm: without a change, and from which size of a change on.

    OMP_WAIT_POLICY=PASSIVE ASRL_DATA_DIR=... python benchmarks/quality/monitor.py

A model learns from 2,000 rows of a table, is measured on others, and meets batches of 200 of the rest: as they
are, with outcomes moved by a share of the scale of the residuals, or with residuals enlarged. `--figure=` draws
the shares of batches with an alarm.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import click
import numpy as np
import xgboost
from tqdm import tqdm

from asrl_mlflow.boosting import predict, train
from asrl_mlflow.datasets.dataset import load
from asrl_mlflow.datasets.matrices import make_matrix
from asrl_mlflow.diagnosis.monitoring import Reference, judge
from asrl_mlflow.figures.style import CONTEXT_GREY, open_figure, png, style_axes
from asrl_mlflow.losses import ContinuousASRL
from asrl_mlflow.records.distribution import describe_distribution

TABLES, ROWS, BATCH, RATE = ("power_plant", "california", "gas_turbine"), 2_000, 200, 0.01
# Shifts of outcomes in scales of the residuals, and factors of the residuals; the first of each is no change.
SHIFTS, FACTORS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0), (1.0, 1.1, 1.2, 1.3, 1.5, 1.75, 2.0)


@click.command()
@click.option(
    "--batches", default=1_000, show_default=True, help="For each table, without a change."
)
@click.option("--models", default=20, show_default=True, help="For each table; each meets as many.")
@click.option(
    "--figure", type=click.Path(path_type=Path), help="A .png file to draw the curves to."
)
def main(batches: int, models: int, figure: Path | None) -> None:
    """Print the shares of batches with an alarm."""
    alarms: dict[tuple[str, str, float], list[bool]] = defaultdict(list)
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
        known = residual[measured]
        scale = 1.4826 * float(np.median(np.abs(known)))
        limits = {
            name: float(np.quantile(np.abs(known), level))
            for name, level in (("delta_low", 0.5), ("delta_high", 0.9))
        }
        described = describe_distribution(rows.features.iloc[measured])
        reference = Reference(np.abs(known), limits, described, residual=known)
        for _ in range(batches // models):
            chosen = rng.choice(rest, BATCH, replace=False)
            features = rows.features.iloc[chosen]
            changes = {("shift", share): residual[chosen] + share * scale for share in SHIFTS}
            changes |= {("factor", times): residual[chosen] * times for times in FACTORS}
            for (kind, size), values in changes.items():
                batch = judge("a batch", features, np.abs(values), reference, values)
                alarms[data, kind, size].append(bool(batch.alarms(RATE)))
    shares = {key: float(np.mean(found)) for key, found in alarms.items()}
    print(f"XGBoost {xgboost.__version__}; batches of {BATCH} rows; alarm rate {RATE}")
    for kind, sizes in (("shift", SHIFTS), ("factor", FACTORS)):
        print(f"{kind:13}" + "".join(f"{size:8}" for size in sizes))
        for data in TABLES:
            print(f"{data:13}" + "".join(f"{shares[data, kind, size]:8.3f}" for size in sizes))
    if figure:
        figure.write_bytes(draw(shares, batches))


def draw(shares: Mapping[tuple[str, str, float], float], batches: int) -> bytes:
    """Draw the share of batches with an alarm over the size of the change, a line for each table."""
    figure, body = open_figure(
        (10, 4.2),
        "How large a change is noticed in a batch of 200 rows",
        f"share of {batches:,} batches with an alarm; dashed: the rate that was asked for, {RATE}; "
        f"XGBoost {xgboost.__version__}",
    )
    panels = body.subplots(1, 2, sharey=True)
    for axes, kind, sizes, label in (
        (panels[0], "shift", SHIFTS, "outcomes moved by, in scales of the residuals"),
        (panels[1], "factor", FACTORS, "residuals times"),
    ):
        style_axes(axes)
        for data in TABLES:
            heights = [shares[data, kind, size] for size in sizes]
            axes.plot(sizes, heights, marker="o", markersize=3, label=data)
        axes.axhline(RATE, color=CONTEXT_GREY, linewidth=1, linestyle="--")
        axes.yaxis.set_major_formatter("{x:.0%}")
        axes.set_xlabel(label)
    panels[1].legend(frameon=False)
    return png(figure)


if __name__ == "__main__":
    main()
