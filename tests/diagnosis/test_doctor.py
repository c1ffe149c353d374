"""The doctor: what it measures of a target, what it advises, and what it keeps."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from asrl_mlflow.datasets import from_arrays
from asrl_mlflow.datasets.contamination import contaminate
from asrl_mlflow.datasets.dataset import load
from asrl_mlflow.datasets.splits import join, split
from asrl_mlflow.diagnosis import diagnose, draw_diagnosis
from asrl_mlflow.errors import InputError
from asrl_mlflow.figures.style import png
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
    ("kind", "share", "above", "loss"),
    [
        ("none", 0.0, 0.0, "squared_error"),
        ("asym", 0.02, 0.02, "auto"),
        ("asym", 0.2, 0.2, "auto"),
        ("sym", 0.1, 0.05, "auto"),
        ("cauchy", 0.0, 0.0, "cauchy"),
    ],
)
def test_the_share_is_within_3_points_and_the_advice_follows_from_it(
    frame, kind, share, above, loss
):
    found = diagnose(spoiled(frame, kind, share), PARAMS, 60, seed=0)
    assert found.outliers.share == pytest.approx(share, abs=0.03)
    assert found.outliers.above == pytest.approx(above, abs=0.02)
    assert found.advice.name == loss
    assert found.advice.reason
    assert len(png(draw_diagnosis(found, "a context"))) > 10_000


def test_rows_with_equal_features_contradict_each_other_where_targets_are_far_apart(table):
    x, y = table
    twice = np.concatenate([x, x[:100]])
    again = y[:100] + np.where(np.arange(100) < 10, 500.0, 0.0)
    found = diagnose(from_arrays(twice, np.concatenate([y, again])).rows, PARAMS, 20, seed=0)
    assert (found.repeats.rows, found.repeats.contradicting) == (200, 20)


def test_where_most_targets_are_one_value_no_robust_loss_is_advised():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(1000, 3)), rng.poisson(0.4, 1000).astype(float)
    found = diagnose(from_arrays(x, y).rows, PARAMS, 20, seed=0)
    assert found.most_frequent > 0.5
    assert (found.advice.name, "means nothing" in found.advice.reason) == ("squared_error", True)


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
    assert "gross outliers" in run.data.tags["mlflow.note.content"]
    assert "figures/doctor.png" in artifacts(store, run.info.run_id)


def test_the_command_refuses_classes_and_does_not_look_at_test_rows(flow, store):
    code, _, err = flow("doctor", "--data=wine")
    assert (code, len(err.splitlines())) == (2, 1), err
    assert flow("doctor", "--figures=false")[0] == 0
    run = store.get_run(newest(store))
    assert run.data.metrics["doctor.repeated_rows"] == 0
