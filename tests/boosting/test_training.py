"""Training: oracles, the two paths, weights, units, early stopping, continuation, refusals."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import pytest
import xgboost

from asrl_mlflow import losses, train
from asrl_mlflow.boosting.regression.margins import residuals
from asrl_mlflow.boosting.training import recorded_loss
from asrl_mlflow.errors import InputError
from asrl_mlflow.losses.regression.loss import Loss
from asrl_mlflow.losses.regression.pointwise import PointwiseLoss
from asrl_mlflow.losses.regression.segmented.huber import PointwiseHuber
from asrl_mlflow.losses.regression.segments import Segments
from asrl_mlflow.metrics import mae, rmse
from asrl_mlflow.residuals.statistics import Residuals, distances
from tests.conftest import PARAMS
from tests.every_loss import ADAPTIVE, EVERY_LOSS, is_told

EVERY = pytest.mark.parametrize("loss", EVERY_LOSS, ids=str)
OBJECTIVE = pytest.mark.parametrize(
    "loss", [loss for loss in EVERY_LOSS if loss.XGBOOST_OBJECTIVE is None], ids=str
)
# Those that need not be told how far the training has come.
UNTOLD = pytest.mark.parametrize(
    "loss",
    [loss for loss in EVERY_LOSS if loss.XGBOOST_OBJECTIVE is None and not is_told(loss)],
    ids=str,
)


def median(matrix):
    return float(np.median(matrix.get_label().astype(np.float64)))


def trees(booster):
    return booster.get_dump(with_stats=True)


# Oracles ------------------------------------------------------------------------------------


@pytest.mark.parametrize("matrix", [xgboost.DMatrix, xgboost.QuantileDMatrix])
@pytest.mark.parametrize("weight", [None, "whole"])
@pytest.mark.parametrize(
    ("loss", "objective"),
    [
        (losses.SquaredError(), "reg:squarederror"),
        (losses.AbsoluteError(), "reg:absoluteerror"),
        (losses.Quantile(0.8), "reg:quantileerror"),
    ],
    ids=str,
)
def test_squared_absolute_and_quantile_error_equal_xgboosts_own_exactly(
    table, matrix, weight, loss, objective
):
    x, y = table
    weight = None if weight is None else np.arange(len(y)) % 3
    ours = matrix(x, label=y, weight=weight)
    theirs = matrix(x, label=y, weight=weight)
    start = Residuals(ours.get_label(), weight).median()
    own = {"objective": objective, "base_score": start, **loss.xgboost_parameters}
    expected = xgboost.train(PARAMS | own, theirs, 20)
    booster = train(PARAMS, ours, 20, loss=loss)
    assert trees(booster) == trees(expected)
    np.testing.assert_array_equal(booster.inplace_predict(x), expected.inplace_predict(x))
    assert recorded_loss(booster) == loss


@UNTOLD
def test_the_weighted_path_and_the_custom_objective_build_identical_trees(table, dtrain, loss):
    x, y = table
    by_weights = train(PARAMS, dtrain, 40, loss=loss)
    by_objective = xgboost.train(
        PARAMS | {"base_score": median(dtrain)},
        xgboost.QuantileDMatrix(x, label=y),
        40,
        obj=loss.objective,
    )
    assert trees(by_weights) == trees(by_objective)
    np.testing.assert_array_equal(by_weights.inplace_predict(x), by_objective.inplace_predict(x))


@UNTOLD
def test_paths_are_identical_with_sample_weights_too(table, loss):
    x, y = table
    weight = (np.arange(len(y)) % 4).astype(float)
    dtrain = xgboost.QuantileDMatrix(x, label=y, weight=weight)
    start = Residuals(dtrain.get_label(), weight).median()
    by_weights = train(PARAMS, dtrain, 20, loss=loss)
    # Asked for one of XGBoost's metrics on the training rows, train takes the other path itself.
    same_rows = xgboost.QuantileDMatrix(x, label=y, weight=weight)
    measured: dict[str, dict[str, list[float]]] = {}
    by_objective = train(
        PARAMS | {"eval_metric": "mphe"},
        same_rows,
        20,
        loss=loss,
        evals=[(same_rows, "train")],
        evals_result=measured,
    )
    by_hand = xgboost.train(
        PARAMS | {"base_score": start},
        xgboost.QuantileDMatrix(x, label=y, weight=weight),
        20,
        obj=loss.objective,
    )
    assert trees(by_weights) == trees(by_objective) == trees(by_hand)
    r = dtrain.get_label() - by_weights.inplace_predict(x)
    huber = np.average(np.sqrt(1 + r.astype(float) ** 2) - 1, weights=weight)
    assert measured["train"]["mphe"][-1] == pytest.approx(huber, rel=1e-4)


@UNTOLD
def test_the_scikit_learn_objective_builds_the_same_trees(table, dtrain, loss):
    x, y = table
    weight = np.arange(len(y)) % 3
    model = xgboost.XGBRegressor(
        objective=loss.sklearn_objective,
        n_estimators=10,
        base_score=Residuals(dtrain.get_label(), weight).median(),
        tree_method="hist",
        **PARAMS,
    ).fit(x, y, sample_weight=weight)
    native = train(PARAMS, xgboost.QuantileDMatrix(x, label=y, weight=weight), 10, loss=loss)
    assert trees(model.get_booster()) == trees(native)


@pytest.mark.parametrize("level", [0.1, 0.8])
def test_the_share_of_targets_above_a_quantile_is_what_its_level_leaves(level):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 3))
    y = 5 * x[:, 0] + rng.standard_t(4, 4000)
    params = {"max_depth": 3, "eta": 0.1, "nthread": 1}
    loss = losses.Quantile(level)
    native = train(params, xgboost.QuantileDMatrix(x[:3000], label=y[:3000]), 300, loss=loss)
    by_hand = xgboost.train(
        params | {"base_score": np.median(y[:3000])},
        xgboost.QuantileDMatrix(x[:3000], label=y[:3000]),
        300,
        obj=loss.objective,
    )
    for booster in (native, by_hand):
        above = np.mean(y[3000:] > booster.inplace_predict(x[3000:]))
        assert above == pytest.approx(1 - level, abs=0.07)


def test_an_expectile_balances_what_lies_above_with_what_lies_below(table, dtrain):
    x, _ = table
    for level in (0.2, 0.5, 0.9):
        booster = train(PARAMS, dtrain, 200, loss=losses.Expectile(level))
        off = dtrain.get_label() - booster.inplace_predict(x)
        above, below = np.maximum(off, 0).sum(), np.maximum(-off, 0).sum()
        assert above / (above + below) == pytest.approx(1 - level, abs=0.02)


def test_xgboosts_own_quantile_metric_selects_by_the_level_of_the_loss(table, dtrain):
    x, _ = table
    measured = {}
    booster = train(
        PARAMS | {"eval_metric": "quantile"},
        dtrain,
        5,
        loss=losses.Quantile(0.8),
        evals=[(dtrain, "valid")],
        evals_result=measured,
    )
    r = dtrain.get_label() - booster.inplace_predict(x)
    pinball = losses.Quantile(0.8).adapt(Residuals(r)).value(r).mean()
    assert list(measured["valid"]) == ["mae", "rmse", "quantile"]
    assert measured["valid"]["quantile"][-1] == pytest.approx(pinball, rel=1e-5)


@pytest.mark.parametrize("loss", [losses.MM(), losses.auto()], ids=str)
def test_a_loss_of_two_stages_fixes_its_thresholds_once_in_a_training(dtrain, loss):
    rounds = []
    for rate in (0.3, 0.5):
        rounds.clear()
        train(PARAMS | {"learning_rate": rate}, dtrain, 14, loss=loss, on_round=rounds.append)
        stage = [(1 - rate) ** round_.number <= 0.05 for round_ in rounds]
        second = {
            round_.pointwise for round_, is_second in zip(rounds, stage, strict=True) if is_second
        }
        first = {round_.pointwise for round_ in rounds} - second
        assert len(second) == 1
        assert len(first) == stage.count(False)


@pytest.mark.parametrize(
    ("loss", "direction"), [(losses.auto(), "up"), (losses.auto(), "both"), (losses.MM(), "both")]
)
def test_forty_wrong_labels_in_a_hundred_do_not_spoil_a_model(loss, direction):
    rng = np.random.default_rng(3)
    x = rng.uniform(-2, 2, size=(4000, 3))
    clean = 4 * x[:, 0] + 3 * np.sin(3 * x[:, 1])
    y = clean + rng.normal(scale=0.3, size=4000)
    wrong = rng.random(4000) < 0.4
    size = rng.uniform(15, 50, wrong.sum())
    y[wrong] += size if direction == "up" else size * rng.choice([-1, 1], wrong.sum())
    dtrain = xgboost.QuantileDMatrix(x[:3000], label=y[:3000])
    params = {"max_depth": 4, "learning_rate": 0.1, "nthread": 1}
    booster = train(params, dtrain, 100, loss=loss)
    off = clean[3000:] - booster.inplace_predict(x[3000:])
    assert 1 - np.square(off).sum() / np.square(clean[3000:] - clean[3000:].mean()).sum() > 0.95


def test_absolute_errors_objective_comes_close_to_the_median(table):
    x, y = table
    dtrain = xgboost.DMatrix(x, label=y)
    booster = xgboost.train(
        PARAMS | {"base_score": median(dtrain)},
        dtrain,
        100,
        obj=losses.AbsoluteError().objective,
    )
    native = train(PARAMS, dtrain, 100, loss=losses.AbsoluteError())
    signal = 40 + 6 * x[:, 0] + 4 * np.sin(2 * x[:, 1])
    assert mae(signal, booster.predict(dtrain)) < 2 * mae(signal, native.predict(dtrain))


@OBJECTIVE
@pytest.mark.parametrize("matrix", [xgboost.DMatrix, xgboost.QuantileDMatrix])
def test_the_thresholds_of_a_round_are_those_of_the_trees_before_it(table, matrix, loss):
    x, y = table
    dtrain, rounds = matrix(x, label=y), []
    booster = train(PARAMS, dtrain, 8, loss=loss, on_round=rounds.append)
    assert [round_.number for round_ in rounds] == list(range(8))
    for number, round_ in enumerate(rounds):
        # booster[:0] would be all trees.
        before = booster[:number].predict(dtrain) if number else median(dtrain)
        target = dtrain.get_label()
        stats = Residuals(target - np.float32(before), start=partial(distances, target))
        assert round_.pointwise == loss.adapt(stats)


@EVERY
def test_the_metrics_of_a_round_are_those_with_its_tree(table, dtrain, loss):
    x, y = table
    dvalid = xgboost.QuantileDMatrix(x[:150] + 0.1, label=y[:150], ref=dtrain)
    rounds, measured = [], {}
    booster = train(
        PARAMS,
        dtrain,
        6,
        loss=loss,
        evals=[(dtrain, "train"), (dvalid, "valid")],
        evals_result=measured,
        on_round=rounds.append,
    )
    for number, round_ in enumerate(rounds):
        model = booster[: number + 1]
        for part, matrix in ((round_.train, dtrain), (round_.valid, dvalid)):
            target, prediction = matrix.get_label(), model.predict(matrix)
            assert part["mae"] == pytest.approx(mae(target, prediction), rel=1e-6)
            assert part["rmse"] == pytest.approx(rmse(target, prediction), rel=1e-6)
        size = np.abs(dvalid.get_label() - model.predict(dvalid))
        limits = list(round_.pointwise.regions.values())
        expected = np.diff([np.mean(size <= limit) for limit in limits], prepend=0)
        assert list(round_.valid_shares.values()) == pytest.approx(list(expected))
        assert not limits or sum(round_.valid_shares.values()) == pytest.approx(1)
    assert measured["train"]["mae"] == [round_.train["mae"] for round_ in rounds]
    assert measured["valid"]["rmse"] == [round_.valid["rmse"] for round_ in rounds]


# Sample weights -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    # reg:absoluteerror interpolates weighted leaf medians in its own way.
    "loss",
    [loss for loss in EVERY_LOSS if not isinstance(loss, losses.AbsoluteError | losses.Quantile)],
    ids=str,
)
def test_weight_k_trains_as_the_row_k_times(table, loss):
    x, y = table
    weight = np.arange(len(y)) % 3
    weighted = xgboost.QuantileDMatrix(x, label=y, weight=weight)
    written_out = xgboost.QuantileDMatrix(
        np.repeat(x, weight, axis=0), label=np.repeat(y, weight), ref=weighted
    )
    here = train(PARAMS, weighted, 10, loss=loss).inplace_predict(x)
    there = train(PARAMS, written_out, 10, loss=loss).inplace_predict(x)
    np.testing.assert_allclose(here, there, rtol=1e-5)


@EVERY
@pytest.mark.parametrize(("unit", "off"), [(2.0**-10, 1e-6), (1e-3, 1e-3)])
def test_fractional_weights_have_no_unit_and_the_rule_is_recorded(table, loss, unit, off):
    # A power of two changes no digit. Any other unit changes the last one of a float32 weight, which
    # now and then turns a split that was nearly a tie: so there the mean is claimed.
    x, y = table
    weight = 0.3 + np.arange(len(y)) % 5
    boosters = [
        train(PARAMS, xgboost.QuantileDMatrix(x, label=y, weight=scale * weight), 10, loss=loss)
        for scale in (1.0, unit)
    ]
    assert {booster.attr("asrl_weight_rule") for booster in boosters} == {"mean 1"}
    here, there = (booster.inplace_predict(x) for booster in boosters)
    assert mae(here, there) <= off * np.subtract(*np.quantile(y, [0.75, 0.25]))


@pytest.mark.parametrize(
    ("weight", "rule"), [(None, "none"), ([2.0, 0.0], "counts"), ([1.0, 1.0], "counts")]
)
def test_which_weight_rule_was_used_is_recorded(table, weight, rule):
    x, y = table
    weight = None if weight is None else np.resize(weight, len(y))
    dtrain = xgboost.QuantileDMatrix(x, label=y, weight=weight)
    booster = train(PARAMS, dtrain, 2, loss=losses.ContinuousASRL())
    assert booster.attr("asrl_weight_rule") == rule


@EVERY
@pytest.mark.parametrize("weight", [None, "whole", "fractional"])
@pytest.mark.parametrize("fails", [False, True])
def test_the_matrix_is_given_back_as_it_was(table, loss, weight, fails):
    x, y = table
    own = {"whole": np.arange(len(y)) % 2, "fractional": np.linspace(0.1, 2, len(y)), None: None}
    dtrain = xgboost.QuantileDMatrix(x, label=1e-6 * y, weight=own[weight])
    before = dtrain.get_weight()

    def listen(round_):
        if fails and round_.number == 2:
            raise KeyError

    if fails:
        with pytest.raises(KeyError):
            train(PARAMS, dtrain, 4, loss=loss, on_round=listen)
    else:
        train(PARAMS, dtrain, 4, loss=loss, on_round=listen)
    np.testing.assert_array_equal(dtrain.get_weight(), before)
    assert dtrain.get_weight().size == (0 if weight is None else len(y))


# Seeds, units, kinds of data ----------------------------------------------------------------


@EVERY
def test_the_same_seed_gives_the_same_bytes(table, loss):
    x, y = table
    params = PARAMS | {"subsample": 0.7, "colsample_bytree": 0.7, "seed": 5}
    first, second = (
        train(params, xgboost.QuantileDMatrix(x, label=y), 8, loss=loss).save_raw("ubj")
        for _ in range(2)
    )
    assert first == second


@pytest.mark.parametrize(
    "loss",
    [
        *ADAPTIVE,
        losses.SquaredError(),
        losses.AbsoluteError(),
        losses.Quantile(0.7),
        losses.Expectile(0.7),
    ],
    ids=str,
)
@pytest.mark.parametrize("unit", [1e-9, 1e-3, 0.02, 1e3, 1e12])
def test_the_targets_unit_does_not_matter(table, loss, unit):
    x, y = table
    iqr = np.subtract(*np.quantile(y, [0.75, 0.25]))
    here = train(PARAMS, xgboost.QuantileDMatrix(x, label=y), 30, loss=loss)
    there = train(PARAMS, xgboost.QuantileDMatrix(x, label=unit * y), 30, loss=loss)
    off = np.abs(there.inplace_predict(x) / unit - here.inplace_predict(x)) / iqr
    # Its robust scale is just above 1/16, from where on nothing is scaled: there the least gain that
    # XGBoost allows is felt in the smallest splits.
    most = 2e-2 if unit == 0.02 else 1e-3
    # A unit that is no power of two changes last digits: of so many losses one has a split that is
    # nearly a tie, and turns.
    assert (off.max() if loss.name in losses.BASIC and unit != 0.02 else off.mean()) < most


@pytest.mark.parametrize("matrix", [xgboost.DMatrix, xgboost.QuantileDMatrix])
@pytest.mark.parametrize("far", [100, 1000])
@EVERY
def test_a_target_far_from_zero_is_learned_as_near_it(table, matrix, far, loss):
    # Labels are float32: near zero they are rounded as they are far from it, so that margins are
    # what is compared.
    x, y = table
    iqr = np.subtract(*np.quantile(y, [0.75, 0.25]))
    shift = np.float32(round(far * iqr))
    there = (y + shift).astype(np.float32)
    near, far_off = (
        train(PARAMS, matrix(x, label=label), 50, loss=loss) for label in (there - shift, there)
    )
    off = np.abs(far_off.inplace_predict(x).astype(np.float64) - shift - near.inplace_predict(x))
    # In 50 rounds of so many losses a split now and then is nearly a tie, and turns.
    assert off.max() < 1e-3 * iqr or (loss.name not in losses.BASIC and off.mean() < 3e-2 * iqr)


@pytest.mark.parametrize("loss", [losses.SquaredError(), losses.ContinuousASRL()], ids=str)
def test_a_model_of_a_target_far_from_zero_is_continued_and_shown_as_it_is(table, loss):
    x, y = table
    y, rounds = y + 9000, 6
    dtrain = xgboost.QuantileDMatrix(x, label=y)
    shown = []

    class Look(xgboost.callback.TrainingCallback):
        def after_iteration(self, model, epoch, evals_log):
            shown.append(xgboost.Booster(model_file=model.save_raw("ubj")).inplace_predict(x))

    straight = train(PARAMS, dtrain, rounds, loss=loss, callbacks=[Look()])
    first = train(PARAMS, dtrain, 2, loss=loss)
    more = train(PARAMS, dtrain, rounds - 2, loss=loss, xgb_model=first)
    np.testing.assert_allclose(more.inplace_predict(x), straight.inplace_predict(x), atol=2e-3)
    np.testing.assert_array_equal(shown[-1], straight.inplace_predict(x))
    np.testing.assert_array_equal(shown[1], first.inplace_predict(x))
    np.testing.assert_array_equal(dtrain.get_label(), y.astype(np.float32))
    assert dtrain.get_base_margin().size == 0


@pytest.mark.parametrize("unit", [1.0, 1e-6])
def test_the_users_regularisation_is_what_the_booster_keeps(table, unit):
    x, y = table
    params = PARAMS | {"reg_lambda": 3.0, "min_child_weight": 5.0}
    dtrain = xgboost.QuantileDMatrix(x, label=unit * y)
    booster = train(params, dtrain, 3, loss=losses.ContinuousASRL())
    kept = json.loads(booster.save_config())["learner"]["gradient_booster"]["tree_train_param"]
    assert (float(kept["reg_lambda"]), float(kept["min_child_weight"])) == (3, 5)
    assert (float(kept["gamma"]), float(kept["reg_alpha"])) == (0, 0)
    assert (float(booster.attr("asrl_objective_scale")) > 1) == (unit < 1)


def test_regularisation_acts_on_tiny_targets_as_on_ordinary_ones(table):
    x, y = table
    loss = losses.ContinuousASRL()
    predictions = [
        train(
            PARAMS | {"lambda": 20, "alpha": 2.0 * unit, "gamma": 5.0 * unit**2},
            xgboost.QuantileDMatrix(x, label=unit * y),
            10,
            loss=loss,
        ).inplace_predict(x)
        / unit
        for unit in (1.0, 2.0**-12)
    ]
    np.testing.assert_allclose(*predictions, rtol=1e-5)


@pytest.mark.parametrize("matrix", [xgboost.DMatrix, xgboost.QuantileDMatrix])
def test_missing_values_and_categories_are_learned_from(table, matrix):

    x, y = table
    frame = pd.DataFrame(x.copy(), columns=list("abcde"))
    frame.loc[::7, "a"] = np.nan
    frame["f"] = pd.Categorical(np.where(np.arange(len(y)) % 2, "odd", "even"))
    y = y + 20 * (np.arange(len(y)) % 2)
    dtrain = matrix(frame, label=y, enable_categorical=True)
    booster = train(PARAMS, dtrain, 40, loss=losses.ContinuousASRL())
    kept = np.arange(len(y)) % 10 != 0
    assert mae(y[kept], booster.predict(dtrain)[kept]) < 3
    assert booster.feature_types[-1] == "c"


# XGBoost 3.4 says of both that a later release will not have them.
DEPRECATED = pytest.mark.filterwarnings(
    "ignore:.*booster=(dart|gblinear)` is deprecated:UserWarning",
    "ignore:Exception ignored on calling ctypes callback",
)


@DEPRECATED
@pytest.mark.parametrize(
    "params",
    [
        PARAMS | {"booster": "dart", "rate_drop": 0.3, "one_drop": 1},
        {"booster": "gblinear", "updater": "coord_descent", "nthread": 1},
    ],
    ids=["dart", "gblinear"],
)
@pytest.mark.parametrize("loss", [losses.ContinuousASRL(), losses.SquaredError()], ids=str)
def test_other_boosters_train_as_with_the_plain_objective(table, params, loss):
    x, y = table
    ours, theirs = xgboost.DMatrix(x, label=y), xgboost.DMatrix(x, label=y)
    here = train(params, ours, 10, loss=loss)
    there = xgboost.train(params | {"base_score": median(theirs)}, theirs, 10, obj=loss.objective)
    np.testing.assert_array_equal(here.predict(ours), there.predict(theirs))


@pytest.mark.parametrize("noise", [1e-9, 1e-17, 1e-25])
@pytest.mark.parametrize("loss", [*ADAPTIVE, losses.SquaredError()], ids=str)
def test_noise_in_the_last_digits_of_equal_targets_is_no_tiny_scale(table, noise, loss):
    x, y = table
    zero_inflated = np.where(x[:, 0] > 0.4, y, 0.0)
    noisy = np.where(x[:, 0] > 0.4, y, noise * (np.arange(len(y)) % 3))
    here, there = (
        train(PARAMS, xgboost.QuantileDMatrix(x, label=target), 20, loss=loss)
        for target in (zero_inflated, noisy)
    )
    assert there.attr("asrl_objective_scale") == "1"
    off = np.abs(here.inplace_predict(x) - there.inplace_predict(x)).mean()
    assert off < 0.1 * zero_inflated.std()


def test_a_tiny_target_with_one_gross_outlier_is_scaled_no_further_than_float32_reaches(table):
    x, y = table
    y = 1e-9 * y
    y[0] = 1e6
    booster = train(PARAMS, xgboost.QuantileDMatrix(x, label=y), 30, loss=losses.ContinuousASRL())
    assert 1 < float(booster.attr("asrl_objective_scale")) < 4.0**25
    assert np.isfinite(booster.inplace_predict(x)).all()


def test_most_equal_and_few_tiny_targets_are_scaled_by_the_few(table):
    x, y = table
    y = np.where(x[:, 0] > 0.4, y - 30, 0.0)
    here, there = (
        train(PARAMS, xgboost.QuantileDMatrix(x, label=unit * y), 20, loss=losses.SquaredError())
        for unit in (1.0, 2.0**-20)
    )
    assert float(there.attr("asrl_objective_scale")) > 1
    np.testing.assert_allclose(
        there.inplace_predict(x) * 2.0**20, here.inplace_predict(x), rtol=1e-4, atol=1e-3
    )


@pytest.mark.parametrize("unit", [1e-22, 1e20])
def test_a_target_beyond_the_reach_of_float32_is_refused(table, unit):
    x, y = table
    with pytest.raises(InputError, match=r"robust scale is in \[1e-18, 1e\+15\]"):
        train(PARAMS, xgboost.QuantileDMatrix(x, label=unit * y), 2, loss=losses.Huber())


@DEPRECATED
@pytest.mark.parametrize("loss", [losses.SquaredError(), losses.ContinuousASRL()], ids=str)
def test_gblinear_keeps_its_own_regularisation_on_tiny_targets(table, loss):
    x, y = table
    params = {"booster": "gblinear", "updater": "coord_descent", "nthread": 1}
    here, there = xgboost.DMatrix(x, label=y), xgboost.DMatrix(x, label=2.0**-12 * y)
    np.testing.assert_allclose(
        2.0**12 * train(params, there, 20, loss=loss).predict(there),
        train(params, here, 20, loss=loss).predict(here),
        rtol=1e-3,
    )


def test_a_continued_booster_keeps_its_regularisation_on_tiny_targets(table):
    x, y = table
    loss = losses.ContinuousASRL()
    predictions = []
    for unit in (1.0, 2.0**-12):
        dtrain = xgboost.QuantileDMatrix(x, label=unit * y)
        first = train(PARAMS | {"lambda": 20}, dtrain, 5, loss=loss)
        second = train({"nthread": 1}, dtrain, 5, loss=loss, xgb_model=first)
        predictions.append(second.predict(dtrain) / unit)
    np.testing.assert_allclose(*predictions, rtol=1e-5)


def test_zero_inflated_targets_are_learned(table):
    x, y = table
    y = np.where(x[:, 0] > 0.4, y, 0.0)
    assert np.mean(y == 0) > 0.6
    dtrain, rounds = xgboost.QuantileDMatrix(x, label=y), []
    booster = train(PARAMS, dtrain, 60, loss=losses.ContinuousASRL(), on_round=rounds.append)
    assert mae(y, booster.inplace_predict(x)) < 0.3 * mae(y, np.zeros(len(y)))
    assert rounds[0].pointwise.fallback == 1


@EVERY
def test_a_constant_target_is_predicted(table, loss):
    x, _ = table
    booster = train(PARAMS, xgboost.QuantileDMatrix(x, label=np.full(len(x), 7.5)), 3, loss=loss)
    np.testing.assert_allclose(booster.inplace_predict(x), 7.5, rtol=1e-6)


@pytest.mark.parametrize("early_stopping_rounds", [None, 3])
def test_no_round_gives_the_median(dtrain, early_stopping_rounds):
    booster = train(
        PARAMS,
        dtrain,
        0,
        loss=losses.ContinuousASRL(),
        evals=[(dtrain, "valid")],
        early_stopping_rounds=early_stopping_rounds,
    )
    np.testing.assert_allclose(booster.predict(dtrain), np.float32(median(dtrain)))
    assert recorded_loss(booster) == losses.ContinuousASRL()


# Early stopping and continuation ------------------------------------------------------------


@pytest.mark.parametrize("metric", ["mae", "medae"])
@pytest.mark.parametrize("unit", [1.0, 1e-9])
def test_early_stopping_cuts_the_booster_at_the_best_validation_round(
    table, tmp_path, metric, unit
):
    x, y = table
    dtrain = xgboost.QuantileDMatrix(x[:300], label=unit * y[:300])
    dvalid = xgboost.QuantileDMatrix(x[300:], label=unit * y[300:], ref=dtrain)
    rounds = []
    booster = train(
        PARAMS | {"learning_rate": 0.5},
        dtrain,
        200,
        loss=losses.AdaptiveHuber(),
        evals=[(dtrain, "train"), (dvalid, "valid")],
        early_stopping_rounds=5,
        metric=metric,
        on_round=rounds.append,
    )
    curve = [round_.valid[metric] for round_ in rounds]
    best = int(np.argmin(curve))
    assert len(curve) == best + 6
    booster.save_model(tmp_path / "model.ubj")
    again = xgboost.Booster(model_file=tmp_path / "model.ubj")
    assert again.num_boosted_rounds() == best + 1
    assert again.best_iteration == best
    assert recorded_loss(again) == losses.AdaptiveHuber()
    prediction = again.predict(dvalid)
    measure = {"mae": mae, "medae": lambda y, p: np.median(np.abs(np.float64(y) - p))}[metric]
    assert measure(dvalid.get_label(), prediction) == pytest.approx(curve[best], rel=1e-6)


@EVERY
def test_training_goes_on_from_a_model_as_if_it_had_never_stopped(table, tmp_path, loss):
    x, y = table
    straight = train(PARAMS, xgboost.QuantileDMatrix(x, label=y), 9, loss=loss)
    first = train(PARAMS, xgboost.QuantileDMatrix(x, label=y), 4, loss=loss)
    first.save_model(tmp_path / "model.ubj")
    rounds = []
    second = train(
        PARAMS,
        xgboost.QuantileDMatrix(x, label=y),
        5,
        loss=loss,
        xgb_model=tmp_path / "model.ubj",
        on_round=rounds.append,
    )
    assert [round_.number for round_ in rounds] == list(range(4, 9))
    np.testing.assert_allclose(second.inplace_predict(x), straight.inplace_predict(x), rtol=1e-5)


def test_a_model_goes_on_with_another_loss_only_when_asked(dtrain):
    first = train(PARAMS, dtrain, 2, loss=losses.ContinuousASRL())
    with pytest.raises(InputError, match=r"it records ContinuousASRL\(.*got AdaptiveHuber\("):
        train(PARAMS, dtrain, 2, loss=losses.AdaptiveHuber(), xgb_model=first)
    second = train(
        PARAMS, dtrain, 2, loss=losses.AdaptiveHuber(), xgb_model=first, change_loss=True
    )
    assert second.num_boosted_rounds() == 4
    assert recorded_loss(second) == losses.AdaptiveHuber()


def test_a_model_from_before_there_was_a_floor_goes_on_with_its_loss(dtrain):
    first = train(PARAMS, dtrain, 2, loss=losses.ContinuousASRL(0.3, 0.6, 2.0))
    old = {"name": "asrl_c", "params": {"q_low": 0.3, "q_high": 0.6, "tail": 2.0}}
    first.set_attr(asrl_loss=json.dumps(old))
    second = train(PARAMS, dtrain, 2, loss=losses.ContinuousASRL(0.3, 0.6, 2.0), xgb_model=first)
    assert second.num_boosted_rounds() == 4
    with pytest.raises(InputError, match=r"it records ContinuousASRL\(.*got ContinuousASRL\("):
        train(PARAMS, dtrain, 2, loss=losses.ContinuousASRL(0.3, 0.6, 2.0, 0.5), xgb_model=first)


@pytest.mark.parametrize("quantile", [0.2, 0.7])
def test_continuous_asrl_with_a_floor_of_1_and_a_long_tail_trains_as_fixed_huber(table, quantile):
    x, y = table
    dtrain = xgboost.QuantileDMatrix(x, label=y)
    delta = distances(dtrain.get_label()).quantile_abs(quantile)
    loss = losses.ContinuousASRL(q_low=quantile, q_high=1 - 1e-13, tail=1e100, floor=1.0)
    told = {"ours": [], "huber": []}
    ours = train(PARAMS, dtrain, 30, loss=loss, on_round=told["ours"].append)
    huber = train(PARAMS, dtrain, 30, loss=losses.Huber(delta), on_round=told["huber"].append)
    assert {round_.pointwise.delta_low for round_ in told["ours"]} == {delta}
    np.testing.assert_allclose(ours.inplace_predict(x), huber.inplace_predict(x), rtol=1e-5)


def test_a_loss_of_a_users_own_goes_on_with_itself(dtrain):
    @dataclass(frozen=True)
    class Mine(losses.Huber):
        name = "mine"

    booster = train(PARAMS, dtrain, 2, loss=Mine(2.0))
    more = train(PARAMS, dtrain, 2, loss=Mine(2.0), xgb_model=booster)
    assert more.num_boosted_rounds() == 4
    with pytest.raises(InputError, match="goes on with the loss that it recorded"):
        train(PARAMS, dtrain, 2, loss=Mine(3.0), xgb_model=booster)


def test_a_model_that_records_no_loss_goes_on_only_when_asked(dtrain):
    foreign = xgboost.train(PARAMS, dtrain, 2)
    with pytest.raises(InputError, match="it records None"):
        train(PARAMS, dtrain, 2, loss=losses.Huber(), xgb_model=foreign)
    assert (
        train(
            PARAMS, dtrain, 2, loss=losses.Huber(), xgb_model=foreign, change_loss=True
        ).num_boosted_rounds()
        == 4
    )


def test_a_base_score_that_was_given_is_kept(table, dtrain):
    booster = train(PARAMS | {"base_score": 12.5}, dtrain, 0, loss=losses.ContinuousASRL())
    np.testing.assert_array_equal(booster.predict(dtrain), 12.5)


# Refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            {"params": {"objective": "reg:squarederror"}},
            "train takes the objective from loss; got params['objective']='reg:squarederror'; "
            "remove it.",
        ),
        (
            {"metric": "rmsle"},
            "train needs a metric out of mae, rmse, mse, medae, trimmed_mae, quantile; got 'rmsle'.",
        ),
        ({"loss": "asrl_c"}, "train needs a loss, such as losses.auto(); got 'asrl_c'."),
        (
            {"params": [("objective", "reg:tweedie")]},
            "train takes the objective from loss; got params['objective']='reg:tweedie'; remove it.",
        ),
        (
            {"params": {"scale_pos_weight": 3}},
            "train weighs classes by sample weights, which every loss heeds; got "
            "scale_pos_weight=3; set the weights of the matrix instead.",
        ),
        (
            {"early_stopping_rounds": 0},
            "Early stopping needs at least 1 round; got early_stopping_rounds=0; pass None for no "
            "early stopping.",
        ),
        (
            {"early_stopping_rounds": 3},
            "Early stopping needs rows to judge by; got early_stopping_rounds=3 and no evals; pass "
            "evals=[(dvalid, 'valid')].",
        ),
    ],
)
def test_a_bad_call_is_refused_in_one_line(dtrain, change, line):
    call = {"params": PARAMS, "loss": losses.Huber(), **change}
    with pytest.raises(InputError) as caught:
        train(call.pop("params"), dtrain, 2, **call)
    assert str(caught.value) == line


def test_a_matrix_that_is_none_is_refused(table):
    x, _ = table
    with pytest.raises(InputError, match="needs a DMatrix or QuantileDMatrix; got ndarray"):
        train(PARAMS, x, 2, loss=losses.Huber())


@pytest.mark.parametrize(
    ("loss", "label", "shape"),
    [
        (losses.LogLoss(), np.ones((20, 2)), r"\((20, 2|40,)\)"),
        (losses.Huber(), None, r"\(0,\)"),
    ],
    ids=["two columns of classes", "none"],
)
def test_rows_need_a_label_and_only_numbers_have_several(loss, label, shape):
    dtrain = xgboost.DMatrix(np.ones((20, 1)), label=label)
    with pytest.raises(InputError, match=f"one label a row in dtrain; got labels of shape {shape}"):
        train(PARAMS, dtrain, 2, loss=loss)


@dataclass(frozen=True)
class BrokenPoint(PointwiseHuber):
    """Gives rows beyond its threshold a weight that no tree may see."""

    bad: float = np.nan

    @property
    def segments(self):
        return Segments(low=self.delta, middle=self.bad)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
@pytest.mark.parametrize("matrix", [xgboost.DMatrix, xgboost.QuantileDMatrix])
def test_gradients_and_hessians_that_are_not_sound_name_round_and_rows(table, matrix, bad):
    x, y = table

    class Broken(Loss):
        name = "broken"

        def adapt(self, stats) -> PointwiseLoss:
            self.__dict__["rounds"] = self.__dict__.get("rounds", 0) + 1
            if self.__dict__["rounds"] < 3:
                return PointwiseHuber(1.0)
            # Three rows lie beyond.
            return BrokenPoint(stats.quantile_abs((len(y) - 4) / (len(y) - 1)), bad=bad)

    with pytest.raises(InputError, match=r"Round 2: .*; got 3 of 600 rows where they are not"):
        train(PARAMS, matrix(x, label=y), 5, loss=Broken())


def test_a_product_of_weight_and_residual_beyond_float32_is_refused_for_squared_error_too(table):
    x, y = table
    y = y.copy()
    y[7] = 1e36
    dtrain = xgboost.QuantileDMatrix(x, label=y, weight=np.full(len(y), 1000))
    with pytest.raises(InputError, match=r"Round 0: Gradients .*; got 1 of 600 rows where they"):
        train(PARAMS, dtrain, 1, loss=losses.SquaredError())


def test_a_base_margin_is_where_training_starts(table):
    x, y = table
    margin = np.where(x[:, 0] > 0, 50.0, 30.0)
    ours, theirs = (xgboost.QuantileDMatrix(x, label=y, base_margin=margin) for _ in range(2))
    booster = train(PARAMS, ours, 10, loss=losses.ContinuousASRL())
    by_hand = xgboost.train(PARAMS, theirs, 10, obj=losses.ContinuousASRL().objective)
    assert trees(booster) == trees(by_hand)


def test_what_xgboost_refuses_to_predict_is_told_in_its_words(dtrain):
    other = xgboost.DMatrix(np.ones((5, 99)), label=np.ones(5))
    booster = train(PARAMS, dtrain, 2, loss=losses.SquaredError())
    with pytest.raises(xgboost.core.XGBoostError, match="columns"):
        residuals(
            booster,
            other,
            np.ones(5, np.float32),
            out=np.empty(5, np.float32),
            scratch=np.empty(5, np.float32),
        )


def test_a_row_of_weight_zero_may_have_any_hessian(table):
    x, y = table
    weight = np.ones(len(y))
    weight[:50] = 0
    y = y.copy()
    y[:50] = 1e30
    booster = train(
        PARAMS, xgboost.QuantileDMatrix(x, label=y, weight=weight), 20, loss=losses.ContinuousASRL()
    )
    assert mae(y[50:], booster.inplace_predict(x[50:])) < 10


def test_rows_held_up_by_the_floor_are_counted(table):
    x, y = table
    y = y.copy()
    y[:2] = 3e38
    rounds = []
    loss = losses.ContinuousASRL(tail=1e-3)
    booster = train(
        PARAMS, xgboost.QuantileDMatrix(x, label=y), 5, loss=loss, on_round=rounds.append
    )
    assert [round_.floored for round_ in rounds] == [2] * 5
    assert np.abs(booster.inplace_predict(x)).max() < 1e3


def test_callbacks_and_verbose_evaluation_work_as_in_xgboost(table, dtrain, capsys):
    seen = []

    class Listen(xgboost.callback.TrainingCallback):
        def after_iteration(self, model, epoch, evals_log):
            seen.append(evals_log["train"]["mae"][-1])
            return epoch == 3

    train(
        PARAMS,
        dtrain,
        10,
        loss=losses.Huber(),
        evals=[(dtrain, "train")],
        callbacks=[Listen()],
        verbose_eval=True,
    )
    assert len(seen) == 4
    # The metric that selects comes last, where callbacks look for it.
    assert re.search(r"^\[0\]\ttrain-rmse:[\d.]+\ttrain-mae:", capsys.readouterr().out)


def test_the_last_evals_entry_selects_also_when_it_is_the_training_matrix(table, dtrain):
    rounds = []
    train(PARAMS, dtrain, 3, loss=losses.Huber(), evals=[(dtrain, "valid")], on_round=rounds.append)
    assert all(round_.valid == round_.train for round_ in rounds)


def median_size(prediction, matrix):
    """A metric of a user's own."""
    return "median_size", float(np.median(np.abs(prediction - matrix.get_label())))


def test_a_custom_metric_is_computed_and_selects_as_by_xgboost(table):
    x, y = table
    dtrain = xgboost.QuantileDMatrix(x[:400], label=y[:400])
    dvalid = xgboost.QuantileDMatrix(x[400:], label=y[400:], ref=dtrain)
    evals = [(dtrain, "train"), (dvalid, "valid")]
    ours, theirs = {}, {}
    given = {"early_stopping_rounds": 5, "custom_metric": median_size}
    params = {**PARAMS, "base_score": 40.0}
    booster = train(
        params, dtrain, 200, loss=losses.SquaredError(), evals=evals, evals_result=ours, **given
    )
    other = xgboost.train(
        params, dtrain, 200, evals=evals, evals_result=theirs, verbose_eval=False, **given
    )
    for name in ("train", "valid"):
        assert ours[name]["median_size"] == theirs[name]["median_size"]
        assert list(ours[name])[-1] == "median_size"
    assert booster.best_iteration == other.best_iteration
    chosen = {"early_stopping_rounds": 5, "custom_metric": median_size, "metric": "mae"}
    by_mae = train(
        params, dtrain, 200, loss=losses.SquaredError(), evals=evals, evals_result={}, **chosen
    )
    assert float(by_mae.attr("best_score")) == pytest.approx(
        np.abs(by_mae.inplace_predict(x[400:]) - y[400:]).mean(), rel=1e-6
    )


@pytest.mark.parametrize(
    ("metric", "why"),
    [
        (lambda _, __: ("mae", 1.0), "custom_metric needs a name of its own; got 'mae'"),
        ("mape", "takes predictions and a matrix"),
    ],
)
def test_a_custom_metric_that_is_none_is_refused(dtrain, metric, why):
    with pytest.raises(InputError, match=why):
        train({}, dtrain, 2, loss=losses.ASRL(), evals=[(dtrain, "t")], custom_metric=metric)


@pytest.mark.parametrize("loss", [losses.ContinuousASRL(), losses.SquaredError()], ids=repr)
def test_xgboosts_own_doors_warn_of_a_start_far_from_the_target(table, loss):
    x, y = table
    dtrain = xgboost.DMatrix(x, label=y)
    start = loss.base_score(y)
    assert start == float(np.median(y))
    with pytest.warns(UserWarning, match=f"starts at 0.5, .* pass base_score={start:.4g}"):
        xgboost.train(PARAMS | {"base_score": 0.5}, dtrain, 2, obj=loss.objective)
    model = xgboost.XGBRegressor(objective=loss.sklearn_objective, n_estimators=2)
    with pytest.warns(UserWarning, match="the first rounds walk there"):
        model.fit(x, y)
    # Warnings are errors here: none where it starts at the target.
    xgboost.train(PARAMS | {"base_score": start}, dtrain, 2, obj=loss.objective)
    model.set_params(base_score=start).fit(x, y)
