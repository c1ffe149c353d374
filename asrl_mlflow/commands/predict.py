"""Score a table with a registered model, in chunks, into a file that is whole or not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from asrl_mlflow import registry, tracking
from asrl_mlflow.command_line.command import Command
from asrl_mlflow.command_line.completion import complete_file, complete_model_uri
from asrl_mlflow.command_line.options import SIGNATURE, options
from asrl_mlflow.command_line.parsing import Share, parse_names
from asrl_mlflow.command_line.process import DONE
from asrl_mlflow.command_line.unsettable import option
from asrl_mlflow.serving.batch import predict_file

MODEL_URI = (
    option(
        "--model-uri",
        required=True,
        shell_complete=complete_model_uri,
        help="models:/<name>@<alias> or models:/<name>/<version>.",
    ),
)


@click.command("predict", cls=Command, interrupted="nothing was written")
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
            help="The result: .parquet or .csv.",
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
    SIGNATURE,
)
def command(**values: Any) -> int:  # noqa: ANN401 - click's values, typed by their options
    """Predict every row of a table, in its order."""
    tracking.connect(to_log=False)
    trusted = values["require_signature"]
    version = registry.find(values["model_uri"], trusted=trusted)
    model = registry.load(version.uri, trusted=trusted)
    click.echo(f"{values['model_uri']}: version {version.version}, {version.record.build_loss()}")
    data, out = Path(values["data"]), Path(values["out"])
    with tqdm(desc=data.name, unit_scale=True, disable=None) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        rows = predict_file(
            model,
            data,
            out,
            level=values["interval"],
            clean=values["clean"],
            adaptive=values["adaptive"],
            keep=values["keep"],
            on_progress=show,
        )
    click.echo(f"{rows} rows predicted into {out}")
    return DONE
