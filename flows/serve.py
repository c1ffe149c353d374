"""Serve a registered model over HTTP: MLflow's scoring server behind limits and short errors."""

from __future__ import annotations

from typing import Any

import click
import uvicorn

from asrl_mlflow import registry, tracking
from asrl_mlflow.guard import guarded
from flows.options import DONE, option, options, run
from flows.predict import MODEL_URI

_MEGABYTE = 1 << 20


@click.command("serve")
@options(
    MODEL_URI,
    (
        option("--host", default="127.0.0.1", help="The address to listen on."),
        option("--port", type=click.IntRange(1, 65535), default=5001, help="The port."),
        option(
            "--max-megabytes",
            type=click.IntRange(1),
            default=16,
            help="Longer bodies are refused.",
        ),
    ),
)
def command(**values: Any) -> int:  # noqa: ANN401 - click's values, typed by their options
    """Answer POST /invocations as `mlflow models serve` does; errors are one short line."""
    tracking.connect()
    version = registry.found(values["model_uri"])
    app = guarded(registry.load(version.uri), values["max_megabytes"] * _MEGABYTE)
    click.echo(
        f"{values['model_uri']}: version {version.version}, {version.record.known_loss()}\n"
        f"POST to http://{values['host']}:{values['port']}/invocations; Ctrl+C ends it"
    )
    # A signal ends it once the requests that were accepted have been answered.
    uvicorn.run(app, host=values["host"], port=values["port"], log_level="warning")
    return DONE


if __name__ == "__main__":
    run(command, interrupted="what was accepted has been answered")
