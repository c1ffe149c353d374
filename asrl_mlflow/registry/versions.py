"""Find versions of registered models, and open them only if their files are what was registered.

Where a signature is required, only if a trusted key has signed these files as this version.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.models_artifact_repo import REGISTERED_MODEL_META_FILE_NAME

from asrl_mlflow.cards import Card, CardTable
from asrl_mlflow.errors import InputError, StoreError, did_you_mean, listed
from asrl_mlflow.records.artifacts import LOSS, silence_mlflow
from asrl_mlflow.records.record import Record
from asrl_mlflow.registry import manifest
from asrl_mlflow.registry.signing import SIGNATURE_TAG, Keys, check_signature, read_keys
from asrl_mlflow.system.disk import require_space
from asrl_mlflow.system.processes import pause_at_random
from asrl_mlflow.tracking.spool import one_line

MANIFEST_TAG, RECORD_TAG = "asrl.manifest", "asrl.record"
_ATTEMPTS = 4
# MLflow's error codes for a version or alias that does not exist; any other code is no answer.
_NOT_THERE = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}


@dataclass(frozen=True)
class RegisteredVersion:
    """A version of a registered model.

    Parameters
    ----------
    name : str
        The name of the registered model.
    version : str
        The version's number.
    run_id : str
        The id of the run that trained it.
    record : Record
        How it was trained.
    is_new : bool
        Whether this call of `register` made it.
    """

    name: str
    version: str
    run_id: str
    record: Record
    is_new: bool = False

    @property
    def uri(self) -> str:
        """The version's address by name and number; aliases may move, this stays."""
        return f"models:/{self.name}/{self.version}"

    def _repr_html_(self) -> str:
        """Show the version in a notebook: what trained it, how good it is, the tags that it has."""
        record = self.record
        params = ", ".join(f"{key}={value}" for key, value in record.loss["params"].items())
        metrics = [[key, f"{value:.4g}"] for key, value in record.metrics.items()]
        facts = {
            "loss": f"{record.loss['name']}({params})",
            "data": f"{record.data['name']}, {record.data['rows']} rows, target {record.data['target']}",
            "rounds": str(record.rounds),
            "run": self.run_id,
            "to use it": f"mlflow.pyfunc.load_model({self.uri!r})",
        }
        tags = [[key, value] for key, value in record.tags().items() if key != RECORD_TAG]
        return Card(
            title=self.uri,
            facts=facts,
            tables=[
                CardTable("On the test rows", ["metric", "value"], metrics),
                CardTable("Tags of the record", ["tag", "value"], tags),
            ],
        ).html()


def find(uri: str, *, trusted: Keys | None = None) -> RegisteredVersion:
    """Find the version that `models:/name/version` or `models:/name@alias` means now.

    Parameters
    ----------
    uri : str
        The address.
    trusted : sequence of str or Path, optional
        Public keys, PEM files: the record is then that of the version's files, which are downloaded and
        must be signed by one of them. Without keys it is that of the version's tag, as the store has it.

    Raises
    ------
    InputError
        The version does not exist, or was not registered by `register`; with keys as for `open_copy`.
    StoreError
        The store does not answer.
    """
    if trusted is None:
        return _find_with_tags(uri)[0]
    with open_copy(uri, trusted) as (found, folder):
        return dataclasses.replace(found, record=_record_in(folder, uri))


def _find_with_tags(uri: str) -> tuple[RegisteredVersion, Mapping[str, str]]:
    """Find a version and its tags, all in one answer of the store."""
    version = _find_in_store(uri)
    tags = version.tags or {}
    if RECORD_TAG not in tags or MANIFEST_TAG not in tags:
        msg = (
            f"{uri}: must have been registered by asrl_mlflow; got version {version.version} without "
            f"the tags {RECORD_TAG} and {MANIFEST_TAG}; register its run with the flow register."
        )
        raise InputError(msg)
    record = Record.from_json(tags[RECORD_TAG], uri)
    found = RegisteredVersion(version.name, str(version.version), version.run_id or "", record)
    return found, tags


def _check_answer(uri: str, found: RegisteredVersion) -> None:
    """Refuse a store's answer that is not about the name, or the number, that it was asked for."""
    by_alias = re.fullmatch(re.escape(f"models:/{found.name}@") + "[^/]+", uri)
    if uri != found.uri and not by_alias:
        msg = (
            f"{uri}: the store must answer with this version; got {found.uri}; write its name and number as "
            "the store does."
        )
        raise InputError(msg)


def version_with_alias(name: str, alias: str) -> str | None:
    """Find the number of the version that has an alias; None if no version has it.

    Parameters
    ----------
    name : str
        The registered model.
    alias : str
        The alias.

    Raises
    ------
    StoreError
        The store does not answer.
    """
    try:
        return str(mlflow.MlflowClient().get_model_version_by_alias(name, alias).version)
    except MlflowException as error:
        if error.error_code not in _NOT_THERE:
            raise no_answer_error(error) from error
        return None


@contextmanager
def open_copy(uri: str, trusted: Keys | None) -> Iterator[tuple[RegisteredVersion, Path]]:
    """Open a version's files as `opened.open_verified` does, with its arguments and errors.

    Yields
    ------
    RegisteredVersion
        Which it is.
    Path
        The folder of the copy, deleted afterwards.
    """
    keys = None if trusted is None else read_keys(trusted)
    found, tags = _find_with_tags(uri)
    if keys is not None:
        _check_answer(uri, found)
    with TemporaryDirectory() as folder:
        copy = _download(mlflow.MlflowClient(), found, folder)
        check_copy(copy, tags[MANIFEST_TAG], found.uri)
        if keys is not None:
            signature = tags.get(SIGNATURE_TAG, "")
            check_signature(copy, found.name, found.version, signature, keys)
        if _record_in(copy, uri) != found.record:
            msg = (
                f"{found.uri}: its tag {RECORD_TAG} must be that of its files; got another one; restore "
                "it, or register the run anew. Nothing of it was loaded."
            )
            raise InputError(msg)
        yield found, copy


def _record_in(folder: Path, owner: str) -> Record:
    """Read the record that lies among a version's files."""
    return Record.from_json((folder / "artifacts" / LOSS).read_text(), owner)


def _download(client: mlflow.MlflowClient, version: RegisteredVersion, folder: str) -> Path:
    """Download a version's files into a folder."""
    try:
        with require_space(), silence_mlflow():
            # Not by a models:/ URI: with that, MLflow parses the file MLmodel before it is checked.
            source = client.get_model_version_download_uri(version.name, version.version)
            if source.startswith("models:/"):
                model = client.get_logged_model(source.removeprefix("models:/"))
                source = model.artifact_location
            return Path(mlflow.artifacts.download_artifacts(artifact_uri=source, dst_path=folder))
    except (MlflowException, OSError) as error:
        msg = (
            f"{version.uri}: its files must be where they were put; got {one_line(error)}; "
            "restore them, or register the run anew."
        )
        raise InputError(msg) from error


def check_copy(folder: Path, recorded: str, owner: str) -> None:
    """Refuse a private copy of a model that is not what was registered.

    Parameters
    ----------
    folder : Path
        The copy; MLflow's own note in it is deleted, and Python's compiled code.
    recorded : str
        The manifest from the registry.
    owner : str
        The model, for the error.

    Raises
    ------
    InputError
        As for `check_manifest`.
    """
    # Loading a model from a local store leaves a file with its name and version there, and compiled code.
    note = folder / REGISTERED_MODEL_META_FILE_NAME
    if note.is_file() or note.is_symlink():
        note.unlink()
    manifest.remove_compiled(folder)
    manifest.check_manifest(folder, recorded, owner)


def write_with_retries(write: Callable[..., object], *arguments: str) -> None:
    """Write into the registry, and try again if another process wrote the same at that moment.

    Parameters
    ----------
    write : callable
        The method of MLflow's client that writes.
    *arguments : str
        Its arguments.

    Raises
    ------
    StoreError
        Four attempts failed.
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
    """Make the error for a store that does not answer."""
    return StoreError(f"The tracking store must answer; got {one_line(error)}; try again.")


def _find_in_store(uri: str) -> ModelVersion:
    """Ask the store for the version that an address means."""
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
        model = name if at else numbered
        msg = f"{uri}: needs a version in this tracking store; got none; {_what_there_is(client, model)}"
        raise InputError(msg) from error
    msg = f"A model is named models:/name@alias or models:/name/version; got {uri!r}."
    raise InputError(msg)


def _what_there_is(client: mlflow.MlflowClient, name: str) -> str:
    """Name the aliases of a registered model or, if it does not exist, the models that do."""
    remedy = "set MLFLOW_TRACKING_URI to the store that has it."
    try:
        models = {each.name: each.aliases for each in client.search_registered_models()}
    except MlflowException:
        return remedy
    if name in models:
        aliases = f"the aliases {listed(sorted(models[name]))}" if models[name] else "no alias"
        return f"{name} has {aliases}; `Models` in the user interface shows its versions."
    if models:
        guess = did_you_mean(name, models)
        return " ".join(
            filter(None, [guess, f"its registered models are {listed(sorted(models))};", remedy])
        )
    return f"it has no registered models; register a run with the flow register, or {remedy}"
