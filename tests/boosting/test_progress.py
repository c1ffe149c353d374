"""How far a training has come: what losses of two stages are told, over rates, continuations and cuts."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xgboost

from asrl_mlflow import losses, train
from asrl_mlflow.boosting import PROGRESS_ATTRIBUTE
from tests.conftest import PARAMS

TWO_STAGES = pytest.mark.parametrize("loss", [losses.MM(), losses.auto()], ids=str)


def first_of_second_stage(rounds):
    """The number of the round from which on the pointwise loss is one and the same."""
    points = [round_.pointwise for round_ in rounds]
    return rounds[points.index(points[-1])].number


def at_rate(rate):
    return PARAMS | {"learning_rate": rate}


def recorded(booster):
    return json.loads(booster.attr(PROGRESS_ATTRIBUTE))


class Save(xgboost.callback.TrainingCallback):
    """Keeps the model of each round as its file."""

    def __init__(self):
        self.files = []

    def after_iteration(self, model, epoch, evals_log):
        self.files.append(bytearray(model.save_raw("ubj")))
        return False


@TWO_STAGES
def test_the_second_stage_waits_for_the_learning_rate_that_a_callback_sets(dtrain, loss):
    rounds = []
    rates = [0.3] * 5 + [0.1] * 25
    scheduler = xgboost.callback.LearningRateScheduler(rates)
    booster = train(
        at_rate(0.5), dtrain, 30, loss=loss, callbacks=[scheduler], on_round=rounds.append
    )
    # XGBoost's scheduler acts from the second round on, and on the round behind the one it is asked for.
    left = np.cumprod(1 - np.array([0.5, *rates[:-1]]))
    assert first_of_second_stage(rounds) == np.sum(left > 0.05) + 1 == 11
    assert recorded(booster)["left"] == pytest.approx(left[-1])


@TWO_STAGES
@pytest.mark.parametrize("way", ["memory", "file"])
def test_a_continued_model_says_what_its_own_learning_rate_has_left(dtrain, tmp_path, loss, way):
    first = train(at_rate(0.02), dtrain, 10, loss=loss)
    if way == "file":
        first.save_model(tmp_path / "model.ubj")
        first = tmp_path / "model.ubj"
    rounds = []
    train(at_rate(0.3), dtrain, 14, loss=loss, xgb_model=first, on_round=rounds.append)
    assert first_of_second_stage(rounds) == 10 + 8  # 0.98**10 * 0.7**8 is 0.047


@TWO_STAGES
def test_a_learning_rate_that_nobody_gives_again_is_the_boosters(dtrain, loss):
    rounds = []
    first = train(at_rate(0.1), dtrain, 20, loss=loss)
    train({}, dtrain, 12, loss=loss, xgb_model=first, on_round=rounds.append)
    assert first_of_second_stage(rounds) == 29


@TWO_STAGES
@pytest.mark.parametrize(("unit", "shift"), [(1.0, 0.0), (2.0**-30, 0.0), (1.0, 9000.0)])
def test_a_training_in_parts_keeps_what_was_decided_once(table, loss, unit, shift):
    x, y = table
    dtrain = xgboost.QuantileDMatrix(x, label=unit * y + shift)
    whole, parts = [], []
    train(PARAMS, dtrain, 16, loss=loss, on_round=whole.append)
    booster = None
    for rounds in (8, 2, 1, 5):
        booster = train(PARAMS, dtrain, rounds, loss=loss, xgb_model=booster, on_round=parts.append)
        booster = xgboost.Booster(model_file=booster.save_raw("ubj"))
    assert {round_.pointwise for round_ in parts[9:]} == {parts[-1].pointwise}
    decided = [vars(rounds[-1].pointwise) for rounds in (parts, whole)]
    assert decided[0] == pytest.approx(decided[1], rel=1e-3)
    assert recorded(booster)["left"] == pytest.approx(0.7**16)


@TWO_STAGES
def test_a_model_that_was_cut_in_the_first_stage_has_decided_nothing(table, dtrain, loss):
    x, y = table
    dvalid = xgboost.QuantileDMatrix(x, label=2 * np.median(y) - y, ref=dtrain)
    given = {"evals": [(dvalid, "valid")], "early_stopping_rounds": 12}
    cut = train(PARAMS, dtrain, 30, loss=loss, **given)
    assert recorded(cut) == {"rounds": 1, "left": 0.7, "kept": {}}
    whole = train(PARAMS, dtrain, 30, loss=loss)
    assert recorded(whole)["kept"]
    rounds = []
    train(PARAMS, dtrain, 12, loss=loss, xgb_model=whole[:5], on_round=rounds.append)
    assert first_of_second_stage(rounds) == 9


@TWO_STAGES
def test_a_checkpoint_goes_on_in_its_stage_with_what_was_decided(dtrain, loss):
    save, rounds = Save(), []
    scheduler = xgboost.callback.LearningRateScheduler([0.5] * 3 + [0.3] * 11)
    train(PARAMS, dtrain, 14, loss=loss, callbacks=[scheduler, save], on_round=rounds.append)
    assert first_of_second_stage(rounds) == 6
    for at in (4, 9):
        more = []
        train(PARAMS, dtrain, 4, loss=loss, xgb_model=save.files[at], on_round=more.append)
        assert vars(more[-1].pointwise) == pytest.approx(vars(rounds[-1].pointwise), rel=1e-3)


def test_another_loss_decides_for_itself(dtrain):
    first = train(PARAMS, dtrain, 12, loss=losses.MM())
    assert set(recorded(first)["kept"]) == {"mm.scale", "mm.fallback"}
    second = train(PARAMS, dtrain, 0, loss=losses.MM(3.0), xgb_model=first, change_loss=True)
    assert recorded(second) == {**recorded(first), "kept": {}}


@pytest.mark.parametrize("callbacks", [None, [Save()]])
def test_rounds_of_a_loss_that_does_not_ask_count_too(dtrain, callbacks):
    first = train(at_rate(0.1), dtrain, 20, loss=losses.SquaredError(), callbacks=callbacks)
    rounds = []
    train(
        at_rate(0.1),
        dtrain,
        12,
        loss=losses.auto(),
        xgb_model=first,
        change_loss=True,
        on_round=rounds.append,
    )
    assert first_of_second_stage(rounds) == 29


def test_rounds_that_xgboost_has_added_itself_count_with_the_smaller_rate(dtrain):
    loss, rounds = losses.auto(), []
    first = train(at_rate(0.3), dtrain, 4, loss=loss)
    more = xgboost.train(at_rate(0.1), dtrain, 10, xgb_model=first)
    train(at_rate(0.3), dtrain, 12, loss=loss, xgb_model=more, on_round=rounds.append)
    assert first_of_second_stage(rounds) == 14 + 2  # 0.7**4 * 0.9**10 * 0.7**2 is 0.041


@pytest.mark.filterwarnings("ignore:.*gblinear:UserWarning")
def test_the_rate_of_a_linear_booster_is_read_too(table):
    x, y = table
    rounds = []
    params = {"booster": "gblinear", "learning_rate": 0.5, "nthread": 1}
    train(params, xgboost.DMatrix(x, label=y), 8, loss=losses.MM(), on_round=rounds.append)
    assert first_of_second_stage(rounds) == 5
