"""Fixtures: an empty MLflow store, and tables to learn from."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import signal
import subprocess
import sys

import mlflow
import numpy as np
import pytest
import xgboost

from asrl_mlflow.command_line.running import run
from tests.processes import ROOT

FLOWS = {
    path.stem: importlib.import_module(f"flows.{path.stem}")
    for path in (ROOT / "flows").glob("[!_]*.py")
}
# What takes longest begins first, so that no process is left alone with it at the end.
LONG = (
    "test_outages.py",
    "test_tune.py",
    "test_flows.py",
    "test_scoring.py",
    "test_registry.py",
    "test_paper.py",
)
# One thread: the suite shares two cores with whatever else runs, and trees do not depend on it.
PARAMS = {"max_depth": 4, "learning_rate": 0.3, "nthread": 1}


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture(autouse=True)
def without_stand_ins():
    """Take away the stand-in for a module that MLflow leaves behind.

    That is where two threads load models at once; Hypothesis would take it for a module.
    """
    yield
    sys.modules.pop("dbutils", None)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """A sqlite store without runs: making its schema takes a second, copying it nothing."""
    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    with contextlib.chdir(file.parent):  # where the default experiment's artifacts will lie
        mlflow.MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def store(tmp_path, monkeypatch, empty_store):
    """Work in an empty folder with a fresh sqlite store and nothing of MLflow's configured."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    for name in ("RUN_ID", "EXPERIMENT_ID", "EXPERIMENT_NAME", "TRACKING_URI"):
        monkeypatch.delenv(f"MLFLOW_{name}", raising=False)
    # What an earlier test chose belongs to its own store.
    monkeypatch.setattr(mlflow.tracking.fluent, "_active_experiment_id", None)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    yield mlflow.MlflowClient()
    while mlflow.active_run() is not None:
        mlflow.end_run()
    mlflow.set_tracking_uri(None)


@pytest.fixture(scope="session")
def table():
    """600 rows with a smooth signal, noise, and one target in ten spoiled upwards."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(600, 5))
    y = 40 + 6 * x[:, 0] + 4 * np.sin(2 * x[:, 1]) + rng.normal(size=600)
    y[::10] += rng.uniform(30, 100, 60)
    x.setflags(write=False)  # shared by all tests of a process
    y.setflags(write=False)
    return x, y


@pytest.fixture
def dtrain(table):
    """The table as XGBoost's quantised matrix."""
    x, y = table
    return xgboost.QuantileDMatrix(x, label=y)


@pytest.fixture
def flow(store, monkeypatch, capsys):
    """Call a flow as `python -m flows.<name>` does; gives exit code, output, error output."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before[signal.SIGHUP] = signal.getsignal(signal.SIGHUP)

    def call(name, *options):
        monkeypatch.setattr(sys, "argv", [name, *options])
        with pytest.raises(SystemExit) as ended:
            run(FLOWS[name].command)
        return ended.value.code, *capsys.readouterr()

    yield call
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def cluster():
    """Two workers of Dask's, threads of this process, that answer at an address."""
    from distributed import LocalCluster  # noqa: PLC0415 - comes with the newer interpreters only

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=":0"
    ) as cluster:
        yield cluster


@pytest.fixture
def small_disk(tmp_path):
    """A folder with six megabytes of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount, unmount = shutil.which("mount"), shutil.which("umount")
    if mount is None or unmount is None:
        pytest.skip("a full disk needs a small one, and there is no mount")
    mounted = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"a full disk needs a small one, which may not be mounted: {mounted.stderr}")
    yield disk
    os.chdir(tmp_path)
    subprocess.run([unmount, "--lazy", str(disk)], check=True)


def fill(disk, left):
    """Leave so many kilobytes of it."""
    free = os.statvfs(disk)
    (disk / "other").write_bytes(b"x" * (free.f_bavail * free.f_frsize - left * 1024))


@pytest.fixture
def forgetful(monkeypatch):
    """What a test registers is known in it only."""
    monkeypatch.setattr("asrl_mlflow.losses.catalogue._registered", {})
