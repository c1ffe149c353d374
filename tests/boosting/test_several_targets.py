"""Several targets: each is learned as alone in trees of its own; in shared trees units do not matter."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xgboost
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packaging.version import Version

from asrl_mlflow import losses, train
from asrl_mlflow.boosting import TARGETS_ATTRIBUTE
from asrl_mlflow.boosting.several_targets.weighting import FixedWeights
from asrl_mlflow.errors import InputError
from asrl_mlflow.metrics import BY_RESIDUALS, mae
from asrl_mlflow.records.record import Record
from asrl_mlflow.residuals.statistics import Residuals
from tests.conftest import PARAMS
from tests.every_loss import ADAPTIVE, EVERY_LOSS

LOSS = losses.ContinuousASRL()
SHARED = PARAMS | {"multi_strategy": "multi_output_tree"}
HAS_SHARED = Version(xgboost.__version__) >= Version("3.2")
NEEDS_SHARED = pytest.mark.skipif(not HAS_SHARED, reason="XGBoost has split gradients since 3.2")
# XGBoost 3.4 says of DART that a later release will have it by its parameters alone.
DEPRECATED = pytest.mark.filterwarnings(
    "ignore:.*is deprecated:UserWarning", "ignore:Exception ignored on calling ctypes callback"
)
LAW = settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
MATRICES = [xgboost.DMatrix, xgboost.QuantileDMatrix]
SCALES = np.array([6.0, 300.0])


@pytest.fixture(scope="module")
def pair(table):
    """The table with a second target in another unit, one in ten of it spoiled downwards."""
    x, y = table
    rng = np.random.default_rng(8)
    other = 300 * x[:, 2] + 50 * rng.normal(size=600)
    other[5::10] -= 3000
    return x, np.stack([y, other], axis=1)


def matrices(matrix, x, y, weight=None):
    """The first 400 rows to train on, the others to judge by."""
    part = [None, None] if weight is None else [weight[:400], weight[400:]]
    dtrain = matrix(x[:400], label=y[:400], weight=part[0])
    ref = {} if matrix is xgboost.DMatrix else {"ref": dtrain}
    return dtrain, matrix(x[400:], label=y[400:], weight=part[1], **ref)


def one_by_one(params, matrix, x, y, rounds, loss, weight=None):
    """What trainings for each target alone predict."""
    found = []
    for column in y.T:
        dtrain = matrix(x, label=column, weight=weight)
        found.append(train(params, dtrain, rounds, loss=loss).predict(dtrain))
    return np.stack(found, axis=1)


# A tree a target -------------------------------------------------------------------------------


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("weight", [None, "whole", "fractional"])
@pytest.mark.parametrize(
    # XGBoost's own quantile error takes one target.
    "loss",
    [loss for loss in EVERY_LOSS if not isinstance(loss, losses.Quantile)],
    ids=str,
)
def test_each_target_is_learned_as_alone_to_the_bit(pair, matrix, weight, loss):
    x, y = pair
    numbers = np.arange(len(y)) % 3
    weight = {None: None, "whole": numbers, "fractional": numbers + 0.3}[weight]
    dtrain = matrix(x, label=y, weight=weight)
    together = train(PARAMS, dtrain, 8, loss=loss).predict(dtrain)
    np.testing.assert_array_equal(
        together, one_by_one(PARAMS, matrix, x, y, 8, loss, weight=weight)
    )


@LAW
@given(
    st.sampled_from([LOSS, losses.SquaredError(), losses.Huber(5.0)]),
    st.lists(st.sampled_from([1e-5, 1e-3, 1.0, 1e2]), min_size=2, max_size=4),
    st.lists(st.sampled_from([0.0, 1e4, -1e6]), min_size=4, max_size=4),
    st.integers(1, 6),
)
def test_tiny_targets_and_targets_far_from_zero_are_learned_as_alone(
    pair, loss, units, shifts, depth
):
    x, y = pair
    y = np.stack(
        [
            unit * (y[:, number % 2] + shift)
            for number, (unit, shift) in enumerate(zip(units, shifts, strict=False))
        ],
        axis=1,
    )
    params = PARAMS | {"max_depth": depth}
    dtrain = xgboost.QuantileDMatrix(x, label=y)
    off = train(params, dtrain, 8, loss=loss).predict(dtrain) - one_by_one(
        params, xgboost.QuantileDMatrix, x, y, 8, loss
    )
    scales = np.subtract(*np.quantile(y, [0.75, 0.25], axis=0))
    # A tiny target's factor is all others' too, whose smallest gains XGBoost then no longer refuses; and
    # a margin far from zero ends where float32 does.
    assert (np.abs(off).mean(axis=0) <= 1e-3 * scales + 1e-7 * np.abs(y).max(axis=0)).all()


def test_targets_that_no_factor_serves_together_are_refused(pair):
    x, y = pair
    dtrain = xgboost.QuantileDMatrix(x, label=y * [1.0, 1e-14])
    with pytest.raises(
        InputError, match=r"float32 holds with one factor for all, .* robust scales"
    ):
        train(PARAMS, dtrain, 3, loss=LOSS)


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("strategy", ["one_output_per_tree", "multi_output_tree"])
def test_squared_error_equals_xgboosts_own_to_the_bit(pair, matrix, strategy):
    if strategy == "multi_output_tree" and not HAS_SHARED:
        pytest.skip("refused")
    x, y = pair
    params = PARAMS | {"multi_strategy": strategy}
    start = np.median(y.astype(np.float32).astype(float), axis=0).tolist()
    expected = xgboost.train(
        params | {"objective": "reg:squarederror", "base_score": start}, matrix(x, label=y), 20
    )
    dtrain = matrix(x, label=y)
    alike = {"target_scale": "none"} if strategy == "multi_output_tree" else {}
    booster = train(params, dtrain, 20, loss=losses.SquaredError(), **alike)
    np.testing.assert_array_equal(booster.predict(dtrain), expected.predict(dtrain))


@pytest.mark.parametrize("level", [0.2, 0.8])
@pytest.mark.parametrize("params", [PARAMS, pytest.param(SHARED, marks=NEEDS_SHARED)])
def test_the_share_of_each_target_above_a_quantile_is_what_its_level_leaves(level, params):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 3))
    y = np.stack([5 * x[:, 0], 90 * x[:, 1]], axis=1) + rng.standard_t(4, (3000, 2)) * [1, 20]
    dtrain, dvalid = (
        xgboost.QuantileDMatrix(x[part], label=y[part])
        for part in (slice(0, 2000), slice(2000, 3000))
    )
    params = params | {"max_depth": 3, "learning_rate": 0.1}
    booster = train(params, dtrain, 200, loss=losses.Quantile(level))
    above = (y[2000:] > booster.predict(dvalid)).mean(axis=0)
    assert above == pytest.approx(1 - level, abs=0.08)


@DEPRECATED
def test_dropout_works_with_a_tree_a_target(pair):
    x, y = pair
    dtrain = xgboost.QuantileDMatrix(x, label=y)
    params = PARAMS | {"booster": "dart", "rate_drop": 0.2, "one_drop": 1}
    start = train(params, dtrain, 0, loss=LOSS)
    booster = train(params, dtrain, 20, loss=LOSS)
    before, after = (
        np.median(np.abs(y - each.predict(dtrain)), axis=0) for each in (start, booster)
    )
    assert (after < before / 2).all()


# Shared trees ----------------------------------------------------------------------------------


@NEEDS_SHARED
@pytest.mark.parametrize(
    "loss", [*ADAPTIVE, losses.SquaredError(), losses.AbsoluteError()], ids=str
)
@pytest.mark.parametrize("weights", [None, "uncertainty", "gradient_norm", [1.0, 4.0]], ids=str)
def test_the_units_of_targets_that_share_trees_do_not_matter(pair, loss, weights):
    x, y = pair
    here, there = (
        train(
            SHARED,
            xgboost.QuantileDMatrix(x, label=units * y),
            8,
            loss=loss,
            target_weights=weights,
        ).predict(xgboost.DMatrix(x))
        / units
        for units in (np.ones(2), np.array([2.0**-20, 2.0**17]))
    )
    # A power of two changes no digit but those of a scale's own fit.
    assert (np.abs(here - there).mean(axis=0) <= 1e-4 * SCALES).all()


@NEEDS_SHARED
def test_without_a_scale_the_target_of_the_largest_unit_chooses_the_splits(pair):
    x, y = pair
    dtrain = xgboost.QuantileDMatrix(x, label=y * [1.0, 1e4])
    features = {}
    for scale in ("robust", "none"):
        booster = train(SHARED | {"max_depth": 1}, dtrain, 6, loss=LOSS, target_scale=scale)
        trees = json.loads(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]["model"][
            "trees"
        ]
        features[scale] = {tree["split_indices"][0] for tree in trees}
    assert features == {"robust": {0, 2}, "none": {2}}


@NEEDS_SHARED
def test_a_target_that_weighs_all_is_learned_as_alone_in_shared_trees(pair):
    x, y = pair
    dtrain = xgboost.QuantileDMatrix(x, label=y)
    alone = one_by_one(PARAMS, xgboost.QuantileDMatrix, x, y, 8, LOSS)
    for number in (0, 1):
        weights = [1e-12, 1e-12]
        weights[number] = 1.0
        booster = train(SHARED, dtrain, 8, loss=LOSS, target_weights=weights)
        # Leaves ask for one row a target, and splits for the same gain in other units.
        off = mae(alone[:, number], booster.predict(dtrain)[:, number])
        assert off < 0.15 * SCALES[number]


@NEEDS_SHARED
@pytest.mark.parametrize("rule", ["uncertainty", "gradient_norm"])
def test_learned_weights_are_recorded_told_each_round_and_continued(pair, rule):
    x, y = pair
    dtrain, rounds = xgboost.QuantileDMatrix(x, label=y), []
    how = {"loss": losses.auto(), "target_weights": rule}
    straight = train(SHARED, dtrain, 12, **how, on_round=rounds.append)
    told = [[target.target_weight for target in round_.targets] for round_ in rounds]
    assert np.mean(told, axis=1) == pytest.approx(1)
    record = json.loads(straight.attr(TARGETS_ATTRIBUTE))
    assert (record["rule"], record["weights"]) == (rule, told[-1])
    assert told[0] != told[-1]
    half = train(SHARED, dtrain, 6, **how)
    more = train(SHARED, dtrain, 6, **how, xgb_model=half)
    np.testing.assert_array_equal(more.predict(dtrain), straight.predict(dtrain))


@NEEDS_SHARED
def test_uncertainty_weights_come_from_rows_that_are_held_out(pair):
    x, y = pair
    dtrain, dvalid = matrices(xgboost.QuantileDMatrix, x, y)
    noisy = y.copy()
    noisy[400:, 0] += 100 * np.random.default_rng(0).normal(size=200)
    spoiled = xgboost.QuantileDMatrix(x[400:], label=noisy[400:], ref=dtrain)
    weights = {}
    for name, matrix in (("clean", dvalid), ("noisy", spoiled), ("none", None)):
        evals = [] if matrix is None else [(matrix, "valid")]
        booster = train(SHARED, dtrain, 10, loss=LOSS, evals=evals, target_weights="uncertainty")
        weights[name] = json.loads(booster.attr(TARGETS_ATTRIBUTE))["weights"][0]
    assert weights["noisy"] < 0.6 * weights["clean"]
    assert weights["none"] != weights["clean"]


@NEEDS_SHARED
def test_uncertainty_weights_are_kendalls_closed_form_for_squared_error(pair):
    x, y = pair
    dtrain, rounds = xgboost.QuantileDMatrix(x, label=y), []
    train(
        SHARED,
        dtrain,
        1,
        loss=losses.SquaredError(),
        target_weights="uncertainty",
        on_round=rounds.append,
    )
    r = y - np.median(y, axis=0)
    scale = 1.4826 * np.median(np.abs(r), axis=0)
    aim = scale**2 / np.square(r).mean(axis=0)
    expected = 0.9 + 0.1 * aim / aim.mean()
    told = [target.target_weight for target in rounds[0].targets]
    assert told == pytest.approx(expected, rel=1e-5)


@NEEDS_SHARED
def test_a_target_learned_by_heart_does_not_take_all_the_weight():
    x = np.repeat(np.eye(4), 25, axis=0)
    y = np.stack([x[:, 0], x[:, 1] + np.random.default_rng(0).normal(size=100)], axis=1)
    params = SHARED | {"learning_rate": 1.0, "lambda": 0.0}
    booster = train(
        params, xgboost.QuantileDMatrix(x, label=y), 30, loss=LOSS, target_weights="uncertainty"
    )
    weights = json.loads(booster.attr(TARGETS_ATTRIBUTE))["weights"]
    assert np.isfinite(weights).all()
    assert min(weights) > 0


@given(st.lists(st.floats(1e-300, 1e300), min_size=2, max_size=5))
def test_given_weights_have_mean_one(weights):
    values = FixedWeights(weights, len(weights)).values
    assert values.mean() == pytest.approx(1)
    assert np.isfinite(values).all()


# Rounds, metrics, stopping ---------------------------------------------------------------------


@pytest.mark.parametrize("params", [PARAMS, pytest.param(SHARED, marks=NEEDS_SHARED)])
def test_a_round_tells_each_targets_thresholds_and_metrics(pair, params):
    x, y = pair
    dtrain, dvalid = matrices(xgboost.QuantileDMatrix, x, y)
    rounds, measured = [], {}
    booster = train(
        params,
        dtrain,
        5,
        loss=LOSS,
        evals=[(dtrain, "train"), (dvalid, "valid")],
        evals_result=measured,
        on_round=rounds.append,
    )
    scale = 1.4826 * np.median(np.abs(y[:400] - np.median(y[:400], axis=0)), axis=0)
    for number, round_ in enumerate(rounds):
        told = round_.metrics()
        before = booster[:number].predict(dtrain) if number else np.median(y[:400], axis=0)
        for target in (0, 1):
            r = (y[:400] - before)[:, target]
            expected = LOSS.adapt(Residuals(r)).delta_low
            assert told[f"threshold.delta_low.{target}"] == pytest.approx(expected, rel=1e-4)
            off = mae(y[400:, target], booster[: number + 1].predict(dvalid)[:, target])
            assert told[f"valid.mae.{target}"] == pytest.approx(off, rel=1e-5)
            shares = [told[f"share.valid.{name}.{target}"] for name in ("core", "middle", "tail")]
            assert sum(shares) == pytest.approx(1)
            assert {f"weight.mean.{target}", f"target_weight.{target}"} <= set(told)
        mean = np.mean([told[f"valid.mae.{target}"] / scale[target] for target in (0, 1)])
        assert told["valid.mae"] == pytest.approx(mean, rel=1e-5)
        assert "threshold.delta_low" not in told
    assert list(measured["valid"])[-1] == "mae"
    assert measured["train"]["mae.1"] == [round_.train["mae.1"] for round_ in rounds]


@pytest.mark.parametrize("metric", BY_RESIDUALS)
def test_the_mean_that_stops_has_no_unit_unless_target_units_are_asked_for(pair, metric):
    x, y = pair
    means = {}
    for scale in ("robust", "none"):
        for units in ((1.0, 1.0), (1.0, 1024.0)):
            dtrain, dvalid = matrices(xgboost.QuantileDMatrix, x, y * units)
            measured = {}
            train(
                PARAMS,
                dtrain,
                3,
                loss=LOSS,
                evals=[(dvalid, "valid")],
                metric=metric,
                target_scale=scale,
                evals_result=measured,
            )
            means[scale, units] = measured["valid"][metric]
            assert list(measured["valid"])[-1] == metric
    assert means["robust", (1.0, 1024.0)] == pytest.approx(means["robust", (1.0, 1.0)], rel=1e-5)
    assert means["none", (1.0, 1024.0)][-1] > 100 * means["none", (1.0, 1.0)][-1]


@pytest.mark.parametrize("params", [PARAMS, pytest.param(SHARED, marks=NEEDS_SHARED)])
def test_early_stopping_cuts_all_targets_at_the_best_mean(pair, params):
    x, y = pair
    dtrain, dvalid = matrices(xgboost.QuantileDMatrix, x, y)
    measured = {}
    booster = train(
        params,
        dtrain,
        100,
        loss=LOSS,
        evals=[(dvalid, "valid")],
        early_stopping_rounds=4,
        evals_result=measured,
    )
    best = int(np.argmin(measured["valid"]["mae"]))
    assert booster.num_boosted_rounds() == best + 1 < 100
    assert booster.attr(TARGETS_ATTRIBUTE) is not None


@pytest.mark.parametrize("unit", [1.0, 1e-6])
@pytest.mark.parametrize("weight", [None, "fractional"])
@pytest.mark.parametrize("loss", [LOSS, losses.SquaredError()], ids=str)
def test_xgboosts_and_the_users_metrics_see_target_units_and_the_matrix_comes_back(
    pair, unit, weight, loss
):
    x, y = pair
    y = unit * (y + 1e5)
    weight = None if weight is None else 0.1 + np.arange(600) % 3
    dtrain, dvalid = matrices(xgboost.DMatrix, x, y, weight)
    infos = ("label", "weight", "base_margin")
    before = [dtrain.get_float_info(name) for name in infos]
    measured = {}
    booster = train(
        PARAMS | {"eval_metric": "mape"},
        dtrain,
        4,
        loss=loss,
        evals=[(dvalid, "valid")],
        evals_result=measured,
        custom_metric=lambda margin, matrix: (
            "largest",
            float(np.abs(matrix.get_label().reshape(margin.shape) - margin).max()),
        ),
    )
    for name, kept in zip(infos, before, strict=True):
        np.testing.assert_array_equal(dtrain.get_float_info(name), kept)
    off = np.abs(y[400:] - booster.predict(dvalid))
    assert measured["valid"]["largest"][-1] == pytest.approx(off.max(), rel=1e-4, abs=unit)
    assert list(measured["valid"])[-1] == "largest"


@pytest.mark.parametrize("params", [PARAMS, pytest.param(SHARED, marks=NEEDS_SHARED)])
def test_a_continued_training_is_the_same_as_one(pair, params):
    x, y = pair
    dtrain = xgboost.QuantileDMatrix(x, label=y)
    for loss in (LOSS, losses.auto(), losses.MM(), losses.SquaredError()):
        straight = train(params, dtrain, 20, loss=loss)
        half = train(params, dtrain, 10, loss=loss)
        more = train(params, dtrain, 10, loss=loss, xgb_model=half)
        np.testing.assert_array_equal(more.predict(dtrain), straight.predict(dtrain))


class Parts(xgboost.DataIter):
    """Hands over a table in parts."""

    def __init__(self, x, y, folder):
        self.parts, self.at = list(zip(np.split(x, 3), np.split(y, 3), strict=True)), 0
        super().__init__(cache_prefix=str(folder / "cache"))

    def next(self, input_data):
        if self.at == len(self.parts):
            return False
        x, y = self.parts[self.at]
        input_data(data=x, label=y)
        self.at += 1
        return True

    def reset(self):
        self.at = 0


@pytest.mark.parametrize("params", [PARAMS, pytest.param(SHARED, marks=NEEDS_SHARED)])
def test_tables_larger_than_memory_are_learned_likewise(pair, params, tmp_path):
    x, y = pair
    dtrain = xgboost.ExtMemQuantileDMatrix(Parts(x, y, tmp_path))
    off = train(params, dtrain, 8, loss=LOSS).predict(dtrain) - train(
        params, xgboost.QuantileDMatrix(x, label=y), 8, loss=LOSS
    ).predict(xgboost.DMatrix(x))
    # The bins of features are sketched from the parts.
    assert (np.median(np.abs(off), axis=0) < 0.2 * SCALES).all()


def test_a_model_of_another_number_of_targets_is_not_continued(pair):
    x, y = pair
    one, two = (xgboost.QuantileDMatrix(x, label=each) for each in (y[:, 0], y))
    with pytest.raises(InputError, match="goes on with the targets that it has; it has 2, got 1"):
        train(PARAMS, one, 2, loss=LOSS, xgb_model=train(PARAMS, two, 2, loss=LOSS))
    with pytest.raises(InputError, match="goes on with the targets that it has; it has 1, got 2"):
        train(PARAMS, two, 2, loss=LOSS, xgb_model=train(PARAMS, one, 2, loss=LOSS))


def test_the_record_of_a_training_holds_each_target(pair):
    x, y = pair
    dtrain, rounds = xgboost.QuantileDMatrix(x, label=y), []
    booster = train(PARAMS, dtrain, 3, loss=LOSS, on_round=rounds.append)
    record = Record.from_training(booster, LOSS, rounds[-1], {}, {})
    assert record.base_score == pytest.approx(np.median(y, axis=0).tolist(), rel=1e-6)
    assert record.pointwise["delta_low.1"] == rounds[-1].targets[1].pointwise.delta_low
    assert Record.from_json(record.to_json(), "a run") == record
    alone = train(
        PARAMS, xgboost.QuantileDMatrix(x, label=y[:, 0]), 3, loss=LOSS, on_round=rounds.append
    )
    assert isinstance(Record.from_training(alone, LOSS, rounds[-1], {}, {}).base_score, float)


# Refusals --------------------------------------------------------------------------------------


@DEPRECATED
@pytest.mark.parametrize(
    ("params", "how", "line"),
    [
        (
            {},
            {"target_weights": [1.0, 2.0]},
            "each target has trees of its own; got target_weights=",
        ),
        ({}, {"target_scale": "mad"}, "target_scale is 'robust' or 'none'; got 'mad'"),
        ({"booster": "gblinear"}, {}, "Several targets need trees; got booster='gblinear'"),
        (
            {"base_score": 0.5},
            {"evals": "one"},
            "needs 2 label columns in valid, .*; got labels of shape",
        ),
    ],
)
def test_what_would_do_nothing_or_fail_late_is_refused(pair, params, how, line):
    x, y = pair
    if how.get("evals") == "one":
        how = {"evals": [(xgboost.DMatrix(x, label=y[:, 0]), "valid")]}
    with pytest.raises(InputError, match=line):
        train(PARAMS | params, xgboost.DMatrix(x, label=y), 3, loss=LOSS, **how)


@DEPRECATED
@NEEDS_SHARED
@pytest.mark.parametrize(
    ("params", "how", "line"),
    [
        (
            {},
            {"target_weights": [1.0]},
            r"target_weights needs 2 positive numbers, .*; got \[1.0\]",
        ),
        ({}, {"target_weights": [1.0, 0.0]}, "target_weights needs 2 positive numbers"),
        (
            {},
            {"target_weights": np.array([1.0, np.nan])},
            "target_weights needs 2 positive numbers",
        ),
        ({}, {"target_weights": "kendall"}, "'uncertainty' or 'gradient_norm'; got 'kendall'"),
        ({"alpha": 1.0}, {}, "alpha is in target units, of which there are several; got 1.0"),
        ({"max_delta_step": 1.0}, {}, "max_delta_step is in target units"),
        ({"booster": "dart"}, {}, "keeps all trees; got dropout"),
        ({"tree_method": "approx"}, {}, "needs tree_method='hist'; got 'approx'"),
        ({"monotone_constraints": "(1,0,0,0,0)"}, {}, "to be monotone target_scale='none'"),
    ],
)
def test_what_shared_trees_cannot_do_is_refused(pair, params, how, line):
    x, y = pair
    with pytest.raises(InputError, match=line):
        train(SHARED | params, xgboost.DMatrix(x, label=y), 3, loss=LOSS, **how)


@pytest.mark.skipif(HAS_SHARED, reason="it is there")
def test_shared_trees_are_refused_where_xgboost_has_no_split_gradients(pair):
    x, y = pair
    with pytest.raises(InputError, match=r"needs XGBoost 3.2 or newer here"):
        train(SHARED, xgboost.DMatrix(x, label=y), 3, loss=LOSS)


@pytest.mark.parametrize("how", [{"target_weights": [1.0]}, {"target_scale": "none"}])
@pytest.mark.parametrize("loss", [LOSS, losses.LogLoss()], ids=str)
def test_settings_for_several_targets_are_refused_for_one(pair, how, loss):
    x, y = pair
    dtrain = xgboost.DMatrix(x, label=y[:, 0] > 40)
    with pytest.raises(InputError, match="weighs several targets against each other"):
        train(PARAMS, dtrain, 3, loss=loss, **how)


def test_what_is_wrong_with_a_target_is_said_with_its_number(pair):
    x, y = pair
    y = y.copy()
    y[5, 1] = 1e30
    with pytest.raises(
        InputError, match=r"Round 0: Target 1: The gradients of a round must sum up"
    ):
        train(PARAMS, xgboost.QuantileDMatrix(x, label=y), 3, loss=losses.SquaredError())
    with pytest.raises(
        InputError, match=r"Target 1: train needs a target whose robust scale is in"
    ):
        train(PARAMS, xgboost.QuantileDMatrix(x, label=y * [1, 1e-25]), 3, loss=LOSS)
