"""Keep Optuna studies that many processes work on and that survive when any of them is killed.

Knows nothing of training and MLflow. Imports `losses` (for search spaces) and `system`.
"""

from __future__ import annotations

from asrl_mlflow.studies.storages import default_storage, opened
from asrl_mlflow.studies.study import JUDGED, LOSS, ROUNDS, Best, Study

__all__ = [
    "JUDGED",
    "LOSS",
    "ROUNDS",
    "Best",
    "Study",
    "default_storage",
    "opened",
]
