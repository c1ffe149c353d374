"""Record runs in MLflow: choose the store, open and end runs, log params, metrics, artifacts.

What a store does not take is kept in a file and sent later (`spool`). Knows nothing of training. Imports
`datasets`, `losses`, `rounds` and `system`.
"""

from __future__ import annotations

from asrl_mlflow.tracking.keys import data_params, loss_params
from asrl_mlflow.tracking.run_log import RunLog
from asrl_mlflow.tracking.runs import begin, discard, recorded, run, running
from asrl_mlflow.tracking.store import (
    DEFAULT_STORE,
    EXPERIMENT,
    STORAGE_VARIABLE,
    connect,
    store_address,
    ui_command,
)

__all__ = [
    "DEFAULT_STORE",
    "EXPERIMENT",
    "STORAGE_VARIABLE",
    "RunLog",
    "begin",
    "connect",
    "data_params",
    "discard",
    "loss_params",
    "recorded",
    "run",
    "running",
    "store_address",
    "ui_command",
]
