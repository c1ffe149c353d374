"""Fit robust losses through scikit-learn's interface.

Imports `boosting`, `intervals`, `losses` and `residuals`, and scikit-learn.
"""

from __future__ import annotations

from asrl_mlflow.estimators.classifier import RobustXGBClassifier
from asrl_mlflow.estimators.regressor import RobustXGBRegressor

__all__ = ["RobustXGBClassifier", "RobustXGBRegressor"]
