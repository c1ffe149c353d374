"""`tune` on a table in memory: what the flow does, for notebooks."""

from __future__ import annotations

import numpy as np
import optuna
import pandas as pd
import pytest
import scipy.sparse
from sklearn.datasets import load_wine

from asrl_mlflow import RobustXGBRegressor, datasets, losses, tune, tuning
from asrl_mlflow.errors import InputError
from tests.stores import runs

FEW = {"trials": 3, "rounds": 20, "jobs": 1, "figures": False}


def test_a_study_of_a_table_in_memory_goes_on_with_the_same_call(store, table):
    x, y = table
    frame = pd.DataFrame(x, columns=list("abcde"))
    tuned = tune(frame, y, **FEW)
    assert isinstance(tuned.best_loss_, losses.ContinuousASRL)
    parents, trials = runs(store)
    assert [parent.info.run_id for parent in parents] == [tuned.run_id]
    assert len(trials) == 3
    assert isinstance(tuned.study, optuna.Study)
    assert tuned.study.best_value == tuned.outcome.best.value
    assert tuned.best_params_ == losses.to_config(tuned.best_loss_)["params"]
    assert tuned.study.best_trial.user_attrs["q_high"] == tuned.best_loss_.q_high
    again = tune(frame, y, **FEW | {"trials": 4})
    assert again.run_id == tuned.run_id
    assert len(again.study.trials) == 4
    html = again._repr_html_()
    assert again.outcome.study in html
    assert "mlflow ui" in html


def test_the_best_estimator_is_the_best_loss_fitted_to_all_rows(store, table):
    x, y = table
    tuned = tune(x, y, loss="huber", tune_booster=True, **FEW)
    best = tuned.best_estimator_
    assert best.loss == tuned.best_loss_
    assert best.n_estimators == tuned.outcome.best.rounds
    point = tuned.outcome.best.point
    assert (best.max_depth, best.reg_lambda) == (point["max_depth"], point["lambda"])
    same = RobustXGBRegressor(**best.get_params(deep=False)).fit(x, y)
    np.testing.assert_array_equal(best.predict(x), same.predict(x))
    with pytest.raises(InputError, match="did you mean 'huber'"):
        tune(x, y, loss="hubre", **FEW)


def test_arrays_make_the_table_that_a_file_makes(table, tmp_path):
    x, y = table
    frame = pd.DataFrame(x, columns=list("abcde"))
    weight, group = np.arange(600) % 3 + 1.0, np.arange(600) // 4
    file = frame.assign(target=y, weight=weight, group=group)
    file.to_parquet(tmp_path / "table.parquet")
    loaded = datasets.load(
        str(tmp_path / "table.parquet"), "target", weight="weight", group="group"
    )
    made = datasets.from_arrays(frame, y, sample_weight=weight, groups=group)
    assert made.digest == loaded.digest
    pd.testing.assert_frame_equal(made.rows.features, loaded.rows.features)
    np.testing.assert_array_equal(made.rows.target, loaded.rows.target)
    np.testing.assert_array_equal(made.rows.weight, loaded.rows.weight)
    assert made.roles == loaded.roles


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (((np.zeros((30, 1)), np.zeros(29)), {}), "one value of target for each of 30 rows"),
        (((np.zeros((30, 1)), np.zeros((30, 2))), {}), "got an array of shape"),
        (((pd.DataFrame({"target": np.zeros(30)}), np.zeros(30)), {}), "features need other names"),
        (((np.zeros((30, 2, 2)), np.zeros(30)), {}), "rows and columns; got ndarray of shape"),
        (((scipy.sparse.eye(30), np.zeros(30)), {}), "pass a sparse matrix as .toarray"),
        (((pd.DataFrame({"a": ["x"] * 30}), np.arange(30.0)), {}), "got text in column 'a'"),
        (
            ((np.ones((30, 1)), np.arange(30.0)), {"groups": np.ones(30), "times": np.ones(30)}),
            "by group or by time",
        ),
    ],
)
def test_arrays_that_make_no_table_are_refused_in_one_line(arguments, why):
    (x, y), more = arguments
    with pytest.raises(InputError, match=why) as error:
        datasets.from_arrays(x, y, **more)
    assert "\n" not in str(error.value)


def test_the_room_names_both_ways_in():
    assert {"tune", "tune_plan", "run_study"} <= set(tuning.__all__)


def test_names_of_roles_step_aside_for_columns_that_have_them():
    frame = pd.DataFrame({"weight": np.arange(30.0), "b": np.ones(30)})
    made = datasets.from_arrays(
        frame,
        pd.Series(np.arange(30.0), name="group"),
        groups=np.arange(30),
        sample_weight=np.ones(30),
    )
    assert list(made.rows.features) == ["weight", "b"]
    assert (made.target_name, made.roles.weight, made.roles.group) == ("group", "weight_", "group_")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"jobs": 0}, "at least 1 job, or -1"),
        ({"trials": 0}, "at least 1 trial"),
        ({"metric": "mase"}, "a metric out of mae"),
        ({"rounds": 0}, "whole number of rounds"),
        ({"rounds": 10.5}, "whole number of rounds"),
        ({"learning_rate": -5}, "0 < learning_rate <= 1"),
        ({"seed": -1}, "a seed from 0"),
        ({"loss": losses.Huber(2.0)}, "pass its name or its class"),
        ({"loss": "squared_error"}, "no parameters to tune"),
        ({"loss": "auto"}, "levels that need no tuning"),
    ],
)
def test_what_tune_cannot_do_is_refused_before_any_run(store, table, arguments, why):
    x, y = table
    with pytest.raises(InputError, match=why) as error:
        tune(x, y, **FEW | arguments)
    assert "\n" not in str(error.value)
    assert runs(store) == ([], [])


def test_the_warnings_of_a_table_are_given(store, table):
    x, y = table
    with pytest.warns(UserWarning, match="the same in every row"):
        tune(np.c_[x, np.ones(600)], y, **FEW)


def test_tune_takes_classes_of_any_labels(store):
    x, y = load_wine(return_X_y=True)
    labels = np.array(["barbera", "barolo", "grignolino"])[y]
    tuned = tune(x, labels, loss="focal", trials=2, rounds=8, jobs=1, figures=False)
    assert tuned.metric == "logloss"
    assert tuned.best_loss_.name == "focal"
    assert set(tuned.best_estimator_.predict(x)) == set(labels)
    assert tuned.best_estimator_.predict_proba(x).shape == (178, 3)
    assert "test log loss" in tuned._repr_html_()
