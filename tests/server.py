"""A tracking server that really runs, and can be killed, stopped, and started again."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import time
from urllib.request import urlopen

import mlflow
import uvicorn
from mlflow.server import constants

# What takes most of a server's start is imported once, for all that are started.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["mlflow.server.fastapi_app"])


class Server:
    """What `mlflow server` runs, at an address that stays."""

    def __init__(self, folder, database):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.client = mlflow.MlflowClient(f"sqlite:///{database}")
        self.folder = folder
        self.settings = {
            constants.BACKEND_STORE_URI_ENV_VAR: f"sqlite:///{database}",
            constants.ARTIFACT_ROOT_ENV_VAR: "mlflow-artifacts:/",
            constants.ARTIFACTS_DESTINATION_ENV_VAR: str(folder / "artifacts"),
            constants.SERVE_ARTIFACTS_ENV_VAR: "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        self.start()

    def start(self):
        self.process = PROCESSES.Process(
            target=serve, args=[self.folder, self.port, self.settings], daemon=True
        )
        self.process.start()
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError):
                urlopen(f"{self.address}/health", timeout=60).close()  # noqa: S310 - the address is ours
                return
            assert time.monotonic() < deadline, (self.folder / "server.log").read_text()
            time.sleep(0.05)

    def kill(self):
        self.process.kill()
        self.process.join()

    def stop(self):
        """Connections are taken still, and never answered."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self):
        os.kill(self.process.pid, signal.SIGCONT)

    def runs(self):
        experiment = self.client.get_experiment_by_name("asrl-mlflow")
        return self.client.search_runs([experiment.experiment_id]) if experiment else []

    def is_told_rounds(self):
        return any("valid.mae" in run.data.metrics for run in self.runs())


def serve(folder, port, settings):
    os.chdir(folder)
    log = os.open("server.log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.environ.update(settings)
    uvicorn.run("mlflow.server.fastapi_app:app", host="127.0.0.1", port=port)
