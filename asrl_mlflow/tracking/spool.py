"""Write entries to MLflow runs, and send the entries of spool files, which the store did not take.

An entry is one thing to record in a run: a kind, such as "metrics", and JSON content. `WRITERS` has a
function for each kind. An entry that is sent twice is recorded once. `python -m
asrl_mlflow.tracking.resend` sends spool files.
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
from asrl_mlflow.system.uris import HIDDEN, hide_secrets, public_address
from asrl_mlflow.tracking.keys import KEY_TAG
from asrl_mlflow.tracking.retries import limit_waiting, retry

_logger = logging.getLogger(__name__)

# How every entry begins that `RunLog.spool` writes.
_BEGINNING = b'{"store": '
# Where MLflow puts a run for which no experiment was chosen.
DEFAULT_EXPERIMENT_ID = "0"
_FIELDS = {"store", "run_id", "kind", "content"}


def resend(file: str | Path) -> int:
    """Send the entries of a spool file to their store, and delete the file.

    May be called again after an interruption, with a copy of the file, or in two processes at once:
    nothing is recorded twice. May be called while the run goes on: entries that are added meanwhile
    are sent too, or begin a new file. An entry that a kill has cut off is moved to `FILE.torn`.

    Parameters
    ----------
    file : path
        As `RunLog.file` names it. It stays whole where the store fails again; where there is no such
        file, nothing is sent.

    Returns
    -------
    int
        How many entries were sent.

    Raises
    ------
    InputError
        The file is damaged. Or the address of its store has a secret, which no spool file holds, and
        MLflow is configured for another store.
    """
    file = Path(file)
    sent = 0
    with _lock_sending(), limit_waiting():
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
                _send(entry, run_ids, file.parent)
            sent = len(entries)
            with open_exclusively(file, "rb") as kept:
                # A run that goes on may have added entries.
                if (more := kept.read()) == text:
                    _keep_torn(file, torn)
                    file.unlink()
                    return sent
            text = more


def find_run(client: mlflow.MlflowClient, experiments: Sequence[str], key: str) -> str | None:
    """Find the id of the run that was created with a key; None where there is no such run."""
    found = client.search_runs(list(experiments), f"tags.`{KEY_TAG}` = '{key}'", max_results=1)
    return str(found[0].info.run_id) if found else None


def resolve_run_id(client: mlflow.MlflowClient, key: str) -> str:
    """Find the id that the store gave to a run.

    Parameters
    ----------
    client : mlflow.MlflowClient
        Of the store.
    key : str
        The run's id, or the key by which it is known where the store did not answer when it was
        opened.
    """
    try:
        return str(client.get_run(key).info.run_id)
    except MlflowException:
        experiments = [each.experiment_id for each in client.search_experiments()]
        return find_run(client, experiments, key) or key


def one_line(error: Exception) -> str:
    """Shorten an error of any library to a part of one line, its secrets hidden."""
    text = hide_secrets(f"{type(error).__name__}: {error}", mlflow.get_tracking_uri())
    return " ".join(text.split())[:200]


def _read(file: Path) -> bytes:
    with open_exclusively(file, "rb") as kept:
        return kept.read()


def _entries(file: Path, text: bytes) -> tuple[list[dict[str, Any]], list[bytes]]:
    """Split the text of a file into its entries, and lines that a full disk or a kill has cut off."""
    entries, torn = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        entry = _parse(line)
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
    """Append cut-off lines to a file of their own, and say so."""
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


def _send(entry: Mapping[str, Any], run_ids: dict[str, str], folder: Path) -> None:
    """Send an entry to its run.

    Parameters
    ----------
    entry : mapping
        What a line of a spool file holds.
    run_ids : dict of str to str
        The ids that are known already, by the entries' run ids; filled here.
    folder : Path
        Where the spool file lies.
    """
    client, key = mlflow.MlflowClient(tracking_uri=_store_of(entry["store"])), entry["run_id"]
    if entry["kind"] == "run":
        run_ids[key] = _create_run(client, key, entry["content"], folder)
        return
    if key not in run_ids:
        # The entry that creates it may have been sent with an earlier file.
        run_ids[key] = retry(lambda: resolve_run_id(client, key))
    retry(lambda: WRITERS[entry["kind"]](client, run_ids[key], entry["content"]))


def _parse(line: bytes) -> dict[str, Any] | None:
    """Parse a line as an entry; None where it is none."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and set(entry) >= _FIELDS else None


def _store_of(address: str) -> str:
    """Complete the address of an entry's store: its secret comes from MLflow's configuration."""
    if HIDDEN not in address:
        return address
    here = mlflow.get_tracking_uri()
    if public_address(here) != address:
        msg = (
            f"The entries are for the store {address}, whose secret is not kept; got "
            f"{public_address(here)}; set MLFLOW_TRACKING_URI to the former, with its secret."
        )
        raise InputError(msg)
    return here


def _create_run(
    client: mlflow.MlflowClient, key: str, content: Mapping[str, Any], folder: Path
) -> str:
    """Create the run of a key unless the store has it, and return its id."""
    tags = {**content["tags"], KEY_TAG: key}
    parent = tags.get(MLFLOW_PARENT_RUN_ID)
    if parent is not None:
        parent = tags[MLFLOW_PARENT_RUN_ID] = _resolve_parent(client, parent, folder)
    experiment = content["experiment_id"] or retry(
        lambda: _choose_experiment(client, parent, content)
    )

    def create() -> str:
        existing = find_run(client, [experiment], key)
        if existing is not None:
            return existing
        created = client.create_run(
            experiment, content.get("start_time"), tags=tags, run_name=content["name"]
        )
        return str(created.info.run_id)

    return retry(create)


def _choose_experiment(
    client: mlflow.MlflowClient, parent: str | None, content: Mapping[str, Any]
) -> str:
    """Choose the experiment of a run that was opened while the store did not answer."""
    if parent is not None:
        return str(client.get_run(parent).info.experiment_id)
    name = content.get("experiment_name")
    if name is None:
        return DEFAULT_EXPERIMENT_ID
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id if found else client.create_experiment(name))


def _resolve_parent(client: mlflow.MlflowClient, run_id: str, folder: Path) -> str:
    """Find the id of a parent run; one that is only in a spool file of the folder is created."""
    with suppress(FileNotFoundError):
        file = folder / f"{run_id}.jsonl"
        entries, _ = _entries(file, _read(file))
        if entries and entries[0]["kind"] == "run":
            return _create_run(client, run_id, entries[0]["content"], folder)
    return retry(lambda: resolve_run_id(client, run_id))


def _lock_sending() -> AbstractContextManager[None]:
    """Let one process of this user send at a time: two copies of a file are sent in turn."""
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
            _delete_partial_file(client, run_id, path)
            raise


def _delete_partial_file(client: mlflow.MlflowClient, run_id: str, path: str) -> None:
    """Delete the part of an artifact that a full disk took: it must not pass for the whole file."""
    artifacts = get_artifact_repository(client.get_run(run_id).info.artifact_uri)
    if isinstance(artifacts, LocalArtifactRepository):
        artifacts.delete_artifacts(path)


def _write_table(client: mlflow.MlflowClient, run_id: str, content: dict[str, Any]) -> None:
    # As MLflow's `log_table`, which would add the rows once more to a table that exists.
    table = pd.DataFrame(content["columns"])
    text = table.to_json(orient="split", index=False, date_format="iso")
    _write_file(client, run_id, content["path"], text.encode())
    known = json.loads(client.get_run(run_id).data.tags.get(MLFLOW_LOGGED_ARTIFACTS, "[]"))
    table_entry = {"path": content["path"], "type": "table"}
    if table_entry not in known:
        client.set_tag(run_id, MLFLOW_LOGGED_ARTIFACTS, json.dumps([*known, table_entry]))


def _write_dataset(client: mlflow.MlflowClient, run_id: str, content: dict[str, str]) -> None:
    context = mlflow.entities.InputTag("mlflow.data.context", "training")
    dataset = mlflow.entities.Dataset(**content)
    client.log_inputs(run_id, [mlflow.entities.DatasetInput(dataset, [context])])


def _write_status(client: mlflow.MlflowClient, run_id: str, content: list[Any] | str) -> None:
    # Files of earlier versions have the status alone.
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
