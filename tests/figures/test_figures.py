"""A run's pictures: what they show is what was, and they can be read."""

from __future__ import annotations

import dataclasses
import io
import itertools

import numpy as np
import pandas as pd
import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import image
from matplotlib.colors import to_hex, to_rgb
from matplotlib.text import Text

from asrl_mlflow import losses, train
from asrl_mlflow.datasets.splits import Rows, split
from asrl_mlflow.experiments.experiment import fit
from asrl_mlflow.experiments.settings import Settings
from asrl_mlflow.figures import draw_validation_curves, loss_figures, model_figures
from asrl_mlflow.figures.run_figures import draw_run
from asrl_mlflow.figures.style import colour_of, png, region_colours, spread
from asrl_mlflow.losses.regression.pointwise import THRESHOLD
from asrl_mlflow.residuals.statistics import Residuals
from asrl_mlflow.rounds import Round
from tests.conftest import PARAMS
from tests.every_loss import EVERY_LOSS


def titles(figure):
    """Headline and context, as they stand above a figure."""
    return [part.get_suptitle() for part in (figure, *figure.subfigs)]


def legend(figure):
    """The legend that stands below the axes."""
    (found,) = figure.subfigs[0].legends
    return found


EVERY = pytest.mark.parametrize("loss", EVERY_LOSS, ids=str)


@EVERY
def test_thresholds_and_weights_are_drawn_as_they_were_in_every_round(dtrain, loss):
    rounds = []
    train(PARAMS, dtrain, 5, loss=loss, on_round=rounds.append)
    figure = loss_figures.draw_thresholds_and_weights(rounds, loss.name, "title")
    if loss.name in ("squared_error", "absolute_error", "quantile", "expectile"):
        assert figure is None
        return
    assert len(figure.axes) == (3 if loss.name == "adaptive_barron" else 2)
    drawn = {line.get_label(): line for axes in figure.axes for line in axes.get_lines()}
    logged = {
        field.name for field in dataclasses.fields(rounds[0].pointwise) if "group" in field.metadata
    }
    expected = logged - {"fallback"}
    assert set(drawn) == (expected if loss.name == "asrl" else expected | {"mean row weight"})
    for name, line in drawn.items():
        if name != "mean row weight":
            values = [getattr(round_.pointwise, name) for round_ in rounds]
            np.testing.assert_array_equal(line.get_ydata(), values)
        assert to_hex(line.get_color()).upper() == colour_of(loss.name)
    assert titles(figure) == ["Thresholds and weights of the loss, round by round", "title"]
    assert figure.axes[0].get_ylabel() == "threshold (target units)"
    assert figure.axes[-1].get_xlabel() == "boosting round"
    assert figure.axes[-1].get_ylabel()


def test_a_loss_of_two_stages_is_drawn_with_the_thresholds_of_both(dtrain):
    rounds = []
    train(PARAMS, dtrain, 12, loss=losses.MM(), on_round=rounds.append)
    figure = loss_figures.draw_thresholds_and_weights(rounds, "mm", "title")
    drawn = {line.get_label(): len(line.get_xdata()) for line in figure.axes[0].get_lines()}
    assert drawn == {"eps": 9, "scale": 3}
    assert png(figure)


def test_predicted_against_actual_shows_every_row_and_the_diagonal():
    figure = model_figures.draw_predicted_against_actual(
        [1.0, 2.0, 4.0], [1.5, 2.0, 3.0], "asrl", "title"
    )
    (axes,) = figure.axes
    np.testing.assert_array_equal(
        axes.collections[0].get_offsets(), [[1.0, 1.5], [2.0, 2.0], [4.0, 3.0]]
    )
    np.testing.assert_array_equal(axes.get_lines()[0].get_xdata(), [1.0, 4.0])
    assert (axes.get_xlabel(), axes.get_ylabel()) == (
        "actual (target units)",
        "predicted (target units)",
    )


def test_of_very_many_test_rows_a_part_is_drawn_and_that_is_said():
    actual = np.arange(25_000.0)
    (axes,) = model_figures.draw_predicted_against_actual(actual, actual, "asrl", "title").axes
    assert len(axes.collections[0].get_offsets()) == 8334
    assert axes.get_legend().get_texts()[1].get_text() == "test row (8334 of 25000 drawn)"


def test_outliers_among_the_test_rows_do_not_press_the_others_into_a_corner():
    actual = np.append(np.linspace(0, 10, 95), np.full(5, 1000.0))
    figure = model_figures.draw_predicted_against_actual(actual, actual % 10, "asrl", "title")
    (axes,) = figure.axes
    assert axes.get_xlim()[1] < 50
    assert axes.get_legend().get_title().get_text() == "5 of 100 rows lie outside"
    clean = model_figures.draw_predicted_against_actual(
        actual[:95], actual[:95], "asrl", "title"
    ).axes[0]
    assert clean.get_xlim()[1] > 10
    assert clean.get_legend().get_title().get_text() == ""


def test_thresholds_of_zero_are_drawn_without_a_logarithm(table):
    x, _ = table
    rounds = []
    dtrain = xgboost.QuantileDMatrix(x, label=np.full(len(x), 3.0))
    train(PARAMS, dtrain, 3, loss=losses.ASRL(), on_round=rounds.append)
    figure = loss_figures.draw_thresholds_and_weights(rounds, "asrl", "title")
    assert figure.axes[0].get_yscale() == "linear"
    assert png(figure)


def shaded(axes, regions):
    """The regions' ends on the right side, by name."""
    names = {colour: name for name, colour in region_colours(regions).items()}
    return {
        names[to_hex(patch.get_facecolor()).upper()]: patch.get_x() + patch.get_width()
        for patch in axes.patches
        if patch.get_x() >= 0 and to_hex(patch.get_facecolor()).upper() in names
    }


def own_line(axes, loss):
    (line,) = (each for each in axes.get_lines() if same_colour(each.get_color(), loss))
    return line.get_data()


def same_colour(colour, loss):
    return to_hex(colour).upper() == colour_of(loss)


@EVERY
def test_the_shape_of_a_loss_has_its_regions_shaded_up_to_its_thresholds(loss):
    point = loss.adapt(Residuals(np.random.default_rng(0).normal(size=500)))
    figure = loss_figures.draw_loss_shape(point, 3.0, loss.name, "title")
    for number, axes in enumerate(figure.axes):
        expected = (point.value, lambda r: point.weight(r) / point.row_weight)[number % 2]
        r, drawn = own_line(axes, loss.name)
        np.testing.assert_allclose(drawn, expected(r))
        assert axes.get_xscale() == "linear"
        reach = axes.get_xlim()[1]
        if number < 2:
            assert reach >= max([3.0, *(end for end in point.regions.values() if end < np.inf)])
        assert shaded(axes, point.regions) == {
            name: pytest.approx(min(limit, reach)) for name, limit in point.regions.items()
        }
    labels = [text.get_text().split(",")[0] for text in legend(figure).get_texts()]
    references = [name for name in ("squared_error", "absolute_error") if name != loss.name]
    assert labels == [loss.name, *references, *point.regions]


def test_the_grey_references_touch_the_loss_as_the_legend_says():
    point = losses.Huber(delta=2.0).adapt(Residuals([1.0, 2.0]))
    value, weight = loss_figures.draw_loss_shape(point, 5.0, "huber", "title").axes
    _, squared, absolute = (line.get_data() for line in value.get_lines())
    r = squared[0]
    core = np.abs(r) <= 2
    np.testing.assert_allclose(squared[1][core], point.value(r)[core])
    far = r > 2
    np.testing.assert_allclose(np.diff(absolute[1][far]), np.diff(point.value(r)[far]), atol=1e-12)
    assert weight.get_lines()[1].get_ydata() == pytest.approx(1.0)


def test_where_thresholds_are_far_apart_the_neighbourhood_of_zero_has_panels_of_its_own():
    r = np.random.default_rng(0).normal(size=1000)
    r[:200] += 500
    point = losses.ContinuousASRL().adapt(Residuals(r))
    figure = loss_figures.draw_loss_shape(point, 3.0, "asrl_c", "title")
    whole, _, near, _ = figure.axes
    assert whole.get_xlim()[1] > point.delta_high
    assert near.get_xlim()[1] == pytest.approx(4 * point.delta_low)


@dataclasses.dataclass(frozen=True)
class PointwiseOwn(losses.PointwiseLoss):
    """A loss of a user: other regions, five thresholds to log, no core."""

    inner: float = dataclasses.field(metadata=THRESHOLD)
    outer: float = dataclasses.field(metadata=THRESHOLD)
    third: float = dataclasses.field(default=0.1, metadata=THRESHOLD)
    fourth: float = dataclasses.field(default=-0.2, metadata=THRESHOLD)
    fifth: float = dataclasses.field(default=0.3, metadata=THRESHOLD)

    def value(self, r):
        return np.log1p(np.square(r) / 2)

    def weight(self, r):
        return 1 / (1 + np.square(r) / 2)

    @property
    def regions(self):
        return {"trusted rows": self.inner, "doubtful": self.outer, "wrong": np.inf}


@dataclasses.dataclass(frozen=True)
class PointwiseBare(losses.PointwiseLoss):
    """A loss of a user without regions and without anything to log."""

    def value(self, r):
        return np.square(r) / 2

    def weight(self, r):
        return np.ones_like(r)

    @property
    def regions(self):
        return {}


@pytest.mark.parametrize("point", [PointwiseOwn(1.0, 2.0), PointwiseBare()], ids=["own", "bare"])
def test_a_loss_of_a_user_is_drawn_whatever_it_calls_its_regions(point):
    given = [dataclasses.replace(each, pointwise=point) for each in rounds()]
    r = np.random.default_rng(0).normal(size=500)
    shape = loss_figures.draw_loss_shape(point, 3.0, "my_loss", "title")
    histogram = loss_figures.draw_residual_histogram(r, point, "my_loss", "title")
    moved = loss_figures.draw_thresholds_and_weights(given, "my_loss", "title")
    assert png(shape)
    assert png(histogram)
    assert list(shaded(shape.axes[0], point.regions)) == list(point.regions)
    if not point.regions:
        assert moved is None
        return
    assert png(moved)
    drawn = [line.get_label() for line in moved.axes[0].get_lines()]
    assert drawn == ["inner", "outer", "third", "fourth", "fifth"]


def test_a_jump_of_the_published_loss_is_drawn_as_one():
    point = losses.ASRL().adapt(Residuals(np.random.default_rng(0).normal(size=500)))
    figure = loss_figures.draw_loss_shape(point, 3.0, "asrl", "title")
    r, value = own_line(figure.axes[0], "asrl")
    at = np.flatnonzero((np.diff(r) < 1e-12) & (r[1:] != 0))
    assert {round(abs(r[place]), 9) for place in at} == {
        round(point.delta_low, 9),
        round(point.delta_high, 9),
    }
    assert (np.abs(np.diff(value)[at]) > 1e-3).any()


def drawn_rows(axes, loss):
    """How many rows the bars of a histogram stand for."""
    return sum(bar.get_height() for bar in axes.patches if same_colour(bar.get_facecolor(), loss))


@pytest.mark.parametrize("spoiled", [False, True])
def test_every_residual_is_in_the_histogram_or_counted(spoiled):
    r = np.random.default_rng(0).normal(size=1000)
    r[:200] += 500 if spoiled else 0
    r[999] = 100
    point = losses.ContinuousASRL(q_high=0.85).adapt(Residuals(r))
    figure = loss_figures.draw_residual_histogram(r, point, "asrl_c", "title")
    whole, *near = figure.axes
    assert whole.get_xscale() == "linear"
    assert drawn_rows(whole, "asrl_c") == (1000 if spoiled else 999)
    assert legend(figure).get_title().get_text() == (
        "" if spoiled else "1 of 1000 rows lie outside"
    )
    # Of many far out the others are seen in a panel of their own.
    assert len(near) == spoiled
    for axes in near:
        assert drawn_rows(axes, "asrl_c") > 700
        assert axes.get_xlim()[1] < 10
    labels = [text.get_text() for text in legend(figure).get_texts()]
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
    figure = model_figures.draw_learning_curves(rounds(), best, "huber", "title")
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
    (axes,) = model_figures.draw_error_by_decile(actual, predicted, "asrl", "title").axes
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([2.0] + [1.0] * 9)
    np.testing.assert_allclose(axes.get_lines()[0].get_ydata(), [2.0] + [-1.0] * 9)


@pytest.mark.parametrize("actual", [np.zeros(50), np.repeat([0.0, 5.0], 25), np.arange(3.0)])
def test_deciles_of_few_different_targets_are_fewer(actual):
    (axes,) = model_figures.draw_error_by_decile(actual, actual + 1, "asrl", "title").axes
    assert all(bar.get_height() == 1 for bar in axes.patches)
    assert 1 <= len(axes.patches) <= len(np.unique(actual))


def test_feature_importance_is_a_share_of_the_gain_and_stops_at_fifteen():
    gains = {f"a feature with quite a long name {number}": float(number) for number in range(40)}
    figure = model_figures.draw_feature_importance(gains, "asrl", "title")
    (axes,) = figure.axes
    assert len(axes.patches) == 15
    assert axes.patches[-1].get_width() == pytest.approx(39 / sum(range(40)))
    assert "the best 15 of 40 features" in axes.get_xlabel()
    assert model_figures.draw_feature_importance({}, "asrl", "title") is None


def test_names_are_drawn_as_they_are_whatever_signs_they_have():
    gains = {r"$\price_$": 2.0, "a$b": 1.0, "$_^$": 0.5}
    figure = model_figures.draw_feature_importance(gains, "asrl", r"asrl on $\frac$")
    assert png(figure).startswith(b"\x89PNG")
    labels = {label.get_text() for label in figure.axes[0].get_yticklabels()}
    assert labels == set(gains)


def test_figures_are_large_enough_to_read_and_small_enough_to_load():
    figure = model_figures.draw_learning_curves(rounds(), 19, "huber", "title")
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
    sizes = np.abs(parts.valid.target - booster.inplace_predict(parts.valid.features))
    pictures = dict(draw_run(*given, valid=parts.valid, calibration=sizes))
    fewer = dict(draw_run(*given, valid=None, calibration=np.empty(0)))
    assert set(fewer) < set(pictures)
    assert set(pictures) - set(fewer) >= {"interval_calibration", "learning_curves"}
    assert {"predicted_against_actual", "learning_curves", "loss_shape", "residuals"} <= set(
        pictures
    )
    assert all(content.startswith(b"\x89PNG") for content in pictures.values())


# Linear RGB of what three kinds of colour-blind readers see (Machado, Oliveira, Fernandes 2009, severity 1).
SIGHTS = {
    "usual": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def as_seen(colour, sight):
    """CIELAB coordinates, in which 2.3 is the least difference that is noticed."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.asarray(SIGHTS[sight]) @ linear, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = np.asarray(to_xyz) @ seen / [0.9505, 1.0, 1.089]
    fx, fy, fz = (np.cbrt(v) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x, y, z))
    return np.array([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)])


@pytest.mark.parametrize("sight", SIGHTS)
def test_colour_blind_readers_tell_the_losses_apart(sight):
    labels = [*losses.BASIC, "asrl_c tuned", "huber tuned"]
    for one, other in itertools.combinations(labels, 2):
        distance = np.linalg.norm(as_seen(colour_of(one), sight) - as_seen(colour_of(other), sight))
        assert distance > 10, (one, other)


def test_a_loss_that_nobody_knows_has_a_colour_of_its_own_that_stays():
    names = [*losses.LOSSES, *(f"my_loss_{number}" for number in range(20))]
    labels = [*names, *(f"{name} tuned" for name in names)]
    assert len({colour_of(label) for label in labels}) == len(labels)
    assert colour_of("my_loss") == "#942562"


def test_validation_curves_have_a_line_a_loss_and_its_name_beside_its_end():
    curves = {
        "huber": [[4.0, 3.0, 2.0], [4.0, 2.0]],
        "asrl_c tuned": [[4.0, 2.5, 1.5], [4.5, 3.0, 2.5]],
        "my_loss": [[], [9.0, 8.0]],
        "stopped": [[]],
    }
    figure = draw_validation_curves(curves, "title")
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.get_lines() if line.get_label()[0] != "_"}
    assert list(lines) == ["huber", "asrl_c tuned", "my_loss"]
    # The mean, as far as all seeds go.
    np.testing.assert_allclose(lines["huber"].get_ydata(), [4.0, 2.5])
    np.testing.assert_allclose(lines["asrl_c tuned"].get_ydata(), [4.25, 2.75, 2.0])
    assert lines["asrl_c tuned"].is_dashed()
    assert not lines["huber"].is_dashed()
    assert {text.get_text() for text in axes.texts} == {"huber 2.5", "asrl_c tuned 2", "my_loss 8"}
    assert axes.get_ylabel() == "validation MAE (target units), mean over seeds"
    assert draw_validation_curves({"huber": [[]]}, "title") is None


def test_labels_of_lines_that_end_at_one_place_do_not_overlap():
    curves = {f"loss_{number}": [[3.0, 1.0 + number / 1000]] for number in range(12)}
    figure = draw_validation_curves(curves, "title")
    figure.draw_without_rendering()
    # Of the text alone, without the line that leads to it.
    boxes = [Text.get_window_extent(text) for text in figure.axes[0].texts]
    texts = [(box.y0, box.y1) for box in boxes]
    assert all(low[1] <= high[0] for low, high in itertools.pairwise(sorted(texts)))


@given(st.lists(st.floats(0, 1), max_size=12), st.floats(0.01, 0.3))
def test_numbers_that_are_spread_keep_their_order_and_their_distance(heights, gap):
    heights.sort()
    moved = spread(heights, gap)
    assert len(moved) == len(heights)
    assert all(high - low >= gap - 1e-9 for low, high in itertools.pairwise(moved))
    if (len(heights) - 1) * gap <= 1:
        assert all(-1e-9 <= height <= 1 + 1e-9 for height in moved)
    if all(high - low > gap for low, high in itertools.pairwise(heights)):
        assert moved == pytest.approx(heights)


def inside(figure):
    """Levels, share of test rows inside, and the band at each level."""
    (axes,) = figure.axes
    line = next(each for each in axes.get_lines() if each.get_label() == "test rows inside")
    corners = axes.collections[0].get_paths()[0].vertices
    return *line.get_data(), corners


def test_intervals_of_rows_alike_hold_within_the_band():
    rng = np.random.default_rng(0)
    calibration, test = np.abs(rng.normal(size=(2, 1000)))
    figure = model_figures.draw_interval_calibration(calibration, test, "asrl_c", "title")
    levels, shares, _ = inside(figure)
    half = np.sort(calibration)[899 + 1]
    assert shares[levels == 0.9] == pytest.approx(np.mean(test <= half))
    assert np.abs(shares - levels).max() < 0.06
    assert "1000 rows to calibrate by, 1000 test rows" in (
        figure.axes[0].get_legend().get_texts()[0].get_text().replace("\n", " ")
    )


def test_the_band_holds_95_of_100_splits_at_a_level():
    rng = np.random.default_rng(1)
    splits = np.abs(rng.standard_t(3, size=(2000, 2, 60)))
    figure = model_figures.draw_interval_calibration(*splits[0], "asrl_c", "title")
    levels, shares, corners = inside(figure)
    ends = corners[np.isclose(corners[:, 0], 0.5), 1]
    # The half width is the 31st of 60 residuals, as the figure has it for the first split.
    held = np.array([np.mean(test <= np.sort(known)[30]) for known, test in splits])
    assert held[0] == pytest.approx(shares[levels == 0.5][0])
    assert 0.94 < np.mean((ends.min() <= held) & (held <= ends.max())) < 0.985


def test_levels_that_few_rows_cannot_give_are_left_out():
    sizes = np.arange(1.0, 10.0)
    figure = model_figures.draw_interval_calibration(sizes, sizes, "asrl_c", "title")
    assert inside(figure)[0].max() == pytest.approx(0.9)
    assert png(model_figures.draw_interval_calibration(sizes[:1], sizes, "huber", "title"))
    assert model_figures.draw_interval_calibration(np.empty(0), sizes, "huber", "title") is None
    assert model_figures.draw_interval_calibration(sizes, np.empty(0), "huber", "title") is None
