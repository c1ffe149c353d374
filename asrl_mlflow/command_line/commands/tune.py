"""A study: Optuna searches the parameters of one loss, each trial a nested run; kill it and go on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
import mlflow

from asrl_mlflow import tracking
from asrl_mlflow.command_line.command import Command
from asrl_mlflow.command_line.completion import complete_loss
from asrl_mlflow.command_line.given import command_line, option
from asrl_mlflow.command_line.options import (
    BOOSTING,
    CONTAMINATION,
    DATA,
    FIGURES,
    LONGEST_NAME,
    boosting,
    check_engine,
    contamination,
    dataset,
    engine,
    options,
    tell,
)
from asrl_mlflow.command_line.parsing import Jobs, Share
from asrl_mlflow.command_line.running import end
from asrl_mlflow.experiments import report
from asrl_mlflow.losses import (
    CLASSIFICATION_LOSSES,
    LOSSES,
    BaseLoss,
    ContinuousASRL,
    GeneralizedCrossEntropy,
    describe_params,
    loss_class,
)
from asrl_mlflow.metrics import TASKS
from asrl_mlflow.studies.storages import default_storage
from asrl_mlflow.system.extras import needing
from asrl_mlflow.system.uris import public_address
from asrl_mlflow.tuning.api import Outcome, Plan, tune_plan
from asrl_mlflow.tuning.plan import EARLY_STOPPING_ROUNDS

if TYPE_CHECKING:
    from distributed import Client

_DASK = "dask"

STORAGE = (
    option(
        "--storage",
        of_host=True,
        help="Where studies are kept: journal:PATH, sqlite:///PATH, postgresql+psycopg://... or "
        f"mysql+pymysql://...; one with a password belongs in {tracking.STORAGE_VARIABLE}, which nobody sees.  "
        "[default: a journal beside the tracking store]",
    ),
)
STUDY = (
    option(
        "--trials",
        type=click.IntRange(1),
        default=100,
        help="Complete and pruned ones of the study, earlier ones included.",
    ),
    option(
        "--study",
        longest=LONGEST_NAME,
        help="Its name, under which it goes on.  [default: made from what it is about]",
    ),
    option(
        "--metric",
        type=click.Choice([name for task in TASKS.values() for name in task.selecting]),
        help="To choose by, on validation rows.  [default: mae, for classes logloss]",
    ),
    option(
        "--timeout",
        type=Share(0, min_open=True),
        help="Seconds after which no trial is begun.",
    ),
    option(
        "--tune-booster",
        type=bool,
        default=False,
        help="Search max_depth, learning_rate, min_child_weight, subsample and lambda too.",
    ),
)
TUNED_BOOSTING = (
    *BOOSTING[:-1],
    option(
        "--early-stopping-rounds",
        type=click.IntRange(1),
        default=EARLY_STOPPING_ROUNDS,
        help="Stop a trial when its metric has not improved for so many rounds.",
    ),
)


@click.command(
    "tune",
    cls=Command,
    interrupted="unfinished runs are KILLED; start the same command again to go on",
)
@options(
    DATA,
    (
        option(
            "--loss",
            shell_complete=complete_loss,
            help=f"One of {', '.join(LOSSES)}; for classes {', '.join(CLASSIFICATION_LOSSES)}.  [default: {ContinuousASRL.name}, for classes {GeneralizedCrossEntropy.name}]",
        ),
    ),
    STUDY,
    (
        option(
            "--jobs",
            type=Jobs(_DASK),
            of_host=True,
            help="Trials at once: worker processes of one thread each, or threads of a cluster; dask is short for "
            "--engine=dask.  [default: one a core, of a cluster one a thread]",
        ),
    ),
    STORAGE,
    engine(_DASK),
    TUNED_BOOSTING,
    CONTAMINATION,
    FIGURES,
)
def command(**values: Any) -> int:  # noqa: ANN401 - click's values, typed by their options
    """Tune one loss, and go on where an earlier run of the same command was stopped."""
    if values["jobs"] == _DASK:
        values |= {"jobs": None, "engine": _DASK}
    check_engine(values)
    loss = loss_class(values["loss"]) if values["loss"] else None
    settings = boosting(values)
    table = dataset(values, task=None if loss is None else loss.task)
    loss = loss or (GeneralizedCrossEntropy if table.classes else ContinuousASRL)
    spoiling = contamination(values, table)
    plan = Plan(
        loss=loss,
        table=table,
        metric=values["metric"] or TASKS[loss.task].default,
        seed=values["seed"],
        settings=settings,
        contamination=spoiling,
        tune_booster=values["tune_booster"],
    )
    tracking.connect(command=command_line())
    tell(table)
    with _cluster(values) as client:
        outcome = tuned(plan, values, client)
    tell_choice(plan, outcome)
    _tell_scores(outcome)
    click.echo(f"\nRegister it: {tracking.shell_command('register', f'--study={outcome.study}')}")
    return end(outcome.log)


@contextmanager
def _cluster(values: Mapping[str, Any]) -> Iterator[Client | None]:
    """The cluster that the values of `engine` mean; None where trials are judged on this host."""
    if values["engine"] is None:
        yield None
        return
    with needing(_DASK):
        # Here, not above: it needs the extra `dask`.
        from asrl_mlflow.system.clusters import connect  # noqa: PLC0415 - see above
    # A process for each core: threads of one would wait for one another.
    with connect(values["scheduler"], values["workers"], threads=1) as client:
        yield client


def tuned(plan: Plan, values: dict[str, Any], client: Client | None = None) -> Outcome:
    """Say where a plan's study is kept, and work on it.

    Parameters
    ----------
    plan : Plan
        What it is about.
    values : dict
        Those of the options `JOBS`, `STORAGE` and, where there are such options, `STUDY`.
    client : distributed.Client, optional
        Of the cluster whose workers judge the trials.

    Raises
    ------
    StorageError
        The storage failed while it was worked on.
    """
    name = values.get("study") or plan.name()
    where = values["storage"] or default_storage(mlflow.get_tracking_uri())
    click.echo(f"\nstudy {name} in {public_address(where)}")
    return tune_plan(
        plan,
        study=name,
        storage=where,
        trials=values["trials"],
        jobs=values["jobs"],
        seconds=values.get("timeout"),
        client=client,
    )


def tell_choice(plan: Plan, outcome: Outcome) -> None:
    """What a study chose, and by what."""
    best = outcome.best
    untuned = "" if outcome.untuned is None else f"; with its defaults {outcome.untuned:.5g}"
    click.echo(
        f"{outcome.study}: {outcome.complete} trials complete, {outcome.pruned} pruned\n"
        f"best: {_in_short(outcome.loss)}, trial {best.number}, {best.rounds} rounds\n"
        f"{plan.metric} {plan.judged}: {best.value:.5g}{untuned}{plan.contamination.describe()}"
    )


def _in_short(loss: BaseLoss) -> str:
    """A loss with four digits of each parameter; the run has all of them."""
    return f"{type(loss).__name__}({', '.join(describe_params(dataclasses.asdict(loss), 4))})"


def _tell_scores(outcome: Outcome) -> None:
    scores = {**outcome.metrics, report.SECONDS: outcome.seconds}
    name, task = f"{outcome.loss.name} tuned", outcome.loss.task
    summary = report.summary_table({name: {key: [value] for key, value in scores.items()}}, task)
    click.echo(f"\n{report.SUMMARIES[task].note}\n\n{summary}")
