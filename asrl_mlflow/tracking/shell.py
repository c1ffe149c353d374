"""Commands for the shell of whoever reads what is printed, which is not always the environment of this process.

Under `uv run` that shell finds nothing of what is installed; `uv run` in front helps. Elsewhere this process's own
interpreter is named by its path, which works in any folder and whether an environment is activated or not. `mlflow
run` may have fetched the project into a folder of its own, and its shell may know neither that folder nor the store:
then both are named too.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import mlflow

from asrl_mlflow.system.uris import is_secret, public_address
from asrl_mlflow.tracking.store import connection, runner, store_address

# The folder that holds the package that runs: a clone, or where packages are installed.
_ROOT = Path(__file__).parents[2]


def shell_command(*words: str) -> str:
    """`asrl` with these words, for the shell that this process was started from.

    Parameters
    ----------
    *words : str
        The name of a command, and its options.
    """
    if runner() and not connection.is_project:
        return f"{runner()}{stored_command(*words)}"
    return module_command("asrl_mlflow", *words)


def module_command(module: str, *words: str) -> str:
    """A module of this package, run by this process's own interpreter, for the same shell.

    Parameters
    ----------
    module : str
        Its name.
    *words : str
        What follows it.
    """
    known = {}
    if connection.is_project:
        known["PYTHONPATH"] = str(_ROOT)
        # One with a password stands in the variable of that shell, as it stood in no option.
        if not is_secret(mlflow.get_tracking_uri()):
            known["MLFLOW_TRACKING_URI"] = public_address(mlflow.get_tracking_uri())
    settings = "".join(f"{name}={shlex.quote(value)} " for name, value in known.items())
    return f"{settings}{shlex.join([sys.executable, '-m', module, *words])}"


def stored_command(*words: str) -> str:
    """`asrl` with these words, for texts that are kept in the store and read anywhere.

    Parameters
    ----------
    *words : str
        The name of a command, and its options.

    Examples
    --------
    >>> stored_command("register", "--study=my study")
    "asrl register '--study=my study'"
    """
    return shlex.join(["asrl", *words])


def ui_command() -> str:
    """Command that opens the user interface of this store, or its address where a server runs.

    The address is that of the experiment's table of runs, once `connect` has chosen an experiment.
    """
    uri = store_address()
    if uri.startswith(("http://", "https://")):
        return f"{uri.rstrip('/')}{_runs_page()}"
    # Whoever has typed `mlflow run` can type `mlflow ui`; `uvx mlflow` works in any shell.
    tool = runner() or ("uvx " if "UV" in os.environ else "")
    if not tool and not connection.is_project:
        tool = f"{shlex.quote(sys.executable)} -m "
    page = f"http://127.0.0.1:5000{_runs_page()}"
    return f"{tool}mlflow ui --backend-store-uri {shlex.quote(uri)}   (then {page})"


def _runs_page() -> str:
    """Path of the experiment's table of runs, which a browser that sees MLflow first would not open."""
    run = connection.project_run
    experiment = connection.experiment_id if run is None else run.info.experiment_id
    return f"/#/experiments/{experiment}/runs?workflowType=machine_learning" if experiment else ""
