"""Judge one trial of a study: its loss learns from some rows and is judged by others.

A worker process does this without MLflow and Optuna. Imports `boosting`, `datasets` and `losses`.
"""

from __future__ import annotations

from asrl_mlflow.trials.judging import Contest, Judge, Pruned, Verdict
from asrl_mlflow.trials.worker import Worker

__all__ = [
    "Contest",
    "Judge",
    "Pruned",
    "Verdict",
    "Worker",
]
