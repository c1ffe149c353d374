"""Measure how long the figures of a run take, drawn and compressed, for every loss.

OMP_WAIT_POLICY=PASSIVE python benchmarks/speed/figures.py --data=california
"""

from __future__ import annotations

import statistics
import time

import click
from tqdm import tqdm

from asrl_mlflow.datasets.contamination import Contamination
from asrl_mlflow.datasets.dataset import load
from asrl_mlflow.experiments.experiment import fit, prepare_split
from asrl_mlflow.experiments.settings import Settings
from asrl_mlflow.figures.run_figures import draw_run
from asrl_mlflow.losses import LOSSES
from asrl_mlflow.records.unseen import calibrate_held_out
from asrl_mlflow.rounds import Round

LIMIT = 2.0


@click.command()
@click.option("--data", default="diabetes", show_default=True, help="As the flows' option.")
@click.option("--repeats", default=5, show_default=True, help="How often each set is drawn.")
def main(data: str, repeats: int) -> None:
    """Measure, and print a table."""
    parts = prepare_split(load(data), 0, Contamination("asym", 0.2))
    print(f"{data}, {len(parts.train)} training rows; limit {LIMIT} s a run\n")
    print(f"{'loss':16}{'median':>8}{'longest':>9}")
    for name, make in tqdm(LOSSES.items(), leave=False, disable=None):
        rounds: list[Round] = []
        booster = fit(make(), parts, Settings(), 0, rounds.append)
        prediction = booster.inplace_predict(parts.test.features)
        seconds = []
        for _ in range(repeats):
            started = time.perf_counter()
            pictures = draw_run(
                make(),
                booster,
                parts.test,
                prediction,
                rounds,
                rounds[-1],
                "title",
                valid=parts.valid,
                calibration=calibrate_held_out(booster, parts.valid).errors,
            )
            for _ in pictures:
                pass
            seconds.append(time.perf_counter() - started)
        print(f"{name:16}{statistics.median(seconds):7.2f}s{max(seconds):8.2f}s")


if __name__ == "__main__":
    main()
