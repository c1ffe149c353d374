"""Residual statistics: equal to numpy's to the last bit, and weights that count rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from asrl_mlflow.errors import InputError
from asrl_mlflow.residuals.sample_weights import row_counts
from asrl_mlflow.residuals.statistics import Residuals

LEVELS = np.array([0.0, 0.1, 0.25, 0.5, 0.733, 0.9, 1.0])
finite = st.floats(-(2.0**100), 2.0**100, width=32)
samples = hnp.arrays(
    st.sampled_from([np.dtype(np.float32), np.dtype(np.float64)]),
    st.integers(1, 60),
    elements=finite,
)


def everything(stats):
    return [
        *stats.quantile_abs(LEVELS),
        stats.iqr_abs(),
        stats.median(),
        stats.mad(),
        stats.count,
    ]


@given(samples)
def test_order_statistics_equal_numpy_in_float64_to_the_last_bit(r):
    stats, wide = Residuals(r), r.astype(np.float64)
    size, median = np.abs(wide), np.median(wide)
    np.testing.assert_array_equal(stats.quantile_abs(LEVELS), np.quantile(size, LEVELS))
    assert stats.iqr_abs() == np.quantile(size, 0.75) - np.quantile(size, 0.25)
    assert stats.median() == median
    assert stats.mad() == np.median(np.abs(wide - median))
    assert stats.count == len(r)


@given(samples, st.lists(st.sampled_from(LEVELS), min_size=1, max_size=9))
def test_quantiles_do_not_depend_on_what_was_asked_before(r, levels):
    at_once, one_by_one, in_order = Residuals(r), Residuals(r), Residuals(r)
    in_order.mad()  # sorts the rows
    scratch, resorted = (Residuals(r, scratch=np.empty_like(r)) for _ in range(2))
    resorted.quantile_abs(0.3)
    assert resorted.mad() == in_order.mad()  # sorted into the scratch that held |r|
    together = at_once.quantile_abs(levels)
    for stats in (one_by_one, in_order, scratch, resorted):
        np.testing.assert_array_equal([stats.quantile_abs(level) for level in levels], together)


@given(samples)
def test_distances_from_any_centre_have_exact_quantiles(r):
    stats, wide = Residuals(r), r.astype(np.float64)
    centre = stats.median()
    np.testing.assert_array_equal(
        stats.quantile_abs(LEVELS, centre), np.quantile(np.abs(wide - centre), LEVELS)
    )
    assert stats.median_abs() == np.median(np.abs(wide))


@given(samples)
def test_residuals_are_only_read(r):
    before = r.copy()
    stats = Residuals(r)
    stats.quantile_abs(0.5)
    stats.mad()
    stats.variance()
    np.testing.assert_array_equal(r, before)


@pytest.mark.parametrize("kind", ["heavy tails", "few values", "in order"])
def test_ten_million_rows_have_exact_quantiles(kind):
    r = np.random.default_rng(0).standard_t(2, 10_000_000).astype(np.float32)
    r = {"heavy tails": r, "few values": np.rint(r), "in order": np.sort(r)}[kind]
    size = np.sort(np.abs(r)).astype(np.float64)
    stats = Residuals(r)
    levels = [0.5, 0.9, 0.25]
    # numpy interpolates between the same two neighbours; it would sort another ten million.
    position = np.array(levels) * (len(r) - 1)
    low, high, share = size[position.astype(int)], size[position.astype(int) + 1], position % 1
    expected = np.where(share < 0.5, low + (high - low) * share, high - (high - low) * (1 - share))
    np.testing.assert_array_equal(stats.quantile_abs(levels), expected)
    assert stats.mad() == np.median(np.abs(r.astype(np.float64) - stats.median()))


@given(samples)
def test_variance_equals_numpy_in_float64(r):
    wide = r.astype(np.float64)
    scale = np.square(wide).max()
    assert Residuals(r).variance() == pytest.approx(wide.var(), rel=1e-12, abs=1e-15 * scale)


def test_a_variance_beyond_float64_is_infinite():
    with np.errstate(over="ignore"):
        assert Residuals([1e200, 3e200, 0.0]).variance() == np.inf


@given(samples, st.data())
def test_weight_k_is_the_row_k_times(r, data):
    weight = data.draw(hnp.arrays(np.int64, r.shape, elements=st.integers(0, 4)))
    assume(weight.sum() > 0)
    weighted, written_out = Residuals(r, weight), Residuals(np.repeat(r, weight))
    assert everything(weighted) == everything(written_out)
    scale = np.square(r.astype(np.float64)).max()
    assert weighted.variance() == pytest.approx(
        written_out.variance(), rel=1e-12, abs=1e-14 * scale
    )
    assert weighted.weight_rule == "counts"


@given(samples, st.floats(0.01, 100))
def test_one_fraction_for_all_rows_is_no_weight_at_all(r, fraction):
    assume(fraction != round(fraction))
    weighted = Residuals(r, np.full(r.shape, fraction))
    assert everything(weighted) == everything(Residuals(r))
    assert weighted.weight_rule == "mean 1"


@given(samples, st.data(), st.floats(0.013, 97.3))
def test_fractional_weights_have_no_unit(r, data, factor):
    weight = data.draw(hnp.arrays(np.float64, r.shape, elements=st.floats(0.1, 5)))
    here, there = weight + 0.01, (weight + 0.01) * factor
    assume(not np.array_equal(here, np.floor(here)))
    assume(not np.array_equal(there, np.floor(there)))
    np.testing.assert_allclose(row_counts(here, r.size)[0], row_counts(there, r.size)[0])
    assert row_counts(here, r.size)[0].mean() == pytest.approx(1)


def test_the_weighted_median_of_fractional_weights_is_the_row_in_the_middle_of_the_weight():
    assert Residuals([1.0, 2.0, 3.0], [0.2, 0.5, 0.3]).median() == 2
    # Half of the weight lies on either side of the gap: two middle rows.
    assert Residuals([1.0, 2.0, 3.0], [0.5, 0.25, 0.25]).median() == 1.5


def test_a_level_of_float32_residuals_is_placed_in_float64():
    # In float32, 0.9 (n - 1) is off by half a row from about 1e7 rows on.
    rows = 20_000_001
    r = np.arange(rows, dtype=np.float32)
    assert Residuals(r).quantile_abs(0.9) == pytest.approx(float(r[int(0.9 * (rows - 1))]), abs=1)


def test_large_whole_weights_still_count_rows():
    assert Residuals([1.0, 2.0], [1e11, 1e11]).median() == 1.5


def test_the_level_1_is_the_largest_whatever_it_weighs():
    assert Residuals([1.0, -3.0, 2.0, 9.0], [1.5, 0.2, 1.5, 0.0]).quantile_abs(1.0) == 3


def test_tiny_fractional_weights_are_rescaled_to_mean_1():
    counts, rule = row_counts([0.5e-305, 1.5e-305, 0.0], 3)
    assert rule == "mean 1"
    assert counts == pytest.approx([0.75, 2.25, 0.0])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_residuals_that_are_not_finite_are_counted(bad):
    with pytest.raises(InputError, match=r"must be finite; got 2 that are not in 4 rows"):
        Residuals([1.0, bad, 2.0, bad])


@pytest.mark.parametrize(
    ("r", "weight", "message"),
    [
        ([], None, "got shape \\(0,\\)"),
        ([[1.0]], None, "got shape \\(1, 1\\)"),
        ([1.0, 2.0], [1.0], "need shape \\(2,\\), one a row; got \\(1,\\)"),
        ([1.0, 2.0], [1.0, -1.0], "got 1 others in 2 rows"),
        ([1.0, 2.0], [1.0, np.nan], "got 1 others in 2 rows"),
        ([1.0, 2.0], [0.0, 0.0], "at least one above 0; got 2 zeros"),
        ([1.0, 2.0], [1e15, 1e15], "at most 2\\*\\*50; got 2e\\+15"),
    ],
)
def test_bad_residuals_and_weights_are_refused(r, weight, message):
    with pytest.raises(InputError, match=message):
        Residuals(r, weight)


@pytest.mark.parametrize("level", [-0.1, 1.5, np.nan])
def test_a_level_outside_0_to_1_is_refused(level):
    with pytest.raises(InputError, match=r"levels in \[0, 1\]"):
        Residuals([1.0]).quantile_abs(level)


def test_a_scalar_level_gives_a_float_and_a_sequence_an_array():
    stats = Residuals([3.0, -1.0, 2.0])
    assert isinstance(stats.quantile_abs(0.5), float)
    assert stats.quantile_abs([0.5]).shape == (1,)
