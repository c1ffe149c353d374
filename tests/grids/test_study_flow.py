"""The flow study: a run a cell under one parent, which the same command goes on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from asrl_mlflow.system import processes
from asrl_mlflow.system.processes import Owner
from asrl_mlflow.tracking.keys import CELL_TAG, OWNER_TAG
from tests.processes import spawn
from tests.stores import artifacts, runs

QUICK = (
    *("--rows=100", "--repeats=2", "--trials=1", "--rounds=3", "--jobs=1"),
    *("--contaminate=none,asym:0.2", "--losses=asrl_c", "--rivals=xgboost_squared,huber"),
)


def test_the_flow_has_a_run_a_cell_and_says_what_comes_out_and_does_no_cell_twice(flow, store):
    code, out, err = flow("study", *QUICK)
    assert (code, err.count("Traceback")) == (0, 0)
    assert "diabetes, asym 20%: asrl_c is " in out
    assert "Ranks over 4 comparisons of 3 methods: " in out
    assert out.splitlines()[-1].startswith("See every run: ")
    (parent,), children = runs(store)
    assert len(children) == 12
    assert {run.info.status for run in (parent, *children)} == {"FINISHED"}
    assert len({run.data.tags[CELL_TAG] for run in children}) == 12
    assert "asrl_c on diabetes, asym 20%, seed 1" in {run.info.run_name for run in children}
    for run in children:
        assert {"method.name", "method.library", "booster.max_depth", "contaminate.share"} <= set(
            run.data.params
        )
        assert {"test.mae", "best.objective", "best.rounds", "fit_seconds"} <= set(run.data.metrics)
    kept = artifacts(store, parent.info.run_id)
    assert kept == ["figures/ranks.png", "figures/ratios.png", "study.json", "study.txt"]
    said = out[out.index("\ndiabetes, asym") : out.index("See every run")].strip()

    _, again, _ = flow("study", *QUICK)
    assert "12 of 12 cells are done already" in again
    assert said in again
    (same,), still = runs(store)
    assert same.info.run_id == parent.info.run_id
    assert len(still) == 12

    # Another grid has a parent of its own and takes what is done from the first.
    _, more, _ = flow("study", *QUICK, "--repeats=3", "--figures=false")
    assert "12 of 18 cells are done already" in more
    assert (len(runs(store)[0]), len(runs(store)[1])) == (2, 18)


def test_a_grid_goes_on_after_a_kill_with_the_plan_that_it_was_begun_with(flow, store):
    options = (*QUICK, "--repeats=5", "--rounds=60", "--rivals=xgboost_squared", "--budget=9")
    process = spawn("flows.study", *options, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while len(runs(store)[1]) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    (parent,), _ = runs(store)
    code, out, err = flow("study", *options, "--figures=false")
    assert code == 0, err
    assert "of 20 cells are done already" in out
    assert "planned:" not in out
    (same,), children = runs(store)
    assert (same.info.run_id, same.info.status) == (parent.info.run_id, "FINISHED")
    done = [run.data.tags[CELL_TAG] for run in children if run.info.status == "FINISHED"]
    assert len(done) == len(set(done)) == 20


def test_a_grid_that_another_process_works_on_is_refused(flow, store):
    options = (*QUICK, "--repeats=1", "--figures=false")
    flow("study", *options)
    (parent,), _ = runs(store)
    other = Owner(Owner.here().host, os.getppid(), processes._started(os.getppid()))
    store.update_run(parent.info.run_id, status="RUNNING")
    store.set_tag(parent.info.run_id, OWNER_TAG, json.dumps(vars(other)))
    code, _, err = flow("study", *options)
    assert code == 2
    assert f"which process {other.pid} works on; wait for it" in err


def test_curves_are_kept_and_read_again(flow, store):
    options = (*QUICK[:-2], "--contaminate=none", "--preset=convergence", "--learning-rates=0.3")
    _, out, err = flow("study", *options, "--repeats=1")
    assert err.count("Traceback") == 0
    table = out[out.index("smallest test MAE") : out.index("See every run")]
    (parent,), children = runs(store)
    assert "figures/convergence_diabetes_none_0_100.png" in artifacts(store, parent.info.run_id)
    for run in children:
        history = store.get_metric_history(run.info.run_id, "curve.mae")
        assert [each.step for each in history] == [0, 1, 2]
    _, again, _ = flow("study", *options, "--repeats=1")
    assert table in again


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--losses=hubber", "did you mean 'huber'?"),
        ("--losses=focal", "which is for classes"),
        ("--rivals=huber,huber", "each once"),
        ("--contaminate=sym", "with a share, such as sym:0.1"),
        ("--contaminate=none:0.1", "with a share, such as sym:0.1"),
        ("--contaminate=flip:0.1", "with a share, such as sym:0.1"),
        ("--learning-rates=0.1,2", "different numbers in (0, 1]"),
        ("--rows=10", "at least 50, or all"),
        ("--budget=nan", "is not a number"),
        ("--data=diabetes,diabetes", "of different names"),
        ("--data=diabetes,wine", "wine"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(flow, store, option, said):
    code, _, err = flow("study", *QUICK, option)
    assert (code, len(err.splitlines())) == (2, 1), err
    assert said in err
    assert runs(store) == ([], [])


def test_several_tables_take_no_roles(flow, store):
    code, _, err = flow("study", *QUICK, "--data=diabetes,airfoil", "--target=y")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "got --target" in err


def test_study_json_has_a_row_a_setting_and_method(flow, store):
    flow("study", *QUICK, "--repeats=1", "--figures=false")
    (parent,), _ = runs(store)
    path = store.download_artifacts(parent.info.run_id, "study.json")
    table = json.loads(Path(path).read_text())
    assert len(table["data"]) == 6
    assert {"setting", "method", "test MAE", "best rival", "ratio"} <= set(table["columns"])
