"""Statistics of residuals that are spread over workers: exact, and the same on each."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from packaging.version import Version

from asrl_mlflow import losses
from asrl_mlflow.boosting.regression.collective import workers
from asrl_mlflow.errors import InputError
from asrl_mlflow.residuals import Residuals, row_counts
from asrl_mlflow.residuals.shared.keys import ByDistance
from asrl_mlflow.residuals.shared.statistics import SharedResiduals, Sharing
from asrl_mlflow.residuals.shared.sums import sum_in_any_order
from asrl_mlflow.residuals.shared.workers import ALONE
from asrl_mlflow.residuals.statistics import Asked
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


class Counted:
    """Two workers of which one has no rows; keeps how many bytes are sent."""

    count, rank = 2, 1

    def __init__(self):
        self.sent = []

    def sum(self, values):
        self.sent.append(values.nbytes)
        return values

    def largest(self, value):
        return value


def sent_in_a_later_round(loss, kind):
    """The bytes of each message where a round is asked what the one before was."""
    rng, counted = np.random.default_rng(0), Counted()
    r = rng.standard_t(2, 200_000).astype(np.float32)
    weight = {"none": None, "counts": rng.integers(0, 4, r.size), "fractions": rng.random(r.size)}
    counts = row_counts(weight[kind], r.size)
    sharing, asked = Sharing.of(counts, r.size, counted), Asked()
    for _ in range(2):
        counted.sent.clear()
        stats = SharedResiduals(r, counts, sharing, expected=asked)
        found = dataclasses.asdict(loss.adapt(stats))
        assert found == pytest.approx(dataclasses.asdict(loss.adapt(Residuals(r, counts))))
        asked = stats.release()
    return counted.sent


@pytest.mark.parametrize("kind", WEIGHTS)
def test_all_levels_of_a_round_take_three_messages_of_together_less_than_64_kilobytes(kind):
    sent = sent_in_a_later_round(losses.ContinuousASRL(), kind)
    assert len(sent) == 3
    assert sum(sent) < 2**16


def test_levels_and_median_share_three_messages_and_so_do_its_deviation_and_the_variance():
    sent = sent_in_a_later_round(losses.ASRL(), "none")
    assert len(sent) == 6
    assert sum(sent[3:]) < 2**15


FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(hnp.arrays(np.float32, st.integers(1, 40), elements=FLOATS), st.data())
def test_33_bits_are_in_the_order_of_distances_and_hold_them_to_the_last_bit(r, data):
    near = st.tuples(st.sampled_from(r.tolist()), st.sampled_from(r.tolist()))
    centre = data.draw(near.map(lambda pair: (pair[0] + pair[1]) / 2) | st.floats(-1e39, 1e39))
    # Rows, their mirror images, and the neighbours of these.
    with np.errstate(over="ignore"):
        r = np.concatenate([r, images := (2 * np.float64(centre) - r).astype(np.float32)])
        r = np.concatenate(
            [r, np.nextafter(images, np.float32(-np.inf)), np.nextafter(images, r[0])]
        )
    r = r[np.isfinite(r)]
    order, off = ByDistance(centre), np.abs(r.astype(np.float64) - centre)
    keys = order.keys(r)
    assert keys.max() < 2**order.bits
    assert [order.number(int(key)) for key in keys] == off.tolist()
    assert (np.diff(off[np.argsort(keys)]) >= 0).all()


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
