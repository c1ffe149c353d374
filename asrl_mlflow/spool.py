"""What a run is told, as entries that can be written to the store now, or kept and sent again.

An entry is a kind and JSON content; `WRITERS` knows how each kind reaches an MLflow run.
"""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import mlflow
import mlflow.entities


def resend(file: str | Path) -> int:
    """Deliver a spool file to the store that its entries were meant for, and delete it.

    Parameters
    ----------
    file : path
        What `RunLog.file` named. It stays whole if the store fails again, and delivering an entry
        twice does no harm, except that a run which had not even been created is created anew.

    Returns
    -------
    int
        How many entries were delivered.
    """
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    created: dict[str, str] = {}
    for line in lines:
        entry = json.loads(line)
        client = mlflow.MlflowClient(tracking_uri=entry["store"])
        if entry["kind"] == "run":
            created[entry["run_id"]] = _create_run(client, entry["content"])
        else:
            run_id = created.get(entry["run_id"], entry["run_id"])
            WRITERS[entry["kind"]](client, run_id, entry["content"])
    Path(file).unlink()
    return len(lines)


def _create_run(client: mlflow.MlflowClient, content: dict[str, Any]) -> str:
    run = client.create_run(
        content["experiment_id"] or "0", tags=content["tags"], run_name=content["name"]
    )
    return str(run.info.run_id)


def _write_params(client: mlflow.MlflowClient, run_id: str, content: dict[str, str]) -> None:
    params = [mlflow.entities.Param(key, value) for key, value in content.items()]
    client.log_batch(run_id, params=params)


def _write_metrics(client: mlflow.MlflowClient, run_id: str, content: list[list[Any]]) -> None:
    client.log_batch(run_id, metrics=[mlflow.entities.Metric(*entry) for entry in content])


def _write_tags(client: mlflow.MlflowClient, run_id: str, content: dict[str, str]) -> None:
    client.log_batch(run_id, tags=[mlflow.entities.RunTag(*tag) for tag in content.items()])


def _write_artifact(client: mlflow.MlflowClient, run_id: str, content: dict[str, str]) -> None:
    place = PurePosixPath(content["path"])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, place.name)
        file.write_bytes(base64.b64decode(content["base64"]))
        client.log_artifact(
            run_id, str(file), None if place.parent.name == "" else str(place.parent)
        )


def _write_table(client: mlflow.MlflowClient, run_id: str, content: dict[str, Any]) -> None:
    client.log_table(run_id, content["columns"], content["path"])


def _write_dataset(client: mlflow.MlflowClient, run_id: str, content: dict[str, str]) -> None:
    context = mlflow.entities.InputTag("mlflow.data.context", "training")
    dataset = mlflow.entities.Dataset(**content)
    client.log_inputs(run_id, [mlflow.entities.DatasetInput(dataset, [context])])


def _write_status(client: mlflow.MlflowClient, run_id: str, content: str) -> None:
    client.set_terminated(run_id, content)


WRITERS: Mapping[str, Callable[[mlflow.MlflowClient, str, Any], None]] = {
    "params": _write_params,
    "metrics": _write_metrics,
    "tags": _write_tags,
    "artifact": _write_artifact,
    "table": _write_table,
    "dataset": _write_dataset,
    "status": _write_status,
}
