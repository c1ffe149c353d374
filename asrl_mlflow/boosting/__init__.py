"""Train XGBoost with a robust loss: XGBoost builds the trees, the loss says what each row weighs.

Knows nothing of MLflow: a listener is called after each round (`on_round`). Imports `losses`, `metrics`,
`residuals` and `rounds`.
"""

from __future__ import annotations

from asrl_mlflow.boosting.pace import PROGRESS_ATTRIBUTE
from asrl_mlflow.boosting.prediction import predict
from asrl_mlflow.boosting.several_targets.builders import TARGETS_ATTRIBUTE
from asrl_mlflow.boosting.training import (
    CALIBRATION_ATTRIBUTE,
    LOSS_ATTRIBUTE,
    SCALE_ATTRIBUTE,
    WEIGHT_RULE_ATTRIBUTE,
    recorded_loss,
)
from asrl_mlflow.boosting.training import train as _train
from asrl_mlflow.system.listening import replaceable

# Only the face can be listened to: what this package trains by itself imports it from `training`.
train = replaceable(_train, __name__, "_train")

__all__ = [
    "CALIBRATION_ATTRIBUTE",
    "LOSS_ATTRIBUTE",
    "PROGRESS_ATTRIBUTE",
    "SCALE_ATTRIBUTE",
    "TARGETS_ATTRIBUTE",
    "WEIGHT_RULE_ATTRIBUTE",
    "predict",
    "recorded_loss",
    "train",
]
