"""`autolog`: what a user trains becomes a run, once, and the store never ends a training."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path

import mlflow
import mlflow.xgboost
import numpy as np
import pytest
import xgboost
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import asrl_mlflow.mlflow as flavor
from asrl_mlflow import (
    RobustXGBClassifier,
    RobustXGBRegressor,
    losses,
    registry,
    tracking,
    train,
    tune,
    which_labels,
)
from tests.conftest import PARAMS
from tests.stores import artifacts, runs

SMALL = {"n_estimators": 3, "max_depth": 2, "n_jobs": 1}
QUICK = {"log_models": False, "log_figures": False}


@pytest.fixture(autouse=True)
def autologs(store):
    """A fresh store, and no autolog afterwards."""
    yield store
    flavor.autolog(disable=True)
    mlflow.xgboost.autolog(disable=True)
    mlflow.sklearn.autolog(disable=True)


def test_a_training_becomes_a_run_with_the_keys_of_the_flows(store, table, dtrain):
    x, y = table
    flavor.autolog()
    heard, valid = [], xgboost.QuantileDMatrix(x, label=y, ref=dtrain)
    booster = train(
        {**PARAMS, "base_score": None},
        dtrain,
        4,
        loss=losses.auto(),
        evals=[(valid, "valid")],
        on_round=heard.append,
    )
    (run,), children = runs(store)
    assert not children
    assert [each.number for each in heard] == [0, 1, 2, 3]
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "train asrl_c"
    assert run.data.tags["mlflow.autologging"] == "asrl"
    assert run.data.tags["asrl.flow"] == "autolog"
    assert run.data.params["loss.name"] == "asrl_c"
    assert run.data.params["booster.max_depth"] == "4"
    assert run.data.params["booster.num_boost_round"] == "4"
    assert run.data.params["data.rows"] == "600"
    known = store.get_metric_history(run.info.run_id, "threshold.delta_low")
    assert [each.step for each in known] == [0, 1, 2, 3]
    assert known[-1].value == heard[-1].pointwise.delta_low
    assert {"valid.mae", "weight.mean", "share.valid.tail", "fit_seconds"} <= set(run.data.metrics)
    assert run.data.metrics["best_round"] == 3
    assert [each.dataset.name for each in run.inputs.dataset_inputs] == ["table"]
    assert artifacts(store, run.info.run_id) == [
        *("booster.ubj", "features.json", "figures/learning_curves.png"),
        *("figures/thresholds_and_weights.png", "loss.json", "unseen.npz"),
    ]
    record = json.loads(mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/loss.json"))
    assert record["pointwise"]["delta_low"] == heard[-1].pointwise.delta_low
    (output,) = run.outputs.model_outputs
    served = mlflow.pyfunc.load_model(f"models:/{output.model_id}")
    assert np.array_equal(served.predict(x), booster.inplace_predict(x))
    # What was recorded can be registered, and its model is not written twice.
    version = registry.register(run.info.run_id)
    assert version.uri == "models:/asrl-table/1"
    assert store.get_model_version("asrl-table", "1").source == f"models:/{output.model_id}"


def test_recording_changes_no_prediction(table):
    x, y = table
    model = RobustXGBRegressor(interval_folds=2, **SMALL).fit(x, y)
    flavor.autolog(**QUICK)
    again = RobustXGBRegressor(interval_folds=2, **SMALL).fit(x, y)
    assert np.array_equal(model.predict(x), again.predict(x))


def test_a_fit_is_one_run_whatever_it_trains_inside(store, table):
    x, y = table
    flavor.autolog(registered_model_name="mine", extra_tags={"team": "a"}, log_figures=False)
    model = RobustXGBClassifier(loss="m_loss", set_folds=2, **SMALL).fit(x, y > 45)
    (run,), children = runs(store)
    assert not children
    assert run.info.run_name == "fit RobustXGBClassifier"
    assert run.data.tags["team"] == "a"
    assert run.data.params["loss.name"] == "m_loss"
    assert [each.step for each in store.get_metric_history(run.info.run_id, "train.logloss")]
    served = registry.load("models:/mine/1").predict(x, params={"set": 0.9})
    assert np.array_equal(served["prediction"], model.predict(x))
    assert np.array_equal(flavor.load_model("models:/mine/1").predict(x), model.predict(x))


def test_the_active_run_is_filled_and_a_second_training_is_its_child(store, table, dtrain):
    flavor.autolog(**QUICK)
    with mlflow.start_run(run_name="mine") as active:
        mlflow.log_param("seed", 7)
        RobustXGBRegressor(loss="huber", **SMALL).fit(*table)
        assert mlflow.active_run().info.run_id == active.info.run_id
        train(PARAMS, dtrain, 2, loss=losses.Cauchy())
    (run,), (child,) = runs(store)
    assert run.info.run_id == active.info.run_id
    assert (run.info.status, child.info.status) == ("FINISHED", "FINISHED")
    assert (run.data.params["seed"], run.data.params["loss.name"]) == ("7", "huber")
    assert child.data.params["loss.name"] == "cauchy"
    assert child.data.tags["mlflow.parentRunId"] == run.info.run_id
    assert len(store.get_metric_history(run.info.run_id, "train.mae")) == 3
    assert len(store.get_metric_history(child.info.run_id, "train.mae")) == 2


def test_exclusive_leaves_runs_of_the_user_alone(store, table):
    flavor.autolog(exclusive=True, **QUICK)
    with mlflow.start_run():
        RobustXGBRegressor(**SMALL).fit(*table)
    (run,), children = runs(store)
    assert not children
    assert not run.data.params


def test_a_search_is_a_parent_with_its_best_candidates_as_children(store, table):
    flavor.autolog(log_figures=False, max_tuning_runs=2)
    grid = {"loss__delta": [1.0, 5.0, 20.0]}
    search = GridSearchCV(RobustXGBRegressor(loss="huber", **SMALL), grid, cv=2).fit(*table)
    (run,), children = runs(store)
    assert len(children) == 2
    assert run.data.params["best_loss__delta"] == str(search.best_params_["loss__delta"])
    assert run.data.params["loss.delta"] == run.data.params["best_loss__delta"]
    assert run.data.metrics["best_cv_score"] == pytest.approx(search.best_score_)
    scores = sorted(search.cv_results_["mean_test_score"])[-2:]
    assert sorted(each.data.metrics["mean_test_score"] for each in children) == scores
    assert {each.data.params["loss.name"] for each in children} == {"huber"}
    assert {each.info.status for each in children} == {"FINISHED"}
    back = flavor.load_model(f"models:/{run.outputs.model_outputs[0].model_id}")
    assert np.array_equal(back.predict(table[0]), search.predict(table[0]))
    assert registry.register(run.info.run_id).record.loss["params"] == {
        "delta": search.best_params_["loss__delta"]
    }


def test_the_threads_of_a_search_record_nothing_of_their_own(store, table):
    import joblib  # noqa: PLC0415 - for this test only

    flavor.autolog(max_tuning_runs=None, **QUICK)
    steps = make_pipeline(StandardScaler(), RobustXGBRegressor(loss="huber", **SMALL))
    grid = {"robustxgbregressor__max_depth": [1, 2]}
    with joblib.parallel_backend("threading"):
        GridSearchCV(steps, grid, cv=2, n_jobs=2).fit(*table)
    (run,), children = runs(store)
    assert len(children) == 2
    assert run.data.params["booster.max_depth"] in {"1", "2"}


def test_threads_of_the_user_each_have_a_run(store, table):
    flavor.autolog(**QUICK)
    names = ("huber", "cauchy", "asrl_c")
    threads = [
        threading.Thread(target=RobustXGBRegressor(loss=name, **SMALL).fit, args=table)
        for name in names
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    found, children = runs(store)
    assert not children
    assert sorted(each.data.params["loss.name"] for each in found) == sorted(names)
    assert all(len(store.get_metric_history(each.info.run_id, "train.mae")) == 3 for each in found)


def test_tune_is_recorded_once_and_its_model_is_logged(store, table):
    flavor.autolog(log_figures=False, extra_tags={"team": "a"})
    with mlflow.start_run() as active:
        tuned = tune(*table, trials=2, rounds=4, jobs=1, figures=False)
    (run,), nested = runs(store)
    assert run.info.run_id == active.info.run_id
    study = store.get_run(tuned.run_id)
    assert study.data.tags["mlflow.parentRunId"] == run.info.run_id
    assert study.data.tags["team"] == "a"
    # The study's run and its two trials: the last fit, to all rows, belongs to the study.
    assert len(nested) == 3
    assert len(study.outputs.model_outputs) == 1


def test_what_this_package_trains_by_itself_is_not_heard(store, table, dtrain, flow):
    flavor.autolog(**QUICK)
    which_labels(RobustXGBRegressor(loss="huber", **SMALL), *table)
    with tracking.run("mine", flow="script") as log:
        train(PARAMS, dtrain, 2, loss=losses.Huber(), on_round=log.round)
    assert flow("train", "--rounds=2", "--figures=false")[0] == 0
    found, children = runs(store)
    assert not children
    mine, other = sorted(found, key=lambda each: each.info.run_name != "mine")
    assert (mine.info.run_name, mine.data.params) == ("mine", {})
    assert other.data.tags["asrl.flow"] == "train"


def test_disabled_it_records_nothing(store, table):
    flavor.autolog(**QUICK)
    flavor.autolog(disable=True)
    RobustXGBRegressor(**SMALL).fit(*table)
    assert runs(store) == ([], [])


@pytest.mark.parametrize("first", ["ours", "theirs", "ours twice", "alone"])
@pytest.mark.filterwarnings("ignore")  # MLflow's flavor warns of itself
def test_a_plain_training_by_a_loss_of_ours_is_one_run_that_names_it(store, table, first):
    x, y = table
    theirs = {"log_models": first == "theirs", "silent": True}
    if first == "theirs":
        mlflow.xgboost.autolog(**theirs)
        flavor.autolog(**QUICK)
    else:
        flavor.autolog(**QUICK)
        if first != "alone":
            mlflow.xgboost.autolog(**theirs)
        if first == "ours twice":
            flavor.autolog(**QUICK)
    matrix = xgboost.DMatrix(x, label=y)
    loss = losses.Huber(delta=4.0)
    given = PARAMS | ({"objective": "reg:squarederror"} if first == "alone" else {})
    booster = xgboost.train(
        given, matrix, 3, obj=loss.objective, evals=[(matrix, "valid")], verbose_eval=False
    )
    (run,), children = runs(store)
    assert not children
    assert run.data.params["loss.name"] == "huber"
    assert run.data.params["loss.delta"] == "4.0"
    assert "squarederror" not in str(run.data.params)
    key = "valid.rmse" if first == "alone" else "valid-rmse"
    assert len(store.get_metric_history(run.info.run_id, key)) == 3
    assert json.loads(booster.attr("asrl_loss")) == losses.to_config(loss)
    if first == "theirs":
        (output,) = run.outputs.model_outputs
        kept = mlflow.xgboost.load_model(f"models:/{output.model_id}")
        assert kept.attr("asrl_loss") == booster.attr("asrl_loss")
    # Whoever is turned off, the other goes on.
    if first in {"ours", "theirs"}:
        flavor.autolog(disable=True)
        xgboost.train(PARAMS, matrix, 1, obj=loss.objective)
        assert len(runs(store)[0]) == 2


def test_a_store_that_breaks_down_does_not_end_a_training(store, table, dtrain, caplog):
    flavor.autolog(log_figures=False)

    def break_down(round_):
        if round_.number == 1:
            Path("mlflow.db").write_bytes(b"no database" * 1000)

    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    booster = train(PARAMS, dtrain, 3, loss=losses.Huber(), on_round=break_down)
    assert booster.num_boosted_rounds() == 3
    assert "what is missing is kept in asrl-spool" in caplog.text
    kinds = {
        json.loads(line)["kind"]
        for file in Path("asrl-spool").iterdir()
        for line in file.read_text().splitlines()
    }
    assert {"metrics", "artifact", "status"} <= kinds


def test_a_store_that_is_not_there_does_not_end_a_training(table, caplog, monkeypatch):
    monkeypatch.setattr("asrl_mlflow.tracking.retries._SECONDS_OF_SILENCE", 0.1)
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    flavor.autolog(silent=True)
    model = RobustXGBRegressor(loss="huber", **SMALL).fit(*table)
    assert len(model.predict(table[0])) == 600
    assert "asrl_mlflow" not in {each.name.split(".")[0] for each in caplog.records}
    assert list(Path("asrl-spool").iterdir())
