"""Flows: what a person at the command line sees, gets and reads in MLflow afterwards."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import xgboost

from asrl_mlflow import datasets, losses, registry
from asrl_mlflow.datasets.splits import split
from asrl_mlflow.metrics import mae
from asrl_mlflow.system.processes import Owner, _started
from tests.conftest import FLOWS
from tests.processes import ROOT, spawn
from tests.stores import artifacts, runs

NAMES = [*losses.BASIC, "asrl_c auto"]


def download(run_id, path, folder):
    return Path(
        mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=path, dst_path=folder)
    )


def test_main_shows_every_loss_on_clean_and_on_spoiled_labels_and_registers_one(flow, store):
    code, out, err = flow("main", "--trials=1", "--rounds=15")
    assert (code, err.count("Traceback")) == (0, 0)
    assert out.splitlines()[0].startswith("diabetes: 442 rows, 10 features, target ")
    assert out.splitlines()[-1].startswith("See every run: ")
    names = [*NAMES, "huber tuned", "asrl_c tuned"]
    table = {}
    for line in out.splitlines():
        name, *cells = re.split(r"  +", line.rstrip())
        if name in names and len(cells) == 4:
            table[name] = [float(cell) for cell in cells]
    assert set(table) == set(names)
    spoiled_errors = [row[2] for row in table.values()]
    assert spoiled_errors == sorted(spoiled_errors)
    chosen = re.findall(r"(?:are|spoiled): chosen: ([a-z_ ]+);", out)
    assert len(chosen) == 2
    assert set(chosen) <= set(names)

    parents, children = runs(store)
    assert [parent.info.run_name for parent in parents] == ["main diabetes"]
    (parent,) = parents
    mine = [run for run in children if run.data.tags["mlflow.parentRunId"] == parent.info.run_id]
    assert {run.info.status for run in parents + children} == {"FINISHED"}
    by_name = {run.info.run_name: run for run in mine}
    assert {f"{name}{suffix}" for name in NAMES for suffix in ("", ", 20% spoiled")} < set(by_name)
    assert len(by_name) == 2 * len(names)
    clean, spoiled = (
        {
            name: by_name[f"{name}{suffix}"]
            if name in NAMES
            else study(mine, parent, f"{prefix}{name}")
            for name in names
        }
        for suffix, prefix in (("", ""), (", 20% spoiled", "spoiled."))
    )
    for name in names:
        for run, mean_error, median_error in (
            (clean[name], *table[name][:2]),
            (spoiled[name], *table[name][2:]),
        ):
            assert run.data.metrics["test.mae"] == pytest.approx(mean_error, rel=1e-3)
            assert run.data.metrics["test.medae"] == pytest.approx(median_error, rel=1e-3)
        assert clean[name].data.params["contaminate.kind"] == "none"
        assert spoiled[name].data.params["contaminate.kind"] == "asym"
    version = registry.find("models:/asrl-diabetes@champion")
    assert version.run_id == clean[chosen[0]].info.run_id
    frame = datasets.load().rows.features
    assert len(registry.load(version.uri).predict(frame, params={"interval": 0.9})) == 442
    assert {"comparison.json", "spoiled/comparison.json", "figures/metrics.png"} <= set(
        artifacts(store, parent.info.run_id)
    )
    # A second one goes on with the studies of the first.
    assert flow("main", "--trials=1", "--rounds=15", "--figures=false")[0] == 0
    second, first = runs(store)[0]
    for key in ("asrl.study.huber", "asrl.study.spoiled.asrl_c"):
        assert second.data.tags[key] == first.data.tags[key]


def study(children, parent, name):
    """The run of the study that `main` has noted for a tuned loss."""
    run_id = parent.data.tags[f"asrl.study.{name.removesuffix(' tuned')}"]
    return next(run for run in children if run.info.run_id == run_id)


def test_a_tracked_run_holds_what_the_contract_names(flow, store, tmp_path):
    code, out, _ = flow("train", "--loss=asrl", "--loss-params=q_low=0.4,q_high=0.8", "--rounds=7")
    assert code == 0
    assert "ASRL(q_low=0.4, q_high=0.8, eps=1e-06)" in out
    (run,), children = runs(store)
    assert children == []
    params = run.data.params
    expected = {
        "loss.name": "asrl",
        "loss.q_low": "0.4",
        "loss.q_high": "0.8",
        "loss.eps": "1e-06",
        "booster.learning_rate": "0.1",
        "booster.max_depth": "6",
        "booster.num_boost_round": "7",
        "data.name": "diabetes",
        "data.rows": "442",
        "seed": "0",
    }
    assert expected.items() <= params.items()
    per_round = [
        *(f"threshold.{name}" for name in ("delta_low", "delta_high")),
        *(f"weight.{name}" for name in ("alpha", "beta", "gamma", "mean")),
        *("train.mae", "valid.mae", "valid.rmse"),
        *(f"share.valid.{name}" for name in ("core", "middle", "tail")),
    ]
    for key in per_round:
        assert [m.step for m in store.get_metric_history(run.info.run_id, key)] == list(range(7))
    at_the_end = {f"test.{name}" for name in ("mae", "rmse", "mse", "medae", "r2", "recall")}
    assert at_the_end | {"fit_seconds"} <= set(run.data.metrics)
    assert {"asrl.version", "asrl.flow"} <= set(run.data.tags)
    assert run.inputs.dataset_inputs[0].dataset.name == "diabetes"
    assert artifacts(store, run.info.run_id) == [
        "booster.ubj",
        "features.json",
        "figures/error_by_decile.png",
        "figures/feature_importance.png",
        "figures/interval_calibration.png",
        "figures/learning_curves.png",
        "figures/loss_shape.png",
        "figures/predicted_against_actual.png",
        "figures/residuals.png",
        "figures/thresholds_and_weights.png",
        "figures/which_labels.png",
        "loss.json",
        "unseen.npz",
        "which_labels.csv",
    ]
    record = json.loads(download(run.info.run_id, "loss.json", tmp_path).read_text())
    assert record["schema"] == 1
    assert losses.from_config(record["loss"]) == losses.ASRL(0.4, 0.8)
    test = split(datasets.load().rows, 0).test
    booster = xgboost.Booster(model_file=download(run.info.run_id, "booster.ubj", tmp_path))
    prediction = booster.inplace_predict(test.features)
    assert mae(test.target, prediction) == pytest.approx(run.data.metrics["test.mae"], rel=1e-6)


def test_compare_repeats_over_seeds_and_spoils_only_what_is_learned_from(flow, store, tmp_path):
    code, out, _ = flow(
        "compare",
        "--losses=asrl_c,squared_error",
        "--repeats=2",
        "--seed=5",
        "--rounds=30",
        "--contaminate-share=0.2",
        "--figures=false",
    )
    assert code == 0
    assert "20% of the training targets spoiled (asym), test targets clean" in out
    parents, children = runs(store)
    names = {f"{loss}, seed {seed}" for loss in ("asrl_c", "squared_error") for seed in (5, 6)}
    assert {child.info.run_name for child in children} == names
    assert {child.data.params["contaminate.kind"] for child in children} == {"asym"}
    table = mlflow.load_table("comparison.json", run_ids=[parents[0].info.run_id])
    assert list(table["loss"]) == ["asrl_c", "squared_error"]
    for _, row in table.iterrows():
        scores = [
            child.data.metrics["test.mae"]
            for child in children
            if child.data.params["loss.name"] == row["loss"]
        ]
        assert row["test MAE"] == pytest.approx(np.mean(scores), rel=1e-5)
        assert len(str(row["test MAE"])) <= len("123.456")  # for people: runs have all digits
        assert row["test MAE sd"] == pytest.approx(np.std(scores, ddof=1), rel=1e-5)
    assert re.search(r"asrl_c +[\d.]+±[\d.]+ ", out)


def test_without_figures_nothing_is_drawn(flow, store):
    assert flow("compare", "--losses=asrl_c", "--rounds=3", "--figures=false")[0] == 0
    parents, children = runs(store)
    assert artifacts(store, parents[0].info.run_id) == [
        "comparison.json",
        "report.html",
    ]
    kept = ["booster.ubj", "features.json", "loss.json", "unseen.npz", "which_labels.csv"]
    assert artifacts(store, children[0].info.run_id) == kept


VISITS = "patient,day,seen,clinic,age,dose\n" + "".join(
    f"{i % 40},2024-03-{1 + i // 20:02},{1 + i % 3},7,{i % 13},{i % 13 * 2 + i % 5}\n"
    for i in range(400)
)


def test_columns_with_a_role_are_told_logged_and_used(flow, store):
    Path("visits.csv").write_text(VISITS)
    code, out, err = flow(
        *("train", "--data=visits.csv", "--weight=seen", "--group=patient", "--drop=day"),
        *("--rounds=10", "--figures=false"),
    )
    assert code == 0
    assert out.splitlines()[0] == (
        "visits: 400 rows, 2 features, target 'dose', weight 'seen', groups by 'patient'"
    )
    assert "Warning: visits: 'clinic': the same in every row that has a value" in err
    (run,), _ = runs(store)
    expected = {
        "data.weight": "seen",
        "data.group": "patient",
        "data.drop": "day",
        "split.rows": "240/80/80",
    }
    assert expected.items() <= run.data.params.items()
    parts = split(datasets.load("visits.csv", weight="seen", group="patient", drop=["day"]).rows, 0)
    path = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="booster.ubj")
    booster = xgboost.Booster(model_file=path)
    assert booster.attr("asrl_weight_rule") == "counts"
    prediction = booster.inplace_predict(parts.test.features)
    assert run.data.metrics["test.mae"] == pytest.approx(
        np.average(np.abs(parts.test.target - prediction), weights=parts.test.weight)
    )


def test_a_split_by_time_learns_from_the_past(flow, store):
    Path("visits.csv").write_text(VISITS)
    options = ("--data=visits.csv", "--time=day", "--drop=patient,clinic", "--rounds=3")
    assert flow("train", *options, "--figures=false")[0] == 0
    (run,), _ = runs(store)
    assert (run.data.params["data.time"], run.data.params["split.rows"]) == ("day", "240/80/80")


def test_categories_are_kept_through_the_model(flow, store, tmp_path):
    colours = pd.Series(["red", "green", "blue", "green"] * 60, dtype="category")
    target = colours.map({"red": 1.0, "green": 9.0, "blue": -5.0}).astype(float)
    pd.DataFrame({"colour": colours, "x": np.arange(240) % 7, "y": target}).to_parquet("c.parquet")
    assert flow("train", "--data=c.parquet", "--rounds=60", "--learning-rate=0.3")[0] == 0
    (run,), _ = runs(store)
    booster = xgboost.Booster(model_file=download(run.info.run_id, "booster.ubj", tmp_path))
    # Other categories in another order, as a later file will have them.
    later = pd.DataFrame(
        {"colour": pd.Categorical(["green", "red"], ["red", "green"]), "x": [1, 2]}
    )
    np.testing.assert_allclose(booster.inplace_predict(later), [9.0, 1.0], atol=0.1)
    (logged,) = run.inputs.dataset_inputs
    schema = json.loads(logged.dataset.schema)["mlflow_colspec"]
    assert [column["type"] for column in schema] == ["string", "double", "double"]


@pytest.mark.skipif(
    "ASRL_DATA_DIR" not in os.environ,
    reason="ASRL_DATA_DIR names no folder with the paper's tables",
)
def test_all_tables_are_compared_each_with_a_summary_of_its_own(flow, store):
    code, out, _ = flow(
        "compare", "--data=all", "--losses=huber,asrl_c", "--rounds=2", "--figures=false"
    )
    assert code == 0
    (parent,), children = runs(store)
    assert parent.data.params["data.name"] == "california,concrete,gas_turbine,power_plant,airfoil"
    assert len(children) == 10
    assert {"huber airfoil", "asrl_c california"} <= {child.info.run_name for child in children}
    found = artifacts(store, parent.info.run_id)
    assert found[0] == "airfoil/comparison.json"
    assert len(found) == 6  # a table each, and the page
    assert "report.html" in found
    assert out.count("loss    test MAE") == 5
    assert len(parent.inputs.dataset_inputs) == 5


def test_early_stopping_keeps_the_best_round(flow, store, tmp_path):
    code, _, _ = flow("train", "--rounds=300", "--learning-rate=0.5", "--early-stopping-rounds=5")
    assert code == 0
    (run,), _ = runs(store)
    record = json.loads(download(run.info.run_id, "loss.json", tmp_path).read_text())
    thresholds = store.get_metric_history(run.info.run_id, "threshold.delta_low")
    best = int(run.data.metrics["best_round"])
    assert record["pointwise"]["delta_low"] == thresholds[best].value
    curve = [m.value for m in store.get_metric_history(run.info.run_id, "valid.mae")]
    booster = xgboost.Booster(model_file=download(run.info.run_id, "booster.ubj", tmp_path))
    assert len(curve) < 300
    assert booster.num_boosted_rounds() == int(np.argmin(curve)) + 1 == best + 1


REFUSED = {
    "unknown option": (
        ["compare", "--round=3"],
        "compare: No such option",  # how click goes on differs between versions
    ),
    "out of range": (
        ["compare", "--rounds=0"],
        "compare: Invalid value for '--rounds': 0 is not in the range x>=1.",
    ),
    "not a number": (
        ["train", "--learning-rate=fast"],
        "train: Invalid value for '--learning-rate': 'fast' is not a valid float range.",
    ),
    "unknown loss": (
        ["compare", "--losses=asrl,huberr"],
        "compare: Invalid value for '--losses': A loss needs one of the names "
        f"{', '.join([*losses.LOSSES, 'auto', *losses.CLASSIFICATION_LOSSES])}; got 'huberr'; did you mean 'huber'?",
    ),
    "loss twice": (
        ["compare", "--losses=asrl,asrl"],
        "compare: Invalid value for '--losses': each loss may stand once; got asrl more than once.",
    ),
    "malformed loss parameters": (
        ["train", "--loss-params=q_low"],
        "train: Invalid value for '--loss-params': it takes name=number or name=auto between commas; got 'q_low'.",
    ),
    "bad loss parameters": (
        ["train", "--loss-params=q_low=0.9,q_high=0.5"],
        "train: ContinuousASRL needs 0 < q_low < q_high < 1; got q_low=0.9, q_high=0.5; swap them "
        "or widen the gap.",
    ),
    "kind without share": (
        ["train", "--contaminate-kind=sym"],
        "train: --contaminate-kind=sym needs a share above 0; got 0.0; pass --contaminate-share=0.2.",
    ),
    "share that is not looked at": (
        ["train", "--contaminate-kind=none", "--contaminate-share=0.1"],
        "train: --contaminate-kind=none takes no share; got 0.1; leave --contaminate-share out.",
    ),
    "loss parameter twice": (
        ["train", "--loss-params=q_low=0.5,q_low=0.6"],
        "train: Invalid value for '--loss-params': each parameter may stand once; got q_low more "
        "than once.",
    ),
    "no loss at all": (
        ["compare", "--losses=,"],
        "compare: Invalid value for '--losses': it takes basic, all, or names of losses; got ','.",
    ),
    "share that is no number": (
        ["train", "--contaminate-share=nan"],
        "train: Invalid value for '--contaminate-share': 'nan' is not a number.",
    ),
    "learning rate that is no number": (
        ["train", "--learning-rate=nan"],
        "train: Invalid value for '--learning-rate': 'nan' is not a number.",
    ),
    "seed beyond XGBoost's": (
        ["main", "--seed=99999999999"],
        "main: Invalid value for '--seed': 99999999999 is not in the range 0<=x<=2147483647.",
    ),
    "depth beyond reason": (
        ["train", "--max-depth=3000000000"],
        "train: Invalid value for '--max-depth': 3000000000 is not in the range 1<=x<=64.",
    ),
    "missing column": (
        ["main", "--target=bmj"],
        "main: sklearn.datasets.load_diabetes: needs the names of its columns; got 'bmj'; did you "
        "mean 'bmi'?",
    ),
    "names that are none": (
        ["train", '--drop="bmi'],
        "train: Invalid value for '--drop': it takes names between commas; got '\"bmi'.",
    ),
    "group and time": (
        ["train", "--group=sex", "--time=age"],
        "train: A split goes by group or by time; got group 'sex' and time 'age'; leave one of them "
        "out.",
    ),
    "preset without its data": (
        ["compare", "--preset=paper"],
        "compare: --preset=paper needs --data=all or one of california, concrete, gas_turbine, "
        "power_plant, airfoil; got 'diabetes'.",
    ),
    "preset with options of its own": (
        ["compare", "--preset=paper", "--data=all", "--max-depth=4"],
        "compare: --preset=paper sets everything but data and figures; got --max-depth; leave it or "
        "the preset out.",
    ),
    "all tables with a target": (
        ["compare", "--data=all", "--target=PE"],
        "compare: --data=all takes the paper's five tables as they are; got --target; leave it out, "
        "or name one table.",
    ),
    "all tables for one training": (
        ["train", "--data=all"],
        "train: Data needs a .csv or .parquet file or one of diabetes, breast_cancer, wine, digits, california, concrete, "
        "gas_turbine, power_plant, airfoil, airquality_co; got 'all'; check the path.",
    ),
}


@pytest.mark.parametrize(("command", "line"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_one_line_exit_code_2_and_no_run(flow, store, command, line):
    code, out, err = flow(*command)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(line)
    assert runs(store) == ([], [])


def test_a_part_without_a_row_that_counts_is_one_line_and_exit_code_2(flow, store, tmp_path):
    rows = "".join(f"{int(i < 30)},{i},{i},{i}\n" for i in range(60))
    Path(tmp_path, "weighted.csv").write_text(f"w,day,a,y\n{rows}")
    code, _, err = flow("train", "--data=weighted.csv", "--weight=w", "--time=day", "--target=y")
    assert (code, runs(store)) == (2, ([], []))
    assert err.endswith(
        "train: weighted: every part needs a row that counts; got weight 'w' 0 in all 12 rows to "
        "valid; split otherwise.\n"
    )


def test_a_store_that_does_not_answer_is_one_line_and_exit_code_3(flow):
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    code, out, err = flow("main", "--trials=1")
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert err.startswith("main: The tracking store must answer before anything is trained")


@pytest.mark.parametrize(
    ("variable", "value"), [("MLFLOW_RUN_ID", "deadbeef"), ("MLFLOW_EXPERIMENT_ID", "999")]
)
def test_a_run_or_experiment_that_is_not_there_is_one_line_and_exit_code_3(
    flow, monkeypatch, variable, value
):
    monkeypatch.setattr("asrl_mlflow.tracking.store._ATTEMPTS", 1)
    monkeypatch.setenv(variable, value)
    code, _, err = flow("main", "--trials=1")
    assert (code, err.count("\n")) == (3, 1)


def test_a_store_lost_between_two_children_costs_no_result(flow, store):
    engine = mlflow.tracking._tracking_service.utils._get_store().engine
    over = threading.Event()

    def lose_runs():
        query = "SELECT count(*) FROM runs WHERE status = 'FINISHED'"
        while not over.is_set():
            with engine.connect() as connection:
                finished = connection.exec_driver_sql(query).scalar()
            if finished:
                with engine.begin() as connection:
                    connection.exec_driver_sql("ALTER TABLE runs RENAME TO runs_gone")
                return
            time.sleep(0.005)

    loser = threading.Thread(target=lose_runs)
    loser.start()
    try:
        code, out, err = flow(
            "compare", "--losses=asrl_c,huber,squared_error", "--rounds=300", "--figures=false"
        )
    finally:
        over.set()
        loser.join()
    assert (code, "Traceback" in err) == (4, False)
    assert {
        line.split()[0] for line in out.splitlines() if line[:5] in {"asrl_", "huber", "squar"}
    } == {
        "asrl_c",
        "huber",
        "squared_error",
    }
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE runs_gone RENAME TO runs")
    lines = [line for line in err.splitlines() if "send it with: " in line]
    commands = [shlex.split(line.partition("send it with: ")[2]) for line in lines]
    # In a new process, which knows nothing of this one's store.
    files = [command[-1] for command in commands]
    subprocess.run(
        [*commands[0][:-1], *files], check=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    parents, children = runs(store)
    assert {run.info.status for run in parents + children} == {"FINISHED"}
    assert {child.info.run_name for child in children} == {"asrl_c", "huber", "squared_error"}
    assert all("test.mae" in child.data.metrics for child in children)
    assert {
        len(store.get_metric_history(child.info.run_id, "valid.mae")) for child in children
    } == {300}


@pytest.fixture
def failing_store(store):
    """A store that answers at the start and loses its tables as soon as a run has begun."""
    engine = mlflow.tracking._tracking_service.utils._get_store().engine
    over = threading.Event()

    def break_it():
        while not over.is_set():
            with engine.connect() as connection:
                begun = connection.exec_driver_sql("SELECT count(*) FROM metrics").scalar()
            if begun:
                with engine.begin() as connection:
                    connection.exec_driver_sql("ALTER TABLE metrics RENAME TO metrics_gone")
                return
            time.sleep(0.01)

    breaker = threading.Thread(target=break_it)
    breaker.start()
    yield engine
    over.set()
    breaker.join()


def test_what_could_not_be_logged_is_exit_code_4_and_can_be_sent_later(flow, store, failing_store):
    code, out, err = flow("train", "--rounds=3000", "--max-depth=2")
    assert code == 4
    assert "asrl_c" in out, "the result is shown all the same"
    lines = [line for line in err.splitlines() if "Not everything was logged" in line]
    assert len(lines) == 1
    with failing_store.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE metrics_gone RENAME TO metrics")
    command = shlex.split(lines[0].partition("send it with: ")[2])
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    (run,), _ = runs(store)
    assert run.info.status == "FINISHED"
    assert "test.mae" in run.data.metrics
    assert len(store.get_metric_history(run.info.run_id, "valid.mae")) == 3000


def test_a_spool_that_cannot_be_written_is_exit_code_5(flow, store, failing_store):
    Path("asrl-spool").write_text("a file stands where the folder should be")
    code, _, err = flow("train", "--rounds=3000", "--max-depth=2")
    assert code == 5
    assert err.splitlines()[-1].startswith("train: Storage failed: ")
    assert "Traceback" not in err


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)


def training(store):
    """A child, or the only run, is in its rounds."""
    return any("train.mae" in run.data.metrics for group in runs(store) for run in group)


def unended(store):
    return {
        run.info.run_name for group in runs(store) for run in group if run.info.status == "RUNNING"
    }


def training_untuned(store):
    """Whether `main` has its studies behind it: their runs end with the next command of the study."""
    return any(run.info.run_name == "squared_error" for run in runs(store)[1])


@pytest.mark.parametrize(
    ("name", "options", "moment"),
    [
        ("compare", ["--rounds=100000"], training),
        ("main", ["--trials=1", "--rounds=10"], training_untuned),
    ],
)
def test_what_a_kill_left_running_is_ended_by_the_next_flow(
    flow, store, caplog, name, options, moment
):
    process = spawn(f"flows.{name}", "--figures=false", *options, stderr=subprocess.PIPE)
    wait_for(lambda: moment(store))
    process.kill()
    process.communicate()
    left = unended(store)
    assert f"{name} diabetes" in left
    assert flow("train", "--rounds=2", "--figures=false")[0] == 0
    assert unended(store) == set()
    (line,) = [line for line in caplog.messages if "whose process is gone" in line]
    assert all(name in line for name in left)
    ended = [run for group in runs(store) for run in group if "asrl.reaped" in run.data.tags]
    assert {run.info.run_name for run in ended} == left
    assert {run.info.status for run in ended} == {"KILLED"}
    caplog.clear()
    assert flow("train", "--rounds=2", "--figures=false")[0] == 0
    assert "no more" not in caplog.text


def test_runs_of_the_living_and_of_others_are_left_alone(flow, store, caplog):
    (experiment,) = [each.experiment_id for each in store.search_experiments()]
    living = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    here = Owner.here().host
    owners = {
        "living": Owner(here, living.pid, _started(living.pid)),
        "elsewhere": Owner("elsewhere", 1, "1"),
    }
    tags = {name: {"asrl.owner": json.dumps(vars(owner))} for name, owner in owners.items()}
    tags["nobody's"] = {}
    tags["nonsense"] = {"asrl.owner": "{"}
    # Its trials say how it ended, and whoever goes on with it.
    tags["a study's"] = {
        "asrl.owner": json.dumps(vars(Owner(here, living.pid, "before"))),
        "asrl.study": "s",
    }
    for name, each in tags.items():
        store.create_run(experiment, tags=each, run_name=name)
    assert flow("train", "--rounds=2", "--figures=false")[0] == 0
    living.communicate(b"\n")
    assert "no more" not in caplog.text
    assert unended(store) == set(tags)


QUICK = "--rounds=3 --figures=false"
UNHEARD = [
    f"train {QUICK} | head -n 1",
    f"train {QUICK} >&- 2>&-",
    f"compare {QUICK} --losses=asrl_c,huber 2>&1 | true",
    f"tune {QUICK} --trials=2 --jobs=1 >&- 2>&-",
]


@pytest.mark.parametrize("command", UNHEARD)
def test_a_flow_that_nobody_listens_to_ends_in_good_order(store, command):
    line = f"set -o pipefail; {shlex.quote(sys.executable)} -m flows.{command}"
    done = subprocess.run(
        ["bash", "-c", line],  # noqa: S607 - whatever shell there is
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    parents, children = runs(store)
    assert parents
    assert {run.info.status for run in parents + children} == {"FINISHED"}


TEXTS = {"NUL": "a\0b", "no text": "caf\udce9", "very long": "x" * 5000}
WHAT_IS_READ = ("--data", "--model-uri")
OF_TEXT = [
    (flow, option.opts[0])
    for flow, module in FLOWS.items()
    for option in module.command.params
    if not option.type.name.startswith(("integer", "float", "boolean", "choice"))
]
# Options are defined once: each in one flow, but those that name what is read in all that have them.
GIVEN = {
    (option, flow if option in WHAT_IS_READ else ""): (flow, option) for flow, option in OF_TEXT
}.values()


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize(("name", "option"), GIVEN)
def test_text_that_nothing_can_be_named_by_is_one_line_and_exit_code_2(
    flow, store, name, option, text
):
    needed = {"--model-uri": "models:/m/1", "--data": "rows.csv"} if name == "predict" else {}
    if name in ("train", "compare", "main", "tune"):
        needed = {"--data": "diabetes", "--figures": "false"}
    if name == "serve":
        needed = {"--model-uri": "models:/m/1"}
    given = needed | {option: f"journal:{text}" if option == "--storage" else text}
    code, _, err = flow(name, *(f"{key}={value}" for key, value in given.items()))
    last = err.splitlines()[-1]
    assert (code, last.startswith(f"{name}: "), "Traceback" in err) == (2, True, False), last[:300]
    assert runs(store) == ([], [])


@pytest.mark.parametrize("out", ["nowhere/x.csv", "rows.csv/x.csv", "."])
def test_a_path_that_cannot_be_used_is_not_blamed_on_the_disk(flow, store, out):
    assert flow("train", "--rounds=2", "--figures=false")[0] == 0
    (run,), _ = runs(store)
    assert flow("register", f"--run-id={run.info.run_id}")[0] == 0
    datasets.load().rows.features.to_csv("rows.csv", index=False)
    code, _, err = flow(
        "predict", "--model-uri=models:/asrl-diabetes/1", "--data=rows.csv", f"--out={out}"
    )
    assert (code, "Traceback" in err) == (2, False), err


def test_signals_at_any_moment_are_one_line_and_128_plus_their_number(store):
    """Six moments: over the imports, and around the end of a flow that has said its last word."""
    drawn = np.random.default_rng(4)
    found = {}

    def send(number, option, wait):
        process = spawn("flows.train", option, stderr=subprocess.PIPE)
        wait(process)
        process.send_signal(number)
        _, err = process.communicate(timeout=120)
        found.setdefault((process.returncode, err.count("\n")), []).append(err)

    def import_for(seconds):
        return lambda _: time.sleep(seconds)

    def end_after(seconds):
        def wait(process):
            process.stdout.readline()
            time.sleep(seconds)

        return wait

    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    for number in numbers:
        threads = [
            threading.Thread(target=send, args=(number, "--help", wait))
            for wait in (import_for(drawn.uniform(0.3, 1.5)), end_after(drawn.uniform(0, 0.02)))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    # One that came too late for the process to hear has done nothing.
    expected = {(128 + number, 1) for number in numbers}
    assert expected <= set(found) <= expected | {(0, 0)}, found
    assert not any("Traceback" in err for errs in found.values() for err in errs)


def importing(store):
    """Before anything is open."""
    time.sleep(0.7)
    return True


def drawing(store):
    """A run is past its training and its figures are being made."""
    found = [run for group in runs(store) for run in group]
    return any("fit_seconds" in r.data.metrics and r.info.status == "RUNNING" for r in found)


MOMENTS = [
    ("train", signal.SIGINT, importing),
    ("main", signal.SIGTERM, importing),
    ("train", signal.SIGTERM, training),
    ("compare", signal.SIGHUP, training),
    ("main", signal.SIGINT, drawing),
]


@pytest.mark.parametrize(("name", "number", "moment"), MOMENTS)
def test_a_signal_leaves_killed_runs_and_128_plus_its_number(store, name, number, moment):
    options = ["--trials=1", "--rounds=10"] if name == "main" else ["--rounds=100000"]
    process = spawn(f"flows.{name}", *options, stderr=subprocess.PIPE)
    wait_for(lambda: moment(store))
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + number, err
    assert "Traceback" not in err
    parents, children = runs(store)
    if moment is importing:
        assert (parents, children) == ([], [])
        return
    said = f"{name}: Interrupted by {signal.Signals(number).name}; unfinished runs are KILLED; "
    assert f"{said}See every run: " in err
    assert [parent.info.status for parent in parents] == ["KILLED"]
    # main may have finished some losses before.
    assert {child.info.status for child in children} <= {"KILLED", "FINISHED"}


def test_a_terminal_sees_a_progress_bar_and_a_pipe_does_not(flow, store):
    leader, follower = pty.openpty()
    termios.tcsetwinsize(leader, (24, 100))
    on_terminal = spawn("flows.train", "--rounds=5", stderr=follower)
    os.close(follower)
    seen = b""
    while True:
        try:
            seen += os.read(leader, 1000)
        except OSError:  # the process has closed its end
            break
    os.close(leader)
    on_terminal.communicate()
    assert on_terminal.returncode == 0
    assert b"asrl_c: 100%" in seen
    assert b"5/5" in seen
    assert "asrl_c:" not in flow("train", "--rounds=5", "--figures=false")[2]


def test_mlflow_runs_the_project_with_values_that_a_shell_would_take_apart(store, tmp_path):
    name = "my data; $(touch owned) 'x'.csv"
    (tmp_path / name).write_text("a,y\n" + "".join(f"{i},{i}\n" for i in range(40)))
    command = [sys.executable, "-m", "mlflow", "run", str(ROOT), "--env-manager", "local"]
    # Rounds are left to the environment; the project's own default of the depth is not.
    parameters = ["-e", "compare", "-P", "rounds=", "-P", "losses=asrl_c", "-P", "seed=7"]
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": mlflow.get_tracking_uri(),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ASRL_ROUNDS": "3",
        "ASRL_MAX_DEPTH": "2",
    }
    done = subprocess.run(
        [*command, *parameters, "-P", f"data={tmp_path / name}"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    parents, children = runs(store)
    assert [run.info.status for run in parents + children] == ["FINISHED", "FINISHED"]
    # One run, the project's own: adopted, in the experiment that mlflow run chose.
    assert parents[0].data.tags["mlflow.project.entryPoint"] == "compare"
    assert parents[0].data.tags["asrl.flow"] == "compare"
    assert parents[0].info.experiment_id == children[0].info.experiment_id == "0"
    assert children[0].data.params["data.name"] == "my data; $(touch owned) 'x'"
    assert children[0].data.params["booster.num_boost_round"] == "3"
    assert children[0].data.params["booster.max_depth"] == "6"
    assert not (ROOT / "owned").exists()
    assert not (tmp_path / "owned").exists()
