"""One loss on one table, in one tracked run."""

from __future__ import annotations

from typing import Any

import click
import xgboost
from tqdm import tqdm

from asrl_mlflow import registry, tracking
from asrl_mlflow.datasets.dataset import Dataset
from asrl_mlflow.errors import InputError, listed
from asrl_mlflow.experiments import report
from asrl_mlflow.experiments.experiment import prepare_split, run_experiment
from asrl_mlflow.losses import LOSSES, BaseLoss, ContinuousASRL, auto, from_config, to_config
from asrl_mlflow.losses.regression.scale import AUTO
from asrl_mlflow.records.features import describe_columns
from asrl_mlflow.tracking.keys import CONTINUED_TAG
from flows._options import (
    BOOSTING,
    CONTAMINATION,
    DATA,
    FIGURES,
    boosting,
    contamination,
    dataset,
    option,
    options,
    parse_params,
    tell,
)
from flows._running import end, run


@click.command("train")
@options(
    DATA,
    (
        option(
            "--loss",
            help=f"One of {', '.join(LOSSES)}, or auto: asrl_c that needs no tuning.  [default: {ContinuousASRL.name}, or what --model-uri recorded]",
        ),
        option(
            "--loss-params",
            default="",
            show_default=False,
            callback=parse_params,
            help="Its parameters, as q_low=0.5,q_high=0.9.  [default: the loss's own]",
        ),
    ),
    (
        option(
            "--model-uri",
            help="A registered model to add rounds to: models:/<name>@<alias> or models:/<name>/<version>.",
        ),
        option(
            "--change-loss",
            type=bool,
            default=False,
            help="Go on although --model-uri recorded another loss.",
        ),
    ),
    BOOSTING,
    CONTAMINATION,
    FIGURES,
)
def command(**values: Any) -> int:  # noqa: ANN401 - click's values, typed by their options
    """Train one loss and log all of it."""
    settings, spoiling = boosting(values), contamination(values)
    loss = None if values["model_uri"] else _asked(values)
    table = dataset(values)
    parts = prepare_split(table, values["seed"], spoiling)
    tracking.connect()
    continued, origin = None, ""
    if loss is None:
        loss, continued, origin = _continued(values, table)
    tell(table)
    with (
        tracking.run(f"{loss.label} {table.name}", flow="train") as log,
        tqdm(total=settings.rounds, unit="round", desc=loss.label, disable=None) as bar,
    ):
        result = run_experiment(
            loss,
            table,
            parts,
            log,
            seed=values["seed"],
            settings=settings,
            contamination=spoiling,
            on_round=lambda _: bar.update(),
            continued=continued,
            change_loss=values["change_loss"],
        )
        if continued is not None:
            log.tags({CONTINUED_TAG: origin})
    scores = {name: [value] for name, value in result.metrics.items()}
    summary = report.summary_table({loss.label: {**scores, "seconds": [result.seconds]}})
    click.echo(
        f"\n{loss}, seed {values['seed']}{spoiling.describe()}\n\n{report.NOTE}\n\n{summary}"
    )
    click.echo(f"\nRegister it: {tracking.runner()}python -m flows.register --run-id={log.run_id}")
    return end(log)


def _asked(values: dict[str, Any]) -> BaseLoss:
    name = values["loss"] or ContinuousASRL.name
    config = to_config(auto()) if name == AUTO else {"name": name, "params": {}}
    return from_config(config | {"params": config["params"] | values["loss_params"]})


def _continued(values: dict[str, Any], table: Dataset) -> tuple[BaseLoss, xgboost.Booster, str]:
    """A registered model, and the loss to go on with: the one it recorded, unless told."""
    # Once: an alias may move meanwhile.
    version = registry.find(values["model_uri"])
    uri, recorded = version.uri, version.record.build_loss()
    booster = registry.load_booster(uri)
    known, here = registry.load_columns(uri), describe_columns(table.rows.features)
    if known != here:
        names = [each["name"] for each in here if each not in known] or [
            each["name"] for each in known
        ]
        msg = (
            f"{uri}: goes on with the features that it knows, in their order and with their categories; "
            f"got another {listed(names)}; give it such a table."
        )
        raise InputError(msg)
    given = values["loss"] or values["loss_params"]
    loss = _asked(values) if given else recorded
    if loss != recorded and not values["change_loss"]:
        msg = (
            f"{uri}: goes on with the loss that it recorded, {recorded}; got {loss}; leave --loss and "
            "--loss-params out, or pass --change-loss=true."
        )
        raise InputError(msg)
    click.echo(f"goes on from {uri}, {recorded}, {booster.num_boosted_rounds()} rounds")
    return loss, booster, uri


if __name__ == "__main__":
    run(command)
