"""Robust losses for XGBoost, tracked with MLflow.

Names are imported when they are first asked for, so that `import asrl_mlflow` itself loads none of
xgboost, mlflow, optuna and matplotlib.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asrl_mlflow import datasets, losses, metrics, registry, residuals, tracking, tuning
    from asrl_mlflow import distributed as distributed
    from asrl_mlflow import mlflow as mlflow
    from asrl_mlflow.boosting import predict, train
    from asrl_mlflow.comparisons import compare
    from asrl_mlflow.diagnosis.labels import which_labels
    from asrl_mlflow.estimators import RobustXGBClassifier, RobustXGBRegressor
    from asrl_mlflow.figures.loss_card import loss_card as loss_card
    from asrl_mlflow.rounds import Round
    from asrl_mlflow.tuning import tune

    __version__: str

# Not in `__all__`: `from asrl_mlflow import *` must not hide MLflow itself, nor need Dask.
_MODULES = (
    *("datasets", "distributed", "losses", "metrics", "mlflow", "registry", "residuals"),
    *("tracking", "tuning"),
)
_HOMES = {
    "RobustXGBClassifier": "asrl_mlflow.estimators",
    "RobustXGBRegressor": "asrl_mlflow.estimators",
    "Round": "asrl_mlflow.rounds",
    "compare": "asrl_mlflow.comparisons",
    "loss_card": "asrl_mlflow.figures.loss_card",  # what a loss shows in a notebook
    "predict": "asrl_mlflow.boosting",
    "train": "asrl_mlflow.boosting",
    "tune": "asrl_mlflow.tuning",
    "which_labels": "asrl_mlflow.diagnosis.labels",
}

__all__ = [
    "RobustXGBClassifier",
    "RobustXGBRegressor",
    "Round",
    "compare",
    "datasets",
    "losses",
    "metrics",
    "predict",
    "registry",
    "residuals",
    "tracking",
    "train",
    "tune",
    "tuning",
    "which_labels",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module or one of its names
    if name in _MODULES:
        return importlib.import_module(f"asrl_mlflow.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("asrl-mlflow")
    msg = f"module 'asrl_mlflow' has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
