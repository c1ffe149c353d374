"""Versions of registered models: looked up, and opened only if they are what was registered."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import xgboost
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel
from mlflow.store.artifact.models_artifact_repo import REGISTERED_MODEL_META_FILE_NAME

from asrl_mlflow.errors import InputError, StoreError
from asrl_mlflow.records.artifacts import BOOSTER, FEATURES, LOSS, UNSEEN, silence_mlflow
from asrl_mlflow.records.record import Record
from asrl_mlflow.records.unseen import UnseenResiduals
from asrl_mlflow.registry import manifest
from asrl_mlflow.system.disk import require_space
from asrl_mlflow.system.processes import pause_at_random
from asrl_mlflow.tracking.spool import one_line

MANIFEST_TAG, RECORD_TAG = "asrl.manifest", "asrl.record"
_ATTEMPTS = 4
# What MLflow says of a version or an alias that it does not have; anything else is no answer.
_NOT_THERE = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}


@dataclass(frozen=True)
class RegisteredVersion:
    """A version of a registered model.

    Parameters
    ----------
    name : str
        The registered model.
    version : str
        Its number.
    run_id : str
        The run that trained it.
    record : Record
        What trained it.
    is_new : bool
        Whether it was made just now.
    """

    name: str
    version: str
    run_id: str
    record: Record
    is_new: bool = False

    @property
    def uri(self) -> str:
        """As MLflow takes it, whatever its aliases will be."""
        return f"models:/{self.name}/{self.version}"


def find(uri: str) -> RegisteredVersion:
    """The version that `models:/name/version` or `models:/name@alias` means now.

    Raises
    ------
    InputError
        There is none, or it was not registered by `register`.
    """
    version = _find_in_store(uri)
    tags = version.tags or {}
    if RECORD_TAG not in tags or MANIFEST_TAG not in tags:
        msg = (
            f"{uri}: must have been registered by asrl_mlflow; got version {version.version} without "
            f"the tags {RECORD_TAG} and {MANIFEST_TAG}; register its run with the flow register."
        )
        raise InputError(msg)
    record = Record.from_json(tags[RECORD_TAG], uri)
    return RegisteredVersion(version.name, str(version.version), version.run_id or "", record)


def version_with_alias(name: str, alias: str) -> str | None:
    """The number of the version that has an alias; None where none has.

    Raises
    ------
    StoreError
        The store does not tell.
    """
    try:
        return str(mlflow.MlflowClient().get_model_version_by_alias(name, alias).version)
    except MlflowException as error:
        if error.error_code not in _NOT_THERE:
            raise no_answer_error(error) from error
        return None


@contextmanager
def open_verified(uri: str) -> Iterator[Path]:
    """A private copy of a version's files, each held against the manifest before it is parsed.

    Raises
    ------
    InputError
        As `found`; or the files cannot be fetched, or are not those that were registered.
    StorageError
        There is no room for the copy.
    """
    registered, client = find(uri), mlflow.MlflowClient()
    recorded = client.get_model_version(registered.name, registered.version).tags[MANIFEST_TAG]
    with TemporaryDirectory() as folder:
        try:
            with require_space(), silence_mlflow():
                # Not by its models:/ URI, for which MLflow reads MLmodel on the way.
                source = client.get_model_version_download_uri(registered.name, registered.version)
                if source.startswith("models:/"):
                    source = client.get_logged_model(
                        source.removeprefix("models:/")
                    ).artifact_location
                copy = mlflow.artifacts.download_artifacts(artifact_uri=source, dst_path=folder)
        except (MlflowException, OSError) as error:
            msg = (
                f"{registered.uri}: its files must be where they were put; got {one_line(error)}; "
                "restore them, or register the run anew."
            )
            raise InputError(msg) from error
        check_copy(Path(copy), recorded, registered.uri)
        if (
            Record.from_json((Path(copy) / "artifacts" / LOSS).read_text(), uri)
            != registered.record
        ):
            msg = (
                f"{registered.uri}: its tag {RECORD_TAG} must be that of its files; got another one; restore "
                "it, or register the run anew. Nothing of it was loaded."
            )
            raise InputError(msg)
        yield Path(copy)


def check_copy(folder: Path, recorded: str, owner: str) -> None:
    """Refuse a private copy of a model that is not what was registered.

    Raises
    ------
    InputError
        As `manifest.check`.
    """
    # MLflow's own note of name and version, which loading leaves in a local store: not parsed.
    note = folder / REGISTERED_MODEL_META_FILE_NAME
    if note.is_file() or note.is_symlink():
        note.unlink()
    manifest.check_manifest(folder, recorded, owner)


def load(uri: str) -> PyFuncModel:
    """A version, verified: what `mlflow.pyfunc.load_model` gives, or nothing is run.

    Raises
    ------
    InputError
        As `verified`.
    """
    with open_verified(uri) as folder, require_space(), silence_mlflow():
        model: PyFuncModel = mlflow.pyfunc.load_model(str(folder))
    return model


def load_booster(uri: str) -> xgboost.Booster:
    """A version's booster, verified: to train on, with the loss that `found(uri).record` has.

    Raises
    ------
    InputError
        As `verified`.
    """
    with open_verified(uri) as folder:
        return xgboost.Booster(model_file=folder / "artifacts" / BOOSTER)


def load_columns(uri: str) -> list[dict[str, Any]]:
    """The columns that a version learned from, as `features.described` gives them.

    Raises
    ------
    InputError
        As `verified`.
    """
    with open_verified(uri) as folder:
        content = json.loads((folder / "artifacts" / FEATURES).read_text())
    described: list[dict[str, Any]] = content["features"]
    return described


def load_unseen_residuals(uri: str) -> UnseenResiduals:
    """A version's residuals on rows that it did not learn from.

    Raises
    ------
    InputError
        As `verified`.
    """
    with open_verified(uri) as folder:
        return UnseenResiduals.from_bytes((folder / "artifacts" / UNSEEN).read_bytes())


def write_with_retries(write: Callable[..., object], *arguments: str) -> None:
    """Write into the registry; again where another process wrote the same at the same moment.

    Raises
    ------
    StoreError
        It fails time and again.
    StorageError
        The store's disk is full.
    """
    for attempt in range(_ATTEMPTS):
        try:
            with require_space():
                write(*arguments)
        except MlflowException as error:
            if attempt + 1 == _ATTEMPTS:
                raise no_answer_error(error) from error
            pause_at_random()
        else:
            return


def no_answer_error(error: MlflowException) -> StoreError:
    """The error for a store that gave no answer."""
    return StoreError(f"The tracking store must answer; got {one_line(error)}; try again.")


def _find_in_store(uri: str) -> ModelVersion:
    client = mlflow.MlflowClient()
    scheme, _, rest = uri.partition(":/")
    name, at, alias = rest.partition("@")
    numbered, _, number = rest.rpartition("/")
    try:
        if scheme == "models" and at and alias and "/" not in rest:
            return client.get_model_version_by_alias(name, alias)
        if scheme == "models" and numbered and number.isdigit():
            return client.get_model_version(numbered, number)
    except MlflowException as error:
        if error.error_code not in _NOT_THERE:
            raise no_answer_error(error) from error
        msg = (
            f"{uri}: needs a version in this tracking store; got none; {_list_aliases(client, name)}"
            "see `Models` in its user interface, or set MLFLOW_TRACKING_URI."
        )
        raise InputError(msg) from error
    msg = f"A model is named models:/name@alias or models:/name/version; got {uri!r}."
    raise InputError(msg)


def _list_aliases(client: mlflow.MlflowClient, name: str) -> str:
    try:
        aliases = client.get_registered_model(name).aliases
    except MlflowException:
        return ""
    return f"{name} has the aliases {', '.join(aliases)}; " if aliases else ""
