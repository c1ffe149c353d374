"""Flows on tables of classes: the same commands, other losses and metrics."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from asrl_mlflow import datasets, losses
from tests.stores import artifacts, runs

QUICK = ("--rounds=8", "--figures=false")


def test_main_on_classes_compares_tunes_and_registers(flow, store):
    code, out, err = flow("main", "--data=breast_cancer", "--trials=1", *QUICK)
    assert (code, err.count("Traceback")) == (0, 0)
    for name in (*losses.BASIC_CLASSIFICATION, "focal tuned", "generalized_cross_entropy tuned"):
        assert re.search(rf"^{name}  +\S+  +\S+  +\S+  +\S+$", out, flags=re.MULTILINE), name
    assert "its log loss on held-out training rows is" in out
    assert "So: with the labels as they are, log_loss has a test log loss of" in out
    assert "models:/asrl-breast_cancer/1: registered" in out
    parents, children = runs(store)
    assert {run.info.status for run in parents + children} == {"FINISHED"}
    spoiled = [run for run in children if run.data.params.get("contaminate.kind") == "flip"]
    assert len(spoiled) >= 8


def test_compare_on_classes_ranks_by_log_loss_and_leaves_out_what_has_no_form(flow, store):
    code, out, _ = flow("compare", "--data=wine", "--losses=all", "--contaminate-share=0.1", *QUICK)
    assert code == 0
    assert "left out, as they are for two classes: squared_hinge, smooth_hinge" in out
    assert "10% of the training labels flipped" in out
    _, children = runs(store)
    assert len(children) == len(losses.CLASSIFICATION_LOSSES) - 2
    for run in children:
        for name in ("test.logloss", "test.auc", "test.brier", "test.calibration_error"):
            assert name in run.data.metrics
        assert {"valid.logloss", "train.error", "weight.mean"} <= set(run.data.metrics)
    table = [
        line.split()
        for line in out.splitlines()
        if line.split()[:1] != [] and line.split()[0] in losses.CLASSIFICATION_LOSSES
    ]
    values = [float(row[1]) for row in table]
    assert len(values) == len(children)
    assert values == sorted(values)


def test_train_takes_log_loss_for_classes_where_none_is_named_and_draws_them(flow, store):
    frame = datasets.load("wine").rows.features.assign(kind=["a", "b"] * 89)
    frame.to_csv("text.csv", index=False)
    code, out, _ = flow("train", "--data=text.csv", "--rounds=6")
    assert code == 0
    (run,), _ = runs(store)
    drawn = {"reliability", "confusion", "loss_shape", "set_calibration"}
    assert {f"figures/{name}.png" for name in drawn} <= set(artifacts(store, run.info.run_id))
    assert "LogLoss(), seed 0" in out
    assert "text: 178 rows, 13 features, target 'kind', 2 classes" in out


def test_tune_on_classes_judges_by_log_loss_and_by_any_metric_of_classes(flow, store):
    for metric in ((), ("--metric=error",)):
        code, out, _ = flow("tune", "--data=wine", "--trials=2", "--jobs=1", *metric, *QUICK)
        assert code == 0
        assert re.search(
            rf"^{'error' if metric else 'logloss'} cross-validated: ", out, re.MULTILINE
        )


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (["train", "--data=wine", "--loss=huber"], "target"),
        (["train", "--data=diabetes", "--loss=log_loss"], "class"),
        (["compare", "--data=wine", "--losses=huber,log_loss"], "for the same kind of target"),
        (
            ["compare", "--data=wine", "--contaminate-share=0.1", "--contaminate-kind=asym"],
            "'asym'; choose one of those",
        ),
        (
            ["train", "--data=wine", "--loss=squared_hinge"],
            "SquaredHinge is for two classes; got 3",
        ),
        (["tune", "--data=wine", "--metric=mae"], "tune needs a metric out of logloss, error"),
        (["tune", "--data=wine", "--loss=log_loss"], "has no parameters to tune"),
    ],
)
def test_what_does_not_fit_classes_is_one_line_and_exit_code_2(flow, store, command, line):
    code, out, err = flow(*command)
    assert code == 2, out
    assert len(err.strip().splitlines()) <= 3
    assert line in err
    assert "Traceback" not in err


def test_a_table_of_shares_of_a_class_is_refused_with_the_remedy(flow, store):
    frame = pd.DataFrame({"x": range(40), "y": [0.5, 1.0] * 20})
    frame.to_csv("soft.csv", index=False)
    code, _, err = flow("train", "--data=soft.csv", "--loss=log_loss", *QUICK)
    assert code == 2
    assert "0.5" in err
