"""The registry: a run's booster becomes a version that knows what trained it; see also `versions`."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS
from mlflow.utils.validation import _validate_model_name

from asrl_mlflow.errors import InputError
from asrl_mlflow.records.artifacts import RunArtifacts, fetch_artifacts, silence_mlflow
from asrl_mlflow.records.record import Record
from asrl_mlflow.registry import manifest
from asrl_mlflow.registry.packing import write_model
from asrl_mlflow.registry.versions import (
    MANIFEST_TAG,
    RegisteredVersion,
    check_copy,
    load,
    no_answer_error,
    open_verified,
    write_with_retries,
)
from asrl_mlflow.system.disk import require_space
from asrl_mlflow.system.processes import Owner

CHALLENGER = "challenger"
_BOOSTER = "asrl.booster"
_OWNER = "asrl.owner"
_MODEL_TYPE = "asrl"


@require_space()
def register(run_id: str, name: str | None = None) -> RegisteredVersion:
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
    StorageError
        A disk is full: this one, or the store's. What was made until then is discarded.

    Notes
    -----
    A version is made at once with all its tags, of a model that is complete, so that a kill leaves
    none that is half. Two processes that register the same run at once agree on the older version. A
    version whose files are no longer those that were registered is left alone, and a new one made.
    """
    client, parts = mlflow.MlflowClient(), fetch_artifacts(run_id)
    name = name or f"asrl-{parts.record.data['name']}"
    check_name(name)
    _make_registered_model(client, name)
    found = _find_version_of(client, name, parts)
    is_new = found is None
    if found is None:
        model = _log_model(client, parts)
        made = client.create_model_version(
            name,
            f"models:/{model.model_id}",
            run_id=run_id,
            tags=_tags(parts) | {MANIFEST_TAG: model.tags[MANIFEST_TAG]},
            description=_description(parts.record),
            model_id=model.model_id,
        )
        _link(client, model, made)
        found = _find_version_of(client, name, parts) or made
        if found.version != made.version:
            client.delete_model_version(name, made.version)
            is_new = False
    _try_out(f"models:/{name}/{found.version}")
    write_with_retries(client.set_registered_model_alias, name, CHALLENGER, str(found.version))
    return RegisteredVersion(name, str(found.version), run_id, parts.record, is_new)


def check_name(name: str) -> None:
    """Refuse a name that MLflow does not take for a registered model.

    Raises
    ------
    InputError
        The line says why.
    """
    try:
        _validate_model_name(name)
    except MlflowException as error:
        msg = f"A registered model needs a name that MLflow takes; got {name!r}: {error.message}"
        raise InputError(" ".join(msg.split())) from error


def _make_registered_model(client: mlflow.MlflowClient, name: str) -> None:
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise no_answer_error(error) from error


def _find_version_of(
    client: mlflow.MlflowClient, name: str, parts: RunArtifacts
) -> ModelVersion | None:
    """The oldest version of a run's booster whose files are as they were registered."""
    # The name is compared here: in a filter it could be more than a name.
    versions = client.search_model_versions(f"run_id = '{parts.run_id}'")
    same = [each for each in versions if each.name == name]
    for each in sorted(same, key=lambda each: int(each.version)):
        if each.tags.get(_BOOSTER) == parts.digest:
            with suppress(InputError), open_verified(f"models:/{name}/{each.version}"):
                return each
    return None


def _log_model(client: mlflow.MlflowClient, parts: RunArtifacts) -> LoggedModel:
    """The run's model in the tracking store, complete."""
    experiment = client.get_run(parts.run_id).info.experiment_id
    earlier = client.search_logged_models([experiment], f"source_run_id = '{parts.run_id}'")
    for model in earlier:
        if model.tags.get(_BOOSTER) == parts.digest:
            if model.status == LoggedModelStatus.READY and MANIFEST_TAG in model.tags:
                if _is_intact(model):
                    return model
                continue
            owner = Owner.from_json(json.loads(model.tags.get(_OWNER, "null")))
            if owner is not None and owner.is_alive() is False:
                # A kill left it half.
                _discard(client, model)
    tags = _tags(parts)
    made = client.create_logged_model(
        experiment,
        name="model",
        source_run_id=parts.run_id,
        tags=tags | {_OWNER: json.dumps(vars(Owner.here()))},
        params=tags,
        model_type=_MODEL_TYPE,
    )
    try:
        with TemporaryDirectory() as aside:
            folder = Path(aside) / "model"
            write_model(parts, folder, model_id=made.model_id)
            recorded = manifest.make_manifest(folder)
            with silence_mlflow():
                client.log_model_artifacts(made.model_id, str(folder))
        client.set_logged_model_tags(made.model_id, {MANIFEST_TAG: recorded})
        client.log_outputs(parts.run_id, [LoggedModelOutput(made.model_id, 0)])
        return client.finalize_logged_model(made.model_id, LoggedModelStatus.READY)
    except Exception:
        _discard(client, made)
        raise


def _discard(client: mlflow.MlflowClient, model: LoggedModel) -> None:
    """Delete a model that is half, as far as the store lets us; its files first, as they take room."""
    for delete, what in (
        (lambda uri: get_artifact_repository(uri).delete_artifacts(), model.artifact_location),
        (client.delete_logged_model, model.model_id),
    ):
        with suppress(Exception):
            delete(what)


def _is_intact(model: LoggedModel) -> bool:
    with TemporaryDirectory() as folder, suppress(InputError, MlflowException, OSError):
        with require_space(), silence_mlflow():
            copy = mlflow.artifacts.download_artifacts(
                artifact_uri=model.artifact_location, dst_path=folder
            )
        check_copy(Path(copy), model.tags[MANIFEST_TAG], model.model_id)
        return True
    return False


def _try_out(uri: str) -> None:
    model = load(uri)
    model.predict(model.input_example)


def _link(client: mlflow.MlflowClient, model: LoggedModel, version: ModelVersion) -> None:
    """Show the version on the model's page, as `mlflow.register_model` does."""
    known = json.loads(model.tags.get(MLFLOW_MODEL_VERSIONS, "[]"))
    known.append({"name": version.name, "version": version.version})
    client.set_logged_model_tags(model.model_id, {MLFLOW_MODEL_VERSIONS: json.dumps(known)})


def _tags(parts: RunArtifacts) -> dict[str, str]:
    return parts.record.tags() | {_BOOSTER: parts.digest}


def _description(record: Record) -> str:
    return (
        f"{record.build_loss()} on {record.data['name']} ({record.data['rows']} rows, target "
        f"{record.data['target']!r}), {record.rounds} rounds; test MAE {record.metrics['mae']:.4g}"
    )
