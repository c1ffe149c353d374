"""Tune a loss: Optuna chooses the trials, worker processes judge them, MLflow has a run for each.

Imports `studies`, `experiments` and what they stand on.
"""

from __future__ import annotations

from asrl_mlflow.tuning.api import Outcome, run_study, tune_plan
from asrl_mlflow.tuning.plan import BOOSTER_SPACE, FOLDS, ROWS_FOR_ONE_SPLIT, Plan
from asrl_mlflow.tuning.search import TunedLoss, tune

__all__ = [
    "BOOSTER_SPACE",
    "FOLDS",
    "ROWS_FOR_ONE_SPLIT",
    "Outcome",
    "Plan",
    "TunedLoss",
    "run_study",
    "tune",
    "tune_plan",
]
