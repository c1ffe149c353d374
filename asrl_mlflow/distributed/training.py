"""Train on the workers of a Dask cluster, as `asrl_mlflow.train` does in one process."""

from __future__ import annotations

import logging
import pickle
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from os import PathLike
from queue import Empty, SimpleQueue
from typing import Any

import distributed
import xgboost
from distributed.comm.addressing import get_address_host
from xgboost.dask import DaskQuantileDMatrix

from asrl_mlflow.boosting.regression.collective import check_version
from asrl_mlflow.distributed.job import Job, Outcome
from asrl_mlflow.distributed.worker import start_tracker, stop, tell_lost, train_part
from asrl_mlflow.errors import ClusterError, InputError
from asrl_mlflow.losses import BaseLoss, Loss, to_config
from asrl_mlflow.residuals.sample_weights import WeightRule
from asrl_mlflow.rounds import Round
from asrl_mlflow.system.clusters import SILENCE, SilenceError, ask

_logger = logging.getLogger(__name__)

# How long whoever waits sleeps between two looks, and how often the workers are counted.
_LOOK, _COUNT = 0.05, 1.0
# How long the other workers may take to notice that one has ended.
_PATIENCE = 10.0
# How long workers may be taken by a training of which nothing runs.
_UNUSED = 60.0


def train(
    client: distributed.Client,
    params: Mapping[str, Any] | None,
    dtrain: DaskQuantileDMatrix,
    num_boost_round: int = 100,
    *,
    loss: Loss,
    evals: Sequence[tuple[DaskQuantileDMatrix, str]] | None = (),
    early_stopping_rounds: int | None = None,
    metric: str | None = None,
    on_round: Callable[[Round], None] | None = None,
    callbacks: Sequence[xgboost.callback.TrainingCallback] | None = None,
    evals_result: dict[str, dict[str, list[float]]] | None = None,
    xgb_model: str | PathLike[str] | xgboost.Booster | bytearray | None = None,
    verbose_eval: bool | int = False,
    change_loss: bool = False,
    weight_rule: WeightRule | None = None,
    checkpoint_every: int | None = None,
    on_checkpoint: Callable[[xgboost.Booster], None] | None = None,
) -> xgboost.Booster:
    """Train a booster on the workers that have the rows; otherwise as `asrl_mlflow.train`.

    Thresholds and weights of a loss are those of all rows together: the workers count their residuals, and
    the counts are summed. No rows leave their worker.

    Parameters
    ----------
    client : distributed.Client
        Of the cluster. Its workers and its scheduler need asrl-mlflow and XGBoost 3.4 too.
    params : mapping
        As of `asrl_mlflow.train`. Without `nthread`, each worker uses the threads that Dask gave it.
    dtrain : xgboost.dask.DaskQuantileDMatrix
        Numbers only, one label a row. Its partitions stay where they are.
    num_boost_round : int, >= 0
        Rounds to add.
    loss : Loss
        Of `asrl_mlflow.losses`, or one of your own that adapts to statistics.
    evals : sequence of (DaskQuantileDMatrix, name)
        Made with `ref=dtrain`, or dtrain itself.
    on_round : callable, optional
        Called here, once a round. What it raises ends the training on all workers.
    callbacks : sequence of xgboost.callback.TrainingCallback, optional
        Copies are called on every worker.
    checkpoint_every : int, optional
        Send the booster here after every so many rounds of this training, to `on_checkpoint`.
    on_checkpoint : callable, optional
        Called here with each such booster, which `xgb_model` can go on from.
    early_stopping_rounds, metric, evals_result, xgb_model, verbose_eval, change_loss, weight_rule
        As of `asrl_mlflow.train`.

    Returns
    -------
    xgboost.Booster
        The kind that `asrl_mlflow.train` returns, with the same attributes. On tables whose features have
        few values its predictions are the same (with `ASRL`, up to rounding); otherwise XGBoost cuts features a little otherwise on several
        workers, for every loss.

    Raises
    ------
    InputError
        As `asrl_mlflow.train` does; a loss that is not global; an XGBoost before 3.4.
    ClusterError
        A worker or the scheduler died, or a worker failed in another way.

    Examples
    --------
    >>> import dask.array as da
    >>> from distributed import Client, LocalCluster
    >>> from asrl_mlflow import losses
    >>> from asrl_mlflow.distributed import train
    >>> with (
    ...     LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as cluster,
    ...     Client(cluster) as client,
    ... ):
    ...     x = da.random.random((200, 3), chunks=(100, 3))
    ...     dtrain = DaskQuantileDMatrix(client, x, label=x[:, 0])
    ...     train(client, {}, dtrain, 3, loss=losses.ContinuousASRL()).num_boosted_rounds()
    3
    """
    _check(loss, dtrain, evals or (), checkpoint_every, on_checkpoint)
    evals = list(evals or ())
    matrices = [dtrain, *(matrix for matrix, _ in evals)]
    addresses = _addresses(matrices)
    _check_alive(client, addresses)
    name = f"asrl-{uuid.uuid4().hex}"
    if xgb_model is not None and not isinstance(xgb_model, xgboost.Booster):
        xgb_model = xgboost.Booster(model_file=xgb_model)
    with _needing_scheduler(client), _taking(client, addresses):
        job = Job(
            name=name,
            collective=ask(
                client.run_on_scheduler,
                start_tracker,
                len(addresses),
                get_address_host(client.scheduler_info(n_workers=0)["address"]),
            ),
            matrix={
                key: getattr(dtrain, key)
                for key in ("max_bin", "missing", "feature_names", "feature_types")
            },
            evals=[name for _, name in evals],
            learns=[matrix is dtrain for matrix, _ in evals],
            params=dict(params or {}),
            options={
                "num_boost_round": num_boost_round,
                "loss": loss,
                "early_stopping_rounds": early_stopping_rounds,
                "metric": metric,
                "callbacks": list(callbacks or ()),
                "xgb_model": xgb_model,
                "verbose_eval": verbose_eval,
                "change_loss": change_loss,
                "weight_rule": weight_rule,
            },
            is_heard=on_round is not None,
            checkpoint_every=checkpoint_every,
        )
        outcome = _Watch(client, job, on_round, on_checkpoint).run(addresses, matrices)
    if evals_result is not None:
        evals_result.update(outcome.history)
    return xgboost.Booster(model_file=bytearray(outcome.booster))


def _check(
    loss: BaseLoss,
    dtrain: DaskQuantileDMatrix,
    evals: Sequence[tuple[DaskQuantileDMatrix, str]],
    checkpoint_every: int | None,
    on_checkpoint: Callable[[xgboost.Booster], None] | None,
) -> None:
    check_version()
    if not isinstance(loss, Loss):
        what = "a callable" if callable(loss) else "another"
        msg = (
            "distributed.train needs a loss for regression that adapts to statistics of all rows, such as "
            f"losses.auto(); got {what}, {loss!r}, of which each worker would have its own; derive it from "
            "losses.Loss, or train in one process."
        )
        raise InputError(msg)
    to_config(loss)
    for matrix in (dtrain, *(entry[0] for entry in evals)):
        if not isinstance(matrix, DaskQuantileDMatrix):
            msg = (
                f"distributed.train needs a DaskQuantileDMatrix; got {type(matrix).__name__}; pass "
                "xgboost.dask.DaskQuantileDMatrix(client, x, label=y), or use asrl_mlflow.train."
            )
            raise InputError(msg)
    if checkpoint_every is not None and checkpoint_every < 1:
        msg = f"A checkpoint is made every 1 or more rounds; got {checkpoint_every}; leave it out."
        raise InputError(msg)
    if (checkpoint_every is None) != (on_checkpoint is None):
        msg = "Checkpoints need checkpoint_every and on_checkpoint; got one of them; pass both, or none."
        raise InputError(msg)


def _addresses(matrices: Sequence[DaskQuantileDMatrix]) -> list[str]:
    """The workers that have rows; those with most of the training rows' partitions first."""
    partitions = matrices[0].worker_map
    found = {
        address for matrix in matrices for address, parts in matrix.worker_map.items() if parts
    }
    return sorted(found, key=lambda address: (-len(partitions.get(address, ())), address))


def _find_lost(client: distributed.Client, addresses: Sequence[str]) -> list[str]:
    """Find the workers that are gone, or have been silent for long while others were heard."""
    seen = {
        address: worker["last_seen"]
        for address, worker in ask(client.scheduler_info, n_workers=-1)["workers"].items()
    }
    # Beside the newest sign of life, as clocks of machines differ.
    newest = max(seen.values(), default=0.0)
    return [each for each in addresses if each not in seen or newest - seen[each] > SILENCE]


@contextmanager
def _taking(client: distributed.Client, addresses: Sequence[str]) -> Iterator[None]:
    """Take all workers for this training; wait while another one, or one of XGBoost's, has some of them.

    Raises
    ------
    ClusterError
        They are taken, but nothing runs on them: Dask does not release what a client held that was killed.
    """
    lock = distributed.MultiLock(list(addresses), client=client)
    used = time.monotonic()
    while not lock.acquire(timeout=_COUNT):
        _check_alive(client, addresses)
        if any(ask(client.processing, list(addresses)).values()):
            used = time.monotonic()
        elif time.monotonic() - used > _UNUSED:
            msg = (
                "A training needs workers that no other one has taken; got some on which nothing has run for "
                f"{_UNUSED:.0f} s, as after a training that was killed; restart the scheduler."
            )
            raise ClusterError(msg)
    try:
        yield
    finally:
        if client.status == "running":
            lock.release()


@contextmanager
def _needing_scheduler(client: distributed.Client) -> Iterator[None]:
    """Say so where the scheduler is gone, of which Dask tells in many ways."""
    try:
        yield
    except Exception as error:
        if client.status == "running" and not isinstance(error, SilenceError):
            raise
        msg = (
            "A training needs the scheduler of its workers; got no answer of it; start it again, from the last "
            "checkpoint where there is one."
        )
        raise ClusterError(msg) from error


def _check_alive(client: distributed.Client, addresses: Sequence[str]) -> None:
    if client.status != "running":
        msg = "no scheduler"  # its own words are added above
        raise ConnectionError(msg)
    lost = _find_lost(client, addresses)
    if lost:
        raise ClusterError(tell_lost(lost))


class _Watch:
    """Wait for a training: hear its rounds, notice what dies, end all where one ends."""

    def __init__(
        self,
        client: distributed.Client,
        job: Job,
        on_round: Callable[[Round], None] | None,
        on_checkpoint: Callable[[xgboost.Booster], None] | None,
    ) -> None:
        self._client, self._job = client, job
        self._on_round, self._on_checkpoint = on_round, on_checkpoint
        self._events: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self._heard = 0

    def run(self, addresses: Sequence[str], matrices: Sequence[DaskQuantileDMatrix]) -> Outcome:
        """Train on these workers, and wait for them."""
        client, job = self._client, self._job
        client.subscribe_topic(job.name, lambda event: self._events.put(event[1]))
        futures = {
            address: client.submit(
                train_part,
                job,
                address,
                rank,
                *[list(matrices[0].worker_map.get(address, ()))],
                [list(matrix.worker_map.get(address, ())) for matrix in matrices[1:]],
                pure=False,
                workers=[address],
                # Elsewhere it ends at once with an error, where otherwise it would wait for ever.
                allow_other_workers=True,
                key=f"{job.name}-{rank}",
            )
            for rank, address in enumerate(addresses)
        }
        try:
            self._wait(futures)
            found = ask(client.gather, list(futures.values()))
            outcome: Outcome = next(each for each in found if each is not None)
            for round_ in outcome.rounds[self._heard :]:
                self._hear(round_)
        except BaseException:
            self._end(futures)
            raise
        finally:
            if client.status == "running":
                client.unsubscribe_topic(job.name)
        return outcome

    def _wait(self, futures: Mapping[str, distributed.Future[Any]]) -> None:
        """Hear the rounds until all are done; raise what one has raised, or that one is gone."""
        counted = time.monotonic()
        while not all(future.done() for future in futures.values()):
            self._listen(_LOOK)
            if any(future.status == "error" for future in futures.values()):
                break
            if time.monotonic() - counted > _COUNT:
                counted = time.monotonic()
                _check_alive(self._client, list(futures))
        while not self._events.empty():
            self._listen(0)
        self._raise_first(futures)

    def _listen(self, seconds: float) -> None:
        try:
            kind, content = (
                self._events.get(timeout=seconds) if seconds else self._events.get_nowait()
            )
        except Empty:
            return
        if kind == "round":
            self._hear(pickle.loads(content))  # noqa: S301 - of our own workers
        elif self._on_checkpoint is not None:
            booster = ask(distributed.Queue(self._job.name, client=self._client).get)
            self._on_checkpoint(xgboost.Booster(model_file=bytearray(booster)))

    def _hear(self, round_: Round) -> None:
        self._heard += 1
        if self._on_round is not None:
            self._on_round(round_)

    def _raise_first(self, futures: Mapping[str, distributed.Future[Any]]) -> None:
        """Raise what ended the training: the others only say that they have lost each other."""
        if all(future.status == "finished" for future in futures.values()):
            return
        self._wait_a_little(futures)
        errors = [future.exception() for future in futures.values() if future.status == "error"]
        _check_alive(self._client, list(futures))
        if not errors:
            msg = "A training needs all of its tasks; got some that were cancelled; start it again."
            raise ClusterError(msg)
        first = min(errors, key=_secondary)
        if isinstance(first, InputError | ClusterError):
            raise first
        said = str(first).partition("\n")[0] or "nothing more"
        msg = f"A worker failed: {type(first).__name__}: {said}; see its log."
        raise ClusterError(msg) from first

    def _wait_a_little(self, futures: Mapping[str, distributed.Future[Any]]) -> None:
        """Wait until all are done, but not for ever."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline and not all(f.done() for f in futures.values()):
            time.sleep(_LOOK)

    def _end(self, futures: Mapping[str, distributed.Future[Any]]) -> None:
        """Let all workers end, and wait until they have; without a scheduler nobody can be told."""
        if self._client.status != "running":
            return
        lost = _find_lost(self._client, list(futures))
        here = [address for address in futures if address not in lost]
        with suppress(SilenceError):  # of one that is frozen
            ask(self._client.run, stop, self._job.name, workers=here, on_error="ignore")
        self._wait_a_little(futures)
        stuck = [each for each in here if not futures[each].done()]
        self._client.cancel(list(futures.values()), force=True)
        # Where none has died they are only slow, and end after their round.
        if stuck and len(here) < len(futures):
            self._restart(stuck)

    def _restart(self, stuck: Sequence[str]) -> None:
        """Restart workers that wait for a dead one: XGBoost 3.4.1 does not always wake them."""
        try:
            self._client.restart_workers(list(stuck), timeout=_PATIENCE, raise_for_error=False)
        except (ValueError, TimeoutError):  # they have no nanny
            _logger.warning(
                "Workers %s still wait for one that has died, and take no other work: restart them.",
                ", ".join(stuck),
            )


def _secondary(error: BaseException) -> int:
    """How little an error says of the cause."""
    if isinstance(error, InputError):
        return 0
    return 2 if isinstance(error, xgboost.core.XGBoostError) else 1
