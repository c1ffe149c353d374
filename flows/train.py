"""One loss on one table, in one tracked run."""

from __future__ import annotations

from typing import Any

import click
from tqdm import tqdm

from asrl_mlflow import report, tracking
from asrl_mlflow.datasets import load
from asrl_mlflow.lab import experiment
from asrl_mlflow.losses import LOSSES, from_config
from flows.options import (
    BOOSTING,
    CONTAMINATION,
    DATA,
    boosting,
    contamination,
    ending,
    option,
    options,
    parse_params,
    run,
)


@click.command("train")
@options(
    DATA,
    (
        option("--loss", default="asrl_c", help=f"One of {', '.join(LOSSES)}."),
        option(
            "--loss-params",
            default="",
            show_default=False,
            callback=parse_params,
            help="Its parameters, as q_low=0.5,q_high=0.9.  [default: the loss's own]",
        ),
    ),
    BOOSTING,
    CONTAMINATION,
)
def command(**values: Any) -> int:  # noqa: ANN401 - click's values, typed by their options
    """Train one loss and log all of it."""
    loss = from_config({"name": values["loss"], "params": values["loss_params"]})
    settings, spoiling = boosting(values), contamination(values)
    dataset = load(values["data"], values["target"])
    tracking.connect()
    click.echo(dataset.told())
    with (
        tracking.run(f"{loss.name} {dataset.name}", flow="train") as log,
        tqdm(total=settings.rounds, unit="round", desc=loss.name, disable=None) as bar,
    ):
        result = experiment(
            loss,
            dataset,
            log,
            seed=values["seed"],
            settings=settings,
            contamination=spoiling,
            on_round=lambda _: bar.update(),
        )
    scores = {name: [value] for name, value in result.metrics.items()}
    table = report.summary_table({loss.name: {**scores, "seconds": [result.seconds]}})
    click.echo(
        f"\n{loss}, seed {values['seed']}{spoiling.told()}\n\n{table}\n\n{report.RECALL_NOTE}"
    )
    return ending([log])


if __name__ == "__main__":
    run(command)
