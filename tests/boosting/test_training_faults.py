"""Training: faults that were seen, each made to happen again."""

from __future__ import annotations

import copy
import json
import pickle
import threading
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import xgboost

from asrl_mlflow import RobustXGBRegressor, losses, train
from asrl_mlflow.boosting import CALIBRATION_ATTRIBUTE, recorded_loss
from asrl_mlflow.errors import InputError
from asrl_mlflow.losses.regression.loss import Loss
from asrl_mlflow.losses.regression.pointwise import PointwiseLoss
from asrl_mlflow.losses.regression.segmented.huber import PointwiseHuber
from asrl_mlflow.metrics import mae
from tests.conftest import PARAMS
from tests.ranks import run_ranks

LOSS = losses.ContinuousASRL()


class Stop(xgboost.callback.TrainingCallback):
    """Stops in a round, before or after its tree."""

    def __init__(self, *, before=None, after=None):
        self.before, self.after = before, after

    def before_iteration(self, model, epoch, evals_log):
        return epoch == self.before

    def after_iteration(self, model, epoch, evals_log):
        return epoch == self.after


class Listen(xgboost.callback.TrainingCallback):
    """Keeps what it is told, and a copy of the model as its file and as its pickle."""

    def __init__(self):
        self.rounds, self.files, self.pickles = [], [], []

    def after_iteration(self, model, epoch, evals_log):
        self.rounds.append(epoch)
        self.files.append(bytes(model.save_raw("ubj")))
        self.pickles.append(pickle.dumps(model))
        return False


# Categories ---------------------------------------------------------------------------------


@pytest.mark.parametrize("stopping", ["ours", "xgboost's"])
def test_a_cut_model_knows_its_categories_in_any_order(stopping):
    rng = np.random.default_rng(0)
    letters = rng.choice(list("abcd"), 600)
    y = np.array([10.0 * "abcd".index(each) for each in letters]) + rng.normal(size=600) * 0.1
    frame, other = (
        pd.DataFrame({"c": pd.Categorical(letters, categories=list(order))})
        for order in ("abcd", "dcba")
    )
    dtrain = xgboost.QuantileDMatrix(frame[:400], label=y[:400], enable_categorical=True)
    dvalid = xgboost.QuantileDMatrix(
        frame[400:], label=y[400:], ref=dtrain, enable_categorical=True
    )
    how = (
        {"early_stopping_rounds": 3}
        if stopping == "ours"
        else {"callbacks": [xgboost.callback.EarlyStopping(rounds=3, save_best=True)]}
    )
    params = PARAMS | {"learning_rate": 0.9, "lambda": 2.0}
    booster = train(params, dtrain, 60, loss=LOSS, evals=[(dvalid, "valid")], **how)
    assert booster.num_boosted_rounds() < 60
    assert mae(y, booster.inplace_predict(other)) == mae(y, booster.inplace_predict(frame)) < 1
    again = xgboost.QuantileDMatrix(other[:400], label=y[:400], enable_categorical=True)
    more = train(params, again, 2, loss=LOSS, xgb_model=booster)
    assert mae(y, more.inplace_predict(other)) == mae(y, more.inplace_predict(frame)) < 1
    kept = json.loads(booster.save_config())["learner"]["gradient_booster"]["tree_train_param"]
    assert float(kept["lambda" if "lambda" in kept else "reg_lambda"]) == 2


# One matrix, several trainings ----------------------------------------------------------------


def test_two_threads_on_one_matrix_train_what_one_trains(table):
    x, y = table
    dtrain = xgboost.QuantileDMatrix(x, label=y, weight=np.arange(len(y)) % 3)
    alone = [train(PARAMS, dtrain, 30, loss=loss) for loss in (LOSS, losses.Huber(3.0))]
    found, together = [None, None], threading.Barrier(2)

    def learn(place, loss):
        together.wait()
        found[place] = train(PARAMS, dtrain, 30, loss=loss)

    threads = [
        threading.Thread(target=learn, args=each) for each in ((0, LOSS), (1, losses.Huber(3.0)))
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    for one, other in zip(alone, found, strict=True):
        np.testing.assert_array_equal(one.inplace_predict(x), other.inplace_predict(x))
    np.testing.assert_array_equal(dtrain.get_weight(), np.arange(len(y)) % 3)


def test_a_training_inside_another_one_trains_what_it_does_alone(table, dtrain):
    x, _ = table
    alone, inside = train(PARAMS, dtrain, 5, loss=losses.AdaptiveHuber()), []

    def listen(round_):
        if round_.number == 3:
            inside.append(train(PARAMS, dtrain, 5, loss=losses.AdaptiveHuber()))

    outer = train(PARAMS, dtrain, 8, loss=LOSS, on_round=listen)
    np.testing.assert_array_equal(inside[0].inplace_predict(x), alone.inplace_predict(x))
    straight = train(PARAMS, dtrain, 8, loss=LOSS)
    np.testing.assert_array_equal(outer.inplace_predict(x), straight.inplace_predict(x))
    assert dtrain.get_weight().size == 0


def test_a_training_that_relies_on_what_another_changes_is_refused(dtrain):
    def listen(round_):
        with pytest.raises(InputError, match="serves one at a time; got a second training"):
            train(PARAMS, dtrain, 1, loss=losses.SquaredError())

    train(PARAMS, dtrain, 1, loss=LOSS, on_round=listen)
    assert train(PARAMS, dtrain, 1, loss=losses.SquaredError()).num_boosted_rounds() == 1


# Collectives ----------------------------------------------------------------------------------


def test_workers_of_a_collective_are_refused_where_each_would_learn_from_its_own_rows():
    def refused(number):
        y = np.arange(20.0)
        dtrain = xgboost.QuantileDMatrix(np.ones((20, 1)), label=y)
        two = xgboost.QuantileDMatrix(np.ones((20, 1)), label=np.column_stack([y, y]))
        for learn in (
            lambda: LOSS.objective(np.zeros(20, np.float32), dtrain),
            lambda: LOSS.sklearn_objective(np.ones(20), np.zeros(20)),
            lambda: train(PARAMS, two, 1, loss=LOSS),
            lambda: train(PARAMS, dtrain, 1, loss=losses.LogLoss()),
            lambda: train(PARAMS, dtrain, 1, loss=LOSS, custom_metric=lambda p, m: ("own", 0.0)),
        ):
            with pytest.raises(InputError, match="got a collective of 2 workers"):
                learn()
        return True

    assert run_ranks(2, refused) == [True, True]


# Callbacks --------------------------------------------------------------------------------------


def test_every_callback_is_told_of_the_round_in_which_one_stops(dtrain):
    listen = Listen()
    booster = train(
        PARAMS,
        dtrain,
        9,
        loss=LOSS,
        evals=[(dtrain, "valid")],
        callbacks=[Stop(after=3), listen],
        early_stopping_rounds=5,
    )
    assert listen.rounds == [0, 1, 2, 3]
    # On its own rows the last is the best.
    assert (booster.num_boosted_rounds(), booster.best_iteration) == (4, 3)


@pytest.mark.parametrize("stop", [Stop(before=0), Stop(after=0)], ids=["before", "after"])
def test_a_callback_may_stop_in_the_first_round(dtrain, stop):
    booster = train(
        PARAMS,
        dtrain,
        9,
        loss=LOSS,
        evals=[(dtrain, "valid")],
        callbacks=[stop],
        early_stopping_rounds=5,
    )
    assert booster.num_boosted_rounds() == (stop.after == 0)


def test_a_callback_that_returns_no_model_is_told_so(dtrain):
    class Silent(xgboost.callback.TrainingCallback):
        def before_training(self, model):
            return None

    with pytest.raises(InputError, match="must return the model; got None of Silent"):
        train(PARAMS, dtrain, 3, loss=LOSS, callbacks=[Silent()])


def test_a_parameter_that_a_callback_sets_acts_on_tiny_targets_too(table):
    class Heavier(xgboost.callback.TrainingCallback):
        def before_iteration(self, model, epoch, evals_log):
            if epoch == 2:
                model.set_param({"reg_lambda": 500.0})
            return False

    x, y = table
    ordinary, tiny = (
        train(
            PARAMS, xgboost.QuantileDMatrix(x, label=unit * y), 6, loss=LOSS, callbacks=[Heavier()]
        ).inplace_predict(x)
        / unit
        for unit in (1.0, 2.0**-12)
    )
    np.testing.assert_allclose(ordinary, tiny, rtol=1e-5)
    lighter = train(PARAMS, xgboost.QuantileDMatrix(x, label=y), 6, loss=LOSS).inplace_predict(x)
    assert np.abs(lighter - ordinary).max() > 1


def test_a_metric_of_xgboosts_that_is_better_when_larger_is_maximised(table):
    x, y = table
    y = (y > np.median(y)).astype(float)
    dtrain = xgboost.QuantileDMatrix(x[:300], label=y[:300])
    dvalid = xgboost.QuantileDMatrix(x[300:], label=y[300:], ref=dtrain)
    measured = {}
    booster = train(
        PARAMS | {"eval_metric": "auc"},
        dtrain,
        60,
        loss=LOSS,
        evals=[(dvalid, "valid")],
        early_stopping_rounds=5,
        evals_result=measured,
    )
    assert booster.best_iteration == int(np.argmax(measured["valid"]["auc"]))


@pytest.mark.parametrize("name", ["precision", "mapping", "off"])
def test_a_metric_of_the_users_is_better_when_smaller_whatever_its_name(table, name):
    x, y = table
    dtrain = xgboost.QuantileDMatrix(x[:300], label=y[:300])
    dvalid = xgboost.QuantileDMatrix(x[300:], label=y[300:], ref=dtrain)
    measured = {}
    booster = train(
        PARAMS,
        dtrain,
        60,
        loss=LOSS,
        evals=[(dvalid, "valid")],
        early_stopping_rounds=5,
        evals_result=measured,
        custom_metric=lambda prediction, matrix: (name, mae(matrix.get_label(), prediction)),
    )
    assert booster.best_iteration == int(np.argmin(measured["valid"][name])) > 0


def test_a_model_that_diverged_is_refused_although_nobody_listens(dtrain):
    with pytest.raises(InputError, match="Residuals must be finite"):
        train(PARAMS | {"learning_rate": 1e8}, dtrain, 9, loss=losses.SquaredError())


@pytest.mark.parametrize("unit", [1e-12, 1e-16, 1e-17])
@pytest.mark.parametrize("loss", [LOSS, losses.ASRL(), losses.SquaredError()], ids=str)
def test_the_tiniest_targets_are_learned(loss, unit):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(20_000, 3))
    y = 3 * x[:, 0] + rng.normal(size=20_000)
    dtrain = xgboost.QuantileDMatrix(x, label=unit * y)
    off = train(PARAMS, dtrain, 20, loss=loss).inplace_predict(x) / unit - 3 * x[:, 0]
    assert np.abs(off).mean() < (0.5 if loss.name != "asrl" else 3)


def test_what_was_best_in_another_training_cuts_nothing_and_is_not_kept(table, dtrain, tmp_path):
    x, y = table
    dvalid = xgboost.QuantileDMatrix(x[:200], label=y[:200] + 50, ref=dtrain)
    first = train(PARAMS, dtrain, 30, loss=LOSS, evals=[(dvalid, "valid")], early_stopping_rounds=2)
    assert first.attr("best_iteration") is not None
    more = train(PARAMS, dtrain, 10, loss=LOSS, xgb_model=first)
    assert more.num_boosted_rounds() == first.num_boosted_rounds() + 10
    assert (more.attr("best_iteration"), more.attr("best_score")) == (None, None)
    more.save_model(tmp_path / "more.ubj")
    regressor = xgboost.XGBRegressor()
    regressor.load_model(tmp_path / "more.ubj")
    np.testing.assert_array_equal(regressor.predict(x), more.inplace_predict(x))
    stopped = train(
        PARAMS,
        dtrain,
        10,
        loss=LOSS,
        xgb_model=first,
        evals=[(dtrain, "valid")],
        callbacks=[Stop(before=0)],
        early_stopping_rounds=2,
    )
    assert stopped.num_boosted_rounds() == first.num_boosted_rounds()


def test_what_intervals_were_computed_from_is_not_kept_of_other_trees(table, dtrain):
    x, y = table
    model = RobustXGBRegressor(n_estimators=5, n_jobs=1, interval_folds=3).fit(x, y)
    assert model.get_booster().attr(CALIBRATION_ATTRIBUTE) is not None
    loss = recorded_loss(model.get_booster())
    more = train(PARAMS, dtrain, 5, loss=loss, xgb_model=model.get_booster())
    assert more.attr(CALIBRATION_ATTRIBUTE) is None
    assert model.get_booster().attr(CALIBRATION_ATTRIBUTE) is not None


def test_a_checkpoint_can_be_continued_and_holds_the_users_parameters(table):
    x, y = table
    listen, unit = Listen(), 1e-6
    dtrain = xgboost.QuantileDMatrix(x, label=unit * y)
    params = PARAMS | {"lambda": 3.0, "min_child_weight": 5.0}
    straight = train(params, dtrain, 6, loss=LOSS, callbacks=[listen])
    for checkpoint in (
        xgboost.Booster(model_file=bytearray(listen.files[2])),
        pickle.loads(listen.pickles[2]),  # noqa: S301 - our own
    ):
        assert recorded_loss(checkpoint) == LOSS
        more = train(params, dtrain, 3, loss=LOSS, xgb_model=checkpoint)
        np.testing.assert_allclose(more.inplace_predict(x), straight.inplace_predict(x), rtol=1e-5)
    config = json.loads(pickle.loads(listen.pickles[2]).save_config())  # noqa: S301 - our own
    kept = config["learner"]["gradient_booster"]["tree_train_param"]
    assert (float(kept["reg_lambda"]), float(kept["min_child_weight"])) == (3, 5)


# Losses of a user's own -------------------------------------------------------------------------


class Nameless(losses.Huber):
    pass


class Plain(Loss):
    name: ClassVar[str] = "plain"

    def __init__(self, delta):
        self.__dict__["delta"] = delta

    def adapt(self, stats):
        return PointwiseHuber(self.delta)


@dataclass(frozen=True)
class Worded(Loss):
    name: ClassVar[str] = "worded"
    mode: str = "strict"

    def adapt(self, stats):
        return PointwiseHuber(1.0)


@dataclass(frozen=True)
class Borrowed(Loss):
    name: ClassVar[str] = "huber"
    q: float = 0.5

    def adapt(self, stats):
        return PointwiseHuber(stats.quantile_abs(self.q))


@dataclass(frozen=True)
class Paired(Loss):
    name: ClassVar[str] = "paired"
    pair: tuple[float, float] = (1.0, 2.0)

    def adapt(self, stats):
        return PointwiseHuber(1.0)


@pytest.mark.parametrize(
    ("loss", "line"),
    [
        (Nameless(), "Nameless needs a name of its own, by which models record it"),
        (Borrowed(), "Borrowed needs a name of its own, .*; got 'huber', which is Huber's"),
        (Plain(0.5), "Plain must be a frozen dataclass, whose fields are its parameters"),
        (Worded(), "Worded takes numbers, which configs and tuning can hold; got mode='strict'"),
        (Paired(), r"Paired takes numbers, .*; got pair=\(1.0, 2.0\)"),
    ],
    ids=["nameless", "borrowed", "plain", "worded", "paired"],
)
def test_a_loss_that_no_record_could_hold_is_refused_before_any_round(dtrain, loss, line):
    with pytest.raises(InputError, match=line):
        train(PARAMS, dtrain, 3, loss=loss, on_round=pytest.fail)


class Half:
    def adapt(self, stats):
        return PointwiseHuber(0.5)


@pytest.mark.parametrize("bases", [(losses.SquaredError,), (Half, losses.SquaredError)])
def test_an_adapt_of_ones_own_is_not_passed_over_for_an_inherited_objective(table, dtrain, bases):
    body = {"name": "narrow"} | ({} if Half in bases else {"adapt": Half.adapt})
    Narrow = dataclass(frozen=True)(type("Narrow", bases, body))  # noqa: N806 - a class

    x, _ = table
    mine = train(PARAMS, dtrain, 5, loss=Narrow())
    huber = train(PARAMS, dtrain, 5, loss=losses.Huber(0.5))
    np.testing.assert_array_equal(mine.inplace_predict(x), huber.inplace_predict(x))


@dataclass(frozen=True)
class Late(PointwiseLoss):
    """Keeps the statistics, and asks them when their rows are gone."""

    stats: object

    def value(self, r):
        return np.abs(r)

    def weight(self, r):
        return np.full(np.shape(r), self.stats.quantile_abs(0.5))

    @property
    def regions(self):
        return {}


@pytest.mark.parametrize("matrix", [xgboost.DMatrix, xgboost.QuantileDMatrix])
def test_statistics_that_are_asked_too_late_say_so(table, matrix):
    class Keeping(Loss):
        name: ClassVar[str] = "keeping"

        def adapt(self, stats):
            return Late(stats)

    x, y = table
    with pytest.raises(InputError, match=r"Round 0: Residuals answer only while .*; ask in adapt"):
        train(PARAMS, matrix(x, label=y), 3, loss=Keeping())


def test_a_copy_of_lent_statistics_is_refused_with_them(dtrain):
    class Copying(Loss):
        name: ClassVar[str] = "copying"

        def adapt(self, stats):
            return Late(copy.copy(stats))

    with pytest.raises(InputError, match=r"Round 0: Residuals answer only while"):
        train(PARAMS, dtrain, 3, loss=Copying())


@dataclass(frozen=True)
class Single(PointwiseLoss):
    """One weight for all rows."""

    def value(self, r):
        return np.abs(r)

    def weight(self, r):
        return np.ones(1)

    @property
    def regions(self):
        return {}


def test_a_loss_that_gives_one_weight_for_all_rows_is_refused(dtrain):
    class Spread(Loss):
        name: ClassVar[str] = "spread"

        def adapt(self, stats):
            return Single()

    with pytest.raises(
        InputError, match=r"Round 0: Single needs one weight a row; got shape \(1,\)"
    ):
        train(PARAMS, dtrain, 3, loss=Spread())


@dataclass(frozen=True)
class Weights(PointwiseLoss):
    """Weight `near` within 1, `far` beyond."""

    near: float
    far: float

    def value(self, r):
        return np.abs(r)

    def weight(self, r):
        return np.where(np.abs(r) <= 1, self.near, self.far)

    @property
    def regions(self):
        return {}


@pytest.mark.parametrize(
    ("near", "far", "line"),
    [
        (1.0, -0.5, r"Round 0: .*; got 5\d\d of 600 rows where they are not"),
        (-1.0, -0.5, r"Round 0: .* weight at r = 0.*; got -1.0 .*, and 600 of 600 rows without"),
        (0.0, 0.0, r"Round 0: .* weight at r = 0.*; got 0.0 .*, and 600 of 600 rows without"),
    ],
)
def test_weights_that_are_negative_or_all_zero_are_refused_with_round_and_count(
    dtrain, near, far, line
):
    class Odd(Loss):
        name: ClassVar[str] = "odd"

        def adapt(self, stats):
            return Weights(near, far)

    with pytest.raises(InputError, match=line):
        train(PARAMS, dtrain, 3, loss=Odd())


# Parameters -------------------------------------------------------------------------------------


def test_a_parameter_of_none_is_unset(table, dtrain):
    x, _ = table
    unset = {"base_score": None, "booster": None, "eval_metric": None, "gamma": None}
    plain = train(PARAMS, dtrain, 3, loss=LOSS)
    for params in (PARAMS | unset, xgboost.XGBRegressor(**PARAMS).get_xgb_params()):
        params.pop("objective", None)
        booster = train(params, dtrain, 3, loss=LOSS)
        np.testing.assert_array_equal(booster.inplace_predict(x), plain.inplace_predict(x))
    assert train(None, dtrain, 3, loss=LOSS).num_boosted_rounds() == 3


@pytest.mark.parametrize(
    ("named", "metric", "watched"),
    [
        (None, None, "mae"),
        ("rmse", None, "rmse"),
        ("mape", None, "mape"),
        (["mape", "mae"], None, "mae"),
        (["rmse", "mape"], None, "mape"),
        ("mape", "medae", "medae"),
        (None, "trimmed_mae", "trimmed_mae"),
    ],
)
@pytest.mark.parametrize("stopping", ["ours", "the user's"])
def test_the_metric_that_was_named_last_stops_and_selects(table, named, metric, watched, stopping):
    x, y = table
    dtrain = xgboost.QuantileDMatrix(x[:300], label=y[:300])
    dvalid = xgboost.QuantileDMatrix(x[300:], label=y[300:], ref=dtrain)
    measured = {}
    how = (
        {"early_stopping_rounds": 4}
        if stopping == "ours"
        else {"callbacks": [xgboost.callback.EarlyStopping(rounds=4, save_best=True)]}
    )
    booster = train(
        PARAMS | {"eval_metric": named},
        dtrain,
        80,
        loss=LOSS,
        evals=[(dvalid, "valid")],
        metric=metric,
        evals_result=measured,
        **how,
    )
    assert list(measured["valid"])[-1] == watched
    assert booster.best_iteration == int(np.argmin(measured["valid"][watched]))
    assert booster.num_boosted_rounds() == booster.best_iteration + 1


def test_a_target_whose_gradients_float32_cannot_square_is_refused(table):
    x, y = table
    y = y.copy()
    y[5] = 1e12
    with pytest.raises(InputError, match=r"Round 0: The gradients of a round must sum up to"):
        train(PARAMS, xgboost.QuantileDMatrix(x, label=y), 3, loss=losses.ASRL())
    y[5] = 1e30
    with pytest.raises(InputError, match=r"Round 0: The gradients of a round must sum up to"):
        train(PARAMS, xgboost.QuantileDMatrix(x, label=y), 3, loss=losses.SquaredError())


DROPOUT = "which is another model for gblinear and where dropout rescales earlier trees"


@pytest.mark.filterwarnings("ignore:.*is deprecated:UserWarning")  # of both, by XGBoost 3.4
@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"params": {"booster": "gblinear"}, "early_stopping_rounds": 3}, DROPOUT),
        ({"params": {"booster": "dart"}, "early_stopping_rounds": 3}, DROPOUT),
        ({"params": {"rate_drop": 0.1}, "early_stopping_rounds": 3}, DROPOUT),
        (
            {"params": {"eval_metric": "quantile"}, "metric": "quantile"},
            "A metric may be named once; got metric='quantile', which is ours",
        ),
        ({"evals": ["valid"]}, "train needs evals of the form [(matrix, name), ...]"),
        ({"evals": [(np.ones(3), "valid")]}, "train needs evals of the form"),
        ({"evals": "own, with a -"}, "names without '-'; got"),
        ({"evals": "unrelated"}, "must be cut where the training matrix is; got 'valid'"),
        ({"evals": "twice"}, "a name for each entry of evals; got valid, valid; tell"),
        ({"weight_rule": "mean1"}, "one of the rules 'none', 'counts', 'mean 1'; got 'mean1'"),
        ({"callbacks": [print]}, "train needs callbacks of type xgboost.callback"),
        ({"num_boost_round": -1}, "a whole number of rounds, at least 0; got -1."),
        ({"num_boost_round": 2.5}, "a whole number of rounds, at least 0; got 2.5."),
    ],
)
def test_what_would_fail_late_or_unseen_is_refused_at_once(table, dtrain, change, line):
    call = {"params": PARAMS, "num_boost_round": 3, "evals": [(dtrain, "valid")], **change}
    if call["evals"] == "own, with a -":
        call["evals"] = [(dtrain, "a-b")]
    if call["evals"] == "twice":
        call["evals"] = [(dtrain, "valid")] * 2
    if call["evals"] == "unrelated":
        call["evals"] = [(xgboost.QuantileDMatrix(table[0], label=table[1]), "valid")]
    with pytest.raises(InputError) as caught:
        train(call.pop("params"), dtrain, **call, loss=LOSS, on_round=pytest.fail)
    assert line in str(caught.value)


def test_a_matrix_without_rows_is_refused():
    with pytest.raises(InputError, match="train needs at least one row in dtrain"):
        train(PARAMS, xgboost.DMatrix(np.empty((0, 2)), label=[]), 3, loss=LOSS)


def test_one_weight_is_not_spread_over_all_rows(table):
    x, y = table
    dtrain = xgboost.DMatrix(x, label=y)
    dtrain.set_float_info("weight", np.float32([2.0]))
    with pytest.raises(InputError, match=r"Sample weights need shape \(600,\).*; got \(1,\)"):
        train(PARAMS, dtrain, 3, loss=LOSS)


# Sample weights ---------------------------------------------------------------------------------


def test_a_part_with_whole_weights_is_read_as_its_table_is(table):
    x, y = table
    # Their mean is 2, by which they divide without rounding: XGBoost's quantiles of the features,
    # which are weighted too, are then the same for both.
    whole = 1.0 + np.arange(len(y)) % 2 * 2.0
    boosters = [
        train(PARAMS, xgboost.QuantileDMatrix(x, label=y, weight=weight), 5, loss=LOSS, **rule)
        for weight, rule in (
            (whole, {"weight_rule": "mean 1"}),
            (whole / whole.mean(), {}),
            (whole, {}),
        )
    ]
    as_table, rescaled, alone = (booster.inplace_predict(x) for booster in boosters)
    np.testing.assert_allclose(as_table, rescaled, rtol=1e-5)
    assert np.abs(alone - as_table).max() > 1e-3
    assert [booster.attr("asrl_weight_rule") for booster in boosters] == [
        "mean 1",
        "mean 1",
        "counts",
    ]
