"""Training on a Dask cluster is training on one machine, rows and all that goes wrong included."""

from __future__ import annotations

import os
import signal
import time
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import xgboost
from packaging.version import Version

from asrl_mlflow import losses, train
from asrl_mlflow.errors import ClusterError, InputError
from tests.conftest import PARAMS

if Version(xgboost.__version__) < Version("3.4"):
    pytest.skip("workers need XGBoost 3.4", allow_module_level=True)

import dask.array as da
import dask.dataframe as dd
from distributed import Client, LocalCluster, MultiLock
from xgboost.dask import DaskDMatrix, DaskQuantileDMatrix

from asrl_mlflow import distributed
from asrl_mlflow.distributed import training
from asrl_mlflow.experiments.cluster import Checkpoint

ROUNDS = 12
LOSS = losses.ContinuousASRL()
RNG = np.random.default_rng(7)
ROWS = 700
X = RNG.integers(0, 60, size=(ROWS, 4)).astype(np.float32)
Y = 40 + X[:, 0] / 6 + np.sin(X[:, 1]) + RNG.normal(size=ROWS)
Y[::10] += RNG.uniform(30, 100, ROWS // 10)
WEIGHT = RNG.uniform(0.1, 3, ROWS)
# Uneven partitions, one of them empty.
CHUNKS = (350, 0, 100, 50, 200)


@pytest.fixture(scope="module")
def client():
    """Two workers, threads of this process: they start at once."""
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def matrix(client, weight=None, **known):
    """The rows as partitions."""
    return DaskQuantileDMatrix(
        client,
        da.from_array(X, chunks=(CHUNKS, 4)),
        label=da.from_array(Y, chunks=CHUNKS),
        weight=None if weight is None else da.from_array(weight, chunks=CHUNKS),
        **known,
    )


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["none", "weighted"])
def test_the_model_of_a_cluster_is_that_of_one_machine(client, weight):
    dtrain, whole = matrix(client, weight), xgboost.QuantileDMatrix(X, label=Y, weight=weight)
    heard, expected, history, own = [], [], {}, {}
    options = {"loss": LOSS, "early_stopping_rounds": 5}
    booster = distributed.train(
        client,
        PARAMS,
        dtrain,
        ROUNDS,
        evals=[(dtrain, "train"), (matrix(client, ref=dtrain), "valid")],
        on_round=heard.append,
        evals_result=history,
        **options,
    )
    alone = train(
        PARAMS,
        whole,
        ROUNDS,
        evals=[(whole, "train"), (xgboost.QuantileDMatrix(X, label=Y, ref=whole), "valid")],
        on_round=expected.append,
        evals_result=own,
        **options,
    )
    assert np.array_equal(booster.inplace_predict(X), alone.inplace_predict(X))
    assert booster.attributes() == alone.attributes()
    assert [each.pointwise for each in heard] == [each.pointwise for each in expected]
    assert history.keys() == own.keys()
    assert history["valid"]["mae"] == pytest.approx(own["valid"]["mae"], rel=1e-12)


def test_frames_name_the_features(client):
    frame = dd.from_pandas(pd.DataFrame(X, columns=list("abcd")).assign(y=Y), npartitions=3)
    dtrain = DaskQuantileDMatrix(client, frame[list("abcd")], label=frame["y"])
    booster = distributed.train(client, PARAMS, dtrain, 2, loss=LOSS)
    assert booster.feature_names == list("abcd")


def test_a_checkpoint_goes_on_to_the_model_that_was_not_interrupted(client):
    dtrain, loss, kept = matrix(client), losses.auto(), []
    whole = distributed.train(
        client,
        PARAMS,
        dtrain,
        ROUNDS,
        loss=loss,
        checkpoint_every=5,
        on_checkpoint=kept.append,
    )
    assert [each.num_boosted_rounds() for each in kept] == [5, 10]
    for checkpoint in kept:
        left = ROUNDS - checkpoint.num_boosted_rounds()
        again = distributed.train(client, PARAMS, dtrain, left, loss=loss, xgb_model=checkpoint)
        assert again.get_dump() == whole.get_dump()


def test_a_checkpoint_with_all_rounds_is_gone_on_from_its_last_one(client, tmp_path):
    kept, dtrain = Checkpoint(tmp_path / "kept.ubj", 4), matrix(client)
    whole = distributed.train(
        client, PARAMS, dtrain, 4, loss=LOSS, checkpoint_every=2, on_checkpoint=kept.save
    )
    found, heard = kept.load(), []
    assert found.num_boosted_rounds() == 3
    again = distributed.train(
        client, PARAMS, dtrain, 1, loss=LOSS, xgb_model=found, on_round=heard.append
    )
    assert again.get_dump() == whole.get_dump()
    assert [round_.number for round_ in heard] == [3]
    assert Checkpoint(kept.path, 1).load() is None


class Dying(xgboost.callback.TrainingCallback):
    """Kills one worker, and lets another one wait for ever."""

    def after_iteration(self, model, epoch, evals_log):
        if epoch == 2:
            if xgboost.collective.get_rank() == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(1000)
        return False


def test_a_worker_that_waits_for_a_dead_one_is_restarted_by_its_nanny(monkeypatch):
    monkeypatch.setattr(training, "_PATIENCE", 0.5)
    with (
        patch.dict(os.environ),  # where nannies leave numbers of threads
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        dtrain = matrix(client)
        stuck, dead = training._addresses([dtrain])
        with pytest.raises(ClusterError, match=f"got no answer of {dead}"):
            distributed.train(client, PARAMS, dtrain, 50, loss=LOSS, callbacks=[Dying()])
        deadline = time.monotonic() + 30
        while stuck in (known := client.scheduler_info()["workers"]) or len(known) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert client.submit(sum, (1, 2)).result(timeout=30) == 3


def test_workers_that_a_dead_training_had_taken_are_not_waited_for_for_ever(client, monkeypatch):
    dtrain = matrix(client)
    with MultiLock([training._addresses([dtrain])[0]], client=client):
        monkeypatch.setattr(training, "_UNUSED", 0.1)
        with pytest.raises(ClusterError, match="on which nothing has run"):
            distributed.train(client, PARAMS, dtrain, 1, loss=LOSS)


def test_a_cluster_that_does_not_answer_is_not_waited_for_for_ever(client, monkeypatch):
    dtrain = matrix(client)
    monkeypatch.setattr("asrl_mlflow.system.clusters.SILENCE", 0.2)
    monkeypatch.setattr(training, "start_tracker", lambda *_: time.sleep(1))
    with pytest.raises(ClusterError, match="needs the scheduler of its workers; got no answer"):
        distributed.train(client, PARAMS, dtrain, 1, loss=LOSS)


def test_a_listener_that_raises_ends_the_training_on_all_workers(client):
    def listen(round_):
        if round_.number == 2:
            msg = "enough"
            raise KeyError(msg)

    dtrain = matrix(client)
    with pytest.raises(KeyError, match="enough"):
        distributed.train(client, PARAMS, dtrain, 100_000, loss=LOSS, on_round=listen)
    # And the workers are free again.
    assert distributed.train(client, PARAMS, dtrain, 1, loss=LOSS).num_boosted_rounds() == 1


class Failing(xgboost.callback.TrainingCallback):
    """Fails on one worker only."""

    def after_iteration(self, model, epoch, evals_log):
        if xgboost.collective.get_rank() == 1 and epoch == 2:
            msg = "on one worker"
            raise MemoryError(msg)
        return False


def test_a_worker_that_raises_ends_all_and_its_error_is_the_one_that_is_told(client):
    with pytest.raises(ClusterError, match="A worker failed: MemoryError: on one worker"):
        distributed.train(client, PARAMS, matrix(client), 50, loss=LOSS, callbacks=[Failing()])


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (lambda y: np.where(np.arange(ROWS) == 5, np.nan, y), "dtrain: targets must be finite"),
        (lambda y: y * 1e-20, "a target whose robust scale is in"),
    ],
)
def test_rows_that_cannot_be_learned_from_are_refused_in_one_line(client, spoil, rule):
    dtrain = DaskQuantileDMatrix(
        client,
        da.from_array(X, chunks=(CHUNKS, 4)),
        label=da.from_array(spoil(Y), chunks=CHUNKS),
    )
    with pytest.raises(InputError, match=rule):
        distributed.train(client, PARAMS, dtrain, 5, loss=LOSS)


def test_infinite_features_are_refused_with_their_column_unless_they_mean_missing(client):
    frame = pd.DataFrame(X.astype(np.float64), columns=list("abcd"))
    frame.loc[7, "c"] = 1e39
    rows = dd.from_pandas(frame.assign(y=Y), npartitions=3)
    dtrain = DaskQuantileDMatrix(client, rows[list("abcd")], label=rows["y"])
    with pytest.raises(
        InputError, match=r"dtrain: column 'c' must be missing or below .*; got 1 in"
    ):
        distributed.train(client, PARAMS, dtrain, 2, loss=LOSS)
    spoiled = X.copy()
    spoiled[7, 2] = np.inf
    arrays = da.from_array(spoiled, chunks=(CHUNKS, 4)), da.from_array(Y, chunks=CHUNKS)
    with pytest.raises(InputError, match=r"dtrain must be missing or below .*; got 1 in"):
        distributed.train(
            client, PARAMS, DaskQuantileDMatrix(client, arrays[0], label=arrays[1]), 2, loss=LOSS
        )
    dtrain = DaskQuantileDMatrix(client, arrays[0], label=arrays[1], missing=np.inf)
    assert distributed.train(client, PARAMS, dtrain, 2, loss=LOSS).num_boosted_rounds() == 2


def test_categories_are_refused_as_partitions_may_have_others(client):
    frame = pd.DataFrame({"a": pd.Categorical(list("xyxy")), "b": np.arange(4.0)})
    rows = dd.from_pandas(frame, npartitions=1)
    dtrain = DaskQuantileDMatrix(client, rows[["a"]], label=rows["b"])
    with pytest.raises(InputError, match="partitions take numbers only"):
        distributed.train(client, PARAMS, dtrain, 5, loss=LOSS)


def test_what_is_not_for_a_cluster_is_refused_before_anything_starts(client):
    dtrain = matrix(client)
    for loss in (lambda y, p: (y, p), losses.LogLoss(), None):
        with pytest.raises(InputError, match="adapts to statistics of all rows"):
            distributed.train(client, PARAMS, dtrain, 1, loss=loss)
    with pytest.raises(InputError, match="needs a DaskQuantileDMatrix; got DaskDMatrix"):
        plain = DaskDMatrix(client, da.from_array(X, chunks=(350, 4)))
        distributed.train(client, PARAMS, plain, 1, loss=LOSS)
    with pytest.raises(InputError, match="A checkpoint is made every 1 or more rounds"):
        distributed.train(client, PARAMS, dtrain, 1, loss=LOSS, checkpoint_every=0)


def test_an_older_xgboost_is_refused_in_one_line_that_says_so(client, monkeypatch):
    dtrain = matrix(client)
    monkeypatch.setattr(xgboost, "__version__", "3.3.0")
    with pytest.raises(InputError, match=r"needs XGBoost 3.4, .*; got 3.3.0; install a newer one"):
        distributed.train(client, PARAMS, dtrain, 1, loss=LOSS)
