"""Tracking servers that really go: killed, stopped, and back again; and disks that are really full."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import mlflow
import optuna
import pytest
from optuna.trial import TrialState

from asrl_mlflow import tracking
from asrl_mlflow.studies.storages import open_storage
from asrl_mlflow.tracking import resend, spool
from asrl_mlflow.tracking.retries import limit_waiting, stop_waiting
from tests.processes import ROOT
from tests.server import Server

SECONDS_TO_END = 30


@pytest.fixture
def server(store, tmp_path):
    (tmp_path / "server").mkdir()
    database = shutil.move("mlflow.db", tmp_path / "server/mlflow.db")
    server = Server(tmp_path / "server", database)
    (tmp_path / "work").mkdir()
    yield server
    server.kill()


@pytest.fixture
def spawn(server, tmp_path):
    """Start a flow at work with the server; none is left behind."""
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": server.address,
        "PYTHONPATH": str(ROOT),
        "UV": "",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "2",
    }
    started = []

    def start(*command):
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=environment,
            cwd=tmp_path / "work",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_until(condition, process):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)


def commands(err):
    """What the user is told to type."""
    lines = [line.partition("send it with: ")[2] for line in err.splitlines()]
    return [shlex.split(line) for line in lines if line]


def sent(command, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path / "work", env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def test_a_server_that_is_killed_costs_seconds_and_all_can_be_sent_later(server, spawn, tmp_path):
    process = spawn("flows.train", "--rounds=1500", "--max-depth=3", "--figures=false")
    wait_until(server.is_told_rounds, process)
    server.kill()
    gone = time.monotonic()
    out, err = process.communicate(timeout=180)
    took = time.monotonic() - gone
    (row,) = [line.split() for line in out.splitlines() if line.startswith("asrl_c")]
    assert (process.returncode, "Traceback" in err) == (4, False)
    assert took < float(row[-1]) + SECONDS_TO_END
    (command,) = commands(err)
    server.start()
    assert "entries" in sent(command, tmp_path).stdout
    (run,) = server.runs()
    assert run.info.status == "FINISHED"
    assert "test.mae" in run.data.metrics
    assert len(server.client.get_metric_history(run.info.run_id, "valid.mae")) == 1500
    assert len(server.runs()) == 1


def test_a_server_that_takes_connections_and_never_answers_costs_seconds_too(
    server, spawn, tmp_path
):
    losses = ["asrl_c", "huber", "squared_error"]
    process = spawn(
        *("flows.compare", "--rounds=300", "--max-depth=2", "--figures=false"),
        f"--losses={','.join(losses)}",
    )
    wait_until(server.is_told_rounds, process)
    server.stop()
    gone = time.monotonic()
    out, err = process.communicate(timeout=180)
    took = time.monotonic() - gone
    fits = [float(line.split()[-1]) for line in out.splitlines() if line.startswith(tuple(losses))]
    assert (process.returncode, "Traceback" in err) == (4, False)
    assert took < sum(fits) + SECONDS_TO_END
    server.go_on()
    for file in (tmp_path / "work/asrl-spool").iterdir():
        shutil.copy(file, tmp_path / "work" / file.name)
    copies = [str(path) for path in (tmp_path / "work").glob("*.jsonl")]
    resend.main(*map(str, (tmp_path / "work/asrl-spool").glob("*.jsonl")), *copies)
    assert len(commands(err)) == len(copies)
    runs = server.runs()
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert sorted(run.info.run_name for run in runs) == sorted([*losses, "compare diabetes"])
    parent = next(run for run in runs if run.info.run_name == "compare diabetes")
    assert {run.data.tags.get("mlflow.parentRunId") for run in runs} == {
        None,
        parent.info.run_id,
    }
    mlflow.set_tracking_uri(server.address)
    table = mlflow.artifacts.load_text(f"runs:/{parent.info.run_id}/comparison.json")
    assert len(json.loads(table)["data"]) == len(losses)


def test_each_trial_has_one_run_in_its_experiment_though_the_server_was_away(
    server, spawn, tmp_path
):
    process = spawn(
        *("flows.tune", "--trials=10", "--rounds=150", "--max-depth=3", "--jobs=2"),
        *("--figures=false", "--storage=journal:j", "--early-stopping-rounds=150"),
    )
    wait_until(lambda: sum("objective" in run.data.metrics for run in server.runs()) > 1, process)
    server.kill()
    time.sleep(20)  # longer than the store is waited for, whatever was under way
    server.start()
    _, err = process.communicate(timeout=180)
    assert (process.returncode, "Traceback" in err) == (4, False)
    told = commands(err)
    assert told
    # A sender is killed in the middle, and started again beside one that sends a copy.
    shutil.copytree(tmp_path / "work/asrl-spool", tmp_path / "work/copy")
    copies = sorted(f"copy/{path.name}" for path in (tmp_path / "work/copy").iterdir())
    sender = [sys.executable, "-m", "asrl_mlflow.tracking.resend"]
    settings = {"cwd": tmp_path / "work", "env": os.environ | {"PYTHONPATH": str(ROOT)}}
    before = len(server.runs())
    killed = subprocess.Popen([*sender, *copies], **settings)
    deadline = time.monotonic() + 60
    while len(server.runs()) == before and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    beside = subprocess.Popen([*sender, *copies], **settings)
    sent([*sender, *(f"asrl-spool/{Path(copy).name}" for copy in copies)], tmp_path)
    assert beside.wait() == 0
    with open_storage(f"journal:{tmp_path / 'work'}/j") as storage:
        (summary,) = optuna.get_all_study_summaries(storage)
        trials = optuna.load_study(study_name=summary.study_name, storage=storage).trials
    complete = {t.number: t.values[0] for t in trials if t.state == TrialState.COMPLETE}
    ended = [run for run in server.runs() if "asrl.trial" in run.data.tags]
    finished = [run for run in ended if run.info.status == "FINISHED"]
    objectives = {
        int(run.data.tags["asrl.trial"]): run.data.metrics["objective"] for run in finished
    }
    assert objectives == complete
    assert len(finished) == len(complete)
    assert {run.info.status for run in ended} <= {"FINISHED", "KILLED"}
    assert not server.client.search_runs(["0"])


@contextmanager
def without_patience():
    """As where somebody wants to leave: a store that is silent is asked once."""
    with limit_waiting():
        stop_waiting()
        yield


@pytest.mark.parametrize("is_connected", [True, False])
def test_runs_of_a_server_that_dies_before_the_first_keep_experiment_and_parent(
    server, monkeypatch, is_connected
):
    experiment = server.client.create_experiment("theirs")
    theirs = server.client.create_run(experiment, run_name="theirs")
    server.client.log_param(theirs.info.run_id, "seed", "07")
    monkeypatch.setenv("MLFLOW_RUN_ID", theirs.info.run_id)
    mlflow.set_tracking_uri(server.address)
    if is_connected:
        tracking.connect()
    server.kill()
    with without_patience(), tracking.run("ours", flow="compare") as parent:
        if is_connected:
            parent.params({"seed": 7})
        with tracking.run("nested", flow="compare") as nested:
            nested.params({"a": 1})
        begun = tracking.open_child("begun", flow="tune", parent=parent, tags={})
        begun.close("FINISHED")
    server.start()
    for log in (begun, nested, parent):
        spool.resend(log.file)
    runs = {run.info.run_name: run for run in server.client.search_runs([experiment])}
    assert set(runs) == {"theirs", "nested", "begun"}
    for name in ("nested", "begun"):
        assert runs[name].data.tags["mlflow.parentRunId"] == theirs.info.run_id
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert runs["theirs"].data.params == {"seed": "07"}
    assert not server.client.search_runs(["0"])


def test_a_run_of_a_server_that_dies_before_it_keeps_the_configured_experiment(server, monkeypatch):
    experiment = server.client.create_experiment("theirs")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", experiment)
    mlflow.set_tracking_uri(server.address)
    tracking.connect()
    server.kill()
    with without_patience(), tracking.run("ours", flow="train") as log:
        pass
    server.start()
    spool.resend(log.file)
    (run,) = server.client.search_runs([experiment])
    assert run.info.status == "FINISHED"
    assert not server.client.search_runs(["0"])


@pytest.fixture
def disk(tmp_path):
    """Mount a file system of so many KB at ./disk, with its work in it."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(size):
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", place]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"a small disk cannot be mounted here: {error}, {error.stderr}")
        return place

    yield mount
    # Lazily: this process has the store's file open.
    subprocess.run([shutil.which("umount"), "-l", place], check=False, capture_output=True)


@pytest.mark.parametrize("size", [200, 960])
def test_a_full_disk_ends_the_run_and_keeps_whole_entries(store, disk, tmp_path, size):
    place = disk(size)
    # Of the larger ones the store takes most.
    database = shutil.move("mlflow.db", (place if size > 900 else tmp_path) / "kept.db")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment |= {"MLFLOW_TRACKING_URI": f"sqlite:///{database}"}
    done = subprocess.run(
        [sys.executable, "-m", "flows.train", "--rounds=300", "--figures=false"],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 5, done.stderr
    assert "Traceback" not in done.stderr
    client = mlflow.MlflowClient(f"sqlite:///{database}")
    experiment = client.get_experiment_by_name("asrl-mlflow")
    (run,) = client.search_runs([experiment.experiment_id])
    kept = list((place / "asrl-spool").glob("*.jsonl"))
    if run.info.status != "FAILED":
        # Where the store had no room even for that, the spool file has it.
        (file,) = kept
        ended = json.loads(file.read_text().splitlines()[-1])
        assert (ended["kind"], ended["content"][0]) == ("status", "FAILED")
    assert "booster.ubj" not in {file.path for file in client.list_artifacts(run.info.run_id)}
    last = done.stderr.splitlines()[-1]
    assert last.startswith("train: Storage failed: [Errno 28]")
    assert all(str(file.relative_to(place)) in last for file in kept)
    subprocess.run([shutil.which("mount"), "-o", "remount,size=20m", place], check=True)
    if kept:
        sent = subprocess.run(
            [sys.executable, "-m", "asrl_mlflow.tracking.resend", *kept],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert sent.returncode == 0, sent.stderr
    assert client.get_run(run.info.run_id).info.status == "FAILED"
