"""The page of a run of compare, tune or main, written again from what the tracking store has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import mlflow

from asrl_mlflow import reports, tracking
from asrl_mlflow.command_line.command import Command
from asrl_mlflow.command_line.completion import complete_file
from asrl_mlflow.command_line.given import option
from asrl_mlflow.command_line.options import options
from asrl_mlflow.command_line.running import end
from asrl_mlflow.errors import InputError
from asrl_mlflow.system.disk import require_space


@click.command("report", cls=Command)
@options(
    (
        option("--run-id", help="A run of compare, tune or main."),
        option(
            "--out",
            shell_complete=complete_file,
            help="A file to write the page to as well; the run gets it anyway.",
        ),
    ),
)
def command(**values: Any) -> int:  # noqa: ANN401 - click's values, typed by their options
    """Write report.html of a run again, from what the store has of the run and its children."""
    run_id = values["run_id"]
    if run_id is None:
        msg = "report needs a run; got none; pass --run-id= of a run of compare, tune or main."
        raise InputError(msg)
    tracking.connect(to_log=False)
    page = reports.write(run_id)
    if values["out"]:
        Path(values["out"]).write_text(page, encoding="utf-8")
        click.echo(f"Written to {values['out']}.")
    with require_space():
        mlflow.MlflowClient().log_text(run_id, page, reports.REPORT)
    click.echo(f"Logged as {reports.REPORT} with run {run_id}.")
    return end()
