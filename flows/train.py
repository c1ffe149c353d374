"""One loss on one table, in one tracked run."""

from __future__ import annotations

from typing import Any

import click
from tqdm import tqdm

from asrl_mlflow import report, tracking
from asrl_mlflow.lab import divide, experiment
from asrl_mlflow.losses import LOSSES, from_config
from flows.options import (
    BOOSTING,
    CONTAMINATION,
    DATA,
    FIGURES,
    boosting,
    contamination,
    dataset,
    ending,
    option,
    options,
    parse_params,
    run,
    tell,
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
    FIGURES,
)
def command(**values: Any) -> int:  # noqa: ANN401 - click's values, typed by their options
    """Train one loss and log all of it."""
    loss = from_config({"name": values["loss"], "params": values["loss_params"]})
    settings, spoiling = boosting(values), contamination(values)
    table = dataset(values)
    parts = divide(table, values["seed"], spoiling)
    tracking.connect()
    tell(table)
    with (
        tracking.run(f"{loss.name} {table.name}", flow="train") as log,
        tqdm(total=settings.rounds, unit="round", desc=loss.name, disable=None) as bar,
    ):
        result = experiment(
            loss,
            table,
            parts,
            log,
            seed=values["seed"],
            settings=settings,
            contamination=spoiling,
            on_round=lambda _: bar.update(),
        )
    scores = {name: [value] for name, value in result.metrics.items()}
    summary = report.summary_table({loss.name: {**scores, "seconds": [result.seconds]}})
    click.echo(
        f"\n{loss}, seed {values['seed']}{spoiling.told()}\n\n{summary}\n\n{report.RECALL_NOTE}"
    )
    return ending([log])


if __name__ == "__main__":
    run(command)
