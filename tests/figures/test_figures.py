"""A run's pictures: what they show is what was, and they can be read."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
import xgboost
from matplotlib import image
from matplotlib.colors import to_hex

from asrl_mlflow import losses, train
from asrl_mlflow.datasets.splits import Rows, split
from asrl_mlflow.experiments.experiment import fit
from asrl_mlflow.experiments.settings import Settings
from asrl_mlflow.figures import loss_figures, model_figures
from asrl_mlflow.figures.run_figures import drawn
from asrl_mlflow.figures.style import COLOURS, REGION_COLOURS, png
from asrl_mlflow.residuals.statistics import Residuals
from asrl_mlflow.rounds import Round
from tests.conftest import PARAMS
from tests.every_loss import EVERY_LOSS

EVERY = pytest.mark.parametrize("loss", EVERY_LOSS, ids=str)


@EVERY
def test_thresholds_and_weights_are_drawn_as_they_were_in_every_round(dtrain, loss):
    rounds = []
    train(PARAMS, dtrain, 5, loss=loss, on_round=rounds.append)
    figure = loss_figures.thresholds_and_weights(rounds, loss.name, "title")
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
        assert to_hex(line.get_color()).upper() == COLOURS[loss.name]
    assert above.get_title() == "title"
    assert above.get_ylabel() == "threshold (target units)"
    assert below.get_xlabel() == "boosting round"
    assert below.get_ylabel()


def test_predicted_against_actual_shows_every_row_and_the_diagonal():
    figure = model_figures.predicted_against_actual(
        [1.0, 2.0, 4.0], [1.5, 2.0, 3.0], "asrl", "title"
    )
    (axes,) = figure.axes
    np.testing.assert_array_equal(
        axes.collections[0].get_offsets(), [[1.0, 1.5], [2.0, 2.0], [4.0, 3.0]]
    )
    np.testing.assert_array_equal(axes.get_lines()[0].get_xdata(), [1.0, 4.0])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("actual target", "predicted target")


def test_of_very_many_test_rows_a_part_is_drawn_and_that_is_said():
    actual = np.arange(25_000.0)
    (axes,) = model_figures.predicted_against_actual(actual, actual, "asrl", "title").axes
    assert len(axes.collections[0].get_offsets()) == 8334
    assert axes.get_legend().get_texts()[1].get_text() == "test row (8334 of 25000 drawn)"


def test_outliers_among_the_test_rows_do_not_press_the_others_into_a_corner():
    actual = np.append(np.linspace(0, 10, 95), np.full(5, 1000.0))
    figure = model_figures.predicted_against_actual(actual, actual % 10, "asrl", "title")
    (axes,) = figure.axes
    assert axes.get_xlim()[1] < 50
    assert axes.get_legend().get_title().get_text() == "5 of 100 rows lie outside"
    clean = model_figures.predicted_against_actual(actual[:95], actual[:95], "asrl", "title").axes[
        0
    ]
    assert clean.get_xlim()[1] > 10
    assert clean.get_legend().get_title().get_text() == ""


def test_thresholds_of_zero_are_drawn_without_a_logarithm(table):
    x, _ = table
    rounds = []
    dtrain = xgboost.QuantileDMatrix(x, label=np.full(len(x), 3.0))
    train(PARAMS, dtrain, 3, loss=losses.ASRL(), on_round=rounds.append)
    figure = loss_figures.thresholds_and_weights(rounds, "asrl", "title")
    assert figure.axes[0].get_yscale() == "linear"
    assert png(figure)


def shaded(axes):
    """The regions' ends on the right side, by colour."""
    return {
        to_hex(patch.get_facecolor()).upper(): patch.get_x() + patch.get_width()
        for patch in axes.patches
        if patch.get_x() >= 0 and to_hex(patch.get_facecolor()).upper() in REGION_COLOURS.values()
    }


@EVERY
def test_the_shape_of_a_loss_has_its_regions_shaded_up_to_its_thresholds(loss):
    point = loss.adapt(Residuals(np.random.default_rng(0).normal(size=500)))
    figure = loss_figures.loss_shape(point, 3.0, loss.name, "title")
    value, weight = figure.axes
    for axes, expected in (
        (value, point.value),
        (weight, lambda r: point.weight(r) / point.row_weight),
    ):
        r, drawn = axes.get_lines()[0].get_data()
        np.testing.assert_allclose(drawn, expected(r))
        reach = axes.get_xlim()[1]
        assert reach >= 3.0
        assert shaded(axes) == {
            REGION_COLOURS[name]: pytest.approx(min(limit, reach))
            for name, limit in point.regions.items()
        }
    labels = [text.get_text().split(",")[0] for text in figure.legends[0].get_texts()]
    assert labels == list(point.regions)


def test_a_jump_of_the_published_loss_is_drawn_as_one():
    point = losses.ASRL().adapt(Residuals(np.random.default_rng(0).normal(size=500)))
    figure = loss_figures.loss_shape(point, 3.0, "asrl", "title")
    r, value = figure.axes[0].get_lines()[0].get_data()
    at = np.flatnonzero((np.diff(r) < 1e-12) & (r[1:] != 0))
    assert {round(abs(r[place]), 9) for place in at} == {
        round(point.delta_low, 9),
        round(point.delta_high, 9),
    }
    assert (np.abs(np.diff(value)[at]) > 1e-3).any()


@pytest.mark.parametrize("spoiled", [False, True])
def test_every_residual_is_in_the_histogram_or_counted(spoiled):
    r = np.random.default_rng(0).normal(size=1000)
    r[:200] += 500 if spoiled else 0
    r[999] = 100
    point = losses.ContinuousASRL(q_high=0.85).adapt(Residuals(r))
    figure = loss_figures.residual_histogram(r, point, "asrl_c", "title")
    (axes,) = figure.axes
    bars = [
        patch
        for patch in axes.patches
        if to_hex(patch.get_facecolor()).upper() == COLOURS["asrl_c"]
    ]
    shown = sum(bar.get_height() for bar in bars)
    title = figure.legends[0].get_title().get_text()
    # Thresholds far apart: the axis is stretched, and outliers are seen.
    assert axes.get_xscale() == ("symlog" if spoiled else "linear")
    assert shown == (1000 if spoiled else 999)
    assert title == ("" if spoiled else "1 of 1000 rows lie outside")
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert [label.split()[1].rstrip(",") for label in labels] == ["50%", "35%", "15%"]


def rounds(count=20):
    point = losses.SquaredError().adapt(Residuals([1.0, 2.0]))
    return [
        Round(
            number=number,
            pointwise=point,
            mean_weight=1.0,
            floored=0,
            train={"mae": 9.0 / (number + 1), "rmse": 10.0 / (number + 1)},
            valid={"mae": 10.0 / (number + 1), "rmse": 11.0 / (number + 1)},
            valid_shares={"core": 1.0},
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("best", [19, 7])
def test_learning_curves_are_those_of_the_rounds_and_mark_the_one_that_is_kept(best):
    figure = model_figures.learning_curves(rounds(), best, "huber", "title")
    for axes, metric in zip(figure.axes, ("mae", "rmse"), strict=True):
        train_line, valid_line, *marks = axes.get_lines()
        np.testing.assert_array_equal(
            train_line.get_ydata(), [round_.train[metric] for round_ in rounds()]
        )
        np.testing.assert_array_equal(
            valid_line.get_ydata(), [round_.valid[metric] for round_ in rounds()]
        )
        assert [mark.get_xdata()[0] for mark in marks] == ([] if best == 19 else [7])


def test_error_by_decile_shows_where_and_which_way_the_model_errs():
    actual = np.arange(100.0)
    predicted = actual + np.where(actual < 10, 2.0, -1.0)
    (axes,) = model_figures.error_by_decile(actual, predicted, "asrl", "title").axes
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([2.0] + [1.0] * 9)
    np.testing.assert_allclose(axes.get_lines()[0].get_ydata(), [2.0] + [-1.0] * 9)


@pytest.mark.parametrize("actual", [np.zeros(50), np.repeat([0.0, 5.0], 25), np.arange(3.0)])
def test_deciles_of_few_different_targets_are_fewer(actual):
    (axes,) = model_figures.error_by_decile(actual, actual + 1, "asrl", "title").axes
    assert all(bar.get_height() == 1 for bar in axes.patches)
    assert 1 <= len(axes.patches) <= len(np.unique(actual))


def test_feature_importance_is_a_share_of_the_gain_and_stops_at_fifteen():
    gains = {f"a feature with quite a long name {number}": float(number) for number in range(40)}
    figure = model_figures.feature_importance(gains, "asrl", "title")
    (axes,) = figure.axes
    assert len(axes.patches) == 15
    assert axes.patches[-1].get_width() == pytest.approx(39 / sum(range(40)))
    assert "(best 15 of 40)" in axes.get_xlabel()
    assert model_figures.feature_importance({}, "asrl", "title") is None


def test_names_are_drawn_as_they_are_whatever_signs_they_have():
    gains = {r"$\price_$": 2.0, "a$b": 1.0, "$_^$": 0.5}
    figure = model_figures.feature_importance(gains, "asrl", r"asrl on $\frac$")
    assert png(figure).startswith(b"\x89PNG")
    labels = {label.get_text() for label in figure.axes[0].get_yticklabels()}
    assert labels == set(gains)


def test_figures_are_large_enough_to_read_and_small_enough_to_load():
    figure = model_figures.learning_curves(rounds(), 19, "huber", "title")
    content = png(figure)
    height, width, _ = image.imread(io.BytesIO(content)).shape
    assert width >= 700
    assert height >= 400
    assert len(content) < 300_000


TARGETS = {
    "constant": np.full(200, 3.0),
    "mostly zero": np.where(np.arange(200) % 10, 0.0, np.arange(200)),
    "tiny": np.random.default_rng(0).normal(size=200) * 1e-12,
    "huge": np.random.default_rng(0).normal(size=200) * 1e14,
    "with one gross outlier": np.append(np.random.default_rng(0).normal(size=199), 1e15),
    "two values": np.repeat([0.0, 1.0], 100),
}


@pytest.mark.parametrize(
    "loss",
    [losses.ASRL(), losses.ContinuousASRL(), losses.AbsoluteError()],
    ids=str,
)
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_every_picture_can_be_drawn_whatever_the_target(loss, target):
    features = pd.DataFrame({"x": np.random.default_rng(1).normal(size=200)})
    parts = split(Rows(features, target), 0)
    rounds = []
    booster = fit(loss, parts, Settings(rounds=3), 0, rounds.append)
    prediction = booster.inplace_predict(parts.test.features)
    given = (loss, booster, parts.test, prediction, rounds, rounds[-1], "title")
    pictures = dict(drawn(*given, valid=parts.valid))
    assert set(dict(drawn(*given, valid=None))) < set(pictures)
    assert {"predicted_against_actual", "learning_curves", "loss_shape", "residuals"} <= set(
        pictures
    )
    assert all(content.startswith(b"\x89PNG") for content in pictures.values())
