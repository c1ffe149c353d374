"""Choose the tracking store and the experiment, and check that the store answers."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.entities import Experiment, Run
from mlflow.environment_variables import (
    MLFLOW_EXPERIMENT_ID,
    MLFLOW_EXPERIMENT_NAME,
    MLFLOW_RUN_ID,
    MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT,
)

from asrl_mlflow.errors import InputError, StoreError
from asrl_mlflow.system.files import create_atomically
from asrl_mlflow.system.processes import pause_at_random
from asrl_mlflow.system.uris import (
    SQLITE,
    hide_address_secrets,
    hide_secrets,
    is_address,
    is_secret,
)
from asrl_mlflow.tracking.abandoned import end_abandoned_runs
from asrl_mlflow.tracking.retries import limit_waiting
from asrl_mlflow.tracking.spool import one_line

_logger = logging.getLogger(__name__)

EXPERIMENT = "asrl-mlflow"
DEFAULT_STORE = "sqlite:///mlflow.db"
STORAGE_VARIABLE = "ASRL_STORAGE"

# What MLflow's pages show of an experiment: without this tag they guess, and open its runs as those of
# language models.
_KIND_TAG, _KIND = "mlflow.experimentKind", "custom_model_development"

_ATTEMPTS = 4
# A server that has just been started answers slowly.
_SECONDS_FOR_FIRST_ANSWER = 60


@dataclass
class Connection:
    """What `connect` has learned from the store, for runs that are opened when it does not answer.

    Parameters
    ----------
    experiment_id : str, optional
        Of the experiment that was chosen.
    project_run : Run, optional
        The run that `mlflow run` has opened.
    command : str, optional
        The command line that the runs to come are made by.
    is_project : bool
        Whether `mlflow run` has started this process.
    """

    experiment_id: str | None = None
    project_run: Run | None = None
    command: str | None = None
    is_project: bool = False


connection = Connection()


def connect(*, to_log: bool = True, command: str | None = None) -> None:
    """Choose the store and the experiment, and check that the store answers.

    The store is the one that MLflow is configured for, else `sqlite:///mlflow.db`. The experiment is
    `asrl-mlflow`, unless one is configured or `mlflow run` has already opened a run. Runs that are
    still RUNNING although their process on this host was killed are ended.

    Parameters
    ----------
    to_log : bool
        Whether runs will be opened. Without, no experiment is chosen or created, and no run is ended.
    command : str, optional
        The command line, without secrets; runs that are no children get it as the tag `asrl.command`.

    Raises
    ------
    InputError
        The store's address cannot be read.
    StoreError
        The store does not answer, or refuses the experiment.
    """
    connection.command = command
    # Asked now: with the first run MLflow forgets it.
    connection.is_project = MLFLOW_RUN_ID.is_set()
    # Flows say where to look, once; MLflow would print it for each run, through the progress bar.
    os.environ.setdefault(MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.name, "true")
    # A new database would be announced with a line for each migration, a failing one with a traceback;
    # our one line says what matters.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    if not mlflow.is_tracking_uri_set():
        mlflow.set_tracking_uri(DEFAULT_STORE)
    if not is_address(mlflow.get_tracking_uri()):
        msg = (
            "MLFLOW_TRACKING_URI must be an address, its port a number, an @ in a password written as "
            f"%40; got {hide_address_secrets(mlflow.get_tracking_uri())!r}."
        )
        raise InputError(msg)
    for attempt in range(_ATTEMPTS):
        try:
            with limit_waiting(_SECONDS_FOR_FIRST_ANSWER):
                _reach_store()
                if to_log:
                    _choose_experiment()
                    end_abandoned_runs()
        except Exception as error:
            # Processes that create a database's schema at the same moment disturb each other.
            if attempt + 1 < _ATTEMPTS and mlflow.get_tracking_uri().startswith("sqlite:"):
                pause_at_random(1, 2)
                continue
            msg = (
                f"The tracking store must answer before anything is trained; got "
                f"{one_line(error)} from {store_address()}; start it, or set "
                "MLFLOW_TRACKING_URI."
            )
            raise StoreError(msg) from error
        else:
            return


def _reach_store() -> None:
    """Create the store where it is a new file, and call it."""
    uri = mlflow.get_tracking_uri()
    if uri.startswith(SQLITE):
        create_atomically(Path(uri.removeprefix(SQLITE)), _create_database)
    mlflow.search_experiments(max_results=1)


def _choose_experiment() -> None:
    """Choose the experiment of the runs to come; that of `mlflow run` is its run's."""
    connection.experiment_id = connection.project_run = None
    if MLFLOW_RUN_ID.is_set():
        connection.project_run = mlflow.get_run(MLFLOW_RUN_ID.get())
        _say_kind(mlflow.get_experiment(connection.project_run.info.experiment_id))
        _warn_of_secrets(connection.project_run.data.params)
    elif MLFLOW_EXPERIMENT_ID.is_set():
        # Set it, although it is configured: otherwise MLflow asks the store for it with every run.
        chosen = mlflow.set_experiment(experiment_id=MLFLOW_EXPERIMENT_ID.get())
        connection.experiment_id = chosen.experiment_id
    else:
        # Twice: where another process creates it at the same moment, MLflow finds the experiment by
        # name but forgets to make it the active one.
        chosen = mlflow.set_experiment(MLFLOW_EXPERIMENT_NAME.get() or EXPERIMENT)
        mlflow.set_experiment(experiment_id=chosen.experiment_id)
        connection.experiment_id = chosen.experiment_id
        _say_kind(chosen)
        # MLflow sets this variable too; the next store would take it for the user's choice.
        MLFLOW_EXPERIMENT_ID.unset()


def _say_kind(experiment: Experiment) -> None:
    if _KIND_TAG not in experiment.tags:
        client = mlflow.MlflowClient()
        client.set_experiment_tag(experiment.experiment_id, _KIND_TAG, _KIND)


def _warn_of_secrets(params: Mapping[str, str]) -> None:
    """Warn of params of `mlflow run` that hold a secret."""
    for name, value in params.items():
        if is_secret(value):
            _logger.warning(
                "The tracking store shows the secret in the param %s, which `mlflow run -P` has logged "
                "and nobody can change: delete that run, change the secret, and give the address in "
                "the environment variable %s.",
                name,
                STORAGE_VARIABLE,
            )


def _create_database(path: Path) -> None:
    mlflow.MlflowClient(f"{SQLITE}{path}").search_experiments(max_results=1)


def store_address() -> str:
    """Address of the store, its secrets hidden."""
    uri = mlflow.get_tracking_uri()
    return hide_secrets(uri, uri)


def runner() -> str:
    """What a user of `uv run` types in front of a command of this environment: "uv run "; else nothing."""
    return "uv run " if "UV_RUN_RECURSION_DEPTH" in os.environ else ""
