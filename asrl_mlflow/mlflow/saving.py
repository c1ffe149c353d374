"""Save and log models as the flavor `asrl`."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import xgboost
from mlflow.models import ModelSignature
from mlflow.models.model import Model as Description
from mlflow.models.model import ModelInfo
from mlflow.tracking._model_registry import DEFAULT_AWAIT_MAX_SLEEP_SECONDS
from mlflow.utils.environment import _mlflow_conda_env
from mlflow.utils.model_utils import _validate_and_prepare_target_save_path

from asrl_mlflow.mlflow.describing import Model, make_artifacts
from asrl_mlflow.records.artifacts import RunArtifacts, silence_mlflow
from asrl_mlflow.records.record import PACKAGES
from asrl_mlflow.registry.manifest import make_manifest
from asrl_mlflow.registry.packing import write_model
from asrl_mlflow.registry.registration import version_tags
from asrl_mlflow.registry.versions import MANIFEST_TAG

_PLAIN = (str, int, float, bool, type(None))


def get_default_pip_requirements() -> list[str]:
    """Give the packages that a model needs where it predicts; this one is not among them.

    `load_model`, which gives an estimator back, needs this package too.

    Examples
    --------
    >>> [each.partition("==")[0] for each in get_default_pip_requirements()]
    ['mlflow', 'numpy', 'pandas', 'xgboost']
    """
    return [f"{name}=={version(name)}" for name in PACKAGES]


def get_default_conda_env() -> dict[str, Any]:
    """Give the Conda environment that a model needs where it predicts.

    Examples
    --------
    >>> get_default_conda_env()["name"]
    'mlflow-env'
    """
    env: dict[str, Any] = _mlflow_conda_env(additional_pip_deps=get_default_pip_requirements())
    return env


def save_model(
    model: Model,
    path: str | Path,
    conda_env: Mapping[str, Any] | str | None = None,
    code_paths: list[str] | None = None,
    mlflow_model: Description | None = None,
    signature: bool | ModelSignature | None = None,  # noqa: FBT001 - MLflow's order
    input_example: Any = None,  # noqa: ANN401 - rows of any kind
    pip_requirements: list[str] | str | None = None,
    extra_pip_requirements: list[str] | str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Save a booster or an estimator into a folder, with the record of its loss.

    Parameters
    ----------
    model : Booster, RobustXGBRegressor or RobustXGBClassifier
        Of `train`, or fitted.
    path : path
        The folder to write; it must be new, or empty.
    conda_env, code_paths, mlflow_model, pip_requirements, extra_pip_requirements, metadata
        Those of `mlflow.xgboost.save_model`. Without requirements they are those of
        `get_default_pip_requirements`.
    signature : bool or ModelSignature, optional
        True names the inputs with their types: numbers are "double", categories of text "string". By default
        only outputs are named, and the model itself checks its input.
    input_example : DataFrame or array of shape (n, features), optional
        Rows such as the model will be given; the first three are kept.

    Raises
    ------
    InputError
        The model is no booster of `train` and no fitted estimator.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from asrl_mlflow import RobustXGBRegressor
    >>> x = np.linspace(0, 1, 100)[:, None]
    >>> model = RobustXGBRegressor(loss="huber", n_estimators=5).fit(x, x[:, 0])
    >>> folder = tempfile.mkdtemp()
    >>> save_model(model, folder)
    >>> mlflow.xgboost.load_model(folder).attr("asrl_loss")
    '{"name": "huber", "params": {"delta": 1.0}}'
    """
    _Saving(
        make_artifacts(model, example=input_example), _flavor(model), signature, metadata
    ).save_model(
        path,
        mlflow_model or Description(),
        conda_env=conda_env,
        code_paths=code_paths,
        pip_requirements=pip_requirements,
        extra_pip_requirements=extra_pip_requirements,
    )


def log_model(
    model: Model,
    artifact_path: str | None = None,
    conda_env: Mapping[str, Any] | str | None = None,
    code_paths: list[str] | None = None,
    registered_model_name: str | None = None,
    signature: bool | ModelSignature | None = None,  # noqa: FBT001 - MLflow's order
    input_example: Any = None,  # noqa: ANN401 - rows of any kind
    await_registration_for: int | None = DEFAULT_AWAIT_MAX_SLEEP_SECONDS,
    pip_requirements: list[str] | str | None = None,
    extra_pip_requirements: list[str] | str | None = None,
    metadata: Mapping[str, Any] | None = None,
    name: str | None = None,
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, Any] | None = None,
    model_type: str | None = None,
    step: int = 0,
    model_id: str | None = None,
) -> ModelInfo:
    """Log a booster or an estimator to the active run, with the record of its loss.

    Parameters
    ----------
    model, signature, input_example
        As for `save_model`.
    conda_env, code_paths, pip_requirements, extra_pip_requirements, metadata
        As for `save_model`.
    name, artifact_path, params, tags, model_type, step, model_id
        Those of `mlflow.xgboost.log_model`.
    registered_model_name, await_registration_for
        Those of `mlflow.xgboost.log_model`: a version is made, too.

    Returns
    -------
    ModelInfo
        As of `mlflow.xgboost.log_model`.

    Raises
    ------
    InputError
        As for `save_model`.

    Notes
    -----
    The logged model, and a version that is registered by `registered_model_name`, have the tags of those of
    `registry.register`: the record, and the digest of every file. So `registry.load` verifies them.

    Examples
    --------
    >>> import numpy as np
    >>> from asrl_mlflow import RobustXGBRegressor
    >>> x = np.linspace(0, 1, 100)[:, None]
    >>> info = log_model(RobustXGBRegressor(n_estimators=5).fit(x, x[:, 0]), name="mine")
    >>> mlflow.pyfunc.load_model(info.model_uri).predict(x).shape
    (100,)
    """
    return log_artifacts(
        make_artifacts(model, example=input_example),
        model,
        signature=signature,
        metadata=metadata,
        registered_model_name=registered_model_name,
        await_registration_for=await_registration_for,
        artifact_path=artifact_path,
        name=name,
        params=params,
        tags=tags,
        model_type=model_type,
        step=step,
        model_id=model_id,
        conda_env=conda_env,
        code_paths=code_paths,
        pip_requirements=pip_requirements,
        extra_pip_requirements=extra_pip_requirements,
    )


def log_artifacts(
    artifacts: RunArtifacts,
    model: Model,
    *,
    signature: bool | ModelSignature | None = None,
    metadata: Mapping[str, Any] | None = None,
    registered_model_name: str | None = None,
    await_registration_for: int | None = DEFAULT_AWAIT_MAX_SLEEP_SECONDS,
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, Any] | None = None,
    **settings: Any,  # noqa: ANN401 - MLflow's
) -> ModelInfo:
    """Log a model whose files are made already; arguments are those of `log_model`.

    Parameters
    ----------
    artifacts : RunArtifacts
        The files, with the id of the run that trained it; empty for the active run.
    model : Booster or estimator
        What they were made of.
    """
    tags = {**version_tags(artifacts), **(tags or {})}
    settings.setdefault("artifact_path", None)
    info: ModelInfo = Description.log(
        flavor=_Saving(artifacts, _flavor(model), signature, metadata),
        run_id=artifacts.run_id or None,
        params={**artifacts.record.params(), **(params or {})},
        tags=tags,
        **settings,
    )
    client = mlflow.MlflowClient()
    logged = client.get_logged_model(info.model_id)
    with TemporaryDirectory() as folder, silence_mlflow():
        # As MLflow has written it: it may have added to what was saved.
        copy = mlflow.artifacts.download_artifacts(
            artifact_uri=logged.artifact_location, dst_path=folder
        )
        tags[MANIFEST_TAG] = make_manifest(Path(copy))
    client.set_logged_model_tags(info.model_id, {MANIFEST_TAG: tags[MANIFEST_TAG]})
    if registered_model_name is not None:
        made = mlflow.register_model(
            info.model_uri,
            registered_model_name,
            await_registration_for=await_registration_for,
            tags=tags,
        )
        info.registered_model_version = made.version
    return info


@dataclass(frozen=True)
class _Saving:
    """Stands for the flavor where MLflow logs a model, with files that are made already.

    Parameters
    ----------
    artifacts : RunArtifacts
        The files.
    flavor : mapping
        What the flavor keeps of the model's class.
    signature : bool or ModelSignature, optional
        As for `save_model`.
    metadata : mapping, optional
        The user's own.
    """

    artifacts: RunArtifacts
    flavor: Mapping[str, Any]
    signature: bool | ModelSignature | None
    metadata: Mapping[str, Any] | None

    def save_model(self, path: str | Path, mlflow_model: Description, **settings: Any) -> None:  # noqa: ANN401 - MLflow's
        """Write the folder, as MLflow asks a flavor to."""
        _validate_and_prepare_target_save_path(str(path))
        write_model(
            self.artifacts,
            Path(path),
            model=mlflow_model,
            signature=self.signature or False,
            flavor=self.flavor,
            metadata=self.metadata,
            **settings,
        )


def _flavor(model: Model) -> dict[str, Any]:
    """Record the class of a model, and its parameters as far as they are plain: functions are not."""
    if isinstance(model, xgboost.Booster):
        return {}
    kind = type(model)
    given = model.get_params(deep=False)
    return {
        "model_class": f"{inspect.getmodule(kind).__name__}.{kind.__qualname__}",  # type: ignore[union-attr]  # a class that was imported
        "params": {name: value for name, value in given.items() if _is_plain(value)},
    }


def _is_plain(value: object) -> bool:
    """Check whether YAML gives a value back as it was."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(each) for key, each in value.items())
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, float) and math.isnan(value):
        return False
    return type(value) in _PLAIN and json.loads(json.dumps(value)) == value
