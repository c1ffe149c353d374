"""Score a table with a registered model, in chunks, into a file that is whole or not there; or a folder on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from asrl_mlflow import registry, tracking
from asrl_mlflow.command_line.command import Command
from asrl_mlflow.command_line.completion import complete_file, complete_model_uri
from asrl_mlflow.command_line.given import option
from asrl_mlflow.command_line.options import SIGNATURE, check_engine, engine, options
from asrl_mlflow.command_line.parsing import Share, parse_names
from asrl_mlflow.command_line.process import DONE
from asrl_mlflow.registry.versions import RegisteredVersion
from asrl_mlflow.serving.batch import predict_file
from asrl_mlflow.serving.scoring import ENGINES, ModelFiles, predict_folder

MODEL_URI = (
    option(
        "--model-uri",
        required=True,
        shell_complete=complete_model_uri,
        help="models:/<name>@<alias> or models:/<name>/<version>.",
    ),
)


@click.command(
    "predict",
    cls=Command,
    interrupted="of a table nothing was written, a folder goes on with the same command",
)
@options(
    MODEL_URI,
    (
        option(
            "--data",
            required=True,
            shell_complete=complete_file,
            help="A path to .csv, .parquet or a folder of .parquet files.",
        ),
        option(
            "--out",
            shell_complete=complete_file,
            default="predictions.parquet",
            help="The result: .parquet or .csv; with --engine a folder of .parquet files.",
        ),
        option(
            "--interval",
            type=Share(0, 1, min_open=True, max_open=True),
            help="Level of prediction intervals, 0.9 say: adds lower and upper; for classes of prediction sets.",
        ),
        option(
            "--clean",
            type=bool,
            default=False,
            help="Intervals of right targets: residuals of gross outliers do not count.",
        ),
        option(
            "--adaptive",
            type=bool,
            default=False,
            help="Intervals that are wider for rows whose residuals are spread wider.",
        ),
        option(
            "--keep",
            default="",
            callback=parse_names,
            help="Columns to have in the result too, between commas.",
        ),
    ),
    engine(*ENGINES),
    SIGNATURE,
)
def command(**values: Any) -> int:  # noqa: ANN401 - click's values, typed by their options
    """Predict every row of a table, in its order.

    With an engine a folder of .parquet files, file by file.
    """
    check_engine(values)
    tracking.connect(to_log=False)
    trusted = values["require_signature"]
    version = registry.find(values["model_uri"], trusted=trusted)
    click.echo(f"{values['model_uri']}: version {version.version}, {version.record.build_loss()}")
    predict = _predict_file if values["engine"] is None else _predict_folder
    click.echo(predict(version, values))
    return DONE


def _predict_file(version: RegisteredVersion, values: dict[str, Any]) -> str:
    model = registry.load(version.uri, trusted=values["require_signature"])
    with _progress(values, unit_scale=True) as show:
        rows = predict_file(
            model, Path(values["data"]), Path(values["out"]), **_asked(values), on_progress=show
        )
    return f"{rows} rows predicted into {values['out']}"


def _predict_folder(version: RegisteredVersion, values: dict[str, Any]) -> str:
    with registry.open_verified(version.uri, trusted=values["require_signature"]) as folder:
        model = ModelFiles.read(folder, version.uri)
    run = partial(
        ENGINES[values["engine"]], scheduler=values["scheduler"], workers=values["workers"]
    )
    # Spark's own bar comes first.
    with _progress(values, unit="file", delay=1) as show:
        found = predict_folder(
            model,
            Path(values["data"]),
            Path(values["out"]),
            run=run,
            **_asked(values),
            on_progress=show,
        )
    before = found.files - found.made
    return (
        f"{found.made} files predicted, {before} were there: {found.rows} rows in {found.files} files of "
        f"{values['out']}"
    )


def _asked(values: dict[str, Any]) -> dict[str, Any]:
    asked = {name: values[name] for name in ("clean", "adaptive", "keep")}
    return {"level": values["interval"], **asked}


@contextmanager
def _progress(values: dict[str, Any], **settings: Any) -> Iterator[Callable[[int, int], None]]:  # noqa: ANN401 - tqdm's
    with tqdm(desc=Path(values["data"]).name, disable=None, **settings) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show
