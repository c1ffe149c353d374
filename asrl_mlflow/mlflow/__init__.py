"""The MLflow flavor of this package: save, log and load boosters and estimators, and `autolog`.

Used as `import asrl_mlflow.mlflow`. A model has three flavors over one file: `asrl`, which loads what was
saved; `xgboost`, which loads the plain booster; and `python_function`, which predicts what the loss means.
Imports `registry` and what is below it, and `tuning`.
"""

from __future__ import annotations

from asrl_mlflow.mlflow.autologging import autolog
from asrl_mlflow.mlflow.loading import _load_pyfunc, load_model
from asrl_mlflow.mlflow.saving import (
    get_default_conda_env,
    get_default_pip_requirements,
    log_model,
    save_model,
)
from asrl_mlflow.registry.packing import FLAVOR_NAME

__all__ = [
    "FLAVOR_NAME",
    "_load_pyfunc",
    "autolog",
    "get_default_conda_env",
    "get_default_pip_requirements",
    "load_model",
    "log_model",
    "save_model",
]
