"""Metrics of numbers: those that scikit-learn has are equal to its own."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from asrl_mlflow import metrics
from asrl_mlflow.errors import InputError

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


@pytest.mark.parametrize("weight", [None, W], ids=["plain", "weighted"])
def test_the_trimmed_mean_is_that_of_the_smallest_four_fifths(weight):
    # Ties at the limit count as often as there is room for them.
    assert metrics.trimmed_mae(np.zeros(5), [0.0, 0.0, 1.0, 1.0, 1.0]) == pytest.approx(0.5)
    size = np.sort(np.abs(Y - P) if weight is None else np.repeat(np.abs(Y - P), weight))
    whole = int(0.8 * size.size)
    expected = (size[:whole].sum() + (0.8 * size.size - whole) * size[whole]) / (0.8 * size.size)
    assert metrics.trimmed_mae(Y, P, weight) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", list(metrics.METRICS))
@pytest.mark.parametrize(
    ("target", "prediction", "weight", "line"),
    [
        (Y[:3], Y[:1], None, "one prediction a target; got shapes (3,) and (1,)"),
        (Y[:3], np.array([0.0, np.nan, 1.0]), None, "must be finite; got 1"),
        (Y[:3], Y[:3], [1.0], "shape (3,), one a row; got (1,)"),
    ],
    ids=["one prediction", "nan", "one weight"],
)
def test_a_metric_refuses_what_numpy_would_stretch_or_spread(
    name, target, prediction, weight, line
):
    with pytest.raises(InputError) as caught:
        metrics.METRICS[name](target, prediction, weight)
    assert line in str(caught.value)


WHOLE = st.integers(-5, 5).map(float)
ROWS = st.lists(st.tuples(WHOLE, WHOLE, st.integers(0, 3)), min_size=1, max_size=12).filter(
    lambda rows: any(weight for _, _, weight in rows)
)


@pytest.mark.parametrize("name", metrics.METRICS)
@given(rows=ROWS)
def test_a_weight_of_two_is_the_row_twice(name, rows):
    y, p, weight = (np.array(column) for column in zip(*rows, strict=True))
    written_out = metrics.METRICS[name](np.repeat(y, weight), np.repeat(p, weight))
    assert metrics.METRICS[name](y, p, weight) == pytest.approx(
        written_out, rel=1e-9, abs=1e-12, nan_ok=True
    )
