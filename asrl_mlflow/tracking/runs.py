"""MLflow: the store that is written to, and runs that open and end with a status that is true."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.metadata import version
from types import MappingProxyType

import mlflow
import mlflow.tracking.fluent
from mlflow.entities import Run, RunData
from mlflow.environment_variables import (
    MLFLOW_EXPERIMENT_ID,
    MLFLOW_EXPERIMENT_NAME,
    MLFLOW_RUN_ID,
)
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import (
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_PROJECT_ENTRY_POINT,
    MLFLOW_RUN_NOTE,
)

from asrl_mlflow.errors import StoreError
from asrl_mlflow.system.signals import hold_signals, received_signal, stop_repeating
from asrl_mlflow.tracking.leftovers import LINK_TAG, owner_tag
from asrl_mlflow.tracking.patience import ask, hurry, short
from asrl_mlflow.tracking.run_log import RunLog
from asrl_mlflow.tracking.spool import KEY_TAG, find, id_of, one_line
from asrl_mlflow.tracking.store import (
    project_runs,
    store_address,
)

_logger = logging.getLogger(__name__)


# More than can have been left by workers that died.
_MOST_RUNS = 5000
# Of the runs that were opened here: where the store does not answer it cannot tell.
_experiments: dict[str, str] = {}
# Those that only a spool file knows, and so are their children's.
_unmade_runs: set[str] = set()
_innermost: ContextVar[str | None] = ContextVar("run", default=None)


@contextmanager
def run(
    name: str, *, flow: str, run_id: str | None = None, tags: Mapping[str, str] | None = None
) -> Iterator[RunLog]:
    """One MLflow run, ended FINISHED, KILLED (interrupted) or FAILED (any other error).

    Opened inside another it becomes its child. Where `mlflow run` has opened a run (MLFLOW_RUN_ID),
    the outermost one adopts it, its name and its params included.

    Parameters
    ----------
    name : str
        Name of the run, unless it is adopted.
    flow : str
        The entry point, for the tag `asrl.flow`.
    run_id : str, optional
        A run to go on with instead, which an earlier process may have left with any status. A run
        that `mlflow run` has opened is not adopted then, but linked to it.
    tags : mapping, optional
        More tags of a run that is opened, or linked.

    Raises
    ------
    StoreError
        The store does not have the run to go on with.

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
    with short():
        try:
            with hold_signals(hurry):
                log = (
                    _open(name, _tags(flow, tags))
                    if run_id is None
                    else _reopen(run_id, tags or {})
                )
            token = _innermost.set(log.run_id)
            try:
                yield log
            finally:
                _innermost.reset(token)
            status = "FINISHED"
        except (KeyboardInterrupt, SystemExit) as end:
            stop_repeating()
            # Signal handlers exit with 128 + n; any other exit from within a run is a failure.
            code = 130 if isinstance(end, KeyboardInterrupt) else end.code
            status = "KILLED" if isinstance(code, int) and code > 128 else "FAILED"  # noqa: PLR2004 - see above
            raise
        finally:
            if status == "FAILED" and received_signal() is not None:
                # A signal's exit may have become something else on its way.
                status = "KILLED"
            if log is not None:
                with hold_signals(hurry):
                    log.close(status)


def _open(name: str, tags: dict[str, str]) -> RunLog:
    active, outer = mlflow.active_run(), _innermost.get()
    if active is None and outer is None and MLFLOW_RUN_ID.is_set():
        return _adopt(MLFLOW_RUN_ID.get(), tags)
    key, client = uuid.uuid4().hex, mlflow.MlflowClient()
    if outer in _unmade_runs:
        return _unmade(key, name, {**tags, MLFLOW_PARENT_RUN_ID: outer}, _experiments.get(outer))
    tags[KEY_TAG] = key
    parent = active.info.run_id if active else outer
    if parent is not None:
        tags[MLFLOW_PARENT_RUN_ID] = parent
    experiment, tried = (
        (active.info.experiment_id if active else _experiments.get(outer or "")),
        False,
    )

    def start() -> mlflow.ActiveRun:
        nonlocal experiment, tried
        experiment = experiment or _experiment_of(client, parent)
        # At another try the store may have done what it did not confirm.
        there = find(client, [experiment], key) if tried else None
        tried = True
        return mlflow.start_run(
            there, experiment_id=experiment, run_name=name, nested=active is not None, tags=tags
        )

    try:
        started = ask(start)
    except Exception as error:  # noqa: BLE001 - every store fails in its own way
        return _unmade(key, name, tags, experiment or _chosen_experiment(parent), error)
    return _made(started)


def _experiment_of(client: mlflow.MlflowClient, parent: str | None) -> str:
    """Where a run belongs: beside its parent, else in the experiment that is chosen."""
    if parent is not None:
        return str(client.get_run(parent).info.experiment_id)
    return str(mlflow.tracking.fluent._get_experiment_id())  # noqa: SLF001 - there is no other way


def _chosen_experiment(parent: str | None) -> str | None:
    """The same where the store does not answer: None where only the store can tell."""
    chosen = mlflow.tracking.fluent._active_experiment_id  # noqa: SLF001 - there is no other way
    if parent is not None:
        return None
    named = MLFLOW_EXPERIMENT_ID.get() if chosen is None else chosen
    return None if named is None else str(named)


def _adopt(run_id: str, tags: dict[str, str]) -> RunLog:
    try:
        started = ask(lambda: mlflow.start_run(run_id, tags=tags))
    except Exception as error:  # noqa: BLE001 - every store fails in its own way
        theirs = project_runs.get(run_id)
        log = RunLog(run_id) if theirs is None else _made(theirs, taken=theirs.data.params)
        log.give_up(error)
        log.tags(tags)
        return log
    finally:
        # Its children must not adopt it too.
        MLFLOW_RUN_ID.unset()
    return _made(started, taken=started.data.params)


def _made(run: Run, taken: Mapping[str, str] = MappingProxyType({})) -> RunLog:
    _experiments[run.info.run_id] = run.info.experiment_id
    return RunLog(run.info.run_id, taken=taken)


def _unmade(
    key: str,
    name: str,
    tags: Mapping[str, str],
    experiment: str | None,
    error: Exception | None = None,
) -> RunLog:
    """A log whose run is created when its spool file is sent: the store answered a moment ago."""
    log = RunLog(key)
    log.give_up(error or ConnectionError("the run that it belongs to could not be created"))
    _unmade_runs.add(key)
    if experiment is not None:
        _experiments[key] = experiment
    content = {
        "name": name,
        "tags": resolve_tags(dict(tags)),
        "experiment_id": experiment,
        "experiment_name": MLFLOW_EXPERIMENT_NAME.get(),
        "start_time": int(time.time() * 1000),
    }
    log.spool("run", content)
    return log


def _tags(flow: str, more: Mapping[str, str] | None) -> dict[str, str]:
    own = {"asrl.version": version("asrl-mlflow"), "asrl.flow": flow, **owner_tag()}
    return {**own, **(more or {})}


def _reopen(run_id: str, tags: Mapping[str, str]) -> RunLog:
    client = mlflow.MlflowClient()

    def reopen() -> Run:
        there = id_of(client, run_id)
        client.update_run(there, status="RUNNING")
        for key, value in owner_tag().items():
            client.set_tag(there, key, value)
        return client.get_run(there)

    try:
        found = ask(reopen)
    except Exception as error:
        msg = (
            f"The tracking store must have the run {run_id}; got {one_line(error)} from "
            f"{store_address()}; set MLFLOW_TRACKING_URI to its store, or begin "
            "another study."
        )
        raise StoreError(msg) from error
    if MLFLOW_RUN_ID.is_set():
        _link(MLFLOW_RUN_ID.get(), found.info.run_id, tags)
    return _made(found, taken=found.data.params)


def begin(name: str, *, flow: str, parent: str, tags: Mapping[str, str]) -> RunLog:
    """A child run that is open until its log is closed; any number of them side by side.

    Parameters
    ----------
    name : str
        Name of the run.
    flow : str
        The entry point, for the tag `asrl.flow`.
    parent : str
        Id of the run that it belongs to.
    tags : mapping
        More tags.
    """
    key, experiment = uuid.uuid4().hex, _experiments.get(parent)
    every = _tags(flow, {**tags, MLFLOW_PARENT_RUN_ID: parent})
    if parent in _unmade_runs:
        return _unmade(key, name, every, experiment)
    every[KEY_TAG] = key
    client, tried = mlflow.MlflowClient(), False

    def create() -> Run:
        nonlocal experiment, tried
        experiment = experiment or client.get_run(parent).info.experiment_id
        there = find(client, [experiment], key) if tried else None
        tried = True
        if there is not None:
            return client.get_run(there)
        return client.create_run(experiment, tags=resolve_tags(every), run_name=name)

    try:
        return _made(ask(create))
    except Exception as error:  # noqa: BLE001 - every store fails in its own way
        return _unmade(key, name, every, experiment, error)


def recorded(run_id: str) -> RunData | None:
    """What the store has of a run; None where it does not tell."""
    try:
        return ask(lambda: mlflow.get_run(run_id)).data
    except Exception:  # noqa: BLE001 - every store fails in its own way
        return None


def running(beside: str) -> list[Run]:
    """The runs of another run's experiment that have not ended; none where the store is silent."""
    client = mlflow.MlflowClient()

    def search() -> list[Run]:
        experiment = _experiments.get(beside) or client.get_run(beside).info.experiment_id
        open_ = "attributes.status = 'RUNNING'"
        return list(client.search_runs([experiment], open_, max_results=_MOST_RUNS))

    try:
        return ask(search)
    except Exception as error:  # noqa: BLE001 - every store fails in its own way
        _logger.warning("The tracking store does not tell which runs are open: %s", one_line(error))
        return []


def discard(run_id: str, instead: str) -> None:
    """Delete a run that turned out to be one too many; link it where it is not ours to delete."""
    file = RunLog(run_id).file
    if run_id in _unmade_runs and file.exists():
        file.unlink()
        return
    client = mlflow.MlflowClient()
    run_id = id_of(client, run_id)
    if MLFLOW_PROJECT_ENTRY_POINT in client.get_run(run_id).data.tags:
        _link(run_id, instead)
    else:
        client.delete_run(run_id)


def _link(run_id: str, other: str, tags: Mapping[str, str] = MappingProxyType({})) -> None:
    note = f"Went on with the study of run {other}."
    client = mlflow.MlflowClient()
    for key, value in {
        **owner_tag(),
        **tags,
        LINK_TAG: other,
        MLFLOW_RUN_NOTE: note,
    }.items():
        client.set_tag(run_id, key, value)
