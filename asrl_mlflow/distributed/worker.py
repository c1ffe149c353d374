"""What one worker of a training does: make its matrices, train together with the others, report."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from threading import Thread
from typing import Any

import distributed
import numpy as np
import numpy.typing as npt
import pandas as pd
import xgboost
from xgboost import collective
from xgboost.tracker import RabitTracker

from asrl_mlflow.boosting.pace import Onlooker
from asrl_mlflow.boosting.regression.collective import check_version, workers
from asrl_mlflow.boosting.training import train
from asrl_mlflow.distributed.job import Job, Outcome, Part
from asrl_mlflow.errors import ClusterError, InputError
from asrl_mlflow.rounds import Round

# How long a scheduler may take for a booster.
_SECONDS_TO_SEND = 60

# Trainings of this process that shall end.
_stopped: set[str] = set()


def start_tracker(count: int, host: str | None) -> dict[str, Any]:
    """Start what introduces so many workers to each other, in the process of the scheduler."""
    tracker = RabitTracker(n_workers=count, host_ip=host, sortby="task")
    tracker.start()
    # It ends with the training, or with the process.
    Thread(target=_wait_for, args=(tracker,), daemon=True).start()
    return dict(tracker.worker_args())


def _wait_for(tracker: RabitTracker) -> None:
    # Where a worker has died, whoever waits for the training is told.
    with suppress(xgboost.core.XGBoostError):
        tracker.wait_for()


def stop(name: str) -> None:
    """Let the training of this name end after its present round, in this process."""
    _stopped.add(name)


def train_part(
    job: Job,
    address: str,
    rank: int,
    parts: Sequence[Part],
    others: Sequence[Sequence[Part]],
) -> Outcome | None:
    """Train together with the other workers of a job.

    Parameters
    ----------
    job : Job
        The same for all of them.
    address : str
        Of the worker that has the rows: Dask runs a task elsewhere where that one has died.
    rank : int
        This worker's number among them.
    parts : sequence of Part
        Its partitions of the training rows.
    others : sequence of sequences of Part
        Those of the rows to measure on.

    Returns
    -------
    Outcome, or None
        Of one of the workers.

    Raises
    ------
    ClusterError
        This is not the worker that has the rows.
    InputError
        As `asrl_mlflow.train` says.
    """
    worker = distributed.get_worker()
    if worker.address != address:
        raise ClusterError(tell_lost([address]))
    check_version()
    threads = job.params.get("nthread") or worker.state.nthreads
    rounds: list[Round] = []

    def tell(round_: Round) -> None:
        rounds.append(round_)
        if reports:
            worker.log_event(job.name, ("round", pickle.dumps(round_)))

    with (
        collective.CommunicatorContext(**job.collective, dmlc_task_id=f"{rank:06}"),
        xgboost.config_context(nthread=threads),
    ):
        dtrain = _matrix(parts, job.matrix, "dtrain")
        evals = [
            (dtrain if learns else _matrix(rows, job.matrix, name, ref=dtrain), name)
            for name, learns, rows in zip(job.evals, job.learns, others, strict=True)
        ]
        # A worker without rows does not know the names of the features.
        reports = rank == -workers().largest(-rank if dtrain.num_row() else -np.inf)
        history: dict[str, Any] = {}
        callbacks = [*job.options["callbacks"], _EndWhenTold(job.name)]
        if job.checkpoint_every is not None:
            callbacks.append(_Checkpoints(job, worker.log_event if reports else None))
        booster = train(
            {**job.params, "nthread": threads},
            dtrain,
            **{**job.options, "callbacks": callbacks},
            evals=evals,
            evals_result=history,
            on_round=tell if job.is_heard else None,
        )
    return Outcome(bytes(booster.save_raw("ubj")), rounds, history) if reports else None


def tell_lost(addresses: Sequence[str]) -> str:
    """Say which workers a training has lost, and what to do."""
    return (
        f"A training needs all workers that have its rows; got no answer of {', '.join(addresses)}; start "
        "it again, from the last checkpoint where there is one."
    )


class _EndWhenTold(Onlooker):
    """End the training of this name where that was told."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ANN401, ARG002 - XGBoost's signature
        if self._name in _stopped:
            msg = "The training was told to end."
            raise ClusterError(msg)
        return False


class _Checkpoints(xgboost.callback.TrainingCallback):
    """Send the booster every so many rounds, from the worker that reports."""

    def __init__(self, job: Job, send: Callable[..., Any] | None) -> None:
        super().__init__()
        self._name, self._every, self._send = job.name, job.checkpoint_every or 1, send

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ANN401, ARG002 - XGBoost's signature
        if self._send is not None and (epoch + 1) % self._every == 0:
            # Not with the event: the scheduler keeps events.
            distributed.Queue(self._name).put(
                bytes(model.save_raw("ubj")), timeout=_SECONDS_TO_SEND
            )
            self._send(self._name, ("checkpoint", epoch))
        return False


def _matrix(
    parts: Sequence[Part],
    arguments: Mapping[str, Any],
    name: str,
    ref: xgboost.DMatrix | None = None,
) -> xgboost.QuantileDMatrix:
    """The rows of this worker, which may be none."""
    known = {"max_bin": arguments["max_bin"], "ref": ref}
    parts = [part for part in parts if len(part["data"])]
    if not parts:
        return xgboost.QuantileDMatrix(np.empty((0, 0), np.float32), **known)
    return xgboost.QuantileDMatrix(
        _Partitions(parts, arguments, name), missing=arguments["missing"], **known
    )


class _Partitions(xgboost.DataIter):
    """Partitions, one after another."""

    def __init__(self, parts: Sequence[Part], arguments: Mapping[str, Any], name: str) -> None:
        super().__init__()
        for part in parts:
            _check(part, name, arguments["missing"])
        self._parts, self._place = parts, 0
        self._names = {key: arguments[key] for key in ("feature_names", "feature_types")}

    def reset(self) -> None:
        self._place = 0

    def next(self, input_data: Callable[..., Any]) -> bool:
        if self._place == len(self._parts):
            return False
        input_data(**self._parts[self._place], **self._names)
        self._place += 1
        return True


def _check(part: Part, name: str, missing: float) -> None:
    """Refuse what XGBoost would learn wrongly, or refuse without saying where."""
    data = part["data"]
    if isinstance(data, pd.DataFrame):
        odd = data.select_dtypes(exclude=["number", "bool"]).columns
        if len(odd):
            msg = (
                f"{name}: partitions take numbers only, as categories may differ from one to another; got "
                f"column {odd[0]!r} of {data[odd[0]].dtype}; encode it as numbers, or drop it."
            )
            raise InputError(msg)
        for column in data:
            values = data[column].to_numpy(np.float64, na_value=np.nan)
            _check_finite(values, missing, f"{name}: column {column!r}")
    elif isinstance(data, np.ndarray):
        _check_finite(data, missing, name)
    if "label" not in part:
        msg = f"{name}: labels are needed; got rows without; pass label= to DaskQuantileDMatrix."
        raise InputError(msg)
    label = np.asarray(part["label"], np.float32)
    bad = int(np.count_nonzero(~np.isfinite(label)))
    if bad:
        msg = (
            f"{name}: targets must be finite numbers below 3e38; got {bad} others in a partition of {label.size} "
            "rows; leave those rows out."
        )
        raise InputError(msg)


def _check_finite(values: npt.NDArray[Any], missing: float, owner: str) -> None:
    """Refuse infinite values, as everywhere; XGBoost's own refusal does not say where they are."""
    with np.errstate(over="ignore"):
        bad = int(np.count_nonzero(np.isinf(values.astype(np.float32, copy=False))))
    if bad and not np.isinf(missing):
        msg = (
            f"{owner} must be missing or below 3.4e38; got {bad} infinite values in a partition of {len(values)} rows; "
            "correct them, or leave those rows out."
        )
        raise InputError(msg)
