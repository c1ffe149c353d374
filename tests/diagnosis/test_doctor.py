"""The doctor: what it measures of a target, what it advises, and what it keeps."""

from __future__ import annotations

import re
import shlex

import numpy as np
import pandas as pd
import pytest

from asrl_mlflow.datasets import from_arrays
from asrl_mlflow.datasets.contamination import contaminate
from asrl_mlflow.datasets.dataset import load
from asrl_mlflow.datasets.splits import join, split
from asrl_mlflow.diagnosis import diagnose, draw_diagnosis
from asrl_mlflow.diagnosis.levels import starting_levels
from asrl_mlflow.diagnosis.repeats import Repeats, find_repeats
from asrl_mlflow.errors import InputError
from asrl_mlflow.figures.style import png
from asrl_mlflow.residuals.outliers import Outliers
from tests.stores import artifacts, newest

PARAMS = {"max_depth": 4, "nthread": 1}


@pytest.fixture(scope="module")
def frame():
    """A table whose targets have normal noise, and 1,500 rows."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1500, 4))
    y = 10 * x[:, 0] + 5 * np.sin(3 * x[:, 1]) + rng.normal(size=1500)
    return pd.DataFrame(x).add_prefix("x").assign(target=y)


def spoiled(frame, kind, share):
    rows = from_arrays(frame.drop(columns="target"), frame["target"]).rows
    parts = contaminate(split(rows, 0), kind, share, 0)
    return join(parts.train, parts.valid)


@pytest.mark.parametrize(
    ("kind", "share", "above", "loss", "high"),
    [
        ("none", 0.0, 0.0, "squared_error", 0.96),
        ("asym", 0.02, 0.02, "auto", 0.93),
        ("asym", 0.2, 0.2, "auto", 0.67),
        ("sym", 0.1, 0.05, "auto", 0.86),
        ("cauchy", 0.0, 0.0, "cauchy", 0.78),
    ],
)
def test_the_share_is_within_3_points_and_advice_and_levels_follow_from_it(
    frame, kind, share, above, loss, high
):
    found = diagnose(spoiled(frame, kind, share), PARAMS, 60, seed=0)
    assert found.outliers.share == pytest.approx(share, abs=0.03)
    assert found.outliers.above == pytest.approx(above, abs=0.02)
    assert found.advice.name == loss
    assert found.advice.reason
    # Not above the right targets, and by one-sided outliers and heavy tails farther below.
    assert found.levels.loss.q_high == pytest.approx(high, abs=0.03)
    assert found.levels.loss.q_high < 1 - share
    assert len(png(draw_diagnosis(found, "a context"))) > 10_000


def test_rows_with_equal_features_contradict_each_other_where_targets_are_far_apart(table):
    x, y = table
    twice = np.concatenate([x, x[:100]])
    again = y[:100] + np.where(np.arange(100) < 10, 500.0, 0.0)
    found = diagnose(from_arrays(twice, np.concatenate([y, again])).rows, PARAMS, 20, seed=0)
    assert (found.repeats.rows, found.repeats.contradicting) == (200, 20)


def test_a_single_target_that_is_far_off_is_no_share_but_squared_error_is_not_advised(frame):
    x, y = frame.drop(columns="target"), frame["target"].to_numpy()
    spoiled = np.where(np.arange(len(y)) == 7, 1e4, y)
    near, far = (diagnose(from_arrays(x, each).rows, PARAMS, 20, seed=0) for each in (y, spoiled))
    assert (near.advice.name, near.farthest < 10) == ("squared_error", True)
    assert (far.outliers.share, far.advice.name, far.farthest > 1000) == (0, "mm", True)


def test_where_most_targets_are_one_value_no_robust_loss_is_advised():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(1000, 3)), rng.poisson(0.4, 1000).astype(float)
    found = diagnose(from_arrays(x, y).rows, PARAMS, 20, seed=0)
    assert found.most_frequent > 0.5
    assert (found.advice.name, "means nothing" in found.advice.reason) == ("squared_error", True)
    assert found.levels is None


@pytest.mark.parametrize("degrees", [1.0, 60.0])
@pytest.mark.parametrize("above", [0.0, 0.3, 0.7, 1.0])
def test_levels_are_a_valid_loss_whatever_the_outliers(above, degrees):
    outliers = Outliers(above, 0.0, 0.0, 1.0, degrees, np.empty(0))
    loss = starting_levels(outliers)
    assert 0 < loss.q_low < loss.q_high < 1
    assert loss.q_high <= max(1 - above, 0.1)


def test_a_target_far_from_0_loses_digits_of_its_noise(table):
    x, y = table
    near, far = (
        diagnose(from_arrays(x, y + offset).rows, PARAMS, 20, seed=0) for offset in (0, 1e7)
    )
    assert near.digits > 4
    assert far.digits < 2


@pytest.mark.parametrize(
    ("rows", "rule"),
    [
        (load("wine").rows, "a target of numbers"),
        (load().rows.take(np.arange(49)), "at least 50 rows"),
    ],
)
def test_what_cannot_be_diagnosed_is_refused(rows, rule):
    with pytest.raises(InputError, match=rule):
        diagnose(rows, PARAMS, 10, seed=0)


def test_the_command_says_what_it_found_and_logs_it(flow, store, frame):
    frame.to_csv("mine.csv", index=False)
    code, said, err = flow(
        "doctor", "--data=mine.csv", "--target=target", "--contaminate-share=0.2"
    )
    assert (code, "Warning" in err) == (0, False), err
    assert "above and 0.0% below the prediction" in said
    assert "begin with" in said
    assert "train --data=mine.csv --target=target --loss=auto" in said
    run = store.get_run(newest(store))
    assert run.data.metrics["doctor.outliers_above"] == pytest.approx(0.2, abs=0.03)
    assert run.data.tags["doctor.loss"] == "auto"
    # The printed line trains the levels that the run keeps.
    words = shlex.split(re.search(r"Or by levels: .* train (.*)", said)[1])
    assert f"--loss-params={run.data.tags['doctor.levels']}" in words
    assert flow("train", *words, "--rounds=3", "--figures=false")[0] == 0
    assert float(store.get_run(newest(store)).data.params["loss.q_high"]) < 0.8
    assert "gross outliers" in run.data.tags["mlflow.note.content"]
    assert "figures/doctor.png" in artifacts(store, run.info.run_id)


def test_the_command_refuses_classes_and_does_not_look_at_test_rows(flow, store):
    code, _, err = flow("doctor", "--data=wine")
    assert (code, len(err.splitlines())) == (2, 1), err
    assert flow("doctor", "--figures=false")[0] == 0
    run = store.get_run(newest(store))
    assert run.data.metrics["doctor.repeated_rows"] == 0


def test_a_large_group_of_equal_rows_contradicts_itself_only_where_noise_does_not_explain_it():
    rng = np.random.default_rng(0)
    x, y = (np.arange(1000) % 2)[:, None].astype(float), rng.normal(size=1000)
    assert find_repeats(from_arrays(x, y).rows, scale=1.0) == Repeats(rows=1000, contradicting=0)
    y[7] += 20
    assert find_repeats(from_arrays(x, y).rows, scale=1.0).contradicting == 1
