"""Statistics of residuals that are spread over workers: exact, and the same on each."""

from __future__ import annotations

import numpy as np
import pytest
import xgboost
from packaging.version import Version

from asrl_mlflow.boosting.regression.collective import workers
from asrl_mlflow.errors import InputError
from asrl_mlflow.residuals import Residuals, row_counts
from asrl_mlflow.residuals.shared.statistics import SharedResiduals, Sharing
from asrl_mlflow.residuals.shared.sums import sum_in_any_order
from asrl_mlflow.residuals.shared.workers import ALONE
from tests.ranks import run_ranks

pytestmark = pytest.mark.skipif(
    Version(xgboost.__version__) < Version("3.4"), reason="workers need XGBoost 3.4"
)

ROWS = 1501
LEVELS = [0.0, 0.25, 0.5, 0.7, 0.95, 1.0]
RNG = np.random.default_rng(3)
RESIDUALS = {
    "with outliers": RNG.standard_t(1.5, ROWS),
    "with ties and zeros": np.round(RNG.normal(size=ROWS), 1) * (RNG.random(ROWS) < 0.7),
    "far from zero": 1e6 + RNG.normal(size=ROWS),
    "all equal": np.full(ROWS, -2.5),
    "tiny": 1e-41 * RNG.normal(size=ROWS),
}
WEIGHTS = {
    "none": None,
    "counts": RNG.integers(0, 4, ROWS),
    "fractions": RNG.choice([0.1, 0.3, 2.2], ROWS),
}


def parts(count):
    """Row numbers of each worker: uneven, and every third worker has none."""
    sizes = [0 if rank % 3 == 1 else 1 + 7 * rank for rank in range(count)]
    ends = np.cumsum(sizes) * ROWS // sum(sizes)
    return np.split(np.arange(ROWS), ends[:-1])


def ask(stats):
    """All that a loss may ask for, and the metrics that are counts."""
    histogram = stats.histogram_abs(0.5)
    return {
        "quantiles": stats.quantile_abs(LEVELS).tolist(),
        "about": stats.quantile_abs(LEVELS, centre=0.25).tolist(),
        "others": (stats.iqr_abs(), stats.median(), stats.mad(), stats.median_abs(), stats.count),
        "share": stats.share_within(stats.quantile_abs(0.5))
        if stats.weight_rule != "mean 1"
        else 0,
        "histogram": (histogram.sizes.tolist(), histogram.counts.round(6).tolist()),
    }


def shared(r, weight, count):
    """The answers that each of so many workers gets."""

    def work(rank):
        rows = parts(count)[rank]
        others = workers()
        own = row_counts(None if weight is None else weight[rows], rows.size, workers=others)
        stats = SharedResiduals(r[rows], own, Sharing.of(own, rows.size, others))
        return ask(stats), stats.variance(), stats.mean_abs(), stats.mean_square()

    return run_ranks(count, work)


@pytest.mark.parametrize("weighted", WEIGHTS)
@pytest.mark.parametrize("kind", RESIDUALS)
def test_statistics_of_any_number_of_workers_are_those_of_one_machine_to_the_bit(kind, weighted):
    r, weight = RESIDUALS[kind].astype(np.float32), WEIGHTS[weighted]
    whole = Residuals(r, weight)
    expected, variances = ask(whole), set()
    for count in (2, 8) if weight is None else (4,):
        for answers, variance, mean_abs, mean_square in shared(r, weight, count):
            assert answers == expected
            assert variance == pytest.approx(whole.variance(), rel=1e-9, abs=1e-300)
            assert mean_abs == pytest.approx(whole.mean_abs(), rel=1e-12)
            assert mean_square == pytest.approx(whole.mean_square(), rel=1e-12)
            variances.add(variance)
    assert len(variances) == 1, "exact sums do not depend on how rows are spread"


def test_all_levels_of_a_round_take_three_messages_of_together_less_than_64_kilobytes():
    sent = []

    class Counted:
        count = 2

        def sum(self, values):
            sent.append(values.nbytes)
            return values

        def largest(self, value):
            return value

    r = np.random.default_rng(0).standard_t(2, 200_000).astype(np.float32)
    counts = row_counts(None, r.size)
    sharing = Sharing.of(counts, r.size, Counted())
    for levels in ([0.5, 0.9], [0.25, 0.5, 0.75, 0.9]):
        sent.clear()
        stats = SharedResiduals(r, counts, sharing, expected=levels)
        stats.quantile_abs(levels[0]), stats.quantile_abs(levels[1:]), stats.quantile_abs(1.0)
        assert len(sent) == 3
        assert sum(sent) < 2**16


def test_a_residual_that_is_not_finite_is_refused_on_all_workers():
    def work(rank):
        r = np.float32([1, np.nan, np.inf] if rank == 1 else [1, 2])
        counts = row_counts(None, r.size)
        with pytest.raises(InputError, match="must be finite; got 2 that are not in 5 rows"):
            SharedResiduals(r, counts, Sharing.of(counts, r.size, workers()))
        return True

    assert run_ranks(2, work) == [True, True]


def test_weights_are_read_by_one_rule_on_all_workers():
    def work(rank):
        weight = [[1.0, 2.0], [0.5, 3.0], []][rank]
        return row_counts(weight, len(weight), workers=workers())

    first, second, empty = run_ranks(3, work)
    assert first.rule == second.rule == empty.rule == "mean 1"
    together = np.concatenate([first.values, second.values, empty.values])
    assert together.tolist() == row_counts([1.0, 2.0, 0.5, 3.0], 4).values.tolist()


def test_bad_weights_of_one_worker_are_refused_on_all():
    def work(rank):
        for weight, rule in (
            ([-1.0], "not negative; got 1 others in 2"),
            ([0.0], "above 0; got 2"),
        ):
            with pytest.raises(InputError, match=rule):
                row_counts(weight if rank else [0.0], 1, workers=workers())
        return True

    assert run_ranks(2, work) == [True, True]


def test_a_sum_does_not_depend_on_the_order_of_its_terms():
    terms = RNG.standard_t(1, 1000) * 10.0 ** RNG.integers(-8, 8, 1000)
    bound = float(np.abs(terms).max())
    sums = {sum_in_any_order([RNG.permutation(terms)], bound, ALONE) for _ in range(20)}
    assert len(sums) == 1
    assert sums.pop() == pytest.approx(float(np.sum(np.sort(terms))), rel=1e-9)
    assert sum_in_any_order([], 0.0, ALONE) == 0
