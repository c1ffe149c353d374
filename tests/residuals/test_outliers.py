"""Gross outliers among residuals: their share, their side, and what is none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from asrl_mlflow.errors import InputError
from asrl_mlflow.residuals.outliers import find_outliers

RIGHT = {
    "normal": lambda rng, n: rng.normal(size=n),
    "student 3": lambda rng, n: rng.standard_t(3, size=n),
    "laplace": lambda rng, n: rng.laplace(size=n),
    "skewed": lambda rng, n: rng.gamma(4, size=n) - 4,
}


def residuals(kind, share, above, *, rows=4000, seed=0):
    """Residuals of which a share are gross outliers, and which of them are."""
    rng = np.random.default_rng(seed)
    found = RIGHT[kind](rng, rows)
    wrong = rng.permutation(rows)[: round(share * rows)]
    side = np.where(rng.random(wrong.size) < above, 1, -1)
    found[wrong] += side * rng.uniform(20, 60, wrong.size)
    return found, np.isin(np.arange(rows), wrong)


@pytest.mark.parametrize("above", [1.0, 0.5, 0.0])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.2, 0.4])
@pytest.mark.parametrize("kind", RIGHT)
def test_the_share_is_found_to_a_point_and_on_the_right_side(kind, share, above):
    residual, wrong = residuals(kind, share, above)
    found = find_outliers(residual)
    assert found.share == pytest.approx(share, abs=0.012)
    assert found.above == pytest.approx(share * above, abs=0.02)
    assert ((found.probability > 0.5) != wrong).mean() <= 0.012


@pytest.mark.parametrize("rows", [100, 400])
def test_few_rows_are_enough_for_a_large_share(rows):
    residual, wrong = residuals("normal", 0.2, 1.0, rows=rows)
    assert ((find_outliers(residual).probability > 0.5) == wrong).mean() >= 0.99


def test_tails_as_heavy_as_cauchys_are_no_gross_outliers():
    found = find_outliers(np.random.default_rng(0).standard_cauchy(4000))
    assert found.share < 0.03
    assert found.degrees < 2


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("tail", ["lognormal", "pareto", "exponential"])
def test_the_tail_of_a_skewed_distribution_is_no_kind_of_outlier(tail, side):
    rng = np.random.default_rng(0)
    drawn = {
        "lognormal": rng.lognormal(size=5000),
        "pareto": rng.pareto(2, size=5000),
        "exponential": rng.exponential(size=5000),
    }
    assert find_outliers(side * drawn[tail]).share == 0


def test_the_unit_the_origin_and_the_order_change_nothing():
    residual, _ = residuals("student 3", 0.1, 0.7, rows=1000)
    plain = find_outliers(residual)
    moved = find_outliers(7 - 1000 * residual[::-1])
    assert moved.below == pytest.approx(plain.above, abs=1e-6)
    assert moved.above == pytest.approx(plain.below, abs=1e-6)
    assert moved.scale == pytest.approx(1000 * plain.scale, rel=1e-6)
    assert moved.center == pytest.approx(7 - 1000 * plain.center, rel=1e-4)
    assert moved.probability[::-1] == pytest.approx(plain.probability, abs=1e-6)


def test_rows_of_weight_0_do_not_count():
    residual, wrong = residuals("normal", 0.2, 1.0, rows=1000)
    assert find_outliers(residual, ~wrong).share == 0
    assert find_outliers(residual, ~wrong).probability[wrong].shape == (200,)


@pytest.mark.parametrize("residual", [[], [1.0], [0.0] * 100, [0.0] * 90 + [5.0] * 10])
def test_where_there_is_no_spread_nothing_is_called_an_outlier(residual):
    found = find_outliers(residual)
    assert (found.share, found.probability.tolist()) == (0, [0.0] * len(residual))


@given(arrays(np.float64, st.integers(0, 80), elements=st.floats(-1e300, 1e300)))
def test_whatever_is_finite_gets_shares_and_probabilities(residual):
    found = find_outliers(residual)
    assert 0 <= found.share <= 1
    assert ((found.probability >= 0) & (found.probability <= 1)).all()


def test_what_is_not_finite_is_refused():
    with pytest.raises(InputError, match="got 2 of 3"):
        find_outliers([np.nan, 1.0, np.inf])
