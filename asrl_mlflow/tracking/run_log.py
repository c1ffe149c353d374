"""Record one MLflow run: rare things at once, the metrics of rounds in batches.

Training never fails because of the store, and its rounds never wait for it: a thread collects them and
sends them, soon at first and then about once a second. Entries that the store does not take are kept
in a spool file, which `spool.resend` sends later. (MLflow's own asynchronous queue sends each call by
itself unless an environment variable says otherwise, and drops calls that fail.)
"""

from __future__ import annotations

import base64
import json
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import mlflow
import mlflow.tracking.fluent
import numpy as np
import pandas as pd
from mlflow.environment_variables import MLFLOW_RUN_ID
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE
from mlflow.utils.validation import MAX_DATASET_SCHEMA_SIZE, MAX_TAG_VAL_LENGTH

from asrl_mlflow.datasets.dataset import Dataset
from asrl_mlflow.rounds import Round
from asrl_mlflow.system.files import open_exclusively
from asrl_mlflow.system.uris import public_address
from asrl_mlflow.tracking.retries import call_once, extend_timeout, is_unanswered, retry
from asrl_mlflow.tracking.spool import WRITERS, one_line

_logger = logging.getLogger(__name__)

SPOOL = Path("asrl-spool")

# Soon at first, so that a short run does not have to send everything at its end.
_SECONDS_TO_FIRST_BATCH, _SECONDS_BETWEEN_BATCHES = 0.125, 1.0
# As long as MLflow itself would retry: the rounds of a training that goes on can wait.
_SECONDS_TO_WAIT_FOR_THE_STORE = 240.0
# MLflow refuses larger batches of metrics and of params.
_METRICS_A_BATCH, _PARAMS_A_BATCH = 1000, 100
_CUT = "\n\nThis is not all: a description has no room for more. See the artifacts."


class RunLog:
    """Records one run. No method raises because of the store: see `complete` and `file`.

    Methods raise OSError where the spool file cannot be written either.

    Parameters
    ----------
    run_id : str
        Of an MLflow run that is RUNNING; of a run that is not yet created, its key.
    experiment_id : str, optional
        Of the experiment that the run belongs to; None where that is not known.
    existing_params : mapping of str to str, optional
        Params that the run already has; they stay as they are.
    is_created : bool
        Whether the store has the run. Without, `spool.resend` creates it.

    Attributes
    ----------
    run_id, experiment_id, is_created
        As given.
    file : Path
        The spool file, for all entries that the store does not take.
    complete : bool
        Whether the store has taken all entries so far.
    children : list of RunLog
        Of the runs that were opened inside this one.
    """

    def __init__(
        self,
        run_id: str,
        *,
        experiment_id: str | None = None,
        existing_params: Mapping[str, str] | None = None,
        is_created: bool = True,
    ) -> None:
        self.run_id = run_id
        self.experiment_id = experiment_id
        self.is_created = is_created
        self.file = SPOOL / f"{run_id}.jsonl"
        self.complete = True
        self.children: list[RunLog] = []
        self._existing_params = existing_params or {}
        self._client = mlflow.MlflowClient()
        self._waiting: list[list[Any]] = []
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._closing = threading.Event()
        self._sender: threading.Thread | None = None
        self._sender_error: OSError | None = None
        self._silent_since: float | None = None
        self._is_lost = False

    def params(self, params: Mapping[str, object]) -> None:
        """Log params; values that are None are left out."""
        new = {
            key: str(value)
            for key, value in params.items()
            if value is not None and key not in self._existing_params
        }
        for chunk in _chunks(list(new.items()), _PARAMS_A_BATCH):
            self._send("params", dict(chunk))

    def metrics(self, metrics: Mapping[str, float]) -> None:
        """Log metrics that belong to no round."""
        self._send("metrics", [[key, value, _now(), 0] for key, value in metrics.items()])

    def tags(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        self._send("tags", dict(tags))

    def describe(self, text: str) -> None:
        """Set the run's description, in Markdown; lines beyond what MLflow keeps are left out, which it says."""
        if len(text) > MAX_TAG_VAL_LENGTH:
            kept = text[: MAX_TAG_VAL_LENGTH - len(_CUT) - 4].rpartition("\n")[0]
            text = kept + ("\n```" if kept.count("```") % 2 else "") + _CUT
        self.tags({MLFLOW_RUN_NOTE: text})

    def artifact(self, path: str, content: bytes) -> None:
        """Log a file under a path among the run's artifacts, with forward slashes."""
        self._send("artifact", {"path": path, "base64": base64.b64encode(content).decode()})

    def table(self, path: str, columns: Mapping[str, list[Any]]) -> None:
        """Log columns as a table that MLflow shows; the path ends in .json."""
        self._send("table", {"path": path, "columns": dict(columns)})

    def dataset(self, dataset: Dataset) -> None:
        """Log a table's name, digest, source and columns as the dataset that the run has used."""
        types = {str(name): kind for name, kind in dataset.rows.features.dtypes.items()}
        self.used(
            dataset.name,
            dataset.digest,
            {**types, dataset.target_name: np.dtype(np.float64)},
            rows=len(dataset.rows),
            origin=dataset.source,
        )

    def used(
        self, name: str, digest: str, types: Mapping[str, object], *, rows: int, origin: str
    ) -> None:
        """Log the dataset that the run has used.

        Parameters
        ----------
        name, digest : str
            Of the dataset.
        types : mapping of str to dtype
            The type of each column.
        rows : int
            How many there are.
        origin : str
            The path of its file, or what made it.
        """
        columns = [
            {"type": _mlflow_type(kind), "name": column, "required": True}
            for column, kind in types.items()
        ]
        schema = json.dumps({"mlflow_colspec": columns})
        file = Path(origin)
        source = {"uri": str(file)} if file.exists() else {"tags": {"name": origin}}
        self._send(
            "dataset",
            {
                "name": name,
                "digest": digest,
                "source_type": "local" if file.exists() else "code",
                "source": json.dumps(source),
                # MLflow refuses longer schemas: of a very wide table only the size is logged.
                "schema": schema if len(schema) <= MAX_DATASET_SCHEMA_SIZE else "",
                "profile": json.dumps(
                    {
                        "num_rows": rows,
                        "num_elements": rows * len(columns),
                    }
                ),
            },
        )

    def round(self, round_: Round) -> None:
        """Log the metrics of one round, within about a second; for `train(on_round=log.round)`."""
        self.step(round_.number, round_.metrics())

    def step(self, number: int, metrics: Mapping[str, float]) -> None:
        """Log metrics of one step, within about a second."""
        now = _now()
        entries = [[key, value, now, number] for key, value in metrics.items()]
        with self._lock:
            self._waiting += entries
        if self._sender is None:
            self._sender = threading.Thread(target=self._keep_sending, daemon=True)
            self._sender.start()

    def unsent_files(self) -> list[Path]:
        """List the spool files of this run and of its children, where the store did not take all."""
        own = [] if self.complete else [self.file]
        return own + [file for child in self.children for file in child.unsent_files()]

    def flush(self) -> None:
        """Send all entries that wait: afterwards the store or the spool file has them."""
        with self._sending:
            self._send_waiting()

    def leave(self) -> None:
        """Send all entries that wait; the run goes on, without this log."""
        self._closing.set()
        if self._sender is not None:
            self._sender.join()
        if self._sender_error is not None:
            raise self._sender_error
        self.flush()

    def close(self, status: str) -> None:
        """Send all entries that wait and end the run; as FAILED where an entry was lost.

        Parameters
        ----------
        status : str
            FINISHED, FAILED or KILLED.
        """
        try:
            self.leave()
            if self._is_lost:
                self._end_as_failed()
            else:
                self._send("status", [status, _now()])
        except OSError:
            self._end_as_failed()
            raise
        finally:
            self._deactivate()

    def _end_as_failed(self) -> None:
        """End the run as FAILED in the store, else in the spool file where that has room."""
        ended = ["FAILED", _now()]
        try:
            self._write("status", ended)
        except Exception:  # noqa: BLE001 - every store fails in its own way
            with suppress(OSError):
                self.spool("status", ended)

    def _deactivate(self) -> None:
        """Make the run no longer MLflow's active one; `mlflow.end_run` would call the store again."""
        fluent = mlflow.tracking.fluent
        active = mlflow.active_run()
        if active is None or active.info.run_id != self.run_id:
            return
        MLFLOW_RUN_ID.unset()
        fluent._active_run_stack.get().pop()  # noqa: SLF001 - publicly only `end_run` does it
        if monitor := fluent.run_id_to_system_metrics_monitor.pop(self.run_id, None):
            monitor.finish()

    def _keep_sending(self) -> None:
        """Send the rounds that wait, again and again until the log is closed."""
        pause = _SECONDS_TO_FIRST_BATCH
        try:
            while not self._closing.wait(pause):
                with self._sending:
                    self._send_waiting(may_wait=True)
                pause = min(2 * pause, _SECONDS_BETWEEN_BATCHES)
        except OSError as error:
            # `close` raises it, as nobody would catch it in this thread.
            self._sender_error = error

    def _send_waiting(self, *, may_wait: bool = False) -> None:
        """Send the rounds that wait, in batches; where they may, they go on waiting for a silent store."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for start in range(0, len(waiting), _METRICS_A_BATCH):
            chunk = waiting[start : start + _METRICS_A_BATCH]
            if may_wait and self._is_store_silent(chunk):
                with self._lock:
                    self._waiting = waiting[start:] + self._waiting
                return
            if not may_wait:
                self._send("metrics", chunk)

    def _is_store_silent(self, metrics: list[list[Any]]) -> bool:
        """Send metrics unless the store does not answer, which may pass; True where they must wait."""
        if self.complete:
            try:
                call_once(lambda: self._call("metrics", metrics))
            except Exception as error:  # noqa: BLE001 - every store fails in its own way
                now = time.monotonic()
                self._silent_since = self._silent_since or now
                waited = now - self._silent_since
                if is_unanswered(error) and waited < _SECONDS_TO_WAIT_FOR_THE_STORE:
                    return True
            else:
                self._silent_since = None
                return False
        self._send("metrics", metrics)
        return False

    def _send(self, kind: str, content: Any) -> None:  # noqa: ANN401 - whatever JSON the kind takes
        # After the first failure all entries go to the spool file, in their order.
        if self.complete:
            try:
                self._write(kind, content)
            except Exception as error:  # noqa: BLE001 - every store fails in its own way
                self.switch_to_spool(error)
            else:
                return
        self.spool(kind, content)

    def _write(self, kind: str, content: Any) -> None:  # noqa: ANN401 - whatever JSON the kind takes
        size = len(content["base64"]) if kind == "artifact" else 0
        with extend_timeout(size):
            retry(lambda: self._call(kind, content))

    def _call(self, kind: str, content: Any) -> None:  # noqa: ANN401 - whatever JSON the kind takes
        WRITERS[kind](self._client, self.run_id, content)

    def switch_to_spool(self, error: Exception) -> None:
        """Write all further entries to the spool file, and say that the store failed with an error."""
        with self._lock:
            if not self.complete:
                return
            self.complete = False
        _logger.warning(
            "The tracking store stopped taking run %s: %s; what is missing is kept in %s.",
            self.run_id,
            one_line(error),
            self.file,
        )

    def spool(self, kind: str, content: Any) -> None:  # noqa: ANN401 - whatever JSON the kind takes
        """Append an entry to the spool file: the whole of it, or nothing.

        Raises
        ------
        OSError
            It cannot be written. Earlier entries stay as they were.
        """
        entry = {
            "store": public_address(mlflow.get_tracking_uri()),
            "run_id": self.run_id,
            "kind": kind,
            "content": content,
        }
        try:
            self._append(f"{json.dumps(entry)}\n".encode())
        except OSError as error:
            self._is_lost = True
            kept = self.file.is_file()
            msg = error.strerror
            if kept:
                msg = f"{msg}; what could be kept is in {self.file}, for python -m asrl_mlflow.tracking.resend"
            raise OSError(error.errno, msg, None if kept else str(self.file)) from error

    def _append(self, line: bytes) -> None:
        self.file.parent.mkdir(exist_ok=True)
        with self._lock, open_exclusively(self.file, "ab+") as file:
            whole = file.seek(0, os.SEEK_END)
            if whole and os.pread(file.fileno(), 1, whole - 1) != b"\n":
                # An entry that a kill has cut off must not run into this one.
                line = b"\n" + line
            try:
                while line:
                    line = line[file.write(line) :]
            except BaseException:
                # A full disk then has room again for the entry that ends the run.
                file.truncate(whole)
                if whole == 0:
                    self.file.unlink()
                raise


def _mlflow_type(kind: object) -> str:
    if isinstance(kind, pd.CategoricalDtype):
        return "string"
    return "boolean" if kind == np.bool_ else "double"


def _chunks(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _now() -> int:
    return int(time.time() * 1000)
