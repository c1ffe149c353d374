"""Model versions that know what trained them, and are loaded only if they are what was registered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import xgboost
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel
from mlflow.store.artifact.models_artifact_repo import REGISTERED_MODEL_META_FILE_NAME
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

from asrl_mlflow import manifest
from asrl_mlflow.errors import InputError
from asrl_mlflow.lab import BOOSTER, UNSEEN
from asrl_mlflow.owners import Owner
from asrl_mlflow.packing import Parts, pack, parts_of, quiet
from asrl_mlflow.record import Record
from asrl_mlflow.unseen import Unseen

CHALLENGER = "challenger"
_MANIFEST, _BOOSTER, _RECORD = "asrl.manifest", "asrl.booster", "asrl.record"
_OWNER = "asrl.owner"
_MODEL_TYPE = "asrl"


@dataclass(frozen=True)
class Registered:
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


def register(run_id: str, name: str | None = None) -> Registered:
    """The version that a run's booster has, made where there is none; it gets alias `challenger`.

    Parameters
    ----------
    run_id : str
        A run of train, tune or main, or a child run of compare.
    name : str, optional
        The registered model, made where there is none; "asrl-" and the name of the run's data where
        none is given.

    Raises
    ------
    InputError
        The run has no booster, or MLflow refuses the name.

    Notes
    -----
    A version is made at once with all its tags, of a model that is complete, so that a kill leaves
    none that is half. Two processes that register the same run at once agree on the older version.
    """
    client, parts = mlflow.MlflowClient(), parts_of(run_id)
    name = name or f"asrl-{parts.record.data['name']}"
    _make_registered_model(client, name)
    found = _version_of(client, name, parts)
    is_new = found is None
    if found is None:
        model = _logged(client, parts)
        made = client.create_model_version(
            name,
            f"models:/{model.model_id}",
            run_id=run_id,
            tags=_tags(parts) | {_MANIFEST: model.tags[_MANIFEST]},
            description=_described(parts.record),
            model_id=model.model_id,
        )
        _link(client, model, made)
        found = _version_of(client, name, parts) or made
        if found.version != made.version:
            client.delete_model_version(name, made.version)
            is_new = False
    client.set_registered_model_alias(name, CHALLENGER, found.version)
    return Registered(name, str(found.version), run_id, parts.record, is_new)


def found(uri: str) -> Registered:
    """The version that `models:/name/version` or `models:/name@alias` means now.

    Raises
    ------
    InputError
        There is none, or it was not registered by `register`.
    """
    version = _resolved(uri)
    tags = version.tags or {}
    if _RECORD not in tags or _MANIFEST not in tags:
        msg = (
            f"{uri}: must have been registered by asrl_mlflow; got version {version.version} without "
            f"the tags {_RECORD} and {_MANIFEST}; register its run with the flow register."
        )
        raise InputError(msg)
    record = Record.from_json(tags[_RECORD], uri)
    return Registered(version.name, str(version.version), version.run_id or "", record)


@contextmanager
def verified(uri: str) -> Iterator[Path]:
    """A private copy of a version's files, each held against the manifest before it is parsed.

    Raises
    ------
    InputError
        As `found`; or the files cannot be fetched, or are not those that were registered.
    """
    registered, client = found(uri), mlflow.MlflowClient()
    recorded = client.get_model_version(registered.name, registered.version).tags[_MANIFEST]
    with TemporaryDirectory() as folder:
        try:
            with quiet():
                # Not by its models:/ URI, for which MLflow reads MLmodel on the way.
                source = client.get_model_version_download_uri(registered.name, registered.version)
                if source.startswith("models:/"):
                    source = client.get_logged_model(
                        source.removeprefix("models:/")
                    ).artifact_location
                copy = mlflow.artifacts.download_artifacts(artifact_uri=source, dst_path=folder)
        except (MlflowException, OSError) as error:
            msg = (
                f"{registered.uri}: its files must be where they were put; got "
                f"{type(error).__name__}; restore them, or register the run anew."
            )
            raise InputError(msg) from error
        # MLflow's own note of name and version, which loading leaves in a local store: not parsed.
        (Path(copy) / REGISTERED_MODEL_META_FILE_NAME).unlink(missing_ok=True)
        manifest.check(Path(copy), recorded, registered.uri)
        yield Path(copy)


def load(uri: str) -> PyFuncModel:
    """A version, verified: what `mlflow.pyfunc.load_model` gives, or nothing is run.

    Raises
    ------
    InputError
        As `verified`.
    """
    with verified(uri) as folder, quiet():
        model: PyFuncModel = mlflow.pyfunc.load_model(str(folder))
    return model


def booster(uri: str) -> xgboost.Booster:
    """A version's booster, verified: to train on, with the loss that `found(uri).record` has.

    Raises
    ------
    InputError
        As `verified`.
    """
    with verified(uri) as folder:
        return xgboost.Booster(model_file=folder / "artifacts" / BOOSTER)


def unseen(uri: str) -> Unseen:
    """A version's residuals on rows that it did not learn from.

    Raises
    ------
    InputError
        As `verified`.
    """
    with verified(uri) as folder:
        return Unseen.from_bytes((folder / "artifacts" / UNSEEN).read_bytes())


def _make_registered_model(client: mlflow.MlflowClient, name: str) -> None:
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            msg = (
                f"A registered model needs a name that MLflow takes; got {name!r}: {error.message}"
            )
            raise InputError(" ".join(msg.split())) from error


def _version_of(client: mlflow.MlflowClient, name: str, parts: Parts) -> ModelVersion | None:
    versions = client.search_model_versions(f"name = '{name}' and run_id = '{parts.run_id}'")
    same = [each for each in versions if each.tags.get(_BOOSTER) == parts.digest]
    return min(same, key=lambda each: int(each.version), default=None)


def _logged(client: mlflow.MlflowClient, parts: Parts) -> LoggedModel:
    """The run's model in the tracking store, complete."""
    experiment = client.get_run(parts.run_id).info.experiment_id
    earlier = client.search_logged_models([experiment], f"source_run_id = '{parts.run_id}'")
    for model in earlier:
        if model.tags.get(_BOOSTER) == parts.digest:
            if model.status == LoggedModelStatus.READY and _MANIFEST in model.tags:
                return model
            owner = Owner.from_json(json.loads(model.tags.get(_OWNER, "null")))
            if owner is not None and owner.is_alive() is False:
                # A kill left it half.
                client.delete_logged_model(model.model_id)
    tags = _tags(parts)
    made = client.create_logged_model(
        experiment,
        name="model",
        source_run_id=parts.run_id,
        tags=tags | {_OWNER: json.dumps(vars(Owner.here()))},
        params=tags,
        model_type=_MODEL_TYPE,
    )
    with TemporaryDirectory() as aside:
        folder = Path(aside) / "model"
        pack(parts, folder, model_id=made.model_id)
        recorded = manifest.manifest(folder)
        with quiet():
            client.log_model_artifacts(made.model_id, str(folder))
    client.set_logged_model_tags(made.model_id, {_MANIFEST: recorded})
    client.log_outputs(parts.run_id, [LoggedModelOutput(made.model_id, 0)])
    return client.finalize_logged_model(made.model_id, LoggedModelStatus.READY)


def _link(client: mlflow.MlflowClient, model: LoggedModel, version: ModelVersion) -> None:
    """Show the version on the model's page, as `mlflow.register_model` does."""
    known = json.loads(model.tags.get(MLFLOW_MODEL_VERSIONS, "[]"))
    known.append({"name": version.name, "version": version.version})
    client.set_logged_model_tags(model.model_id, {MLFLOW_MODEL_VERSIONS: json.dumps(known)})


def _tags(parts: Parts) -> dict[str, str]:
    return parts.record.tags() | {_BOOSTER: parts.digest}


def _described(record: Record) -> str:
    return (
        f"{record.known_loss()} on {record.data['name']} ({record.data['rows']} rows, target "
        f"{record.data['target']!r}), {record.rounds} rounds; test MAE {record.metrics['mae']:.4g}"
    )


def _resolved(uri: str) -> ModelVersion:
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
        msg = (
            f"{uri}: needs a version in this tracking store; got none; see `Models` in its user "
            "interface for those that there are, or set MLFLOW_TRACKING_URI."
        )
        raise InputError(msg) from error
    msg = f"A model is named models:/name@alias or models:/name/version; got {uri!r}."
    raise InputError(msg)
