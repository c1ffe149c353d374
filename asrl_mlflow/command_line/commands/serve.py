"""Serve a registered model over HTTP: MLflow's scoring server behind limits and short errors."""

from __future__ import annotations

import gc
import socket
from typing import Any

import click
import uvicorn

from asrl_mlflow import registry, tracking
from asrl_mlflow.command_line.command import Command
from asrl_mlflow.command_line.commands.predict import MODEL_URI
from asrl_mlflow.command_line.given import option
from asrl_mlflow.command_line.options import SIGNATURE, options
from asrl_mlflow.command_line.process import DONE
from asrl_mlflow.errors import InputError
from asrl_mlflow.registry.versions import RegisteredVersion
from asrl_mlflow.serving.connections import Connection
from asrl_mlflow.serving.server import App, create_app

_MEGABYTE = 1 << 20
_MOST_AT_ONCE, _SECONDS_TO_END = 512, 3


@click.command("serve", cls=Command, interrupted="what was accepted has been answered")
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
    SIGNATURE,
)
def command(**values: Any) -> int:  # noqa: ANN401 - click's values, typed by their options
    """Answer POST /invocations as `mlflow models serve` does; errors are one short line."""
    tracking.connect(to_log=False)
    trusted = values["require_signature"]
    version = registry.find(values["model_uri"], trusted=trusted)
    model = registry.load(version.uri, trusted=trusted)
    app = create_app(model, values["max_megabytes"] * _MEGABYTE)
    # Bound first: a port that is in use is the user's to choose anew.
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((values["host"], values["port"]))
        except OSError as error:
            msg = (
                f"serve needs an address of its own; got {values['host']}:{values['port']}, "
                f"{error.strerror}; choose another --port or --host."
            )
            raise InputError(msg) from error
        _serve(app, listening, values, version)
    return DONE


def _serve(
    app: App, listening: socket.socket, values: dict[str, Any], version: RegisteredVersion
) -> None:
    click.echo(
        f"{values['model_uri']}: version {version.version}, {version.record.build_loss()}\n"
        f"POST to http://{values['host']}:{values['port']}/invocations; Ctrl+C ends it"
    )
    # A signal ends it once the requests that were accepted have been answered; who is in the middle
    # of a body then has this long.
    config = uvicorn.Config(
        app,
        http=Connection,
        log_level="warning",
        # MLflow's app has nothing to begin or to end; a second signal would leave a traceback of its ending.
        lifespan="off",
        limit_concurrency=_MOST_AT_ONCE,
        timeout_graceful_shutdown=_SECONDS_TO_END,
    )
    # What is there by now stays: there is no need to look through it for garbage again and again.
    gc.collect()
    gc.freeze()
    uvicorn.Server(config).run(sockets=[listening])
