"""Two demonstrations of the literature: lines among outliers, told without favour."""

from __future__ import annotations

from statistics import median

import numpy as np
import pytest
import scipy.optimize

from asrl_mlflow.comparisons.literature import DEMONSTRATIONS, Line, fit_line
from asrl_mlflow.losses import SMAE, AbsoluteError, Huber, LogCosh, SquaredError
from tests.stores import artifacts, runs


def points(seed=3):
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 10, 101)
    y = 2 * x + 1 + rng.normal(size=101)
    y[::7] += 30
    return x, y


def test_squared_error_gives_the_least_squares_line():
    x, y = points()
    line = fit_line(SquaredError(), x, y)
    np.testing.assert_allclose((line.slope, line.intercept), np.polyfit(x, y, 1))


def test_absolute_error_gives_the_line_that_linear_programming_finds():
    x, y = points()
    n = len(x)
    cost = np.r_[0, 0, np.ones(2 * n)]
    rows = np.c_[x, np.ones(n), np.eye(n), -np.eye(n)]
    bounds = [(None, None)] * 2 + [(0, None)] * (2 * n)
    best = scipy.optimize.linprog(cost, A_eq=rows, b_eq=y, bounds=bounds).fun
    line = fit_line(AbsoluteError(), x, y)
    assert np.abs(y - line.at(x)).sum() == pytest.approx(best, rel=1e-4)


def test_hubers_line_has_the_gradient_zero():
    x, y = points()
    line = fit_line(Huber(delta=1.0), x, y)
    pull = np.clip(y - line.at(x), -1, 1)
    np.testing.assert_allclose([pull.sum(), pull @ x], 0, atol=1e-6)


def test_the_published_order_of_losses_is_found_again():
    demonstration = DEMONSTRATIONS["outliers"]
    errors = {}
    for loss in (SMAE(scale=1.0), LogCosh(scale=1.0), SquaredError()):
        lines = [fit_line(loss, *demonstration.draw(seed).xy) for seed in range(5)]
        slopes = [100 * abs(line.slope / demonstration.truth.slope - 1) for line in lines]
        errors[loss.name] = median(slopes)
    assert list(errors) == sorted(errors, key=lambda name: errors[name])
    # That its table can be had at all, not that it is had: its line and outliers are not published.
    for name, error in errors.items():
        assert error == pytest.approx(demonstration.published[name][0], rel=0.15)


def test_about_one_point_in_ten_is_flipped_and_the_others_lie_about_the_line():
    demonstration = DEMONSTRATIONS["flipped"]
    shares = []
    for seed in range(40):
        drawn = demonstration.draw(seed)
        off = np.abs(drawn.y - demonstration.truth.at(drawn.x))
        assert off[~drawn.is_outlier].max() < 0.15
        shares.append(drawn.is_outlier.mean())
    assert 0.07 < np.mean(shares) < 0.13
    assert demonstration.truth == Line(0.7, 0.15)


def test_the_flow_shows_published_errors_beside_ours(flow, store):
    code, out, _ = flow("literature", "--repeats=2")
    assert code == 0
    assert "no reproduction" in out
    (shown,) = [line for line in out.splitlines() if line.startswith("smae")]
    assert shown.endswith("8.7 and 22.6")
    (parent,), children = runs(store)
    assert {child.info.status for child in children} == {"FINISHED"}
    assert {child.data.params["demonstration"] for child in children} == set(DEMONSTRATIONS)
    slope = next(
        child.data.metrics["error.slope"]
        for child in children
        if child.info.run_name == "outliers: smae"
    )
    assert float(shown.split()[1]) == pytest.approx(slope, abs=0.006)
    kept = artifacts(store, parent.info.run_id)
    assert {"literature.txt", "outliers/errors.json", "flipped/figures/lines.png"} <= set(kept)
