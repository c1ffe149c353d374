"""MLflow: where runs are opened, told what happens, and ended with the status that is true.

Training never fails because of the store, and its rounds never wait for it: they are collected and
sent by a thread, in batches, about once a second. What the store does not take is kept in a spool file, and
`spool.resend` delivers it later. (MLflow's own asynchronous queue sends every call by itself unless an
environment variable says otherwise, and forgets what failed.)
"""

from __future__ import annotations

import base64
import dataclasses
import json
import logging
import os
import random
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import mlflow
import mlflow.entities
from mlflow.environment_variables import (
    MLFLOW_EXPERIMENT_ID,
    MLFLOW_EXPERIMENT_NAME,
    MLFLOW_HTTP_REQUEST_MAX_RETRIES,
    MLFLOW_HTTP_REQUEST_TIMEOUT,
    MLFLOW_RUN_ID,
    MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT,
)

import asrl_mlflow
from asrl_mlflow.datasets import Dataset
from asrl_mlflow.errors import StoreError
from asrl_mlflow.losses import Loss
from asrl_mlflow.rounds import Round
from asrl_mlflow.spool import WRITERS

_logger = logging.getLogger(__name__)

EXPERIMENT = "asrl-mlflow"
DEFAULT_STORE = "sqlite:///mlflow.db"
SPOOL = Path("asrl-spool")

_SECONDS_BETWEEN_BATCHES = 1.0
_SECONDS_BEFORE_RETRY = 0.5
_ATTEMPTS = 4
# MLflow refuses larger batches of metrics and of params.
_METRICS_A_BATCH, _PARAMS_A_BATCH = 1000, 100


def connect() -> None:
    """Choose store and experiment, and make sure that the store answers.

    The store is the one that MLflow is configured for, else `sqlite:///mlflow.db`. The experiment is
    `asrl-mlflow`, unless one is configured or `mlflow run` has already opened a run.

    Raises
    ------
    StoreError
        The store does not answer, or refuses the experiment.
    """
    # Our summary says where to look; MLflow would say it once a run, through the progress bar.
    os.environ.setdefault(MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.name, "true")
    # A fresh database would be announced with one line a migration, a failing one with a traceback;
    # what matters of either is said by us.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    if not mlflow.is_tracking_uri_set():
        mlflow.set_tracking_uri(DEFAULT_STORE)
    for attempt in range(_ATTEMPTS):
        try:
            with _few_retries():
                _choose_experiment()
        except Exception as error:
            # Processes that create a database's schema at the same moment trip over each other.
            if attempt + 1 < _ATTEMPTS and mlflow.get_tracking_uri().startswith("sqlite:"):
                time.sleep(1 + random.random())  # noqa: S311 - to fall out of step, not to hide
                continue
            msg = (
                f"The tracking store must answer before anything is trained; got "
                f"{_one_line(error)} from {mlflow.get_tracking_uri()}; start it, or set "
                "MLFLOW_TRACKING_URI."
            )
            raise StoreError(msg) from error
        else:
            return


def _choose_experiment() -> None:
    mlflow.search_experiments(max_results=1)
    if MLFLOW_RUN_ID.is_set():
        mlflow.get_run(MLFLOW_RUN_ID.get())
    elif MLFLOW_EXPERIMENT_ID.is_set():
        mlflow.get_experiment(MLFLOW_EXPERIMENT_ID.get())
    elif not MLFLOW_EXPERIMENT_NAME.is_set():
        # Twice: where another process creates it at the same moment, MLflow finds the experiment by
        # name but forgets to make it the active one.
        found = mlflow.set_experiment(EXPERIMENT)
        mlflow.set_experiment(experiment_id=found.experiment_id)


def ui_command() -> str:
    """The line that opens this store's user interface."""
    uri = mlflow.get_tracking_uri()
    if uri.startswith(("http://", "https://")):
        return uri
    # Under `uv run` and `uvx` the shell that the line will be typed into does not know mlflow.
    if "UV_RUN_RECURSION_DEPTH" in os.environ:
        runner = "uv run "
    else:
        runner = "uvx " if "UV" in os.environ else ""
    return f"{runner}mlflow ui --backend-store-uri {uri}   (then http://127.0.0.1:5000)"


@contextmanager
def run(name: str, *, flow: str) -> Iterator[RunLog]:
    """One MLflow run, ended FINISHED, KILLED (interrupted) or FAILED (any other error).

    Opened inside another it becomes its child. Where `mlflow run` has opened a run (MLFLOW_RUN_ID),
    the outermost one adopts it, its name and its params included.

    Parameters
    ----------
    name : str
        Name of the run, unless it is adopted.
    flow : str
        The entry point, for the tag `asrl.flow`.

    Examples
    --------
    >>> import mlflow
    >>> with run("first", flow="train") as log:
    ...     log.params({"seed": 0})
    ...     log.metrics({"test.mae": 1.5})
    >>> finished = mlflow.get_run(log.run_id)
    >>> finished.info.status, finished.data.metrics
    ('FINISHED', {'test.mae': 1.5})
    """
    log, status = None, "FAILED"
    try:
        with _signals_held():
            log = _open(name, flow)
        yield log
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit) as end:
        # Signal handlers exit with 128 + n; any other exit from within a run is a failure.
        code = 130 if isinstance(end, KeyboardInterrupt) else end.code
        status = "KILLED" if isinstance(code, int) and code > 128 else "FAILED"  # noqa: PLR2004 - see above
        raise
    finally:
        if log is not None:
            with _signals_held():
                log.close(status)


def _open(name: str, flow: str) -> RunLog:
    parent = mlflow.active_run()
    adopted = parent is None and MLFLOW_RUN_ID.is_set()
    tags = {"asrl.version": asrl_mlflow.__version__, "asrl.flow": flow}
    try:
        active = mlflow.start_run(
            run_name=None if adopted else name, nested=parent is not None, tags=tags
        )
    except Exception as error:  # noqa: BLE001 - every store fails in its own way
        # It answered a moment ago: what this run has to say is kept, its creation included.
        log = RunLog(uuid.uuid4().hex)
        log.give_up(error)
        if parent is not None:
            tags["mlflow.parentRunId"] = parent.info.run_id
        experiment = parent.info.experiment_id if parent else None
        log.spool("run", {"name": name, "tags": tags, "experiment_id": experiment})
        return log
    return RunLog(active.info.run_id, taken=active.data.params if adopted else {})


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
        self._closing = threading.Event()
        self._sender: threading.Thread | None = None
        self._sender_error: OSError | None = None

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
        columns = [*dataset.rows.features.columns, dataset.target_name]
        file = Path(dataset.source)
        source = {"uri": str(file)} if file.is_file() else {"tags": {"name": dataset.source}}
        schema = [{"type": "double", "name": str(name), "required": True} for name in columns]
        self._send(
            "dataset",
            {
                "name": dataset.name,
                "digest": dataset.digest,
                "source_type": "local" if file.is_file() else "code",
                "source": json.dumps(source),
                "schema": json.dumps({"mlflow_colspec": schema}),
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
        now = _now()
        entries = [[key, value, now, round_.number] for key, value in round_metrics(round_).items()]
        with self._lock:
            self._waiting += entries
        if self._sender is None:
            self._sender = threading.Thread(target=self._keep_sending, daemon=True)
            self._sender.start()

    def close(self, status: str) -> None:
        """Send what is left and end the run."""
        self._closing.set()
        try:
            if self._sender is not None:
                self._sender.join()
            if self._sender_error is not None:
                raise self._sender_error
            self._send_waiting()
            self._send("status", status)
        finally:
            # MLflow's notion of the active run ends too, also where the store no longer answers.
            active = mlflow.active_run()
            if active is not None and active.info.run_id == self.run_id:
                with suppress(Exception):
                    mlflow.end_run(status)

    def _keep_sending(self) -> None:
        try:
            while not self._closing.wait(_SECONDS_BETWEEN_BATCHES):
                self._send_waiting()
        except OSError as error:
            # A thread cannot raise where it would be heard: `close` does.
            self._sender_error = error

    def _send_waiting(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for chunk in _chunks(waiting, _METRICS_A_BATCH):
            self._send("metrics", chunk)

    def _send(self, kind: str, content: Any) -> None:  # noqa: ANN401 - whatever JSON the kind takes
        # After the first failure all goes to the spool: each try can cost minutes of retries.
        if self.complete:
            try:
                self._write(kind, content)
            except Exception as error:  # noqa: BLE001 - every store fails in its own way
                self.give_up(error)
            else:
                return
        self.spool(kind, content)

    def _write(self, kind: str, content: Any) -> None:  # noqa: ANN401 - whatever JSON the kind takes
        write = WRITERS[kind]
        try:
            write(self._client, self.run_id, content)
        except Exception:  # noqa: BLE001 - every store fails in its own way
            # Once more: two processes that log the same data set at the same moment trip over each
            # other in MLflow, and a second write of the same changes nothing.
            time.sleep(_SECONDS_BEFORE_RETRY)
            with _few_retries():
                write(self._client, self.run_id, content)

    def give_up(self, error: Exception) -> None:
        """From here on, spool: the store has failed with this error."""
        self.complete = False
        _logger.warning(
            "The tracking store stopped taking run %s: %s; what is missing is kept in %s.",
            self.run_id,
            _one_line(error),
            self.file,
        )

    def spool(self, kind: str, content: Any) -> None:  # noqa: ANN401 - whatever JSON the kind takes
        """Keep an entry for `asrl_mlflow.spool.resend`."""
        self.file.parent.mkdir(exist_ok=True)
        entry = {
            "store": mlflow.get_tracking_uri(),
            "run_id": self.run_id,
            "kind": kind,
            "content": content,
        }
        with self._lock, self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


def round_metrics(round_: Round) -> dict[str, float]:
    """A round under the keys that MLflow shows."""
    fields = dataclasses.fields(round_.pointwise)
    return {
        **{
            f"{field.metadata['group']}.{field.name}": getattr(round_.pointwise, field.name)
            for field in fields
            if "group" in field.metadata
        },
        "weight.mean": round_.mean_weight,
        "weight.floored": round_.floored,
        **{f"train.{name}": value for name, value in round_.train.items()},
        **{f"valid.{name}": value for name, value in round_.valid.items()},
        **{f"share.valid.{name}": value for name, value in round_.valid_shares.items()},
    }


def loss_params(loss: Loss) -> dict[str, object]:
    """A loss under the keys that MLflow shows."""
    fields = dataclasses.asdict(loss).items()
    return {"loss.name": loss.name, **{f"loss.{key}": value for key, value in fields}}


def hurry() -> None:
    """From here on ask an unreachable store no longer than seconds: somebody wants to leave."""
    MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(0)
    MLFLOW_HTTP_REQUEST_TIMEOUT.set(2)


@contextmanager
def _few_retries() -> Iterator[None]:
    """A store that is not there shall be found out in seconds, not in MLflow's four minutes."""
    variable = MLFLOW_HTTP_REQUEST_MAX_RETRIES
    before = variable.get_raw()
    variable.set(min(variable.get(), 1))
    try:
        yield
    finally:
        if before is None:
            variable.unset()
        else:
            variable.set(before)


@contextmanager
def _signals_held() -> Iterator[None]:
    """Signals that a handler waits for are handed to it afterwards.

    Between MLflow's creating a run and our knowing of it, or while its end is written, an
    interruption would leave a run whose status is not true.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers: dict[int, Callable[[int, FrameType | None], Any]] = {
        number: handler
        for number in signal.valid_signals()
        if callable(handler := signal.getsignal(number))
    }
    came: list[tuple[int, FrameType | None]] = []

    def hold(number: int, frame: FrameType | None) -> None:
        came.append((number, frame))
        # Whoever insists is heard at once: a store that does not answer can take minutes.
        if len(came) > 1:
            handlers[number](number, frame)

    for held in handlers:
        signal.signal(held, hold)
    try:
        yield
    finally:
        for held, handler in handlers.items():
            signal.signal(held, handler)
        for number, frame in came[:1]:
            handlers[number](number, frame)


def _chunks(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _now() -> int:
    return int(time.time() * 1000)


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
