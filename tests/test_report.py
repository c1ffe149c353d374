"""The report: figures with labels and one colour a loss, a table that a person can read."""

from __future__ import annotations

import numpy as np
import pytest
import xgboost
from matplotlib.colors import to_hex

from asrl_mlflow import losses, report, train
from tests.conftest import PARAMS
from tests.every_loss import EVERY_LOSS

EVERY = pytest.mark.parametrize("loss", EVERY_LOSS, ids=str)


def scores(names, seeds=1):
    rng = np.random.default_rng(0)
    metrics = [metric for metric, _ in report.SUMMARY]
    return {name: {metric: list(rng.random(seeds)) for metric in metrics} for name in names}


def test_every_loss_has_a_colour_of_its_own():
    assert set(report.COLOURS) == set(losses.LOSSES)
    assert len(set(report.COLOURS.values())) == len(report.COLOURS)


@EVERY
def test_thresholds_and_weights_are_drawn_as_they_were_in_every_round(dtrain, loss):
    rounds = []
    train(PARAMS, dtrain, 5, loss=loss, on_round=rounds.append)
    figure = report.thresholds_and_weights(rounds, loss.name, "title")
    if loss.name in ("squared_error", "absolute_error"):
        assert figure is None
        return
    above, below = figure.axes
    drawn = {line.get_label(): line for axes in (above, below) for line in axes.get_lines()}
    expected = {
        "asrl": {"delta_low", "delta_high", "alpha", "beta", "gamma"},
        "asrl_c": {"delta_low", "delta_high", "mean row weight"},
    }.get(loss.name, {"delta", "mean row weight"})
    assert set(drawn) == expected
    for name, line in drawn.items():
        if name != "mean row weight":
            values = [getattr(round_.pointwise, name) for round_ in rounds]
            np.testing.assert_array_equal(line.get_ydata(), values)
        assert to_hex(line.get_color()).upper() == report.COLOURS[loss.name]
    assert above.get_title() == "title"
    assert above.get_ylabel() == "threshold (target units)"
    assert below.get_xlabel() == "boosting round"
    assert below.get_ylabel()


def test_predicted_against_actual_shows_every_row_and_the_diagonal():
    figure = report.predicted_against_actual([1.0, 2.0, 4.0], [1.5, 2.0, 3.0], "asrl", "title")
    (axes,) = figure.axes
    np.testing.assert_array_equal(
        axes.collections[0].get_offsets(), [[1.0, 1.5], [2.0, 2.0], [4.0, 3.0]]
    )
    np.testing.assert_array_equal(axes.get_lines()[0].get_xdata(), [1.0, 4.0])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("actual target", "predicted target")


def test_outliers_among_the_test_rows_do_not_press_the_others_into_a_corner():
    actual = np.append(np.linspace(0, 10, 95), np.full(5, 1000.0))
    figure = report.predicted_against_actual(actual, actual % 10, "asrl", "title")
    (axes,) = figure.axes
    assert axes.get_xlim()[1] < 50
    assert axes.get_legend().get_title().get_text() == "5 of 100 rows lie outside"
    clean = report.predicted_against_actual(actual[:95], actual[:95], "asrl", "title").axes[0]
    assert clean.get_xlim()[1] > 10
    assert clean.get_legend().get_title().get_text() == ""


def test_thresholds_of_zero_are_drawn_without_a_logarithm(table):
    x, _ = table
    rounds = []
    dtrain = xgboost.QuantileDMatrix(x, label=np.full(len(x), 3.0))
    train(PARAMS, dtrain, 3, loss=losses.ASRL(), on_round=rounds.append)
    figure = report.thresholds_and_weights(rounds, "asrl", "title")
    assert figure.axes[0].get_yscale() == "linear"
    assert report.png(figure)


@pytest.mark.parametrize("seeds", [1, 3])
def test_metric_bars_stand_for_the_means_with_the_best_on_top(seeds):
    values = scores(["asrl", "asrl_c", "huber"], seeds)
    figure = report.metric_bars(values, "title")
    order = report.ranked(values)
    first = figure.axes[0]
    assert [label.get_text() for label in first.get_yticklabels()] == order[::-1]
    assert [bar.get_width() for bar in first.patches] == pytest.approx(
        [np.mean(values[name]["mae"]) for name in order[::-1]]
    )
    assert len(first.collections) == (0 if seeds == 1 else 6)
    assert all(axes.get_title() and axes.get_xlabel() for axes in figure.axes)


def test_a_figure_becomes_a_png():
    figure = report.metric_bars(scores(["asrl"]), "title")
    assert report.png(figure).startswith(b"\x89PNG")


def test_the_table_is_sorted_aligned_and_has_a_spread_over_seeds():
    lines = report.summary_table(scores(["asrl", "absolute_error"], seeds=3)).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1].count("±") == 5
    columns = report.summary_columns(scores(["asrl", "absolute_error"], seeds=3))
    assert columns["test MAE"] == sorted(columns["test MAE"])
    assert "test MAE sd" in columns
