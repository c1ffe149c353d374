"""One loss on one table, in one tracked run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
import xgboost
from tqdm import tqdm

from asrl_mlflow import registry, tracking
from asrl_mlflow.command_line.command import Command
from asrl_mlflow.command_line.completion import complete_loss, complete_model_uri
from asrl_mlflow.command_line.given import command_line, option
from asrl_mlflow.command_line.options import (
    BOOSTING,
    CONTAMINATION,
    DATA,
    FIGURES,
    SIGNATURE,
    boosting,
    check_engine,
    contamination,
    dataset,
    engine,
    options,
    tell,
)
from asrl_mlflow.command_line.parsing import parse_params
from asrl_mlflow.command_line.running import end
from asrl_mlflow.datasets.dataset import Dataset
from asrl_mlflow.datasets.roles import Roles
from asrl_mlflow.errors import InputError, listed
from asrl_mlflow.experiments import report
from asrl_mlflow.experiments.experiment import Result, prepare_split, run_experiment
from asrl_mlflow.experiments.settings import Settings
from asrl_mlflow.losses import (
    CLASSIFICATION_LOSSES,
    LOSSES,
    BaseLoss,
    ContinuousASRL,
    LogLoss,
    Loss,
    auto,
    from_config,
    to_config,
)
from asrl_mlflow.losses.regression.scale import AUTO
from asrl_mlflow.records.features import describe_columns
from asrl_mlflow.registry.versions import RegisteredVersion
from asrl_mlflow.tracking.keys import CONTINUED_TAG
from asrl_mlflow.tracking.run_log import RunLog


@click.command("train", cls=Command)
@options(
    DATA,
    (
        option(
            "--loss",
            shell_complete=complete_loss,
            help=f"One of {', '.join(LOSSES)}, or auto: asrl_c that needs no tuning; for classes {', '.join(CLASSIFICATION_LOSSES)}.  [default: {ContinuousASRL.name}, for classes {LogLoss.name}, or what --model-uri recorded]",
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
            shell_complete=complete_model_uri,
            help="A registered model to add rounds to: models:/<name>@<alias> or models:/<name>/<version>.",
        ),
        option(
            "--change-loss",
            type=bool,
            default=False,
            help="Go on although --model-uri recorded another loss.",
        ),
    ),
    engine("dask"),
    (
        option(
            "--checkpoint-every",
            type=click.IntRange(1),
            help="With Dask: keep the model after every so many rounds; the same command goes on from there.",
        ),
    ),
    SIGNATURE,
    BOOSTING,
    CONTAMINATION,
    FIGURES,
)
def command(**values: Any) -> int:  # noqa: ANN401 - click's values, typed by their options
    """Train one loss and log all of it."""
    settings = boosting(values)
    check_engine(values)
    if values["engine"]:
        return _train_on_cluster(values, settings)
    if values["checkpoint_every"]:
        msg = "--checkpoint-every is about a cluster; got no --engine; pass --engine=dask, or leave it out."
        raise click.UsageError(msg)
    version = None
    if values["model_uri"]:
        tracking.connect(command=command_line())
        # Once: an alias may move meanwhile.
        version = registry.find(values["model_uri"], trusted=values["require_signature"])
    loss = _loss(values, version)
    table = dataset(values, task=None if loss is None else loss.task)
    loss = loss or (LogLoss() if table.classes else ContinuousASRL())
    spoiling = contamination(values, table)
    parts = prepare_split(table, values["seed"], spoiling)
    if version is None:
        tracking.connect(command=command_line())
    trusted = values["require_signature"]
    continued = None if version is None else _continued(version, loss, table, trusted)
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
        if version is not None:
            log.tags({CONTINUED_TAG: version.uri})
    _summarise(loss, f"seed {values['seed']}{spoiling.describe()}", result, log)
    return end(log)


def _summarise(loss: BaseLoss, how: str, result: Result, log: RunLog) -> None:
    """Print what came out, and the command that registers it."""
    scores = {name: [value] for name, value in result.metrics.items()}
    summary = report.summary_table(
        {loss.label: {**scores, report.SECONDS: [result.seconds]}}, loss.task
    )
    note = report.SUMMARIES[loss.task].note
    click.echo(f"\n{loss}, {how}\n\n{note}\n\n{summary}")
    click.echo(f"\nRegister it: {tracking.shell_command('register', f'--run-id={log.run_id}')}")


def _train_on_cluster(values: dict[str, Any], settings: Settings) -> int:
    """Train on the workers of a Dask cluster, which have the rows."""
    for name in ("model_uri", "contaminate_kind", "contaminate_share"):
        if values[name]:
            msg = f"--{name.replace('_', '-')} is not for --engine=dask; got {values[name]}; leave one of them out."
            raise click.UsageError(msg)
    loss = _asked(values)
    if not isinstance(loss, Loss):
        msg = f"--engine=dask takes losses for regression; got {loss}; leave --engine out."
        raise InputError(msg)
    names = ("target", "weight", "group", "time", "drop")
    roles = Roles(**{name: values[name] for name in names})
    try:
        # Here, not above: they need the extra `dask`.
        from asrl_mlflow.distributed.table import read  # noqa: PLC0415 - see above
        from asrl_mlflow.experiments.cluster import run_cluster_experiment  # noqa: PLC0415 - see above
        from asrl_mlflow.system.clusters import connect  # noqa: PLC0415 - see above
    except ImportError as error:
        msg = f"--engine=dask: {error}"
        raise InputError(msg) from error
    tracking.connect(command=command_line())
    with connect(values["scheduler"], values["workers"]) as client:
        table = read(client, values["data"], roles, values["seed"])
        click.echo(table.describe())
        with (
            tracking.run(f"{loss.label} {table.name}", flow="train") as log,
            tqdm(total=settings.rounds, unit="round", desc=loss.label, disable=None) as bar,
        ):
            result = run_cluster_experiment(
                client,
                loss,
                table,
                log,
                seed=values["seed"],
                settings=settings,
                checkpoint_every=values["checkpoint_every"],
                on_round=lambda round_: bar.update(round_.number + 1 - bar.n),
            )
    _summarise(loss, f"seed {values['seed']}", result, log)
    return end(log)


def _loss(values: dict[str, Any], version: RegisteredVersion | None) -> BaseLoss | None:
    """The loss that was asked for, or that the model to go on from recorded; None where the table decides."""
    given = values["loss"] or values["loss_params"]
    if version is None:
        return _asked(values) if given else None
    recorded = version.record.build_loss()
    loss = _asked(values) if given else recorded
    if loss != recorded and not values["change_loss"]:
        msg = (
            f"{version.uri}: goes on with the loss that it recorded, {recorded}; got {loss}; leave --loss and "
            "--loss-params out, or pass --change-loss=true."
        )
        raise InputError(msg)
    return loss


def _asked(values: dict[str, Any]) -> BaseLoss:
    name = values["loss"] or ContinuousASRL.name
    config = to_config(auto()) if name == AUTO else {"name": name, "params": {}}
    return from_config(config | {"params": config["params"] | values["loss_params"]})


def _continued(
    version: RegisteredVersion, loss: BaseLoss, table: Dataset, trusted: Sequence[str] | None
) -> xgboost.Booster:
    """The booster of a registered model, which knows the table's features and classes."""
    uri, recorded = version.uri, version.record.build_loss()
    with registry.open_version(uri, trusted=trusted) as opened:
        booster, known = opened.booster(), opened.columns
    here = describe_columns(table.rows.features)
    if known != here:
        names = [each["name"] for each in here if each not in known] or [
            each["name"] for each in known
        ]
        msg = (
            f"{uri}: goes on with the features that it knows, in their order and with their categories; "
            f"got another {listed(names)}; give it such a table."
        )
        raise InputError(msg)
    classes = version.record.data.get("classes", [])
    if classes != list(table.classes) or loss.task != recorded.task:
        msg = (
            f"{uri}: goes on with the kind of target that it knows, {listed(classes) or 'numbers'}; got "
            f"{listed(table.classes) or 'numbers'}; give it such a table, or train a model anew."
        )
        raise InputError(msg)
    click.echo(f"goes on from {uri}, {recorded}, {booster.num_boosted_rounds()} rounds")
    return booster
