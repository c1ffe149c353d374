"""Run experiments: a loss learns from a table, is judged once on its test rows, and all is logged.

Imports `boosting`, `tracking`, `figures`, `records`: here they meet.
"""

from __future__ import annotations

from asrl_mlflow.experiments.experiment import Result, fit, prepare_split, refit, run_experiment
from asrl_mlflow.experiments.series import Case, run_series
from asrl_mlflow.experiments.settings import Settings

__all__ = [
    "Case",
    "Result",
    "Settings",
    "fit",
    "prepare_split",
    "refit",
    "run_experiment",
    "run_series",
]
