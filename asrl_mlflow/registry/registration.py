"""Register a run's booster as a version of a registered model, with the record of its training."""

from __future__ import annotations

import json
import math
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus, Metric
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

from asrl_mlflow.errors import InputError
from asrl_mlflow.losses import is_built_in, loss_class
from asrl_mlflow.records.artifacts import BOOSTER, RunArtifacts, fetch_artifacts, silence_mlflow
from asrl_mlflow.records.record import Record
from asrl_mlflow.registry.manifest import make_manifest
from asrl_mlflow.registry.opened import load, open_verified
from asrl_mlflow.registry.packing import write_model
from asrl_mlflow.registry.signing import SIGNATURE_TAG, Keys, public_half, sign
from asrl_mlflow.registry.versions import (
    MANIFEST_TAG,
    RegisteredVersion,
    check_copy,
    no_answer_error,
    write_with_retries,
)
from asrl_mlflow.system.disk import require_space
from asrl_mlflow.system.processes import Owner
from asrl_mlflow.tracking.keys import OWNER_TAG
from asrl_mlflow.tracking.shell import stored_command
from asrl_mlflow.tracking.spool import one_line

CHALLENGER = "challenger"
_BOOSTER = "asrl.booster"
_MODEL_TYPE = "asrl"


@require_space()
def register(
    run_id: str,
    name: str | None = None,
    *,
    key: str | Path | None = None,
    signature: bool = False,
) -> RegisteredVersion:
    """Register a run's booster as a model version, or find the version it has; set alias `challenger`.

    Parameters
    ----------
    run_id : str
        The id of a run of train, tune or main, or of a child run of compare.
    name : str, optional
        The registered model, created if it does not exist; by default "asrl-" and the name of the
        run's data.
    key : str or Path, optional
        A private key, a PEM file without a password: the version is signed by it.
    signature : bool
        Whether MLflow's signature of the model names its inputs with their types. By default it does not,
        and the model itself checks its input: see the page on serving.

    Raises
    ------
    InputError
        The run has no booster, MLflow refuses the name, or the key cannot be used.
    StorageError
        This machine's disk or the store's disk is full. Unfinished models are deleted.

    Notes
    -----
    A version is created in one step with all its tags, after its model is complete, so a killed
    process leaves no incomplete version. Two processes that register the same run at the same time
    both end with the older version. If the files of a version have changed since it was registered,
    it stays as it is and a new version is created.

    A signature follows in a second step, as it has the version's number in it. What is signed is written
    by this process and not read from the store, where somebody may have changed it: a version that this
    key has not signed stays as it is, and a new one is created.
    """
    client, artifacts = mlflow.MlflowClient(), fetch_artifacts(run_id)
    check_served(artifacts.record)
    name = name or f"asrl-{artifacts.record.data['name']}"
    check_name(name)
    _make_registered_model(client, name, artifacts.record)
    with public_half(key) as trusted:
        wanted = _Wanted(artifacts, trusted, signature)
        version, is_new = _find_version_of(client, name, wanted), False
        if version is None:
            version, is_new = _create_version(client, name, wanted, key)
        _try_out(f"models:/{name}/{version.version}", trusted)
    write_with_retries(client.set_registered_model_alias, name, CHALLENGER, str(version.version))
    return RegisteredVersion(name, str(version.version), run_id, artifacts.record, is_new)


def log_run(run_id: str) -> LoggedModel:
    """Log the model of a run's booster, or find the one it has.

    Parameters
    ----------
    run_id : str
        As for `register`.

    Raises
    ------
    InputError
        The run has no booster.
    """
    client, wanted = mlflow.MlflowClient(), _Wanted(fetch_artifacts(run_id))
    check_served(wanted.artifacts.record)
    with TemporaryDirectory() as aside:
        return _find_logged_model(client, wanted) or _log_model(
            client, wanted, Path(aside) / "model"
        )


@dataclass(frozen=True)
class _Wanted:
    """What a version must be, or a new one is made.

    Parameters
    ----------
    artifacts : RunArtifacts
        The files that the run kept.
    trusted : sequence of str or Path, optional
        Public keys, one of which must have signed it.
    signature : bool
        Whether its inputs must have names and types.
    """

    artifacts: RunArtifacts
    trusted: Keys | None = None
    signature: bool = False

    def is_in(self, folder: Path) -> bool:
        """Check whether the files of a model, which are unchanged, are of this booster, and as is asked."""
        # A tag may name another run or booster than the files are of.
        booster = (folder / "artifacts" / BOOSTER).read_bytes()
        if booster != self.artifacts.files[BOOSTER]:
            return False
        return (
            not self.signature
            or Model.load(folder / MLMODEL_FILE_NAME).get_input_schema() is not None
        )


def check_name(name: str) -> None:
    """Refuse a name that MLflow does not accept for a registered model.

    Raises
    ------
    InputError
        The name is empty, or has a slash or colon.
    """
    if not name.strip() or set("/:") & set(name):
        raise _name_error(name, "one without / and :")


def _name_error(name: str, rule: str) -> InputError:
    """Make the error for a name that MLflow does not accept."""
    return InputError(
        f"A registered model needs a name that MLflow takes; got {name!r}; choose {rule}."
    )


def _make_registered_model(client: mlflow.MlflowClient, name: str, record: Record) -> None:
    """Create the registered model if it does not exist."""
    try:
        client.create_registered_model(
            name,
            description=(
                f"XGBoost models of `{record.data['target']}`, first of the table *{record.data['name']}*. "
                f"`{CHALLENGER}` is the newest version, `champion` the one that was better on the same test "
                "rows. Each version knows the loss that trained it."
            ),
        )
    except MlflowException as error:
        if error.error_code == "INVALID_PARAMETER_VALUE":
            raise _name_error(name, f"another: {one_line(error)}") from error
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise no_answer_error(error) from error


def _create_version(
    client: mlflow.MlflowClient,
    name: str,
    wanted: _Wanted,
    key: str | Path | None,
) -> tuple[ModelVersion, bool]:
    """Create a version of a run's booster; also say whether it stays, or an older one was found."""
    artifacts = wanted.artifacts
    with TemporaryDirectory() as aside:
        folder = Path(aside) / "model"
        # What the store has by now is not signed.
        model = _find_logged_model(client, wanted) if key is None else None
        model = model or _log_model(client, wanted, folder)
        made = client.create_model_version(
            name,
            f"models:/{model.model_id}",
            run_id=artifacts.run_id,
            tags=version_tags(artifacts) | {MANIFEST_TAG: model.tags[MANIFEST_TAG]},
            description=_describe(artifacts.record),
            model_id=model.model_id,
        )
        if key is not None:
            number = str(made.version)
            signature = sign(folder, name, number, key)
            write_with_retries(client.set_model_version_tag, name, number, SIGNATURE_TAG, signature)
    _link(client, model, made)
    oldest = _find_version_of(client, name, wanted) or made
    if oldest.version == made.version:
        text = f"{_describe(artifacts.record)}\n\n{_describe_next(made)}"
        write_with_retries(client.update_model_version, name, str(made.version), text)
        return made, True
    client.delete_model_version(name, made.version)
    return oldest, False


def _find_version_of(
    client: mlflow.MlflowClient, name: str, wanted: _Wanted
) -> ModelVersion | None:
    """Find the oldest version of a run's booster whose files are unchanged, and as is asked for."""
    artifacts = wanted.artifacts
    # The name is compared here: in a filter string its quotes could end the string.
    versions = client.search_model_versions(f"run_id = '{artifacts.run_id}'")
    same = [each for each in versions if each.name == name]
    for each in sorted(same, key=lambda each: int(each.version)):
        if each.tags.get(_BOOSTER) == artifacts.digest:
            uri = f"models:/{name}/{each.version}"
            with suppress(InputError), open_verified(uri, trusted=wanted.trusted) as folder:
                if wanted.is_in(folder):
                    return each
    return None


def _find_logged_model(client: mlflow.MlflowClient, wanted: _Wanted) -> LoggedModel | None:
    """Find the run's complete and unchanged model; delete those that a killed process left unfinished."""
    artifacts = wanted.artifacts
    experiment = client.get_run(artifacts.run_id).info.experiment_id
    for model in client.search_logged_models([experiment], f"source_run_id = '{artifacts.run_id}'"):
        if model.tags.get(_BOOSTER) != artifacts.digest:
            continue
        if model.status == LoggedModelStatus.READY and MANIFEST_TAG in model.tags:
            if _is_intact(model, wanted):
                return model
            continue
        owner = Owner.from_json(json.loads(model.tags.get(OWNER_TAG, "null")))
        if owner is not None and owner.is_alive() is False:
            _discard(client, model)
    return None


def _log_model(client: mlflow.MlflowClient, wanted: _Wanted, folder: Path) -> LoggedModel:
    """Write the run's model into a folder and the tracking store; delete it there if that fails half-way."""
    artifacts = wanted.artifacts
    tags = version_tags(artifacts)
    made = client.create_logged_model(
        client.get_run(artifacts.run_id).info.experiment_id,
        name="model",
        source_run_id=artifacts.run_id,
        tags=tags | {OWNER_TAG: json.dumps(vars(Owner.here()))},
        params=artifacts.record.params(),
        model_type=_MODEL_TYPE,
    )
    try:
        described = Model(run_id=artifacts.run_id, model_id=made.model_id)
        write_model(artifacts, folder, model=described, signature=wanted.signature)
        recorded = make_manifest(folder)
        with silence_mlflow():
            client.log_model_artifacts(made.model_id, str(folder))
        client.set_logged_model_tags(made.model_id, {MANIFEST_TAG: recorded})
        client.log_outputs(artifacts.run_id, [LoggedModelOutput(made.model_id, 0)])
        _log_metrics(client, artifacts, made.model_id)
        return client.finalize_logged_model(made.model_id, LoggedModelStatus.READY)
    except Exception:
        _discard(client, made)
        raise


def _log_metrics(client: mlflow.MlflowClient, artifacts: RunArtifacts, model_id: str) -> None:
    """Log the test metrics of the run for its model too, with the table: models are searched by them."""
    data, now = artifacts.record.data, int(time.time() * 1000)
    metrics = [
        Metric(
            f"test.{name}",
            value,
            now,
            0,
            model_id=model_id,
            dataset_name=data["name"],
            dataset_digest=data["digest"],
            run_id=artifacts.run_id,
        )
        for name, value in artifacts.record.metrics.items()
        if math.isfinite(value)
    ]
    client.log_batch(artifacts.run_id, metrics=metrics)


def _discard(client: mlflow.MlflowClient, model: LoggedModel) -> None:
    """Delete an unfinished model as far as the store allows; first its files, which take space."""
    for delete, what in (
        (lambda uri: get_artifact_repository(uri).delete_artifacts(), model.artifact_location),
        (client.delete_logged_model, model.model_id),
    ):
        with suppress(Exception):
            delete(what)


def _is_intact(model: LoggedModel, wanted: _Wanted) -> bool:
    """Check whether a logged model's files are unchanged, and as is asked for."""
    with TemporaryDirectory() as folder, suppress(InputError, MlflowException, OSError):
        with require_space(), silence_mlflow():
            copy = mlflow.artifacts.download_artifacts(
                artifact_uri=model.artifact_location, dst_path=folder
            )
        check_copy(Path(copy), model.tags[MANIFEST_TAG], model.model_id)
        return wanted.is_in(Path(copy))
    return False


def _try_out(uri: str, trusted: Keys | None) -> None:
    """Load a version and predict its example, so that a model that cannot predict fails here."""
    model = load(uri, trusted=trusted)
    if model.input_example is not None:
        model.predict(model.input_example)


def _link(client: mlflow.MlflowClient, model: LoggedModel, version: ModelVersion) -> None:
    """Link the version on the model's page in the user interface, as `mlflow.register_model` does."""
    known = json.loads(model.tags.get(MLFLOW_MODEL_VERSIONS, "[]"))
    known.append({"name": version.name, "version": version.version})
    client.set_logged_model_tags(model.model_id, {MLFLOW_MODEL_VERSIONS: json.dumps(known)})


def check_served(record: Record) -> None:
    """Refuse losses for classes whose probabilities a served model could not compute.

    Raises
    ------
    InputError
        The loss is a user's own, for classes.
    """
    kind = loss_class(record.loss["name"])
    if record.data.get("classes") and not is_built_in(kind):
        msg = (
            f"A served model corrects the probabilities of the losses of this package; got {record.loss['name']!r}, "
            "a loss of your own for classes; serve it by a model of your own, with asrl_mlflow.predict."
        )
        raise InputError(msg)


def version_tags(artifacts: RunArtifacts) -> dict[str, str]:
    """Give the tags of models and versions, but for the manifest: the record, and the booster's digest."""
    return artifacts.record.tags() | {_BOOSTER: artifacts.digest}


def _describe(record: Record) -> str:
    """Describe a version in Markdown for its page: what, on what, how good."""
    data = record.data
    rows = f"{data['rows']} rows, " if "rows" in data else ""
    return (
        f"**{record.build_loss()}** on *{data['name']}* ({rows}target `{data['target']}`), "
        f"{record.rounds} rounds; {record.describe()}."
    )


def _describe_next(version: ModelVersion) -> str:
    """Say what to do next with a version, in Markdown; its number is known once it is there."""
    promote = stored_command(
        "register", f"--run-id={version.run_id}", f"--registered-model={version.name}"
    )
    score = stored_command("predict", f"--model-uri=models:/{version.name}/{version.version}")
    return f"Promote it: `{promote}`. Score a table: `{score} --data=<file>`."
