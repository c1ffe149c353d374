"""Open, find, end and discard MLflow runs; each ends with a status that is true.

Where the store does not answer, a run is opened in a spool file, and `spool.resend` creates it.
"""

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
from mlflow.entities import Run, RunData
from mlflow.environment_variables import (
    MLFLOW_EXPERIMENT_ID,
    MLFLOW_EXPERIMENT_NAME,
    MLFLOW_RUN_ID,
)
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils import name_utils
from mlflow.utils.mlflow_tags import (
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_PROJECT_ENTRY_POINT,
    MLFLOW_RUN_NAME,
    MLFLOW_RUN_NOTE,
)

from asrl_mlflow.errors import InputError, StoreError, did_you_mean, listed
from asrl_mlflow.system.signals import hold_signals, received_signal, stop_repeating
from asrl_mlflow.tracking.keys import (
    COMMAND_TAG,
    FLOW_TAG,
    KEY_TAG,
    LINK_TAG,
    STUDY_TAG,
    VERSION_TAG,
    owner_tags,
)
from asrl_mlflow.tracking.retries import limit_waiting, retry, stop_waiting
from asrl_mlflow.tracking.run_log import RunLog
from asrl_mlflow.tracking.spool import find_run, one_line, resolve_run_id
from asrl_mlflow.tracking.store import connection, store_address

_logger = logging.getLogger(__name__)

# More than killed processes can have left open.
_MOST_RUNS = 5000
# The innermost run that `run` has opened: it may be one that is not MLflow's active run.
_current: ContextVar[RunLog | None] = ContextVar("current run", default=None)


@contextmanager
def run(
    name: str, *, flow: str, run_id: str | None = None, tags: Mapping[str, str] | None = None
) -> Iterator[RunLog]:
    """Open a run; it ends FINISHED, KILLED where it is interrupted, or FAILED at any other error.

    A run that is opened inside another becomes its child. Where `mlflow run` has opened a run
    (MLFLOW_RUN_ID), the outermost run adopts it with its params, and with its name unless MLflow has
    made that up.

    Parameters
    ----------
    name : str
        Name of the run.
    flow : str
        The entry point, for the tag `asrl.flow`.
    run_id : str, optional
        A run to go on with instead, whatever its status. A run that `mlflow run` has opened is not
        adopted then, but gets a link to it.
    tags : mapping of str to str, optional
        More tags for a run that is opened or gets a link.

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
    with limit_waiting():
        try:
            with hold_signals(stop_waiting):
                if run_id is None:
                    log = _open(name, _standard_tags(flow, tags or {}))
                else:
                    log = _reopen(run_id, name, tags or {})
            if (outer := _current.get()) is not None:
                outer.children.append(log)
            token = _current.set(log)
            try:
                yield log
            finally:
                _current.reset(token)
            status = "FINISHED"
        except (KeyboardInterrupt, SystemExit) as end:
            stop_repeating()
            # Signal handlers exit with 128 + n; any other exit from within a run is a failure.
            code = 130 if isinstance(end, KeyboardInterrupt) else end.code
            status = "KILLED" if isinstance(code, int) and code > 128 else "FAILED"  # noqa: PLR2004 - see above
            raise
        finally:
            if status == "FAILED" and received_signal() is not None:
                # A signal's exit may have become another exception on its way.
                status = "KILLED"
            if log is not None:
                with hold_signals(stop_waiting):
                    log.close(status)


def current_log() -> RunLog | None:
    """Give the log of the innermost run that `run` or `fill` has opened around this; None outside of any."""
    return _current.get()


@contextmanager
def fill(active: Run) -> Iterator[RunLog]:
    """Log to a run that somebody else has opened and will end; what it has stays as it is.

    Parameters
    ----------
    active : Run
        The run, which is RUNNING.
    """
    with limit_waiting():
        known = read_run(active.info.run_id)
        log = RunLog(
            active.info.run_id,
            experiment_id=active.info.experiment_id,
            existing_params=None if known is None else known.params,
        )
        token = _current.set(log)
        try:
            yield log
        finally:
            _current.reset(token)
            log.leave()


def open_child(name: str, *, flow: str, parent: RunLog, tags: Mapping[str, str]) -> RunLog:
    """Open a child run, which ends when its log is closed; several may be open at once.

    Parameters
    ----------
    name : str
        Name of the run.
    flow : str
        The entry point, for the tag `asrl.flow`.
    parent : RunLog
        Log of the run that it belongs to.
    tags : mapping of str to str
        More tags.
    """
    log = _create(name, _standard_tags(flow, tags), parent, activate=False)
    parent.children.append(log)
    return log


def read_run(run_id: str) -> RunData | None:
    """Read the params, metrics and tags of a run; None where the store does not answer."""
    try:
        return retry(lambda: mlflow.get_run(run_id)).data
    except Exception:  # noqa: BLE001 - every store fails in its own way
        return None


def find_open_runs(beside: RunLog) -> list[Run]:
    """Find the runs of a run's experiment that have not ended; none where the store does not answer."""
    client = mlflow.MlflowClient()

    def search() -> list[Run]:
        experiment = beside.experiment_id or client.get_run(beside.run_id).info.experiment_id
        is_open = "attributes.status = 'RUNNING'"
        return list(client.search_runs([experiment], is_open, max_results=_MOST_RUNS))

    try:
        return retry(search)
    except Exception as error:  # noqa: BLE001 - every store fails in its own way
        _logger.warning(
            "The tracking store could not be searched for open runs: %s", one_line(error)
        )
        return []


def find_study_run(study: str) -> str:
    """Find the id of the parent run of a study that has ended; of several the newest.

    Raises
    ------
    InputError
        The store has no such study; the line names those that it has.
    """
    client, token = mlflow.MlflowClient(), None
    experiments = [each.experiment_id for each in mlflow.search_experiments()]
    others: list[str] = []
    while True:
        # Names are compared here: in a filter a name could be read as more than a name.
        page = client.search_runs(
            experiments,
            "metrics.`best.trial` >= 0 and attributes.status = 'FINISHED'",
            order_by=["attributes.start_time DESC"],
            page_token=token,
        )
        for found in page:
            name = found.data.tags.get(STUDY_TAG)
            if name == study:
                return str(found.info.run_id)
            if name is not None and name not in others:
                others.append(name)
        token = page.token
        if not token:
            break
    hint = did_you_mean(study, others)
    meant = f" ({hint})" if hint else ""
    known = f"there is {listed(others)}" if others else "there is none"
    msg = (
        f"register needs a study that has ended in this tracking store; got {study!r}{meant}; {known}; "
        "start the flow tune again with the same options to end an unfinished one."
    )
    raise InputError(msg)


def discard_run(log: RunLog, *, instead: str) -> None:
    """Delete a run that is not needed; one that `mlflow run` has opened gets a link instead.

    Parameters
    ----------
    log : RunLog
        Of the run, closed.
    instead : str
        Id of the run that the link leads to.
    """
    if not log.is_created and log.file.exists():
        log.file.unlink()
        return
    client = mlflow.MlflowClient()
    run_id = resolve_run_id(client, log.run_id)
    if MLFLOW_PROJECT_ENTRY_POINT in client.get_run(run_id).data.tags:
        _link(run_id, instead)
    else:
        client.delete_run(run_id)


def _open(name: str, tags: Mapping[str, str]) -> RunLog:
    """Open a run as the child of the one around it, or adopt the run of `mlflow run`."""
    active, outer = mlflow.active_run(), _current.get()
    if outer is None:
        tags = {**tags, **_command_tags()}
    if active is None and outer is None and MLFLOW_RUN_ID.is_set():
        return _adopt(MLFLOW_RUN_ID.get(), name, tags)
    # The active run may be the user's own, inside ours.
    if active is not None and (outer is None or outer.is_created):
        outer = RunLog(active.info.run_id, experiment_id=active.info.experiment_id)
    return _create(name, tags, outer, activate=True)


def _create(name: str, tags: Mapping[str, str], parent: RunLog | None, *, activate: bool) -> RunLog:
    """Create a run in the store, else in a spool file.

    Parameters
    ----------
    name : str
        Name of the run.
    tags : mapping of str to str
        Its tags.
    parent : RunLog, optional
        Log of the run that it belongs to.
    activate : bool
        Whether to make it MLflow's active run.
    """
    client, key = mlflow.MlflowClient(), uuid.uuid4().hex
    tags = {**tags, KEY_TAG: key}
    experiment = None
    if parent is not None:
        tags[MLFLOW_PARENT_RUN_ID] = parent.run_id
        experiment = parent.experiment_id
        if not parent.is_created:
            error = ConnectionError("the run that it belongs to could not be created")
            return _create_in_spool(key, name, tags, experiment, error)
    was_tried = False

    def create() -> Run:
        nonlocal experiment, was_tried
        if parent is not None and experiment is None:
            experiment = client.get_run(parent.run_id).info.experiment_id
        # The store may have created it at the first try and not confirmed that.
        existing = _find_again(client, experiment, key) if was_tried else None
        was_tried = True
        if activate or experiment is None:
            return mlflow.start_run(
                existing, experiment_id=experiment, run_name=name, nested=True, tags=dict(tags)
            )
        if existing is not None:
            return client.get_run(existing)
        return client.create_run(experiment, tags=resolve_tags(tags), run_name=name)

    try:
        return _log_of(retry(create))
    except Exception as error:  # noqa: BLE001 - every store fails in its own way
        if parent is None:
            # MLflow sets the variable where the user has called `mlflow.set_experiment`.
            experiment = MLFLOW_EXPERIMENT_ID.get() or connection.experiment_id
        return _create_in_spool(key, name, tags, experiment, error)


def _find_again(client: mlflow.MlflowClient, experiment: str | None, key: str) -> str | None:
    """Find a run by its key, in an experiment or in all."""
    if experiment is not None:
        return find_run(client, [experiment], key)
    return find_run(client, [each.experiment_id for each in client.search_experiments()], key)


def _create_in_spool(
    key: str, name: str, tags: Mapping[str, str], experiment: str | None, error: Exception
) -> RunLog:
    """Open a run in a spool file, as the store failed with an error; `resend` creates it."""
    log = RunLog(key, experiment_id=experiment, is_created=False)
    log.switch_to_spool(error)
    log.spool(
        "run",
        {
            "name": name,
            "tags": resolve_tags(dict(tags)),
            "experiment_id": experiment,
            "experiment_name": MLFLOW_EXPERIMENT_NAME.get(),
            "start_time": int(time.time() * 1000),
        },
    )
    return log


def _adopt(run_id: str, name: str, tags: Mapping[str, str]) -> RunLog:
    """Go on with the run that `mlflow run` has opened."""
    project_run = connection.project_run
    if project_run is not None and project_run.info.run_id != run_id:
        project_run = None

    def adopt() -> mlflow.ActiveRun:
        nonlocal project_run
        project_run = project_run or mlflow.get_run(run_id)
        return mlflow.start_run(run_id, tags={**tags, **_name_tags(project_run, name)})

    try:
        return _log_of(retry(adopt))
    except Exception as error:  # noqa: BLE001 - every store fails in its own way
        log = RunLog(run_id) if project_run is None else _log_of(project_run)
        log.switch_to_spool(error)
        log.tags({**tags, **(_name_tags(project_run, name) if project_run else {})})
        return log
    finally:
        # Its children must not adopt it too.
        MLFLOW_RUN_ID.unset()


def _reopen(run_id: str, name: str, tags: Mapping[str, str]) -> RunLog:
    """Go on with a run of an earlier process; a run that `mlflow run` has opened gets a link to it."""
    client = mlflow.MlflowClient()

    def reopen() -> Run:
        found = resolve_run_id(client, run_id)
        client.update_run(found, status="RUNNING")
        # The last command is the one that reproduces the whole study.
        mine = _command_tags() if _current.get() is None else {}
        for key, value in {**owner_tags(), **mine}.items():
            client.set_tag(found, key, value)
        return client.get_run(found)

    try:
        reopened = retry(reopen)
    except Exception as error:
        msg = (
            f"The tracking store must have the run {run_id}; got {one_line(error)} from "
            f"{store_address()}; set MLFLOW_TRACKING_URI to its store, or begin "
            "another study."
        )
        raise StoreError(msg) from error
    if MLFLOW_RUN_ID.is_set():
        project_run = client.get_run(MLFLOW_RUN_ID.get())
        tags = {**tags, **_name_tags(project_run, name)}
        _link(project_run.info.run_id, reopened.info.run_id, tags)
    return _log_of(reopened)


def _link(run_id: str, other: str, tags: Mapping[str, str] = MappingProxyType({})) -> None:
    """Show in one run that its command went on with another."""
    note = f"Went on with the study of run {other}."
    client = mlflow.MlflowClient()
    for key, value in {
        **owner_tags(),
        **tags,
        LINK_TAG: other,
        MLFLOW_RUN_NOTE: note,
    }.items():
        client.set_tag(run_id, key, value)


def _log_of(opened: Run) -> RunLog:
    return RunLog(
        opened.info.run_id,
        experiment_id=opened.info.experiment_id,
        existing_params=opened.data.params,
    )


def _standard_tags(flow: str, more: Mapping[str, str]) -> dict[str, str]:
    return {VERSION_TAG: version("asrl-mlflow"), FLOW_TAG: flow, **owner_tags(), **more}


def _command_tags() -> dict[str, str]:
    return {} if connection.command is None else {COMMAND_TAG: connection.command}


def _name_tags(named: Run, name: str) -> dict[str, str]:
    """Tags that name a run anew, where MLflow has made its name up, such as "bright-cat-123"."""
    # Without a public list of its words: a name of the user's own may look the same.
    predicates = getattr(name_utils, "_GENERATOR_PREDICATES", ())
    nouns = getattr(name_utils, "_GENERATOR_NOUNS", ())
    predicate, _, rest = str(named.info.run_name).partition("-")
    noun, _, number = rest.partition("-")
    is_made_up = predicate in predicates and noun in nouns and number.isdigit()
    return {MLFLOW_RUN_NAME: name} if is_made_up else {}
