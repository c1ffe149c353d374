"""One MLflow run, told what happens: at once where it is rare, in batches where it is every round.

Training never fails because of the store, and its rounds never wait for it: they are collected and
sent by a thread, soon at first and then about once a second. What the store does not take is kept in
a spool file, and `spool.resend` delivers it later. (MLflow's own asynchronous queue sends every call by itself unless
an environment variable says otherwise, and forgets what failed.)
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
from mlflow.utils.validation import MAX_DATASET_SCHEMA_SIZE

from asrl_mlflow.datasets.dataset import Dataset
from asrl_mlflow.rounds import Round
from asrl_mlflow.system.files import open_exclusively
from asrl_mlflow.tracking.patience import ask, ask_once, is_silence, long_enough_for
from asrl_mlflow.tracking.spool import WRITERS, kept_at, one_line

_logger = logging.getLogger(__name__)

SPOOL = Path("asrl-spool")

# Short at first, so that a short run does not have to send everything after its end.
_SECONDS_TO_FIRST_BATCH, _SECONDS_BETWEEN_BATCHES = 0.125, 1.0
# As long as MLflow itself would ask: nobody waits for the rounds of a training that goes on.
_SECONDS_TO_WAIT_FOR_THE_STORE = 240.0
# MLflow refuses larger batches of metrics and of params.
_METRICS_A_BATCH, _PARAMS_A_BATCH = 1000, 100


class RunLog:
    """What one run is told. No method raises because of the store: see `complete` and `file`.

    They raise OSError where not even the spool can be written.

    Parameters
    ----------
    run_id : str
        An MLflow run that is RUNNING.
    taken : mapping, optional
        Params that the run already has; they stay as they are.

    Attributes
    ----------
    run_id : str
        Of the MLflow run.
    file : Path
        The spool file, where everything goes that the store does not take.
    complete : bool
        Whether the store has taken everything so far.
    """

    def __init__(self, run_id: str, taken: Mapping[str, str] | None = None) -> None:
        self.run_id = run_id
        self.file = SPOOL / f"{run_id}.jsonl"
        self.complete = True
        self._taken = taken or {}
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
        """Log params; None is left out."""
        new = {
            key: str(value)
            for key, value in params.items()
            if value is not None and key not in self._taken
        }
        for chunk in _chunks(list(new.items()), _PARAMS_A_BATCH):
            self._send("params", dict(chunk))

    def metrics(self, metrics: Mapping[str, float]) -> None:
        """Log metrics that belong to no round."""
        self._send("metrics", [[key, value, _now(), 0] for key, value in metrics.items()])

    def tags(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        self._send("tags", dict(tags))

    def artifact(self, path: str, content: bytes) -> None:
        """Log a file; `path` is its place among the run's artifacts, with forward slashes."""
        self._send("artifact", {"path": path, "base64": base64.b64encode(content).decode()})

    def table(self, path: str, columns: Mapping[str, list[Any]]) -> None:
        """Log a table that MLflow shows as one; `path` ends in .json."""
        self._send("table", {"path": path, "columns": dict(columns)})

    def dataset(self, dataset: Dataset) -> None:
        """Log where the data came from, as a dataset input of the run."""
        types = {str(name): kind for name, kind in dataset.rows.features.dtypes.items()}
        columns = [
            {"type": _mlflow_type(kind), "name": name, "required": True}
            for name, kind in {**types, dataset.target_name: np.dtype(np.float64)}.items()
        ]
        schema = json.dumps({"mlflow_colspec": columns})
        file = Path(dataset.source)
        source = {"uri": str(file)} if file.exists() else {"tags": {"name": dataset.source}}
        self._send(
            "dataset",
            {
                "name": dataset.name,
                "digest": dataset.digest,
                "source_type": "local" if file.exists() else "code",
                "source": json.dumps(source),
                # MLflow refuses longer ones: of a very wide table it is told the size alone.
                "schema": schema if len(schema) <= MAX_DATASET_SCHEMA_SIZE else "",
                "profile": json.dumps(
                    {
                        "num_rows": len(dataset.rows),
                        "num_elements": len(dataset.rows) * len(columns),
                    }
                ),
            },
        )

    def round(self, round_: Round) -> None:
        """Log one round, for `train(on_round=log.round)`; it arrives within about a second."""
        self.step(round_.number, round_.metrics())

    def step(self, number: int, metrics: Mapping[str, float]) -> None:
        """Log metrics of one step; they arrive within about a second."""
        now = _now()
        entries = [[key, value, now, number] for key, value in metrics.items()]
        with self._lock:
            self._waiting += entries
        if self._sender is None:
            self._sender = threading.Thread(target=self._keep_sending, daemon=True)
            self._sender.start()

    def flush(self) -> None:
        """Send what is waiting; afterwards the store, or the spool file, has all that was told."""
        with self._sending:
            self._send_waiting()

    def close(self, status: str) -> None:
        """Send what is left and end the run; as FAILED where something could not even be kept."""
        self._closing.set()
        try:
            if self._sender is not None:
                self._sender.join()
            if self._sender_error is not None:
                raise self._sender_error
            self.flush()
            if self._is_lost:
                self._end_as_it_can()
            else:
                self._send("status", [status, _now()])
        except OSError:
            self._end_as_it_can()
            raise
        finally:
            self._leave()

    def _end_as_it_can(self) -> None:
        """Tell the store at least that the run has failed, or the spool file, which may have room for that."""
        ended = ["FAILED", _now()]
        try:
            self._write("status", ended)
        except Exception:  # noqa: BLE001 - every store fails in its own way
            with suppress(OSError):
                self.spool("status", ended)

    def _leave(self) -> None:
        """End MLflow's notion of the active run, as `mlflow.end_run` does but for asking the store."""
        fluent = mlflow.tracking.fluent
        active = mlflow.active_run()
        if active is None or active.info.run_id != self.run_id:
            return
        MLFLOW_RUN_ID.unset()
        fluent._active_run_stack.get().pop()  # noqa: SLF001 - there is no other way
        if monitor := fluent.run_id_to_system_metrics_monitor.pop(self.run_id, None):
            monitor.finish()

    def _keep_sending(self) -> None:
        pause = _SECONDS_TO_FIRST_BATCH
        try:
            while not self._closing.wait(pause):
                with self._sending:
                    self._send_waiting(patiently=True)
                pause = min(2 * pause, _SECONDS_BETWEEN_BATCHES)
        except OSError as error:
            # A thread cannot raise where it would be heard: `close` does.
            self._sender_error = error

    def _send_waiting(self, *, patiently: bool = False) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for start in range(0, len(waiting), _METRICS_A_BATCH):
            chunk = waiting[start : start + _METRICS_A_BATCH]
            if patiently and self._must_wait(chunk):
                with self._lock:
                    self._waiting = waiting[start:] + self._waiting
                return
            if not patiently:
                self._send("metrics", chunk)

    def _must_wait(self, metrics: list[list[Any]]) -> bool:
        """Send, unless the store is silent, which may pass: then the rounds wait for it."""
        if self.complete:
            try:
                ask_once(lambda: self._call("metrics", metrics))
            except Exception as error:  # noqa: BLE001 - every store fails in its own way
                now = time.monotonic()
                self._silent_since = self._silent_since or now
                waited = now - self._silent_since
                if is_silence(error) and waited < _SECONDS_TO_WAIT_FOR_THE_STORE:
                    return True
            else:
                self._silent_since = None
                return False
        self._send("metrics", metrics)
        return False

    def _send(self, kind: str, content: Any) -> None:  # noqa: ANN401 - whatever JSON the kind takes
        # After the first failure all goes to the spool, in its order.
        if self.complete:
            try:
                self._write(kind, content)
            except Exception as error:  # noqa: BLE001 - every store fails in its own way
                self.give_up(error)
            else:
                return
        self.spool(kind, content)

    def _write(self, kind: str, content: Any) -> None:  # noqa: ANN401 - whatever JSON the kind takes
        size = len(content["base64"]) if kind == "artifact" else 0
        with long_enough_for(size):
            ask(lambda: self._call(kind, content))

    def _call(self, kind: str, content: Any) -> None:  # noqa: ANN401 - whatever JSON the kind takes
        WRITERS[kind](self._client, self.run_id, content)

    def give_up(self, error: Exception) -> None:
        """From here on, spool: the store has failed with this error."""
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
        """Keep an entry for `spool.resend`: the whole of it, or nothing.

        Raises
        ------
        OSError
            It cannot be kept. What was kept before stays as it was.
        """
        entry = {
            "store": kept_at(mlflow.get_tracking_uri()),
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
                # What a kill has left of an entry must not become a part of this one.
                line = b"\n" + line
            try:
                while line:
                    line = line[file.write(line) :]
            except BaseException:
                # So that a full disk has room again for what must still be said.
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
