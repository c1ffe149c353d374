"""Metrics: those that scikit-learn has are equal to its own."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics

from asrl_mlflow import metrics

RNG = np.random.default_rng(0)
Y, P = RNG.normal(size=101), RNG.normal(size=101)
W = RNG.integers(0, 4, 101)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (metrics.mae, sklearn.metrics.mean_absolute_error),
        (metrics.mse, sklearn.metrics.mean_squared_error),
        (metrics.rmse, sklearn.metrics.root_mean_squared_error),
        (metrics.r2, sklearn.metrics.r2_score),
    ],
)
@pytest.mark.parametrize("weight", [None, W], ids=["plain", "weighted"])
def test_a_metric_equals_scikit_learns(ours, theirs, weight):
    assert ours(Y, P, weight) == pytest.approx(theirs(Y, P, sample_weight=weight), rel=1e-12)


def test_the_median_absolute_error_equals_numpys_on_the_rows_written_out():
    assert metrics.medae(Y, P) == np.median(np.abs(Y - P))
    assert metrics.medae(Y, P, W) == np.median(np.repeat(np.abs(Y - P), W))


def test_recall_is_the_share_of_rows_above_the_median_that_are_predicted_above_it():
    median = np.median(Y)
    assert metrics.recall(Y, P) == pytest.approx(
        sklearn.metrics.recall_score(median < Y, median < P)
    )
    assert metrics.recall(Y, Y) == 1
    assert math.isnan(metrics.recall([2.0, 2.0], [1.0, 3.0]))


def test_r2_of_a_constant_target_is_1_if_hit_and_0_if_not():
    assert metrics.r2([2.0, 2.0], [2.0, 2.0]) == 1
    assert metrics.r2([2.0, 2.0], [2.0, 3.0]) == 0


def test_what_selects_is_a_metric():
    assert set(metrics.SELECTING) < set(metrics.METRICS)
