"""Judge the trials of a study: train each trial's loss on some rows and measure it on others.

Worker processes do this, which load neither MLflow nor Optuna. Imports `boosting`, `datasets` and `losses`.
"""

from __future__ import annotations

from asrl_mlflow.experiments.trials.assignment import Assignment
from asrl_mlflow.experiments.trials.judging import Contest, Judge, Pruned, Verdict
from asrl_mlflow.experiments.trials.pool import Pool
from asrl_mlflow.experiments.trials.processes import ProcessPool

__all__ = [
    "Assignment",
    "Contest",
    "Judge",
    "Pool",
    "ProcessPool",
    "Pruned",
    "Verdict",
]
