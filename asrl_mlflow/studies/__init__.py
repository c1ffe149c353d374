"""Keep Optuna studies that many processes work on and that survive the death of any of them.

Knows nothing of training and MLflow. Imports `losses` (for search spaces) and `system`.
"""

from __future__ import annotations

from asrl_mlflow.studies.leases import Leases
from asrl_mlflow.studies.showing import LOSS
from asrl_mlflow.studies.storages import default_storage, open_storage
from asrl_mlflow.studies.study import JUDGED, ROUNDS, Best, Study

__all__ = [
    "JUDGED",
    "LOSS",
    "ROUNDS",
    "Best",
    "Leases",
    "Study",
    "default_storage",
    "open_storage",
]
