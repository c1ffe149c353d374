"""What a run is told, as entries that can be written to the store now, or kept and sent again.

An entry is a kind and JSON content; `WRITERS` knows how each kind reaches an MLflow run. Whatever is
sent twice is there once. The command `resend` sends what was kept.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

import mlflow
import mlflow.entities
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS, MLFLOW_PARENT_RUN_ID

from asrl_mlflow.errors import InputError
from asrl_mlflow.system.files import hold_lock, open_exclusively
from asrl_mlflow.system.uris import HIDDEN, hide_secrets
from asrl_mlflow.tracking.patience import ask, short

_logger = logging.getLogger(__name__)

# Of every run that we open, by ourselves and not by the store: by it a run is found whose creation
# the store did not confirm.
KEY_TAG = "asrl.key"

# So every entry begins that `RunLog.spool` writes.
_BEGINNING = b'{"store": '
# Where MLflow puts a run for which none was chosen.
DEFAULT_EXPERIMENT_ID = "0"
_FIELDS = {"store", "run_id", "kind", "content"}
_SQLITE = "sqlite:///"


def resend(file: str | Path) -> int:
    """Deliver a spool file to the store that its entries were meant for, and delete it.

    It may be called again after it was interrupted, with a copy of the file, or at the same moment
    as another: what has arrived is not doubled. It may be called while the run goes on: what is
    added meanwhile is delivered too, or begins a new file. What a kill has left of an entry is moved to `FILE.torn`.

    Parameters
    ----------
    file : path
        What `RunLog.file` named. It stays whole if the store fails again; where there is none, there
        is nothing to send.

    Returns
    -------
    int
        How many entries were delivered.

    Raises
    ------
    InputError
        The file is damaged, or MLflow is configured for another store than one whose address has a
        secret, which no spool file holds.
    """
    file = Path(file)
    sent = 0
    with _alone(), short():
        try:
            text = _read(file)
        except FileNotFoundError:
            _logger.warning(
                "%s: nothing to send, there is no such file (any more): it was sent before, or has "
                "another name.",
                file,
            )
            return 0
        run_ids: dict[str, str] = {}
        while True:
            entries, torn = _entries(file, text)
            for entry in entries[sent:]:
                _deliver(entry, run_ids, file.parent)
            sent = len(entries)
            with open_exclusively(file, "rb") as kept:
                # A run that goes on may have added to it.
                if (more := kept.read()) == text:
                    _keep_torn(file, torn)
                    file.unlink()
                    return sent
            text = more


def kept_at(uri: str) -> str:
    """The address of a store as it may be kept: without secrets, and valid in any folder."""
    if uri.startswith(_SQLITE):
        return f"{_SQLITE}{Path(uri.removeprefix(_SQLITE)).absolute()}"
    return hide_secrets(uri, uri)


def find(client: mlflow.MlflowClient, experiments: Sequence[str], key: str) -> str | None:
    """The id of the run that was opened with a key; None where there is none."""
    found = client.search_runs(list(experiments), f"tags.`{KEY_TAG}` = '{key}'", max_results=1)
    return str(found[0].info.run_id) if found else None


def id_of(client: mlflow.MlflowClient, key: str) -> str:
    """The id that the store gave to a run, which may have been opened when it did not answer."""
    try:
        return str(client.get_run(key).info.run_id)
    except MlflowException:
        experiments = [each.experiment_id for each in client.search_experiments()]
        return find(client, experiments, key) or key


def one_line(error: Exception) -> str:
    """An error of any library as a part of one line, without secrets."""
    text = hide_secrets(f"{type(error).__name__}: {error}", mlflow.get_tracking_uri())
    return " ".join(text.split())[:200]


def _read(file: Path) -> bytes:
    with open_exclusively(file, "rb") as kept:
        return kept.read()


def _entries(file: Path, text: bytes) -> tuple[list[dict[str, Any]], list[bytes]]:
    """The entries of a file, and what a full disk or a kill has left of others."""
    entries, torn = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        entry = _entry(line)
        if entry is not None:
            entries.append(entry)
        elif line.startswith(_BEGINNING) or _BEGINNING.startswith(line):
            torn.append(line)
        else:
            msg = (
                f"{file}: a spool file needs an entry in every line; got something else in line "
                f"{number}; remove that line, and send the rest."
            )
            raise InputError(msg)
    return entries, torn


def _keep_torn(file: Path, torn: Sequence[bytes]) -> None:
    if not torn:
        return
    place = file.with_name(f"{file.name}.torn")
    with place.open("ab") as kept:
        kept.writelines(line + b"\n" for line in torn)
    _logger.warning(
        "%s: %d of its entries %s not finished, and cannot be sent; the %d bytes are kept in %s.",
        file,
        len(torn),
        "was" if len(torn) == 1 else "were",
        sum(map(len, torn)),
        place,
    )


def _deliver(entry: Mapping[str, Any], run_ids: dict[str, str], folder: Path) -> None:
    """Send an entry to its run, whose id in the store is looked up once."""
    client, key = mlflow.MlflowClient(tracking_uri=_store(entry["store"])), entry["run_id"]
    if entry["kind"] == "run":
        run_ids[key] = _created(client, key, entry["content"], folder)
        return
    if key not in run_ids:
        # Its creation may have been sent in an earlier file.
        run_ids[key] = ask(lambda: id_of(client, key))
    _write(client, run_ids[key], entry)


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and set(entry) >= _FIELDS else None


def _store(kept: str) -> str:
    """The address of the store that an entry was kept for."""
    if HIDDEN not in kept:
        return kept
    here = mlflow.get_tracking_uri()
    if kept_at(here) != kept:
        msg = (
            f"The entries are for the store {kept}, whose secret is not kept; got {kept_at(here)}; "
            "set MLFLOW_TRACKING_URI to the former, with its secret."
        )
        raise InputError(msg)
    return here


def _created(
    client: mlflow.MlflowClient, key: str, content: Mapping[str, Any], folder: Path
) -> str:
    """The run of a key, created unless it is there."""
    tags = {**content["tags"], KEY_TAG: key}
    parent = tags.get(MLFLOW_PARENT_RUN_ID)
    if parent is not None:
        parent = tags[MLFLOW_PARENT_RUN_ID] = _parent(client, parent, folder)
    experiment = content["experiment_id"] or ask(lambda: _experiment(client, parent, content))

    def create() -> str:
        there = find(client, [experiment], key)
        if there is not None:
            return there
        made = client.create_run(
            experiment, content.get("start_time"), tags=tags, run_name=content["name"]
        )
        return str(made.info.run_id)

    return ask(create)


def _experiment(client: mlflow.MlflowClient, parent: str | None, content: Mapping[str, Any]) -> str:
    """Where a run belongs that was opened when the store could not tell."""
    if parent is not None:
        return str(client.get_run(parent).info.experiment_id)
    name = content.get("experiment_name")
    if name is None:
        return DEFAULT_EXPERIMENT_ID
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id if found else client.create_experiment(name))


def _parent(client: mlflow.MlflowClient, run_id: str, folder: Path) -> str:
    """The run that a run belongs to; one that waits in a spool file beside it is created before."""
    with suppress(FileNotFoundError):
        file = folder / f"{run_id}.jsonl"
        entries, _ = _entries(file, _read(file))
        if entries and entries[0]["kind"] == "run":
            return _created(client, run_id, entries[0]["content"], folder)
    return ask(lambda: id_of(client, run_id))


def _write(client: mlflow.MlflowClient, run_id: str, entry: Mapping[str, Any]) -> None:
    ask(lambda: WRITERS[entry["kind"]](client, run_id, entry["content"]))


def _alone() -> AbstractContextManager[None]:
    """One process of this user on this host at a time: two copies of a file are sent in turn."""
    return hold_lock(Path(tempfile.gettempdir(), f"asrl-spool-{os.getuid()}"))


def _write_params(client: mlflow.MlflowClient, run_id: str, content: dict[str, str]) -> None:
    params = [mlflow.entities.Param(key, value) for key, value in content.items()]
    client.log_batch(run_id, params=params)


def _write_metrics(client: mlflow.MlflowClient, run_id: str, content: list[list[Any]]) -> None:
    client.log_batch(run_id, metrics=[mlflow.entities.Metric(*entry) for entry in content])


def _write_tags(client: mlflow.MlflowClient, run_id: str, content: dict[str, str]) -> None:
    client.log_batch(run_id, tags=[mlflow.entities.RunTag(*tag) for tag in content.items()])


def _write_artifact(client: mlflow.MlflowClient, run_id: str, content: dict[str, str]) -> None:
    _write_file(client, run_id, content["path"], base64.b64decode(content["base64"]))


def _write_file(client: mlflow.MlflowClient, run_id: str, path: str, content: bytes) -> None:
    place = PurePosixPath(path)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, place.name)
        file.write_bytes(content)
        try:
            client.log_artifact(
                run_id, str(file), None if place.parent.name == "" else str(place.parent)
            )
        except OSError:
            _take_back(client, run_id, path)
            raise


def _take_back(client: mlflow.MlflowClient, run_id: str, path: str) -> None:
    """Remove what a full disk has of a file: half of one must not count, and takes room."""
    place = get_artifact_repository(client.get_run(run_id).info.artifact_uri)
    if isinstance(place, LocalArtifactRepository):
        place.delete_artifacts(path)


def _write_table(client: mlflow.MlflowClient, run_id: str, content: dict[str, Any]) -> None:
    # As `log_table` does, which would add the rows once more to a table that is there.
    table = pd.DataFrame(content["columns"])
    text = table.to_json(orient="split", index=False, date_format="iso")
    _write_file(client, run_id, content["path"], text.encode())
    known = json.loads(client.get_run(run_id).data.tags.get(MLFLOW_LOGGED_ARTIFACTS, "[]"))
    told = {"path": content["path"], "type": "table"}
    if told not in known:
        client.set_tag(run_id, MLFLOW_LOGGED_ARTIFACTS, json.dumps([*known, told]))


def _write_dataset(client: mlflow.MlflowClient, run_id: str, content: dict[str, str]) -> None:
    context = mlflow.entities.InputTag("mlflow.data.context", "training")
    dataset = mlflow.entities.Dataset(**content)
    client.log_inputs(run_id, [mlflow.entities.DatasetInput(dataset, [context])])


def _write_status(client: mlflow.MlflowClient, run_id: str, content: list[Any] | str) -> None:
    # A word alone is what older files have.
    status, ended = (content, None) if isinstance(content, str) else content
    client.set_terminated(run_id, status, ended)


WRITERS: Mapping[str, Callable[[mlflow.MlflowClient, str, Any], None]] = {
    "params": _write_params,
    "metrics": _write_metrics,
    "tags": _write_tags,
    "artifact": _write_artifact,
    "table": _write_table,
    "dataset": _write_dataset,
    "status": _write_status,
}
