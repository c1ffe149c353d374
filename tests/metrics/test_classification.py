"""Metrics of classes: those that scikit-learn has are equal to its own."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from asrl_mlflow import metrics
from asrl_mlflow.errors import InputError
from asrl_mlflow.metrics import TASKS, classification

METRICS = classification.METRICS


def predicted(load):
    """Targets, out-of-fold probabilities, and weights of a table of scikit-learn's."""
    x, y = load(return_X_y=True)
    # Few features and a strong penalty: a model that is often wrong.
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01))
    probabilities = cross_val_predict(model, x[:, 10:16], y, cv=3, method="predict_proba")
    return y, probabilities, np.random.default_rng(0).integers(0, 4, y.size)


TWO, MANY = predicted(load_breast_cancer), predicted(load_digits)


def judged_by_class(function):
    """A function of scikit-learn's that takes predicted classes."""

    def judge(y, p, sample_weight):
        return function(y, p.argmax(axis=1), sample_weight=sample_weight)

    return judge


def one_against_the_rest(y, p, sample_weight):
    if p.shape[1] == 2:
        return sklearn.metrics.roc_auc_score(y, p[:, 1], sample_weight=sample_weight)
    areas = [
        sklearn.metrics.roc_auc_score(y == code, p[:, code], sample_weight=sample_weight)
        for code in range(p.shape[1])
    ]
    return np.mean(areas)


def recall(y, p, sample_weight):
    average = "binary" if p.shape[1] == 2 else "macro"
    return sklearn.metrics.recall_score(
        y, p.argmax(axis=1), average=average, sample_weight=sample_weight
    )


def brier(y, p, sample_weight):
    halves = [
        sklearn.metrics.brier_score_loss(y == code, p[:, code], sample_weight=sample_weight)
        for code in range(p.shape[1])
    ]
    return sum(halves)


THEIRS = {
    "logloss": lambda y, p, w: sklearn.metrics.log_loss(y, p, sample_weight=w),
    "error": judged_by_class(sklearn.metrics.zero_one_loss),
    "accuracy": judged_by_class(sklearn.metrics.accuracy_score),
    "balanced_accuracy": judged_by_class(sklearn.metrics.balanced_accuracy_score),
    "auc": one_against_the_rest,
    "recall": recall,
    "brier": brier,
}


@pytest.mark.parametrize("name", THEIRS)
@pytest.mark.parametrize("is_weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("table", [TWO, MANY], ids=["two classes", "ten classes"])
def test_a_metric_of_classes_equals_scikit_learns(name, is_weighted, table):
    y, p, weight = table
    weight = weight if is_weighted else None
    assert METRICS[name](y, p, weight) == pytest.approx(THEIRS[name](y, p, weight), rel=1e-9)


@pytest.mark.parametrize("table", [TWO, MANY], ids=["two classes", "ten classes"])
def test_the_calibration_error_equals_that_of_bins_written_out(table):
    y, p, _ = table
    sure, right = p.max(axis=1), p.argmax(axis=1) == y
    expected = 0.0
    for low, high in zip(np.arange(15) / 15, np.arange(1, 16) / 15, strict=True):
        inside = (low < sure) & (sure <= high)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - sure[inside].mean())
    assert metrics.calibration_error(y, p) == pytest.approx(expected, rel=1e-9)
    assert 0 < expected < 1


def test_dice_is_twice_the_overlap_over_both_sizes():
    y, p, _ = MANY
    shares = np.eye(10)[y]
    expected = 2 * (p * shares).sum() / ((p**2).sum() + (shares**2).sum())
    assert metrics.dice(y, p) == pytest.approx(expected, rel=1e-12)


@st.composite
def judged_rows(draw):
    """Targets, probabilities and whole weights: few rows, few different probabilities, so many ties."""
    count, classes = draw(st.integers(1, 12)), draw(st.integers(2, 4))
    codes = draw(st.lists(st.integers(0, classes - 1), min_size=count, max_size=count))
    parts = st.lists(st.integers(0, 3), min_size=classes, max_size=classes).filter(any)
    table = np.array(draw(st.lists(parts, min_size=count, max_size=count)), np.float64)
    weight = draw(st.lists(st.integers(0, 3), min_size=count, max_size=count).filter(any))
    return np.array(codes), table / table.sum(axis=1, keepdims=True), np.array(weight)


@pytest.mark.parametrize("name", METRICS)
@given(rows=judged_rows())
def test_a_weight_of_two_is_the_row_twice(name, rows):
    y, p, weight = rows
    written_out = METRICS[name](np.repeat(y, weight), np.repeat(p, weight, axis=0))
    assert METRICS[name](y, p, weight) == pytest.approx(
        written_out, rel=1e-9, abs=1e-12, nan_ok=True
    )


BOUNDS = {"logloss": math.log(2**52), "brier": 2.0}


@pytest.mark.parametrize("name", METRICS)
@given(rows=judged_rows())
def test_a_metric_of_classes_stays_in_the_interval_that_it_tells(name, rows):
    value = METRICS[name](*rows)
    missing = set(range(rows[1].shape[1])) - set(rows[0][rows[2] > 0])
    if math.isnan(value):
        assert name in ("auc", "recall")
        assert missing
    else:
        assert -1e-12 <= value <= BOUNDS.get(name, 1.0) + 1e-9


@pytest.mark.parametrize("name", METRICS)
def test_certain_and_right_is_best_and_certain_and_wrong_is_worst(name):
    y = np.arange(6) % 3
    right, wrong = np.eye(3)[y], np.eye(3)[(y + 1) % 3]
    best, worst = METRICS[name](y, right), METRICS[name](y, wrong)
    is_loss = name in classification.SELECTING
    assert best == (0 if is_loss else 1)
    assert (worst > best) == is_loss
    assert math.isfinite(worst)


@pytest.mark.parametrize("name", METRICS)
def test_probabilities_of_float32_give_what_those_of_float64_give(name):
    y, p, weight = MANY
    rounded = p.astype(np.float32)
    assert METRICS[name](y, rounded, weight) == pytest.approx(
        METRICS[name](y, rounded.astype(np.float64), weight), rel=1e-5
    )


def test_a_soft_target_is_the_mean_of_both_classes_by_its_share():
    p = TWO[1]
    ones, zeros = np.ones(len(p)), np.zeros(len(p))
    for metric in (metrics.logloss, metrics.brier):
        two_rows = 0.25 * metric(ones, p) + 0.75 * metric(zeros, p)
        # The squared error of a share is less by the share's own spread, once for each class.
        spread = 2 * 0.25 * 0.75 if metric is metrics.brier else 0
        assert metric(np.full(len(p), 0.25), p) == pytest.approx(two_rows - spread, rel=1e-12)


def test_the_recall_of_two_classes_is_that_of_the_second_and_of_more_their_mean():
    assert classification.recall([0, 0, 1, 1], [[0.9, 0.1]] * 3 + [[0.1, 0.9]]) == 0.5
    y, p, weight = MANY
    assert classification.recall(y, p, weight) == metrics.balanced_accuracy(y, p, weight)


def test_a_class_without_a_row_has_no_area_and_no_recall_but_a_balanced_accuracy():
    table = [[0.5, 0.3, 0.2], [0.2, 0.5, 0.3]]
    assert math.isnan(metrics.auc([0, 1], table))
    assert math.isnan(classification.recall([0, 1], table))
    assert metrics.balanced_accuracy([0, 1], table) == 1
    assert math.isnan(metrics.auc([1, 1], [[0.5, 0.5], [0.2, 0.8]]))


GOOD = np.array([[0.5, 0.5], [0.25, 0.75], [1.0, 0.0]])


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize(
    ("target", "table", "weight", "line"),
    [
        ([0, 1, 1], GOOD[:1], None, "got shapes (3,) and (1, 2); of two classes pass two columns."),
        ([0, 1, 1], GOOD[:, 1], None, "got shapes (3,) and (3,)"),
        ([0, 1, 1], GOOD[:, :1], None, "got shapes (3,) and (3, 1)"),
        ([], GOOD[:0], None, "got shapes (0,) and (0, 2)"),
        ([0, 1, 1], GOOD * 2, None, "got [1. 1.] in row 1; pass probabilities, not margins."),
        ([0, 1, 1], [[0, 1], [np.nan, 1], [1, 0]], None, "got [nan  1.] in row 2"),
        ([0, 1, 1], [[0, 1], [-1, 2], [1, 0]], None, "got [-1.  2.] in row 2"),
        ([0, 1, 2], GOOD, None, "got 2 in row 3; encode the classes."),
        ([0, -1, 1], GOOD, None, "got -1 in row 2; encode the classes."),
        ([0, np.nan, 1], GOOD, None, "got nan in row 2; encode the classes."),
        ([0, 1, 1], GOOD, [1.0], "shape (3,), one a row; got (1,)"),
        ([0, 1, 1], GOOD, [1.0, -1.0, 1.0], "not negative; got 1 others"),
    ],
)
def test_a_metric_of_classes_refuses_what_is_no_probability_and_no_class(
    name, target, table, weight, line
):
    with pytest.raises(InputError) as caught:
        METRICS[name](target, table, weight)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", METRICS)
def test_only_log_loss_and_brier_take_soft_targets_and_only_of_two_classes(name):
    if name in ("logloss", "brier"):
        assert METRICS[name]([0.5, 1, 0], GOOD) > 0
    else:
        with pytest.raises(InputError, match=r"codes of classes, 0 to 1; got 0\.5 in row 1"):
            METRICS[name]([0.5, 1, 0], GOOD)
    with pytest.raises(InputError, match=r"codes of classes, 0 to 2; got 0\.5 in row 1"):
        METRICS[name]([0.5], [[0.5, 0.25, 0.25]])


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_what_a_task_reports_and_selects_by_are_metrics_of_it(task):
    assert TASKS[task.name] is task
    assert {*task.reported, *task.selecting} <= set(task.metrics)
    assert task.default in task.selecting
    assert task.default == task.reported[0]


def test_the_metrics_of_numbers_are_those_of_the_contract():
    assert metrics.METRICS is TASKS["regression"].metrics
    assert metrics.SELECTING == tuple(metrics.BY_RESIDUALS) == TASKS["regression"].selecting
    assert metrics.recall is metrics.METRICS["recall"]
