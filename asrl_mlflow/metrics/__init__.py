"""Measure how far predictions are from targets: numbers (`regression`) and classes (`classification`).

Metrics must be the same function in every round, which no adaptive loss is: early stopping and
selection use these, never a loss. `TASKS` tells for each task which metrics it has.

The names here are those for targets that are numbers, and those for classes but `recall`, which both
have: that of classes is `metrics.classification.recall`. Imports `residuals`.
"""

from __future__ import annotations

from asrl_mlflow.metrics import classification, regression
from asrl_mlflow.metrics.classification import (
    accuracy,
    auc,
    balanced_accuracy,
    brier,
    calibration_error,
    dice,
    error,
    logloss,
)
from asrl_mlflow.metrics.regression import (
    BY_RESIDUALS,
    METRICS,
    SELECTING,
    mae,
    medae,
    mse,
    quantile,
    r2,
    recall,
    rmse,
    trimmed_mae,
)
from asrl_mlflow.metrics.tasks import TASKS, Metric, Task

__all__ = [
    "BY_RESIDUALS",
    "METRICS",
    "SELECTING",
    "TASKS",
    "Metric",
    "Task",
    "accuracy",
    "auc",
    "balanced_accuracy",
    "brier",
    "calibration_error",
    "classification",
    "dice",
    "error",
    "logloss",
    "mae",
    "medae",
    "mse",
    "quantile",
    "r2",
    "recall",
    "regression",
    "rmse",
    "trimmed_mae",
]
