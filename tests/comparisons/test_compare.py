"""`compare` on a table in memory: what the flow does, for notebooks."""

from __future__ import annotations

import numpy as np
import pytest

from asrl_mlflow import compare, losses
from asrl_mlflow.errors import InputError
from tests.stores import artifacts, runs

FEW = {"rounds": 10, "figures": False}


def test_losses_are_compared_on_the_same_rows_each_in_a_run(store, table):
    x, y = table
    found = compare(x, y, losses=["squared_error", losses.auto()], seeds=[0, 1], **FEW)
    (parent,), children = runs(store)
    assert parent.info.run_id == found.run_id
    names = {"squared_error, seed 0", "squared_error, seed 1"}
    assert names < {child.info.run_name for child in children}
    assert artifacts(store, found.run_id) == ["comparison.json", "report.html"]
    for loss in found.frame.index:
        mine = [
            child.data.metrics["test.mae"]
            for child in children
            if child.info.run_name.startswith(loss)
        ]
        assert found.frame.loc[loss, "test MAE"] == pytest.approx(np.mean(mine), rel=1e-5)
    assert found.best == found.frame.index[0]
    html = found._repr_html_()
    assert "2 losses on table" in html
    assert "standard deviation over the seeds" in html


def test_classes_are_compared_by_log_loss(store):
    x = np.random.default_rng(0).normal(size=(120, 2))
    labels = np.where(x[:, 0] > 0, "yes", "no")
    found = compare(x, labels, losses=["log_loss", "focal"], classes=True, rounds=10)
    assert "test log loss" in found.frame
    assert {"figures/metrics.png", "figures/validation_curves.png"} <= set(
        artifacts(store, found.run_id)
    )
    assert "smallest test log loss" in found._repr_html_()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"losses": []}, "needs losses, each once; got none"),
        ({"losses": ["huber", losses.Huber(2.0)]}, "each once; got huber, huber"),
        ({"losses": ["focal"]}, "losses for regression; got 'focal'; pass classes=True"),
        ({"losses": ["hubre"]}, "did you mean 'huber'"),
        ({"seeds": []}, "at least one seed"),
        ({"rounds": 0}, "whole number of rounds"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_trained(
    store, table, arguments, why
):
    with pytest.raises(InputError, match=why):
        compare(*table, **FEW | arguments)
    assert runs(store) == ([], [])
