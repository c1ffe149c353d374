"""Choose the tracking store and the experiment, and make sure that the store answers."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

import mlflow
from mlflow.entities import Run
from mlflow.environment_variables import (
    MLFLOW_EXPERIMENT_ID,
    MLFLOW_EXPERIMENT_NAME,
    MLFLOW_RUN_ID,
    MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT,
)

from asrl_mlflow.errors import InputError, StoreError
from asrl_mlflow.system.files import create_atomically
from asrl_mlflow.system.processes import pause_at_random
from asrl_mlflow.system.uris import hide_address_secrets, hide_secrets, is_address, is_secret
from asrl_mlflow.tracking.leftovers import end_leftovers
from asrl_mlflow.tracking.patience import short
from asrl_mlflow.tracking.spool import one_line

_logger = logging.getLogger(__name__)

EXPERIMENT = "asrl-mlflow"
DEFAULT_STORE = "sqlite:///mlflow.db"
STORAGE_VARIABLE = "ASRL_STORAGE"

_SQLITE = "sqlite:///"
_ATTEMPTS = 4
# A server that has just been started takes its time.
_SECONDS_AT_FIRST = 60
# The run that `mlflow run` has opened, as it was when the store answered last.
project_runs: dict[str, Run] = {}


def connect(*, to_log: bool = True) -> None:
    """Choose store and experiment, and make sure that the store answers.

    The store is the one that MLflow is configured for, else `sqlite:///mlflow.db`. The experiment is
    `asrl-mlflow`, unless one is configured or `mlflow run` has already opened a run. Runs that a
    process of this host left RUNNING when it was killed are ended.

    Parameters
    ----------
    to_log : bool
        Whether runs will be opened; without, no experiment is chosen or made.

    Raises
    ------
    InputError
        Its address cannot be read.
    StoreError
        The store does not answer, or refuses the experiment.
    """
    # Our summary says where to look; MLflow would say it once a run, through the progress bar.
    os.environ.setdefault(MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.name, "true")
    # A fresh database would be announced with one line a migration, a failing one with a traceback;
    # what matters of either is said by us.
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
            with short(_SECONDS_AT_FIRST):
                _reach_store()
                if to_log:
                    _choose_experiment()
                    end_leftovers()
        except Exception as error:
            # Processes that create a database's schema at the same moment trip over each other.
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
    uri = mlflow.get_tracking_uri()
    if uri.startswith(_SQLITE):
        create_atomically(Path(uri.removeprefix(_SQLITE)), _create_database)
    mlflow.search_experiments(max_results=1)


def _choose_experiment() -> None:
    if MLFLOW_RUN_ID.is_set():
        theirs = mlflow.get_run(MLFLOW_RUN_ID.get())
        project_runs[theirs.info.run_id] = theirs
        _warn_of_secrets(theirs.data.params)
    elif MLFLOW_EXPERIMENT_ID.is_set():
        # Chosen here, as without a choice MLflow asks the store again for every run.
        mlflow.set_experiment(experiment_id=MLFLOW_EXPERIMENT_ID.get())
    else:
        # Twice: where another process creates it at the same moment, MLflow finds the experiment by
        # name but forgets to make it the active one.
        found = mlflow.set_experiment(MLFLOW_EXPERIMENT_NAME.get() or EXPERIMENT)
        mlflow.set_experiment(experiment_id=found.experiment_id)
        # MLflow writes its choice there too, where the next store would take it for the user's.
        MLFLOW_EXPERIMENT_ID.unset()


def _warn_of_secrets(params: Mapping[str, str]) -> None:
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
    mlflow.MlflowClient(f"{_SQLITE}{path}").search_experiments(max_results=1)


def store_address() -> str:
    """Where the store is, as people may read it."""
    uri = mlflow.get_tracking_uri()
    return hide_secrets(uri, uri)


def ui_command() -> str:
    """The line that opens this store's user interface."""
    uri = store_address()
    if uri.startswith(("http://", "https://")):
        return uri
    # Under `uv run` and `uvx` the shell that the line will be typed into does not know mlflow.
    if "UV_RUN_RECURSION_DEPTH" in os.environ:
        runner = "uv run "
    else:
        runner = "uvx " if "UV" in os.environ else ""
    return f"{runner}mlflow ui --backend-store-uri {uri}   (then http://127.0.0.1:5000)"
