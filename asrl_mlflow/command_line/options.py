"""The options that entry points share."""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import click

from asrl_mlflow.command_line.completion import complete_data, complete_file
from asrl_mlflow.command_line.given import Function, option
from asrl_mlflow.command_line.parsing import Share, parse_keys, parse_names
from asrl_mlflow.datasets.contamination import (
    CONTAMINATIONS,
    WITH_SHARE,
    Contamination,
    ContaminationKind,
)
from asrl_mlflow.datasets.dataset import DEFAULT, Dataset, load
from asrl_mlflow.errors import InputError
from asrl_mlflow.experiments.settings import Settings
from asrl_mlflow.losses import (
    BASIC,
    BASIC_CLASSIFICATION,
    CLASSIFICATION_LOSSES,
    LOSSES,
    BaseLoss,
    ClassificationLoss,
    from_name,
)
from asrl_mlflow.losses.regression.scale import AUTO
from asrl_mlflow.system.uris import JOURNAL, SQLITE

# MLflow and Optuna keep names in columns of about so many characters.
LONGEST_NAME = 200
_MOST_TOLD = 60
# Of several paths between commas.
_LONGEST_PATHS = 4096
# What is wrong with a path itself. Anything else that fails is the disk's.
_BAD_PATH = {
    errno.ENAMETOOLONG,
    errno.EINVAL,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EISDIR,
    errno.EACCES,
    errno.EPERM,
    errno.ELOOP,
    errno.EROFS,
}


def losses_for(asked: str | tuple[BaseLoss, ...], table: Dataset) -> tuple[BaseLoss, ...]:
    """The losses that a value of `parse_losses` means for a table; says which of a group it leaves out."""
    if not isinstance(asked, str):
        return asked
    if not table.classes:
        return tuple(map(from_name, {"basic": [*BASIC, AUTO], "all": [*LOSSES, AUTO]}[asked]))
    names = {"basic": BASIC_CLASSIFICATION, "all": CLASSIFICATION_LOSSES}[asked]
    serving, left = [], []
    for name in names:
        loss = cast("ClassificationLoss", from_name(name))
        try:
            loss.check_outputs(loss.outputs(len(table.classes)))
        except InputError:
            left.append(name)
        else:
            serving.append(loss)
    if left:
        click.echo(f"left out, as they are for two classes: {', '.join(left)}")
    return tuple(serving)


DATA = (
    option(
        "--data",
        shell_complete=complete_data,
        default=DEFAULT,
        help="Name of a data set, or a path to .csv, .parquet or a folder of .parquet files.",
    ),
    option("--target", help="Column to predict.  [default: the last without another role]"),
    option("--weight", help="Column of sample weights; not a feature."),
    option("--group", help="Column whose equal rows stay on one side of a split; not a feature."),
    option("--time", help="Column to split by, past before future; not a feature."),
    option(
        "--drop",
        default="",
        show_default=False,
        callback=parse_names,
        help="Columns to leave out, between commas.",
    ),
    # XGBoost's seeds are 32-bit numbers.
    option(
        "--seed",
        type=click.IntRange(0, 2**31 - 1),
        default=0,
        help="Of split, contamination and trees.",
    ),
)
ROUNDS = (
    option("--rounds", type=click.IntRange(1), default=Settings.rounds, help="Boosting rounds."),
)
BOOSTING = (
    *ROUNDS,
    option(
        "--learning-rate",
        type=Share(0, 1, min_open=True),
        default=Settings.learning_rate,
        help="Shrinkage of each tree.",
    ),
    option(
        "--max-depth",
        type=click.IntRange(1, 64),
        default=Settings.max_depth,
        help="Depth of each tree.",
    ),
    option(
        "--early-stopping-rounds",
        type=click.IntRange(1),
        help="Stop when the validation MAE, or log loss, has not improved for so many rounds.",
    ),
)
JOBS = (
    option(
        "--jobs",
        type=click.IntRange(1),
        of_host=True,
        help="Worker processes, of one thread each.  [default: one a core]",
    ),
)
SIGNATURE = (
    option(
        "--require-signature",
        shell_complete=complete_file,
        longest=_LONGEST_PATHS,
        of_host=True,
        callback=parse_keys,
        # The variable lets a host require signatures of all that is loaded there.
        help="Public keys, PEM files between commas: load only what one of them has signed; for all commands "
        "in ASRL_REQUIRE_SIGNATURE.",
    ),
)


def engine(*names: str) -> tuple[Callable[[Function], Function], ...]:
    """The options of a command that can work on a cluster, with these engines."""
    return (
        option(
            "--engine",
            type=click.Choice(names),
            help="Work on a cluster.  [default: in this process]",
        ),
        option(
            "--scheduler",
            of_host=True,
            help="Address of a cluster that runs.  [default: one is started on this host, for this command]",
        ),
        option(
            "--workers",
            type=click.IntRange(1),
            of_host=True,
            help="Worker processes of a cluster that is started.  [default: as suits the cores]",
        ),
    )


FIGURES = (
    option("--figures", type=bool, default=Settings.figures, help="Draw the pictures of each run."),
)
CONTAMINATION = (
    option(
        "--contaminate-share",
        type=Share(0, 1, max_open=True),
        default=Contamination.share,
        help="Share of training and validation targets to spoil.",
    ),
    option(
        "--contaminate-kind",
        type=click.Choice(CONTAMINATIONS),
        help="How to spoil them.  [default: none; where a share is given asym, for classes flip]",
    ),
)


def options(*groups: Sequence[Callable[[Function], Function]]) -> Callable[[Function], Function]:
    """Groups of options as one decorator, in the order that --help shows."""

    def decorate(function: Function) -> Function:
        function = _naming_paths(function)
        for group in reversed(groups):
            for decorator in reversed(group):
                function = decorator(function)
        return function

    return decorate


def _naming_paths(function: Function) -> Function:
    """Report a path of the user's that cannot be used as InputError; let failures of the disk pass."""

    @functools.wraps(function)
    def named(**values: Any) -> object:  # noqa: ANN401 - click's values, typed by their options
        try:
            return function(**values)
        except OSError as error:
            given = _given_as(error, values) if error.errno in _BAD_PATH else None
            if given is None:
                raise
            name, text = given
            msg = (
                f"--{name} needs a path that can be used; got {text[:_MOST_TOLD]!r}, {error.strerror}; name "
                "another, or make it."
            )
            raise InputError(msg) from error

    return cast("Function", named)


def _given_as(error: OSError, values: Mapping[str, Any]) -> tuple[str, str] | None:
    """The option, and its path, which an error is about, or a file or folder that follows from it."""
    about = [Path(os.fsdecode(name)).absolute() for name in _files(error)]
    for name, value in values.items():
        for text in value if isinstance(value, tuple) else (value,):
            if not isinstance(text, str):
                continue
            path = Path(text.removeprefix(JOURNAL).removeprefix(SQLITE)).absolute()
            for file in about:
                beside = file.parent == path.parent and file.name.startswith(path.name)
                if path == file or beside or path in file.parents or file in path.parents:
                    return name, text
    return None


def _files(error: OSError) -> list[str | bytes]:
    return [name for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]


def check_engine(values: Mapping[str, Any]) -> None:
    """Refuse values of `engine` that have nothing to be about."""
    given = [name for name in ("scheduler", "workers") if values[name] is not None]
    if given and values["engine"] is None:
        msg = f"--{given[0]} is about a cluster; got no --engine; name one, or leave --{given[0]} out."
        raise click.UsageError(msg)
    if len(given) > 1:
        msg = "--workers is about a cluster that is started; got the --scheduler of one that runs; leave one out."
        raise click.UsageError(msg)


def boosting(values: dict[str, Any]) -> Settings:
    """The values of `BOOSTING`, taken out of a command's keyword arguments."""
    return Settings(
        rounds=values["rounds"],
        learning_rate=values["learning_rate"],
        max_depth=values["max_depth"],
        early_stopping_rounds=values["early_stopping_rounds"],
        figures=values["figures"],
    )


def dataset(values: dict[str, Any], data: str | None = None, *, task: str | None = None) -> Dataset:
    """The table that the values of `DATA` mean.

    Parameters
    ----------
    values : dict
        Those of a command.
    data : str, optional
        Stands in for the name or path among them.
    task : {"regression", "classification"}, optional
        What shall be learned from it; without it the target's column decides.
    """
    roles = {name: values[name] for name in ("weight", "group", "time", "drop")}
    classes = None if task is None else task == "classification"
    truth = values.get("truth")  # few commands have it
    return load(data or values["data"], values["target"], classes=classes, truth=truth, **roles)


def tell(table: Dataset) -> None:
    """Print the description of a table, and its warnings."""
    click.echo(table.describe())
    for line in table.warnings:
        click.echo(f"Warning: {table.name}: {line}", err=True)


def contamination(values: dict[str, Any], table: Dataset) -> Contamination:
    """The values of `CONTAMINATION`; a share and a kind that contradict each other are refused."""
    share: float = values["contaminate_share"]
    usual: ContaminationKind = "flip" if table.classes else "asym"
    kind: ContaminationKind = values["contaminate_kind"] or (usual if share else "none")
    takes_share = kind in WITH_SHARE
    if takes_share != bool(share):
        rule = "needs a share above 0" if takes_share else "takes no share"
        remedy = "pass --contaminate-share=0.2" if takes_share else "leave --contaminate-share out"
        msg = f"--contaminate-kind={kind} {rule}; got {share}; {remedy}."
        raise click.UsageError(msg)
    return Contamination(kind, share)
