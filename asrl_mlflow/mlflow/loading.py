"""Load models of the flavor `asrl`."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import xgboost
from mlflow.pyfunc.model import _load_pyfunc as _load_code
from mlflow.tracking.artifact_utils import _download_artifact_from_uri
from mlflow.utils.model_utils import _get_flavor_configuration

from asrl_mlflow.errors import InputError
from asrl_mlflow.estimators.model import RobustXGBModel
from asrl_mlflow.mlflow.describing import Model
from asrl_mlflow.registry.packing import FLAVOR_NAME


def load_model(model_uri: str, dst_path: str | None = None) -> Model:
    """Load what was saved: a booster with its loss, or an estimator with its parameters.

    Parameters
    ----------
    model_uri : str
        Where the model is, as MLflow writes it: a folder, `models:/<name>/<version>`, `runs:/<id>/<path>`.
    dst_path : str, optional
        A folder to download it into.

    Returns
    -------
    Booster, RobustXGBRegressor or RobustXGBClassifier
        A booster where a flow has trained it.

    Raises
    ------
    InputError
        The model's class is none of this package.

    Notes
    -----
    Files are not verified; `registry.load_booster` does that. Functions among an estimator's parameters, such
    as callbacks, are not saved.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from asrl_mlflow import RobustXGBRegressor
    >>> from asrl_mlflow.mlflow import save_model
    >>> x = np.linspace(0, 1, 100)[:, None]
    >>> model = RobustXGBRegressor(n_estimators=5).fit(x, x[:, 0])
    >>> folder = tempfile.mkdtemp()
    >>> save_model(model, folder)
    >>> bool((load_model(folder).predict(x) == model.predict(x)).all())
    True
    """
    folder = _download_artifact_from_uri(artifact_uri=model_uri, output_path=dst_path)
    conf: dict[str, Any] = _get_flavor_configuration(folder, FLAVOR_NAME)
    file = Path(folder) / conf["data"]
    module, _, name = conf["model_class"].rpartition(".")
    kind = getattr(importlib.import_module(module), name)
    if kind is xgboost.Booster:
        return xgboost.Booster(model_file=file)
    if not (isinstance(kind, type) and issubclass(kind, RobustXGBModel)):
        msg = (
            f"{model_uri}: needs the class Booster, RobustXGBRegressor or RobustXGBClassifier; got "
            f"{conf['model_class']}; load it with the flavor of its library."
        )
        raise InputError(msg)
    given = conf.get("params", {})
    model = kind(**given)
    model.load_model(file)
    # Loading names what built the trees; what was given for the next `fit` stays.
    model.set_params(**{name: value for name, value in given.items() if name != "loss"})
    return model


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> Any:  # noqa: ANN401 - MLflow's
    """Load what predicts, as MLflow asks a flavor to: the code that is among the model's files."""
    return _load_code(path, model_config)
