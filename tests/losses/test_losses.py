"""Losses: golden values, and the laws that every one of them keeps."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrl_mlflow import losses
from asrl_mlflow.errors import InputError
from asrl_mlflow.losses.regression.redescending.barron import barron_value, barron_weight
from asrl_mlflow.losses.regression.redescending.log_partition import log_partition
from asrl_mlflow.losses.regression.segmented import likelihood
from asrl_mlflow.losses.regression.segmented.asrl import PointwiseASRL
from asrl_mlflow.losses.regression.segmented.continuous_asrl import PointwiseContinuousASRL
from asrl_mlflow.losses.regression.segmented.huber import PointwiseHuber
from asrl_mlflow.losses.regression.segmented.squared_error import PointwiseSquaredError
from asrl_mlflow.residuals.progress import Progress
from asrl_mlflow.residuals.statistics import Residuals, distances
from tests.every_loss import ADAPTIVE, EVERY_LOSS, is_automatic

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text())
RNG = np.random.default_rng(3)
SAMPLE = 5 * RNG.standard_t(2, 401)


def every(*but):
    """All losses of the list but those of some classes, for whose exemption the test's name stands."""
    kept = [loss for loss in EVERY_LOSS if not isinstance(loss, but)]
    return pytest.mark.parametrize("loss", kept, ids=str)


EVERY = every()
JUMPING = (losses.ASRL,)
ASYMMETRIC = (losses.Quantile, losses.Expectile)


def thresholds(point):
    return [limit for limit in point.regions.values() if math.isfinite(limit)]


def logged_thresholds(point):
    return [
        getattr(point, field.name)
        for field in dataclasses.fields(point)
        if field.metadata.get("group") == "threshold" and field.name != "fallback"
    ]


def is_fixed(loss):
    """Whether a scale of the loss is a number in target units."""
    scale = getattr(type(loss), "SCALE", "delta")
    return isinstance(getattr(loss, scale, "none"), float)


def grid(point, most=60.0):
    """Residuals from 0 outwards that keep clear of kinks and of AbsoluteError's held-down centre."""
    r = np.linspace(0.05, most, 2000)
    for kink in thresholds(point):
        r = r[np.abs(r - kink) > 1e-3]
    return r


def adapted(loss):
    return loss.adapt(Residuals(SAMPLE))


def golden_pointwise(name, params):
    number = {key: float(value) for key, value in params.items() if key != "note"}
    return {
        "squared": PointwiseSquaredError,
        "huber": lambda: PointwiseHuber(number["delta"]),
        "smooth_l1": lambda: adapted(losses.SmoothL1(number["beta"])),
        "charbonnier": lambda: adapted(losses.Charbonnier(number["eps"])),
        "pseudo_huber": lambda: adapted(losses.PseudoHuber(number["delta"])),
        "log_cosh": lambda: adapted(losses.LogCosh(number["c"])),
        "smae": lambda: adapted(losses.SMAE(number["c"])),
        "asrl_paper": lambda: PointwiseASRL(
            number["delta1"], number["delta2"], number["alpha"], number["beta"], number["gamma"]
        ),
        "asrl_c": lambda: PointwiseContinuousASRL(
            number["delta1"], number["delta2"], number["tail"]
        ),
    }[name]()


GOLDEN = [entry for entry in VECTORS["regression"] if entry["loss"] != "barron"]


def test_the_golden_values_cover_the_losses_they_are_for():
    assert Counter(entry["loss"] for entry in VECTORS["regression"]) == {
        "squared": 8,
        "huber": 16,
        "smooth_l1": 15,
        "charbonnier": 16,
        "pseudo_huber": 8,
        "log_cosh": 16,
        "smae": 16,
        "barron": 78,
        "asrl_paper": 8,
        "asrl_c": 24,
    }


@pytest.mark.parametrize(
    "entry", GOLDEN, ids=lambda entry: f"{entry['loss']} {entry['params']} {entry['r']}"
)
def test_value_influence_and_weight_equal_the_golden_values(entry):
    point = golden_pointwise(entry["loss"], entry["params"])
    r = np.array([float(entry["r"])])
    assert point.value(r)[0] == pytest.approx(entry["value"], rel=1e-12, abs=0)
    assert point.influence(r)[0] == pytest.approx(entry["psi"], rel=1e-12, abs=0)
    assert point.weight(r)[0] == pytest.approx(entry["w"], rel=1e-12, abs=0)


BARRON = [entry for entry in VECTORS["regression"] if entry["loss"] == "barron"]


@pytest.mark.parametrize("entry", BARRON, ids=lambda entry: f"{entry['params']} {entry['r']}")
def test_barrons_loss_equals_the_golden_values_times_its_scale_squared(entry):
    alpha, scale = (float(entry["params"][key]) for key in ("alpha", "c"))
    if alpha > 2:
        with pytest.raises(InputError, match=r"Barron needs alpha <= 2; got alpha="):
            losses.Barron(alpha, scale)
        return
    point, r = adapted(losses.Barron(alpha, scale)), np.array([float(entry["r"])])
    assert point.value(r)[0] == pytest.approx(scale**2 * entry["value"], rel=1e-12, abs=0)
    assert point.influence(r)[0] == pytest.approx(scale**2 * entry["psi"], rel=1e-12, abs=0)
    assert point.weight(r)[0] == pytest.approx(scale**2 * entry["w"], rel=1e-12, abs=0)


@pytest.mark.parametrize(
    ("case", "general"),
    [
        (losses.PseudoHuber(2.0), losses.Barron(1.0, 2.0)),
        (losses.Cauchy(2.0), losses.Barron(0.0, 2.0)),
        (losses.GemanMcClure(2.0), losses.Barron(-2.0, 2.0)),
        (losses.Welsch(2.0), losses.Barron(-math.inf, 2.0)),
        (losses.SquaredError(), losses.Barron(2.0, 2.0)),
    ],
    ids=str,
)
def test_the_named_cases_of_barrons_loss_are_cases_of_it_and_its_limits(case, general):
    r = np.linspace(-50, 50, 501)
    here, there = adapted(case), adapted(general)
    np.testing.assert_allclose(here.value(r), there.value(r), rtol=1e-14)
    np.testing.assert_allclose(here.weight(r), there.weight(r), rtol=1e-14)
    alpha = -1e13 if general.alpha == -math.inf else general.alpha - 1e-13
    near = adapted(losses.Barron(alpha, 2.0))
    # The power of a number that is 1 but for little loses what that little has lost.
    small = r[np.abs(r) < 10]
    np.testing.assert_allclose(near.value(small), there.value(small), rtol=1e-10)
    np.testing.assert_allclose(near.weight(small), there.weight(small), rtol=1e-10)


@pytest.mark.parametrize(
    "entry",
    [entry for entry in VECTORS["barron_log_partition"] if 0 <= float(entry["alpha"]) <= 2],
    ids=lambda entry: entry["alpha"],
)
def test_the_log_partition_of_barrons_density_equals_the_golden_values(entry):
    assert log_partition(float(entry["alpha"])) == pytest.approx(entry["logZ"], rel=1e-12)


@pytest.mark.parametrize("alpha", [1e-99, 1e-101, 1e-305, 5e-324, -1e-310])
def test_barrons_loss_has_its_limit_where_alpha_is_nearly_zero(alpha):
    x = np.array([0.0, 1e-9, 0.5, 3.0, 1e20])
    np.testing.assert_allclose(barron_value(x, alpha), barron_value(x, 0.0), rtol=1e-14)
    np.testing.assert_allclose(barron_weight(x, alpha), barron_weight(x, 0.0), rtol=1e-14)


def draw_barron(alpha, scale, rows, seed):
    """Residuals with Barron's density, by the inverse of its distribution on a grid."""
    rng = np.random.default_rng(seed)
    x = np.append(0.0, np.exp(np.linspace(-20, 60, 100_001)))
    density = np.exp(-barron_value(x, alpha))
    below = np.append(0.0, np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(x)))
    sizes = np.interp(rng.random(rows), below / below[-1], x)
    return (scale * sizes * rng.choice([-1, 1], rows)).astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("alpha", "scale"), [(0.0, 2.0), (0.5, 1.0), (1.0, 3.0), (1.5, 0.2), (2.0, 3.0)]
)
def test_adaptive_barron_recovers_the_shape_and_scale_of_generated_residuals(alpha, scale, seed):
    point = losses.AdaptiveBarron().adapt(Residuals(draw_barron(alpha, scale, 20_000, seed)))
    assert point.alpha == pytest.approx(alpha, abs=0.07)
    assert point.scale == pytest.approx(scale, rel=0.04)


@pytest.mark.parametrize(
    "entry", VECTORS["asrl_c_log_partition"], ids=lambda entry: f"{entry['k1']} {entry['k2']}"
)
def test_the_log_partition_of_continuous_asrl_equals_the_golden_values(entry):
    numbers = (float(entry[key]) for key in ("k1", "k2", "tail"))
    assert likelihood.log_partition(*numbers) == pytest.approx(entry["logZ"], rel=1e-12)


def test_the_likeliest_thresholds_are_far_out_for_normal_residuals_and_inside_wrong_labels():
    normal = RNG.normal(size=20_000)
    spoiled = np.where(RNG.random(20_000) < 0.2, 30 + normal, normal)
    for unit in (1.0, 2.0):
        assert likelihood.fit(Residuals(normal).histogram_abs(unit)).delta_low > 2.5 / unit
        low, high = likelihood.fit(Residuals(spoiled).histogram_abs(unit))
        assert 0.5 / unit < low <= high < 2 / unit


@pytest.mark.parametrize("loss", [losses.MM(), losses.auto()], ids=str)
def test_a_loss_of_two_stages_changes_when_little_is_left_and_keeps_what_it_has_chosen(loss):
    kept = {}
    first = loss.adapt(Residuals(SAMPLE, progress=Progress(0.06, kept)))
    assert not kept
    assert first == loss.adapt(Residuals(SAMPLE))
    second = loss.adapt(Residuals(SAMPLE, progress=Progress(0.05, kept)))
    assert loss.adapt(Residuals(SAMPLE / 9, progress=Progress(0.01, kept))) == second != first


@pytest.mark.parametrize("left", [0.05, 1.0])
def test_mm_remains_in_its_first_stage_where_no_training_tells_the_rounds(left):
    loss = losses.MM(left=left)
    assert loss.adapt(Residuals(SAMPLE)) == losses.Charbonnier().adapt(Residuals(SAMPLE))
    assert loss.adapt(Residuals(SAMPLE, progress=lambda: Progress(0.04))).weight([1e9]) == [0.0]


def mean_likelihood(r, alpha, scale):
    x = np.asarray(r, np.float64) / scale
    return np.mean(barron_value(x, alpha)) + math.log(scale) + log_partition(alpha)


@pytest.mark.parametrize(
    "r",
    [
        RNG.laplace(size=5000),
        RNG.standard_t(3, 5000),
        np.append(RNG.normal(size=4500), 30 * RNG.normal(size=500)),
        RNG.uniform(-1, 1, 5000),
        RNG.normal(size=5000),
    ],
    ids=["laplace", "t3", "contaminated", "uniform", "normal"],
)
def test_no_shape_and_scale_near_those_of_adaptive_barron_are_more_likely(r):
    point = losses.AdaptiveBarron().adapt(Residuals(r))
    here = mean_likelihood(r, point.alpha, point.scale)
    for alpha in np.clip(point.alpha + np.array([-0.2, -0.05, 0, 0.05, 0.2]), 1e-6, 2 - 1e-6):
        for factor in (0.8, 0.95, 1.0, 1.05, 1.25):
            assert here < mean_likelihood(r, float(alpha), factor * point.scale) + 1e-5


def test_adaptive_barron_reads_sample_weights_as_rows():
    r, weight = SAMPLE.astype(np.float32), np.arange(401) % 3
    assert losses.AdaptiveBarron().adapt(Residuals(r, weight)) == losses.AdaptiveBarron().adapt(
        Residuals(np.repeat(r, weight))
    )


def test_the_scale_of_adaptive_barron_stays_above_zero_where_most_residuals_are_zero():
    point = losses.AdaptiveBarron().adapt(Residuals(np.append(np.zeros(900), np.arange(100.0))))
    assert point.scale > 0
    assert point.fallback == 1


def test_bisquare_rejects_rows_beyond_its_limit_and_counts_them():
    point = adapted(losses.Bisquare(scale=1.0))
    relative, floored = point.relative_weight([0.0, 4.6, 4.7, -100.0])
    assert floored == 2
    assert list(relative[2:]) == [2.0**-120] * 2
    assert relative[1] > 1e-4
    end = 4.685**2 / 6
    np.testing.assert_allclose(point.value([4.685, 9.0, 1e30]), end)


@pytest.mark.parametrize("entry", VECTORS["asrl_parameters"], ids=lambda entry: entry["q_low"])
def test_asrl_adapts_to_the_golden_thresholds_and_weights(entry):
    stats = Residuals([float(r) for r in entry["residuals"]])
    levels = entry["q_low"], entry["q_high"]
    # The vector at the levels 0 and 1 lies on the closed ends that a loss does not take.
    inside = levels[0] > 0 and levels[1] < 1
    point = (
        losses.ASRL(*levels, entry["eps"]).adapt(stats) if inside else losses.ASRL().adapt(stats)
    )
    delta_low, delta_high = stats.quantile_abs(levels)
    assert delta_low == pytest.approx(entry["delta1"], rel=1e-12)
    assert delta_high == pytest.approx(entry["delta2"], rel=1e-12)
    if inside:
        assert (point.delta_low, point.delta_high) == (delta_low, delta_high)
    assert point.alpha == pytest.approx(entry["alpha"], rel=1e-12)
    assert point.beta == pytest.approx(entry["beta"], rel=1e-12)
    assert point.gamma == pytest.approx(entry["gamma"], rel=1e-12)


def test_every_loss_of_the_catalogue_is_in_the_list_of_the_laws_and_can_be_imported():
    assert {type(loss) for loss in EVERY_LOSS} == set(losses.LOSSES.values())
    for kind in losses.LOSSES.values():
        assert getattr(losses, kind.__name__) is kind
        assert kind.__name__ in losses.__all__
    assert (
        *("asrl", "asrl_c", "squared_error", "absolute_error", "huber", "adaptive_huber"),
    ) == losses.BASIC
    assert {name: loss.name for name, loss in losses.LOSSES.items()} == {
        name: name for name in losses.LOSSES
    }


@EVERY
def test_weight_times_residual_is_the_derivative_of_the_value(loss):
    point = loss.adapt(Residuals(SAMPLE))
    r = grid(point)
    r = np.concatenate([-r[::-1], r])
    step = 1e-5
    slope = (point.value(r + step) - point.value(r - step)) / (2 * step)
    np.testing.assert_allclose(point.weight(r) * r, slope, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(point.influence(r), point.weight(r) * r, rtol=1e-12)


@EVERY
def test_value_is_zero_at_zero_even_unless_it_says_so_and_does_not_decrease_inside_a_region(loss):
    point = loss.adapt(Residuals(SAMPLE))
    r = np.linspace(0, 80, 4001)
    if point.is_even:
        np.testing.assert_array_equal(point.value(r), point.value(-r))
    assert point.value([0.0])[0] == 0
    falls = (np.diff(point.value(r)) < 0) | (np.diff(point.value(-r)) < 0)
    crosses = np.zeros_like(falls)
    if isinstance(loss, JUMPING):
        for kink in thresholds(point):
            crosses |= (r[:-1] <= kink) & (r[1:] > kink)
    assert not (falls & ~crosses).any()


@EVERY
def test_weight_is_positive_and_does_not_increase_inside_a_region(loss):
    point = loss.adapt(Residuals(SAMPLE))
    r = np.linspace(0, 80, 4001)
    weight = point.weight(r)
    assert (point.relative_weight(r)[0] > 0).all()
    assert (weight >= 0).all()
    if point.is_even:
        np.testing.assert_array_equal(weight, point.weight(-r))
    # Where the sides differ, zero belongs to one of them.
    rises = (np.diff(weight) > 1e-15) | (np.diff(point.weight(-np.maximum(r, 1e-9))) > 1e-15)
    crosses = np.zeros_like(rises)
    if isinstance(loss, JUMPING):
        for kink in thresholds(point):
            crosses |= (r[:-1] <= kink) & (r[1:] > kink)
    assert not (rises & ~crosses).any()


@every(*JUMPING, *ASYMMETRIC)
def test_weight_makes_a_majoriser_of_every_loss_without_jumps(loss):
    point = loss.adapt(Residuals(SAMPLE))
    r, s = np.meshgrid(grid(point, 40.0)[::20], np.linspace(-40, 40, 201))
    r, s = r.ravel(), s.ravel()
    bound = point.value(r) + point.weight(r) / 2 * (s**2 - r**2)
    assert (point.value(s) <= bound + 1e-9 * (1 + bound)).all()


@every(losses.AbsoluteError, *ASYMMETRIC)
def test_weight_of_one_row_is_the_weight_at_zero_where_that_is_one_finite_number(loss):
    point = loss.adapt(Residuals(SAMPLE))
    assert point.row_weight == point.weight([0.0])[0]
    assert point.relative_weight([0.0])[0][0] == 1


@pytest.mark.parametrize("loss", [losses.Quantile(0.5), losses.Expectile(0.5)], ids=str)
def test_asymmetric_losses_at_the_level_of_a_half_are_the_symmetric_ones(loss):
    point, r = adapted(loss), np.linspace(-30, 30, 301)
    other = adapted(losses.SquaredError() if loss.name == "expectile" else losses.AbsoluteError())
    half = 1 if loss.name == "expectile" else 0.5
    np.testing.assert_allclose(point.value(r), half * other.value(r))
    np.testing.assert_allclose(point.influence(r), half * other.influence(r))
    np.testing.assert_allclose(point.relative_weight(r)[0], other.relative_weight(r)[0])


@pytest.mark.parametrize("level", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("kind", ASYMMETRIC)
def test_the_constant_that_minimises_an_asymmetric_loss_is_its_quantile_or_expectile(kind, level):
    point = adapted(kind(level))
    constants = np.linspace(-15, 15, 3001)
    totals = [point.value(SAMPLE - constant).sum() for constant in constants]
    best = constants[int(np.argmin(totals))]
    if kind is losses.Quantile:
        assert best == pytest.approx(np.quantile(SAMPLE, level), abs=0.15)
    else:
        above, below = np.maximum(SAMPLE - best, 0).sum(), np.maximum(best - SAMPLE, 0).sum()
        assert above / (above + below) == pytest.approx(1 - level, abs=2e-3)


def test_published_asrl_jumps_up_at_delta_low_and_down_at_delta_high_equation_4():
    # r ~ N(0, 1) with q_low=0.5, q_high=0.9: the quantiles of |r|, its IQR, the MAD of r.
    delta_low, delta_high, iqr, mad = 0.67449, 1.64485, 0.83171, 0.67449
    point = PointwiseASRL(delta_low, delta_high, alpha=1.0, beta=1 / iqr, gamma=1 / mad)
    kinks = np.array([delta_low, delta_high])
    core_end, middle_end = point.value(kinks)
    middle_start, tail_start = point.value(np.nextafter(kinks, np.inf))
    assert (core_end, middle_start) == pytest.approx((0.2275, 0.8110), abs=1e-4)
    assert (middle_end, tail_start) == pytest.approx((1.9777, 1.4420), abs=1e-4)
    # The influence jumps with it: up by four fifths at delta_low, down to a half at delta_high.
    assert point.influence(kinks) == pytest.approx([0.6745, 1.2023], abs=1e-4)
    assert point.influence(np.nextafter(kinks, np.inf)) == pytest.approx([1.2023, 0.5605], abs=1e-4)


@pytest.mark.parametrize("loss", [loss for loss in EVERY_LOSS if not is_fixed(loss)], ids=str)
@pytest.mark.parametrize("scale", [1e-9, 2.0**-7, 3.0, 1e12])
def test_scaled_residuals_scale_the_thresholds_that_are_not_fixed(loss, scale):
    here = loss.adapt(Residuals(SAMPLE))
    there = loss.adapt(Residuals(scale * SAMPLE))
    for own in (thresholds, logged_thresholds):
        expected = [scale * threshold for threshold in own(here)]
        # The scale of the most likely density depends on the bins that last digits fall into.
        near = 1e-3 if loss.name == "adaptive_barron" else 1e-12
        assert own(there) == pytest.approx(expected, rel=near)
    if loss in ADAPTIVE and loss.name != "adaptive_barron":
        r = grid(here)
        value, weight = (each(scale * r) for each in (there.value, there.weight))
        # What XGBoost is given, and the value in its unit.
        np.testing.assert_allclose(
            value / there.row_weight, scale**2 * here.value(r) / here.row_weight, rtol=1e-11
        )
        np.testing.assert_allclose(
            weight / there.row_weight, here.weight(r) / here.row_weight, rtol=1e-11
        )


@pytest.mark.parametrize("loss", [loss for loss in EVERY_LOSS if is_automatic(loss)], ids=str)
def test_an_automatic_scale_is_the_robust_scale_of_each_round_and_is_logged(loss):
    for share in (1.0, 0.3):
        (scale,) = logged_thresholds(loss.adapt(Residuals(share * SAMPLE)))
        expected = 1.4826 * np.median(np.abs(share * SAMPLE)) * loss.SHARE
        assert scale == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("loss", [loss for loss in EVERY_LOSS if is_automatic(loss)], ids=str)
def test_an_automatic_scale_of_mostly_equal_residuals_is_widened_and_counted(loss):
    r = np.append(np.zeros(70), np.linspace(1, 30, 30))
    point = loss.adapt(Residuals(r))
    expected = 1.4826 * np.quantile(r, 0.95) * loss.SHARE
    assert logged_thresholds(point) == pytest.approx([expected])
    assert point.fallback == 1


def test_a_fixed_scale_that_is_negligible_beside_the_residuals_is_widened_and_counted():
    for loss in (losses.LogCosh(1e-9), losses.PseudoHuber(1e-9), losses.SmoothL1(1e-9)):
        point = loss.adapt(Residuals(SAMPLE))
        assert logged_thresholds(point) == pytest.approx([np.quantile(np.abs(SAMPLE), 0.95)])
        assert point.fallback == 1
    assert losses.LogCosh(0.01).adapt(Residuals(SAMPLE)).fallback == 0


def test_continuous_asrl_becomes_adaptive_huber_as_q_high_goes_to_1_and_as_tail_goes_to_infinity():
    stats, r = Residuals(SAMPLE), np.linspace(-100, 100, 999)
    huber = losses.AdaptiveHuber(quantile=0.6).adapt(stats)
    inside = np.abs(r) <= np.abs(SAMPLE).max()
    to_one = losses.ContinuousASRL(q_low=0.6, q_high=1 - 1e-13).adapt(stats)
    np.testing.assert_allclose(to_one.value(r[inside]), huber.value(r[inside]), rtol=1e-9)
    long_tail = losses.ContinuousASRL(q_low=0.6, q_high=0.9, tail=1e12).adapt(stats)
    np.testing.assert_allclose(long_tail.value(r), huber.value(r), rtol=1e-9)
    np.testing.assert_allclose(long_tail.weight(r), huber.weight(r), rtol=1e-9)


def late(share=0.2):
    """Residuals of a round that has left a share of the target's distances from its median."""
    return Residuals(share * SAMPLE, start=lambda: distances(SAMPLE))


@pytest.mark.parametrize("floor", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_no_threshold_of_continuous_asrl_falls_below_the_floor_times_what_it_starts_with(
    floor, share
):
    loss = losses.ContinuousASRL(q_low=0.3, q_high=0.8, floor=floor)
    first = distances(SAMPLE).quantile_abs([0.3, 0.8])
    point = loss.adapt(late(share))
    assert point.delta_low >= floor * first[0] > 0 or floor == 0
    assert point.delta_high >= floor * first[1] > 0 or floor == 0
    if floor == 1:
        assert [point.delta_low, point.delta_high] == list(first)
    if floor == 0 and share:
        assert point == losses.ContinuousASRL(q_low=0.3, q_high=0.8).adapt(
            Residuals(share * SAMPLE)
        )


def test_continuous_asrl_with_a_floor_of_1_becomes_fixed_huber_as_tail_goes_to_infinity():
    r = np.linspace(-100, 100, 999)
    fixed = losses.Huber(delta=distances(SAMPLE).quantile_abs(0.6))
    loss = losses.ContinuousASRL(q_low=0.6, q_high=0.9, tail=1e12, floor=1.0)
    for share in (1.0, 0.3, 0.01):
        point, huber = loss.adapt(late(share)), fixed.adapt(late(share))
        assert point.delta_low == huber.delta
        np.testing.assert_allclose(point.value(r), huber.value(r), rtol=1e-9)
        np.testing.assert_allclose(point.weight(r), huber.weight(r), rtol=1e-9)


def test_a_threshold_that_starts_at_zero_is_widened_like_any_other():
    y = np.append(np.zeros(70), np.linspace(1, 30, 30))
    stats = Residuals(y / 10, start=lambda: distances(y))
    point = losses.ContinuousASRL(q_low=0.5, q_high=0.6, floor=1.0).adapt(stats)
    assert point.delta_low == point.delta_high == np.quantile(y, 0.95)
    assert point.fallback == 2


def test_the_start_is_computed_when_a_loss_asks_and_with_sample_weights():
    asked = []
    weight = np.arange(401) % 3

    def start():
        asked.append(1)
        return distances(SAMPLE, weight)

    stats = Residuals(SAMPLE / 9, weight, start=start)
    losses.ContinuousASRL().adapt(stats)
    losses.AdaptiveHuber().adapt(stats)
    assert not asked
    point = losses.ContinuousASRL(floor=1.0).adapt(stats)
    assert (len(asked), point.delta_low) == (
        1,
        distances(np.repeat(SAMPLE, weight)).quantile_abs(0.5),
    )


def test_a_config_from_before_there_was_a_floor_has_none():
    old = {"name": "asrl_c", "params": {"q_low": 0.3, "q_high": 0.6, "tail": 2.0}}
    assert losses.from_config(old) == losses.ContinuousASRL(0.3, 0.6, 2.0, floor=0.0)
    point = {"q_low": 0.3, "gap": 0.5, "tail": 2.0}
    assert losses.ContinuousASRL.at(point) == losses.ContinuousASRL(0.3, 0.65, 2.0, floor=0.0)


@pytest.mark.parametrize("loss", losses.LOSSES.values(), ids=lambda loss: loss.name)
def test_every_start_lies_in_the_search_space_and_no_two_are_equal(loss):
    target = distances(SAMPLE)
    space, starts = loss.search_space(target), loss.starts(target)
    for point in starts:
        assert set(point) == set(space)
        assert all(value in space[name] for name, value in point.items())
    made = [loss.at(point) for point in starts]
    assert len(set(made)) == len(made)


def test_the_first_start_of_continuous_asrl_is_its_default_and_others_are_near_both_hubers():
    made = [losses.ContinuousASRL.at(point) for point in losses.ContinuousASRL.starts(late())]
    assert made[0] == losses.ContinuousASRL()
    long_tailed = [loss for loss in made if loss.q_high >= 0.98 and loss.tail >= 10]
    assert {loss.floor for loss in long_tailed} == {0.0, 1.0}


@pytest.mark.parametrize(
    "loss",
    [losses.ContinuousASRL(1 - 2e-13, 1 - 1e-13), losses.AdaptiveHuber(1 - 1e-13)],
    ids=lambda loss: loss.name,
)
def test_losses_become_squared_error_as_the_core_takes_all_rows(loss):
    stats = Residuals(SAMPLE)
    point, squared = loss.adapt(stats), losses.SquaredError().adapt(stats)
    np.testing.assert_allclose(point.value(SAMPLE), squared.value(SAMPLE), rtol=1e-9)
    np.testing.assert_allclose(point.weight(SAMPLE), 1, rtol=1e-9)


def test_continuous_asrl_joins_its_regions_with_equal_value_and_slope():
    point = PointwiseContinuousASRL(2.0, 5.0, 0.5)
    for kink in (2.0, 5.0):
        inner, outer = np.array([kink]), np.array([np.nextafter(kink, 10)])
        np.testing.assert_allclose(point.value(inner), point.value(outer), rtol=1e-14)
        np.testing.assert_allclose(point.influence(inner), point.influence(outer), rtol=1e-14)


@EVERY
def test_a_loss_survives_its_config_as_json(loss):
    # Strict JSON has no infinity.
    config = json.loads(json.dumps(losses.to_config(loss), allow_nan=False))
    assert set(config) == {"name", "params"}
    assert losses.from_config(config) == loss


@EVERY
def test_a_loss_and_its_pointwise_loss_are_frozen(loss):
    for value in (loss, loss.adapt(Residuals(SAMPLE))):
        with pytest.raises(dataclasses.FrozenInstanceError):
            value.anything = 1


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (
            lambda: losses.ASRL(q_low=0.9, q_high=0.5),
            "ASRL needs 0 < q_low < q_high < 1; got q_low=0.9, q_high=0.5; swap them or widen the "
            "gap.",
        ),
        (
            lambda: losses.ContinuousASRL(q_low=0.0),
            "ContinuousASRL needs 0 < q_low < 1; got q_low=0.0; try 0.5.",
        ),
        (
            lambda: losses.ContinuousASRL(tail=math.inf),
            "ContinuousASRL needs 1e-100 <= tail <= 1e100; got tail=inf; try 1.0.",
        ),
        (
            lambda: losses.ContinuousASRL(floor=1.5),
            "ContinuousASRL needs 0 <= floor <= 1; got floor=1.5; try 0.0.",
        ),
        (
            lambda: losses.Huber(delta="1"),
            "Huber needs 1e-100 <= delta <= 1e100, or 'auto'; got delta='1'; try 'auto', which follows "
            "the residuals.",
        ),
        (
            lambda: losses.AdaptiveHuber(quantile=math.nan),
            "AdaptiveHuber needs 0 < quantile < 1; got quantile=nan; try 0.9.",
        ),
        (
            lambda: losses.Huber(delta=np.float64(-2)),
            "Huber needs 1e-100 <= delta <= 1e100, or 'auto'; got delta=-2.0; try 'auto', which "
            "follows the residuals.",
        ),
        (
            lambda: losses.LogCosh(scale="automatic"),
            "LogCosh needs 1e-100 <= scale <= 1e100, or 'auto'; got scale='automatic'; try 'auto', "
            "which follows the residuals.",
        ),
        (
            lambda: losses.PseudoHuber(delta=0),
            "PseudoHuber needs 1e-100 <= delta <= 1e100, or 'auto'; got delta=0; try 'auto', which "
            "follows the residuals.",
        ),
        (
            lambda: losses.ContinuousASRL(q_low="auto"),
            "ContinuousASRL chooses both levels or none; got q_low='auto', q_high=0.9; pass 'auto' for "
            "both.",
        ),
        (
            lambda: losses.ContinuousASRL("auto", "auto", floor=0.5),
            "ContinuousASRL with levels 'auto' keeps its thresholds by itself; got floor=0.5; leave "
            "floor out.",
        ),
        (
            lambda: losses.Barron(alpha=2.5),
            "Barron needs alpha <= 2; got alpha=2.5; above 2 far rows pull more than in squared error, "
            "which is alpha=2.",
        ),
        (
            lambda: losses.Barron(alpha=math.nan),
            "Barron needs alpha <= 2; got alpha=nan; above 2 far rows pull more than in squared error, "
            "which is alpha=2.",
        ),
        (
            lambda: losses.from_config("huber"),
            'A loss\'s config has the form {"name": ..., "params": {...}}; got \'huber\'.',
        ),
        (
            lambda: losses.from_config({"name": "huber", "parms": {}}),
            'A loss\'s config has the form {"name": ..., "params": {...}}; got '
            "{'name': 'huber', 'parms': {}}.",
        ),
        (
            lambda: losses.from_config({"name": "huber", "params": None}),
            'A loss\'s config has the form {"name": ..., "params": {...}}; got params=None.',
        ),
        (
            lambda: losses.Huber().objective(np.ones(2), np.ones(2)),
            "Huber.objective is for xgboost.train; got a ndarray for the matrix; XGBRegressor takes "
            "sklearn_objective.",
        ),
        (
            lambda: losses.from_config({"name": "asrl_d"}),
            f"A loss needs one of the names {', '.join([*losses.LOSSES, 'auto', *losses.CLASSIFICATION_LOSSES])}; got 'asrl_d'; did you mean "
            "'asrl_c'?",
        ),
        (
            lambda: losses.from_config({"name": "huber", "params": {"detla": 1.0}}),
            "Huber takes delta; got 'detla'; did you mean 'delta'?",
        ),
        (
            lambda: losses.from_config({"name": "squared_error", "params": {"zz": 1}}),
            "SquaredError takes no parameters; got 'zz'.",
        ),
    ],
)
def test_a_bad_loss_is_refused_in_one_line_with_rule_value_and_remedy(make, line):
    with pytest.raises(InputError) as caught:
        make()
    assert str(caught.value) == line


# What float32 targets and predictions can leave.
SIZES = st.one_of(st.just(0.0), st.floats(2.0**-120, 2.0**100))


@EVERY
@given(
    r=st.lists(
        st.builds(lambda size, sign: sign * size, SIZES, st.sampled_from([-1, 1])),
        min_size=1,
        max_size=40,
    )
)
def test_any_finite_residuals_give_finite_values_and_positive_weights(loss, r):
    point = loss.adapt(Residuals(r))
    relative, _ = point.relative_weight(r)
    assert np.isfinite(point.value(r)).all()
    assert np.isfinite(relative).all()
    assert (relative > 0).all()


@EVERY
@pytest.mark.parametrize("constant", [0.0, 0.1, -3.0])
def test_equal_residuals_are_no_division_by_zero(loss, constant):
    point = loss.adapt(Residuals(np.full(9, constant)))
    relative, floored = point.relative_weight(np.full(9, constant))
    assert np.isfinite(relative).all()
    assert (relative > 0).all()
    assert floored == 0


def test_zero_inflated_residuals_widen_the_core_and_are_counted():
    r = np.append(np.zeros(70), np.linspace(1, 30, 30))
    continuous = losses.ContinuousASRL(q_low=0.5, q_high=0.9).adapt(Residuals(r))
    assert continuous.delta_low == continuous.delta_high == np.quantile(r, 0.9)
    assert continuous.fallback == 1
    all_but_one = losses.ContinuousASRL().adapt(Residuals(np.append(np.zeros(99), 5.0)))
    assert all_but_one.delta_high == pytest.approx(np.append(np.zeros(99), 5.0).std())
    assert all_but_one.fallback == 2
    huber = losses.AdaptiveHuber(quantile=0.5).adapt(Residuals(r))
    assert (huber.delta, huber.fallback) == (np.quantile(r, 0.95), 1)
    absolute = losses.AbsoluteError().adapt(Residuals(r))
    assert (absolute.scale, absolute.fallback) == (np.quantile(r, 0.95), 1)


def test_a_zero_spread_of_published_asrl_becomes_the_standard_deviation_and_is_counted():
    r = np.append(np.zeros(80), np.linspace(1, 20, 20))
    point = losses.ASRL().adapt(Residuals(r))
    assert point.fallback == 2
    assert point.beta == point.gamma == pytest.approx(1 / (r.std() + 1e-6))
    equal = losses.ASRL().adapt(Residuals(np.full(5, 2.0)))
    assert (equal.alpha, equal.beta, equal.gamma, equal.fallback) == (1, 1, 1, 3)


@pytest.mark.parametrize("tail", [1e-100, 1e100])
def test_the_ends_of_a_parameters_interval_give_finite_functions(tail):
    r = np.append(0.0, np.logspace(-30, 37, 200))
    for scale in (1e-30, 1.0, 1e30):
        point = PointwiseContinuousASRL(scale, 2 * scale, tail)
        assert np.isfinite(point.value(r)).all()
        assert np.isfinite(point.weight(r)).all()


def test_a_nearly_empty_core_counts_as_empty_and_a_small_one_does_not():
    r = np.append(np.full(60, 1e-9), np.linspace(1, 30, 40))
    assert losses.ContinuousASRL().adapt(Residuals(r)).fallback == 1
    r[:60] = 1e-3
    point = losses.ContinuousASRL().adapt(Residuals(r))
    assert (point.delta_low, point.fallback) == (1e-3, 0)


def test_a_spread_of_published_asrl_is_small_beside_the_upper_quartile_not_the_median():
    # The median |r| is 0 here, beside which a MAD of 1e-9 would not count as small.
    r = np.append(np.zeros(60), np.full(40, 5.0))
    r[:60] += 1e-9 * (np.arange(60) % 7)
    assert losses.ASRL().adapt(Residuals(r)).fallback == 1


def test_weights_so_far_out_that_float32_would_lose_them_are_held_up_and_counted():
    point = PointwiseContinuousASRL(1.0, 1.0, 1.0)
    relative, floored = point.relative_weight([0.5, 1e10, 1e30])
    assert floored == 1
    assert relative[2] == 2.0**-120
    assert relative[1] == pytest.approx(1e-20)
