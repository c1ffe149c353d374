"""The kernel in C: the same numbers as numpy's, whatever it is given."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest
import xgboost
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from asrl_mlflow import train
from asrl_mlflow.errors import InputError
from asrl_mlflow.losses.regression.pointwise import FLOOR, PointwiseLoss
from asrl_mlflow.losses.regression.segmented.continuous_asrl import ContinuousASRL
from asrl_mlflow.losses.regression.segmented.huber import PointwiseHuber
from asrl_mlflow.losses.regression.segments import Segments
from asrl_mlflow.losses.regression.weighing import weigh
from asrl_mlflow.residuals import kernel
from asrl_mlflow.residuals.forecast import Forecast
from asrl_mlflow.residuals.sample_weights import row_counts
from asrl_mlflow.residuals.statistics import Residuals, subtract
from tests.conftest import PARAMS
from tests.every_loss import EVERY_LOSS
from tests.processes import ROOT

COMPILED = pytest.mark.skipif(kernel.native is None, reason="no C compiler when this was installed")

# Ties, signed zeros, denormals and the ends of float32 among them.
size = st.one_of(
    st.sampled_from([0.0, -0.0, 1e-45, -1e-40, 1.0, -1.0, 3.0, 1e30, -3e38]),
    st.floats(-(2.0**100), 2.0**100, width=32),
)
samples = hnp.arrays(np.float32, st.integers(1, 1100), elements=size, fill=size)
weights = st.sampled_from(["none", "whole", "fractional"])


def sample_weight(kind, rows):
    whole = np.arange(rows) % 4.0
    return {"none": None, "whole": whole + (rows < 2), "fractional": whole + 0.3}[kind]


def by(native, *arguments):
    """What is computed with, or without, the kernel; an error as its words."""
    with pytest.MonkeyPatch.context() as patch:
        if not native:
            patch.setattr(kernel, "native", None)
        try:
            return weigh(*arguments)
        except InputError as error:
            return str(error)


@COMPILED
@pytest.mark.parametrize("loss", EVERY_LOSS, ids=str)
@given(r=samples, kind=weights, scale=st.sampled_from([1.0, 4.0, 2.0**40]))
@example(r=np.array([1.0, -1.0], np.float32), kind="none", scale=1.0)
@example(r=np.zeros(600, np.float32), kind="whole", scale=1.0)
def test_kernel_and_numpy_give_the_same_bits(loss, r, kind, scale):
    counts = row_counts(sample_weight(kind, r.size), r.size)
    pointwise = loss.adapt(Residuals(r, counts))
    ours, theirs = (by(native, pointwise, r, counts.values, scale) for native in (True, False))
    if isinstance(ours, str):
        assert ours == theirs
        return
    assert ours.hessian.tobytes() == theirs.hessian.tobytes()
    assert ours.gradient.tobytes() == theirs.gradient.tobytes()
    assert ours.floored == theirs.floored
    assert ours.mean == pytest.approx(theirs.mean, rel=1e-12)


@COMPILED
def test_kernel_and_numpy_give_the_same_bits_on_ten_million_rows():
    r = np.random.default_rng(0).standard_t(2, 10_000_000).astype(np.float32)
    pointwise = ContinuousASRL().adapt(Residuals(r))
    ours, theirs = (by(native, pointwise, r) for native in (True, False))
    assert ours.hessian.tobytes() == theirs.hessian.tobytes()
    assert ours.gradient.tobytes() == theirs.gradient.tobytes()
    assert ours.mean == pytest.approx(theirs.mean, rel=1e-12)


@COMPILED
@pytest.mark.parametrize("loss", EVERY_LOSS, ids=str)
@pytest.mark.parametrize("kind", ["none", "whole", "fractional"])
def test_without_the_kernel_the_same_trees_are_built(table, loss, kind, monkeypatch):
    x, y = table
    models = []
    for native in (kernel.native, None):
        monkeypatch.setattr(kernel, "native", native)
        dtrain = xgboost.QuantileDMatrix(x, label=y, weight=sample_weight(kind, len(y)))
        models.append(train(PARAMS, dtrain, 15, loss=loss).save_raw("ubj"))
    assert models[0] == models[1]


number = st.floats(allow_nan=True, allow_infinity=True)


@COMPILED
@given(st.data(), st.integers(0, 1100), st.tuples(*[number] * 7), number, number)
def test_any_numbers_end_in_a_count_of_unsound_rows(data, rows, segments, row_weight, scale):
    r = data.draw(hnp.arrays(np.float32, rows, elements=st.floats(width=32)))
    counts = data.draw(st.none() | hnp.arrays(np.float64, rows, elements=number))
    out, slope = np.empty_like(r), np.empty_like(r)
    _, _, floored, unsound = kernel.native.weigh(
        r, segments, row_weight, FLOOR, counts, scale, out, slope
    )
    with np.errstate(all="ignore"):
        sound = np.isfinite(out) & np.isfinite(r * out)
        sound &= (out > 0) if counts is None else (out > 0) | ((out == 0) & (counts == 0))
    assert unsound == np.count_nonzero(~sound)
    assert 0 <= floored <= rows


buffers = st.one_of(
    st.none(),
    st.integers(),
    st.binary(max_size=70),
    st.integers(0, 70).map(bytearray),
    hnp.arrays(st.sampled_from([np.float32, np.float64, np.int8]), st.integers(0, 9)),
    hnp.arrays(np.float32, (2, 3)).map(lambda values: values[:, ::2]),
    hnp.arrays(np.int8, 33).map(lambda values: values[1:]),
)


@COMPILED
@given(buffers, st.tuples(*[number] * 7), number, buffers, buffers)
def test_buffers_that_do_not_fit_are_refused(r, segments, scale, counts, out):
    try:
        fits = memoryview(out).nbytes == memoryview(r).nbytes and memoryview(r).nbytes % 4 == 0
    except TypeError:
        fits = False
    try:
        kernel.native.weigh(r, segments, scale, FLOOR, counts, scale, out, out)
    except (TypeError, ValueError, BufferError):
        return
    assert fits


@COMPILED
@given(buffers, buffers, buffers, buffers, buffers)
def test_buffers_of_a_subtraction_that_do_not_fit_are_refused(target, margin, pairs, kept, r):
    try:
        sizes = [memoryview(each).nbytes for each in (target, margin, r)]
        fits = len(set(sizes)) == 1 and sizes[0] % 4 == 0 and memoryview(pairs).nbytes <= 64
    except TypeError:
        fits = False
    try:
        kernel.native.subtract(target, margin, pairs, kept, r)
    except (TypeError, ValueError, BufferError):
        return
    assert fits


@COMPILED
@given(samples, st.lists(st.tuples(size, size), max_size=8), st.integers(0, 300))
def test_a_bracket_counts_what_lies_below_it_and_keeps_what_lies_in_it(target, pairs, room):
    margin = np.roll(target, 1)
    pairs = np.abs(np.array(pairs, np.float32).reshape(-1, 2))
    kept, r = np.full(room * len(pairs), -1, np.float32), np.empty_like(target)
    largest, found = kernel.native.subtract(target, margin, pairs, kept, r)
    with np.errstate(over="ignore"):
        expected = target - margin
    np.testing.assert_array_equal(r, expected)
    sizes = np.abs(expected)
    assert largest == sizes.max()
    for place, ((low, high), (below, inside)) in enumerate(zip(pairs, found, strict=True)):
        within = sizes[(sizes >= low) & (sizes <= high)]
        assert (below, inside) == (np.count_nonzero(sizes < low), within.size)
        mine = kept[place * room : (place + 1) * room]
        np.testing.assert_array_equal(mine[: within.size], within[:room])
        assert (mine[within.size :] == -1).all()


@COMPILED
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_makes_the_largest_residual_infinite(bad):
    target = np.zeros(1000, np.float32)
    target[700] = bad
    nothing = np.empty(0, np.float32)
    largest, _ = kernel.native.subtract(target, np.zeros_like(target), nothing, nothing, target)
    assert largest == np.inf


@COMPILED
@given(st.data())
def test_quantiles_that_were_foreseen_are_those_of_all_rows(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    target = (rng.standard_t(2, data.draw(st.integers(5_000, 2**16))) * 3).astype(np.float32)
    if data.draw(st.booleans()):
        target = np.round(target)  # ties
    levels = data.draw(st.lists(st.floats(0.01, 0.99), min_size=1, max_size=3))
    forecast, out, scratch = Forecast(target.size), np.empty_like(target), np.empty_like(target)
    shrink = data.draw(st.floats(0.5, 1.1))
    for round_ in range(4):
        margin = np.float32(1 - shrink**round_) * target
        seen = subtract(target, margin, out, forecast.brackets(target, margin), scratch)
        stats = Residuals(out, scratch=scratch, subtracted=seen)
        expected = np.quantile(np.abs(target - margin).astype(np.float64), levels)
        np.testing.assert_array_equal(stats.quantile_abs(levels), expected)
        forecast.learn(stats.release().levels)


@COMPILED
def test_a_sample_says_where_nearly_all_quantiles_lie():
    rng = np.random.default_rng(0)
    levels, found = [0.05, 0.5, 0.9, 0.999], []
    for _ in range(100):
        target = (rng.standard_t(2, 20_000) * 3).astype(np.float32)
        forecast, margin = Forecast(target.size), np.zeros_like(target)
        forecast.learn(levels)
        low, high = forecast.brackets(target, margin).T
        quantiles = np.quantile(np.abs(target), levels)
        found.append((low <= quantiles) & (quantiles <= high))
        inside = [
            np.mean((np.abs(target) >= low[at]) & (np.abs(target) <= high[at])) for at in (0, 1, 2)
        ]
        assert max(inside) < 0.15
    assert np.mean(found, axis=0).min() > 0.95


def test_a_segment_ends_where_the_next_begins():
    segments = Segments(low=1.0, high=2.0, core=3.0, middle=4.0, tail=10.0, shift=2.0, scale=0.5)
    np.testing.assert_array_equal(
        segments.weight([0.0, -1.0, 2.0, -4.0, -np.inf]), [3.0, 3.0, 2.0, 10 / 4 * (0.5 / 2.5), 0.0]
    )


@pytest.mark.parametrize("loss", EVERY_LOSS, ids=str)
def test_an_infinite_residual_weighs_nothing_but_in_squared_error(loss):
    far = loss.adapt(Residuals([1.0, 2.0, 3.0])).weight([np.inf, -np.inf])
    is_squared = loss.name == "squared_error" or getattr(loss, "alpha", None) == 2
    if loss.name == "expectile":
        assert list(far) == [2 * loss.level, 2 - 2 * loss.level]
    else:
        assert far == pytest.approx([float(is_squared)] * 2, abs=1e-300)


@pytest.mark.parametrize("native", [True, False])
def test_weights_may_be_every_second_of_an_array_and_whole_numbers(native):
    target, start = np.arange(6, dtype=np.float32), np.full(6, 3, np.float32)
    weight = np.arange(12.0)[::2]
    with pytest.MonkeyPatch.context() as patch:
        if not native:
            patch.setattr(kernel, "native", None)
        for loss in EVERY_LOSS:
            pairs = [
                loss.sklearn_objective(target, start, given)
                for given in (weight, weight.copy(), weight.astype(int))
            ]
            np.testing.assert_array_equal(pairs[0], pairs[1])
            np.testing.assert_array_equal(pairs[0], pairs[2])


@dataclass(frozen=True)
class Cauchy(PointwiseLoss):
    """A loss of a user, whose weight has no segments."""

    def value(self, r):
        return np.log1p(np.square(np.asarray(r, np.float64))) / 2

    def weight(self, r):
        return 1 / (1 + np.square(np.asarray(r, np.float64)))

    @property
    def regions(self):
        return {"tail": np.inf}


class Downward(Cauchy):
    """No weight can be negative."""

    def weight(self, r):
        return -super().weight(r)


@dataclass(frozen=True)
class Steeper(PointwiseHuber):
    """Another weight than the one it inherits."""

    def weight(self, r):
        return np.exp(-np.abs(r))


def test_a_weight_of_ones_own_is_not_passed_over_for_inherited_segments():
    r = np.array([0.5, 1.0, 2.0, 4.0], np.float32)
    hessian = weigh(Steeper(1.0), r).hessian
    np.testing.assert_allclose(hessian, np.exp(-r))


def test_a_loss_that_weighs_nothing_at_zero_is_refused():
    with pytest.raises(InputError, match="positive weight at r = 0, by which all others"):
        weigh(Downward(), np.ones(3, np.float32))


def test_a_loss_without_segments_is_weighed_by_its_own_weight():
    r = np.array([0.5, 1.0, 2.0, 4.0], np.float32)
    hessian = weigh(Cauchy(), r).hessian
    np.testing.assert_array_equal(hessian, (1 / (1 + np.square(r.astype(float)))).astype("f4"))


def asked_in(folder, code):
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_the_backend_is_the_same_from_a_clone_and_from_elsewhere(tmp_path):
    code = "import asrl_mlflow.residuals as r; print(r.backend())"
    assert asked_in(ROOT, code) == asked_in(tmp_path, code) == kernel.backend()


@pytest.mark.parametrize(
    "module", ["None", "types.SimpleNamespace(VERSION=0)"], ids=["missing", "outdated"]
)
def test_numpy_does_the_work_where_the_extension_is_missing_or_of_another_version(module):
    code = (
        f"import sys, types; sys.modules['_asrl_mlflow_kernel'] = {module}\n"
        "import asrl_mlflow.residuals as r; print(r.backend())"
    )
    assert asked_in(ROOT, code) == "numpy"
