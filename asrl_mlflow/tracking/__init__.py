"""Record runs in MLflow: choose the store, open and end runs, log params, metrics and artifacts.

Entries that a store does not take are kept in a spool file and sent later. Knows nothing of training.
Imports `datasets`, `losses`, `rounds` and `system`.
"""

from __future__ import annotations

from asrl_mlflow.tracking.keys import booster_params, data_params, loss_params
from asrl_mlflow.tracking.run_log import RunLog
from asrl_mlflow.tracking.runs import (
    current_log,
    discard_run,
    fill,
    find_open_runs,
    find_study_run,
    open_child,
    read_run,
    run,
)
from asrl_mlflow.tracking.shell import module_command, shell_command, stored_command, ui_command
from asrl_mlflow.tracking.store import (
    DEFAULT_STORE,
    EXPERIMENT,
    STORAGE_VARIABLE,
    connect,
    runner,
    store_address,
)

__all__ = [
    "DEFAULT_STORE",
    "EXPERIMENT",
    "STORAGE_VARIABLE",
    "RunLog",
    "booster_params",
    "connect",
    "current_log",
    "data_params",
    "discard_run",
    "fill",
    "find_open_runs",
    "find_study_run",
    "loss_params",
    "module_command",
    "open_child",
    "read_run",
    "run",
    "runner",
    "shell_command",
    "store_address",
    "stored_command",
    "ui_command",
]
