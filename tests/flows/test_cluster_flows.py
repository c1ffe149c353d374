"""`train --engine=dask`: a run like any other, and what is left where a worker dies."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xgboost
from packaging.version import Version

if Version(xgboost.__version__) < Version("3.4"):
    pytest.skip("workers need XGBoost 3.4", allow_module_level=True)


from asrl_mlflow import registry
from asrl_mlflow.experiments.cluster import FOLDER
from asrl_mlflow.system import clusters
from asrl_mlflow.system.clusters import connect

ROWS = 1200
RNG = np.random.default_rng(5)
FEATURES = list("abcd")
FRAME = pd.DataFrame(RNG.integers(0, 50, size=(ROWS, 4)).astype(float), columns=FEATURES)
FRAME["w"] = RNG.integers(1, 4, ROWS)
FRAME["y"] = 40 + FRAME.a / 6 + np.sin(FRAME.b) + RNG.normal(size=ROWS)
FRAME.loc[::10, "y"] += 50


@pytest.fixture
def parquet(store, tmp_path):
    """The table as two files."""
    folder = tmp_path / "table"
    folder.mkdir()
    FRAME[:500].to_parquet(folder / "0.parquet")
    FRAME[500:].to_parquet(folder / "1.parquet")
    return folder


def options(parquet, cluster, *more):
    return (
        *(f"--data={parquet}", "--engine=dask", f"--scheduler={cluster.scheduler_address}"),
        *("--figures=false", "--weight=w", *more),
    )


def test_a_run_on_a_cluster_logs_registers_and_serves_like_one_on_this_machine(
    flow, store, parquet, cluster
):
    code, out, err = flow("train", *options(parquet, cluster, "--rounds=5"))
    assert (code, "Register it:" in out, "Traceback" in err) == (0, True, False)
    code, _, _ = flow("train", f"--data={parquet}", "--weight=w", "--figures=false", "--rounds=5")
    assert code == 0
    local, there = store.search_runs(["1"], order_by=["attributes.start_time DESC"])
    assert there.data.params.keys() == local.data.params.keys()
    own = {name for name in local.data.metrics if not name.startswith("labels.")}
    assert there.data.metrics.keys() == own
    assert len(store.get_metric_history(there.info.run_id, "threshold.delta_low")) == 5
    assert there.data.params["data.rows"] == str(ROWS)
    assert there.data.params["data.weight_rule"] == "counts"
    kept = [{each.path for each in store.list_artifacts(run.info.run_id)} for run in (there, local)]
    assert kept[0] == kept[1] - {"labels.npz", "which_labels.csv"}
    code, out, _ = flow("register", f"--run-id={there.info.run_id}", "--registered-model=here")
    assert code == 0
    booster = registry.load_booster("models:/here/1")
    assert booster.num_boosted_rounds() == 5
    assert booster.feature_names == FEATURES


def start_worker(cluster):
    """Start a worker in a process of its own."""
    command = [sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler_address]
    return subprocess.Popen(
        [*command, "--no-nanny", "--nthreads=1", "--no-dashboard"], stderr=subprocess.DEVNULL
    )


def test_after_the_death_of_a_worker_the_same_command_ends_with_the_same_model(
    flow, store, parquet, cluster
):
    rounds = ("--rounds=120", "--checkpoint-every=10")

    def kill():
        while not list(Path(FOLDER).glob("*.ubj")):
            time.sleep(0.005)
        worker.kill()

    # In processes of their own: what is left may wait for the dead one as long as XGBoost allows, 300 s.
    with connect(None, 2) as client:
        given = options(parquet, client.cluster, *rounds)
        worker = start_worker(client.cluster)
        client.wait_for_workers(3)
        killer = threading.Thread(target=kill)
        killer.start()
        began = time.monotonic()
        code, _, err = flow("train", *given)
        assert code == 7
        assert time.monotonic() - began < 60, "no hang"
        assert "A training needs all workers that have its rows; got no answer of" in err
        assert "from the last checkpoint" in err
        killer.join()
        worker.wait()
    code, _, _ = flow("train", *options(parquet, cluster, *rounds))
    assert code == 0
    assert not Path(FOLDER).exists()
    code, _, _ = flow("train", *options(parquet, cluster, "--rounds=120"))
    assert code == 0
    whole, again, failed = store.search_runs(["1"], order_by=["attributes.start_time DESC"])
    assert (failed.info.status, again.info.status) == ("FAILED", "FINISHED")
    assert int(again.data.tags["asrl.resumed"]) >= 10
    boosters = [
        xgboost.Booster(model_file=store.download_artifacts(run.info.run_id, "booster.ubj"))
        for run in (whole, again)
    ]
    assert boosters[0].get_dump() == boosters[1].get_dump()


def test_the_death_of_the_scheduler_is_one_line(flow, store, parquet, tmp_path, monkeypatch):
    monkeypatch.setattr(clusters, "_SECONDS_TO_CONNECT", 5)
    file = tmp_path / "scheduler.json"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", f"--scheduler-file={file}"]
    ports = ["--port=0", "--dashboard-address=:0", "--no-dashboard"]
    scheduler = subprocess.Popen([*command, *ports], stderr=subprocess.DEVNULL)
    while not file.exists():
        time.sleep(0.05)
    where = SimpleNamespace(scheduler_address=json.loads(file.read_text())["address"])
    worker = start_worker(where)

    def kill():
        while not list(Path(FOLDER).glob("*.ubj")):
            time.sleep(0.005)
        scheduler.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    given = options(parquet, where, "--rounds=3000", "--checkpoint-every=10")
    code, _, err = flow("train", *given)
    killer.join()
    worker.kill()
    worker.wait()
    scheduler.wait()
    assert (code, "needs the scheduler of its workers" in err) == (7, True), err


@pytest.mark.parametrize(
    ("given", "code", "rule"),
    [
        (["--engine=dask"], 2, "needs a .parquet file or a folder of them; got 'diabetes'"),
        (["--scheduler=tcp://127.0.0.1:1"], 2, "--scheduler is about a cluster; got no --engine"),
        (["--engine=dask", "--model-uri=models:/a/1"], 2, "--model-uri is not for --engine=dask"),
        (["--engine=dask", "--loss=log_loss"], 2, "takes losses for regression"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(flow, cluster, given, code, rule):
    more = [f"--scheduler={cluster.scheduler_address}"] if given == ["--engine=dask"] else []
    found, _, err = flow("train", *given, *more)
    assert (found, rule in err, "Traceback" in err) == (code, True, False)


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        (["--group=a"], "--engine=dask splits rows where they are; got --group or --time"),
        (["--target=z"], "'z'"),
        (
            ["--checkpoint-every=5", "--early-stopping-rounds=3"],
            "--checkpoint-every keeps trees, not how long nothing has improved",
        ),
    ],
)
def test_a_table_on_a_cluster_is_checked(flow, parquet, cluster, given, rule):
    code, _, err = flow("train", *options(parquet, cluster, *given))
    assert (code, rule in err, "Traceback" in err) == (2, True, False)


def test_text_is_refused_as_partitions_take_numbers(flow, store, tmp_path, cluster):
    FRAME.assign(a="text").to_parquet(tmp_path / "text.parquet")
    code, _, err = flow("train", *options(tmp_path / "text.parquet", cluster))
    assert (code, "column 'a'" in err) == (2, True)
