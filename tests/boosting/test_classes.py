"""train with losses for classes: XGBoost's own to the bit, right from the first round, weights counted."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xgboost
from sklearn.datasets import load_breast_cancer, load_digits

from asrl_mlflow import losses, predict, train
from asrl_mlflow.boosting import recorded_loss
from asrl_mlflow.errors import InputError
from asrl_mlflow.metrics import TASKS, logloss
from tests.conftest import PARAMS
from tests.every_class_loss import BINARY, EVERY_CLASS_LOSS, SOFTMAX
from tests.losses.test_classification import name_of


def table(load, rows):
    x, y = load(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))[:rows]
    return x[order], y[order].astype(np.float32)


TWO = table(load_breast_cancer, 569)
TEN = table(load_digits, 600)


def matrix(rows, weight=None):
    return xgboost.QuantileDMatrix(rows[0], label=rows[1], weight=weight)


def parts(rows):
    cut = 2 * len(rows[1]) // 3
    return (rows[0][:cut], rows[1][:cut]), (rows[0][cut:], rows[1][cut:])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("rows", "objective"), [(TWO, "binary:logistic"), (TEN, "multi:softprob")])
def test_log_loss_is_xgboosts_own_to_the_bit(rows, objective, weighted):
    weight = np.arange(len(rows[1])) % 3 + 1.0 if weighted else None
    params = {**PARAMS, "objective": objective, **({"num_class": 10} if rows is TEN else {})}
    native = xgboost.train(params, matrix(rows, weight), 8)
    ours = train(PARAMS, matrix(rows, weight), 8, loss=losses.LogLoss())
    np.testing.assert_array_equal(ours.inplace_predict(rows[0]), native.inplace_predict(rows[0]))
    expected = native.inplace_predict(rows[0]).astype(np.float64)
    found = predict(ours, rows[0])
    np.testing.assert_allclose(
        found[:, 1:] if rows is TWO else found, expected.reshape(len(found), -1), atol=2e-7
    )


def test_log_loss_by_gradients_has_the_gradients_of_xgboosts_own():
    """A subclass is trained by gradients, as every other loss."""

    class ByGradients(losses.LogLoss):
        XGBOOST_OBJECTIVE = None

    by_gradients = object.__new__(ByGradients)
    for rows in (TWO, TEN):
        z = np.random.default_rng(1).normal(
            size=(len(rows[1]), 10) if rows is TEN else len(rows[1])
        )
        gradient, hessian, _ = by_gradients.gradient_pair(rows[1], z, None)
        p = losses.LogLoss().predict(z)
        if rows is TEN:
            expected = p - (rows[1][:, None] == np.arange(10)), 2 * p * (1 - p)
        else:
            expected = p[:, 1] - rows[1], p[:, 1] * (1 - p[:, 1])
        np.testing.assert_allclose(gradient, expected[0], rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(hessian, expected[1], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("loss", BINARY, ids=name_of)
def test_two_classes_are_learned_from_the_first_round_on(loss):
    learned, judged = parts(TWO)
    told = []
    train(
        PARAMS,
        matrix(learned),
        20,
        loss=loss,
        evals=[(xgboost.DMatrix(*judged), "valid")],
        on_round=told.append,
    )
    share = judged[1].mean()
    constant = logloss(judged[1], np.tile([1 - share, share], (len(judged[1]), 1)))
    assert told[0].valid["logloss"] < constant + 0.02
    assert told[-1].valid["error"] < 0.15
    assert told[-1].valid["logloss"] < 0.8 * constant
    assert set(told[0].metrics()) == {
        *("weight.mean", "weight.floored"),
        *(f"{part}.{name}" for part in ("train", "valid") for name in ("logloss", "error")),
    }


@pytest.mark.parametrize("loss", SOFTMAX, ids=name_of)
def test_ten_classes_are_learned_from_the_first_round_on(loss):
    learned, judged = parts(TEN)
    told = []
    booster = train(
        PARAMS,
        matrix(learned),
        15,
        loss=loss,
        evals=[(xgboost.DMatrix(*judged), "valid")],
        on_round=told.append,
    )
    assert told[0].valid["logloss"] < np.log(10) + 0.02
    assert told[-1].valid["error"] < 0.3
    found = predict(booster, judged[0])
    assert found.shape == (len(judged[1]), 10)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    np.testing.assert_array_equal(found, predict(booster, xgboost.DMatrix(judged[0])))
    assert told[-1].valid["logloss"] == pytest.approx(logloss(judged[1], found), rel=1e-6)


@pytest.mark.parametrize("loss", EVERY_CLASS_LOSS, ids=name_of)
def test_whole_weights_are_repeated_rows(loss):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 6, (300, 1)) * 1.0
    y = (x[:, 0] + rng.integers(0, 3, 300)) // 3 % (2 if loss in BINARY else 3)
    weight = np.arange(300) % 3
    repeated = np.repeat(x, weight, axis=0), np.repeat(y, weight)
    boosters = [
        train({"max_depth": 2}, xgboost.DMatrix(*rows, weight=each), 5, loss=loss)
        for *rows, each in ((x, y, weight), (*repeated, None))
    ]
    found = [predict(each, x) for each in boosters]
    np.testing.assert_allclose(found[0], found[1], atol=1e-4)


@pytest.mark.parametrize("loss", EVERY_CLASS_LOSS, ids=name_of)
def test_a_booster_records_its_loss_goes_on_and_survives_a_file(loss, tmp_path):
    rows = TWO if loss in BINARY else TEN
    first = train(PARAMS, matrix(rows), 3, loss=loss)
    first.save_model(tmp_path / "model.ubj")
    loaded = xgboost.Booster(model_file=tmp_path / "model.ubj")
    assert recorded_loss(loaded) == loss
    np.testing.assert_array_equal(predict(loaded, rows[0]), predict(first, rows[0]))
    further = train(PARAMS, matrix(rows), 3, loss=loss, xgb_model=loaded)
    at_once = train(PARAMS, matrix(rows), 6, loss=loss)
    np.testing.assert_allclose(predict(further, rows[0]), predict(at_once, rows[0]), atol=1e-5)
    with pytest.raises(InputError, match="goes on with the loss that it recorded"):
        train(PARAMS, matrix(rows), 1, loss=losses.Poly1(epsilon=0.123), xgb_model=loaded)


def test_what_a_booster_itself_predicts_is_never_a_false_probability():
    two, ten = matrix(TWO), matrix(TEN)
    margins = train(PARAMS, two, 5, loss=losses.FullM())
    np.testing.assert_array_equal(margins.predict(two), margins.predict(two, output_margin=True))
    classes = train(PARAMS, ten, 5, loss=losses.FullM())
    np.testing.assert_array_equal(classes.predict(ten), predict(classes, ten).argmax(axis=1))


def test_shares_of_a_class_are_learned():
    x = np.linspace(0, 1, 400)[:, None]
    share = 0.2 + 0.6 * (x[:, 0] > 0.5)
    for loss in (losses.LogLoss(), losses.FullL(), losses.GeneralizedCrossEntropy(q=0.2)):
        booster = train(
            {"max_depth": 2},
            xgboost.DMatrix(x, label=share),
            60,
            loss=loss,
            evals=[(xgboost.DMatrix(x, label=share), "all")],
        )
        np.testing.assert_allclose(predict(booster, x)[:, 1], share, atol=0.03)


def test_early_stopping_and_named_metrics_go_by_corrected_probabilities():
    learned, judged = parts(TWO)
    dtrain = matrix(learned)
    valid = xgboost.QuantileDMatrix(judged[0], label=judged[1], ref=dtrain)
    history = {}
    booster = train(
        {**PARAMS, "eval_metric": ["auc", "brier", "logloss"]},
        dtrain,
        60,
        loss=losses.FullM(),
        evals=[(valid, "valid")],
        early_stopping_rounds=5,
        evals_result=history,
    )
    assert set(history["valid"]) == {"logloss", "error", "auc", "brier"}
    best = int(np.argmin(history["valid"]["logloss"]))
    assert booster.num_boosted_rounds() == best + 1 < 60
    found = predict(booster, judged[0])
    metrics = TASKS["classification"].metrics
    for name in ("logloss", "brier", "auc"):
        kept = history["valid"][name][best]
        assert kept == pytest.approx(metrics[name](judged[1], found), rel=1e-5), name


@pytest.mark.filterwarnings("ignore:.*deprecated:UserWarning")
@pytest.mark.parametrize("booster", ["dart", "gblinear"])
def test_dart_and_linear_boosters_learn_classes_too(booster):
    x = TWO[0] / TWO[0].max(axis=0)
    params = {"booster": booster, "learning_rate": 0.3, "rate_drop": 0.1, "nthread": 1}
    if booster == "gblinear":
        del params["rate_drop"]
    model = train(params, xgboost.DMatrix(x, label=TWO[1]), 20, loss=losses.FullL())
    assert np.mean(predict(model, xgboost.DMatrix(x)).argmax(axis=1) == TWO[1]) > 0.8


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            {"label": TWO[1] - 1},
            "A loss for classes needs labels 0, 1, ..., or shares .* got -1; number",
        ),
        ({"label": TWO[1] * 1.5}, "A loss for classes needs labels .* got 1.5; number the classes"),
        (
            {"params": {"num_class": 1}},
            "needs at least 2 classes and more than every label; got 1 classes",
        ),
        (
            {"loss": losses.MLoss(), "label": TWO[1] * 0.5},
            "MLoss needs classes for labels; got shares",
        ),
        (
            {"loss": losses.SquaredHinge(), "label": np.arange(569) % 3},
            "SquaredHinge is for two classes; got 3",
        ),
        (
            {"loss": losses.Focal(alpha=0.3), "label": np.arange(569) % 3},
            "Focal takes alpha for two classes only",
        ),
        (
            {"params": {"eval_metric": "mlogloss"}},
            "eval_metric takes logloss, error, .* name 'logloss'",
        ),
        (
            {"params": {"eval_metric": "aucpr@3"}, "loss": losses.FullM()},
            "got 'aucpr@3'; name 'logloss'",
        ),
        ({"params": {"scale_pos_weight": 2}}, "train weighs classes by sample weights"),
        (
            {"metric": "mae"},
            "train needs a metric out of logloss, error, brier, calibration_error; got 'mae'",
        ),
        (
            {"loss": losses.Huber(), "params": {"num_class": 2}},
            "num_class is for losses of classes; got 2",
        ),
    ],
)
def test_a_bad_call_for_classes_is_refused_in_one_line(change, line):
    given = {"params": {}, "loss": losses.LogLoss(), "label": TWO[1], "metric": None, **change}
    dtrain = xgboost.DMatrix(TWO[0], label=given["label"])
    with pytest.raises(InputError, match=line) as caught:
        train({**PARAMS, **given["params"]}, dtrain, 2, loss=given["loss"], metric=given["metric"])
    assert "\n" not in str(caught.value)


def test_the_model_of_a_class_loss_has_right_constants():
    booster = train(PARAMS, matrix(TWO), 0, loss=losses.FullM())
    share = float(TWO[1].mean())
    np.testing.assert_allclose(predict(booster, TWO[0][:1]), [[1 - share, share]], rtol=1e-5)
    booster = train(PARAMS, matrix(TEN), 0, loss=losses.MLoss())
    shares = np.bincount(TEN[1].astype(int)) / len(TEN[1])
    np.testing.assert_allclose(predict(booster, TEN[0][:1])[0], shares, rtol=1e-4)


@pytest.mark.parametrize("only", [0, 1])
@pytest.mark.parametrize("loss", BINARY, ids=repr)
def test_rows_of_one_class_alone_can_be_learned(loss, only):
    x, y = TWO
    for dtrain in (matrix((x, np.full_like(y, only))), matrix(TWO, (y == only).astype(float))):
        found = predict(train(PARAMS, dtrain, 3, loss=loss), x)
        assert np.isfinite(found).all()
        assert (found.argmax(axis=1) == only).all()


def test_custom_objectives_of_xgboost_and_scikit_learn_get_the_same_gradients():
    loss = losses.FullL()
    booster = train(PARAMS, xgboost.DMatrix(*TWO), 5, loss=loss)
    start = json.loads(booster.save_config())["learner"]["learner_model_param"]["base_score"]
    params = {**PARAMS, "base_score": float(start.strip("[]")), "objective": "binary:logitraw"}
    other = xgboost.train(
        {**params, "disable_default_eval_metric": 1}, xgboost.DMatrix(*TWO), 5, obj=loss.objective
    )
    np.testing.assert_allclose(
        other.predict(xgboost.DMatrix(TWO[0]), output_margin=True),
        booster.predict(xgboost.DMatrix(TWO[0]), output_margin=True),
        atol=1e-5,
    )
    with pytest.warns(UserWarning, match="far from the best constant"):
        xgboost.train({**PARAMS, "base_score": 3.0}, xgboost.DMatrix(*TWO), 1, obj=loss.objective)


def test_a_model_goes_on_with_the_classes_that_it_has():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 2)), rng.integers(0, 3, 200)
    for loss in (losses.LogLoss(), losses.FullM()):
        three = train(PARAMS, xgboost.DMatrix(x, label=y), 2, loss=loss)
        # A part of the table without a row of the last class.
        part = xgboost.DMatrix(x, label=y % 2)
        further = train(PARAMS, part, 2, loss=loss, xgb_model=three)
        assert predict(further, x).shape == (200, 3)
        two = train(PARAMS, part, 2, loss=loss)
        with pytest.raises(InputError, match="got 2 classes and a label 2"):
            train(PARAMS, xgboost.DMatrix(x, label=y), 2, loss=loss, xgb_model=two)


def test_a_class_without_rows_is_improbable_alike_under_every_loss():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 2)), rng.integers(0, 2, 200)
    params = {**PARAMS, "num_class": 3}
    given = {
        loss.name: predict(train(params, xgboost.DMatrix(x, label=y), 0, loss=loss), x[:1])[0, 2]
        for loss in (losses.LogLoss(), losses.FullM(), losses.MLoss())
    }
    assert max(given.values()) == pytest.approx(min(given.values()), rel=1e-3)
    assert 0.001 < given["log_loss"] < 0.005


@pytest.mark.parametrize("loss", [losses.LogLoss(), losses.FullM()])
def test_labels_that_are_no_classes_are_refused_by_objectives_in_one_line(loss):
    with pytest.raises(InputError, match="needs labels that are shares of class 1"):
        loss.sklearn_objective([0.5, 3.2], [0.0, 0.0])
    with pytest.raises(InputError, match="needs labels that are classes 0 to 2"):
        loss.sklearn_objective([0, 3], np.zeros((2, 3)))


def test_the_full_losses_give_the_same_for_few_rows_and_for_many(monkeypatch):
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(50, 6)), rng.integers(0, 6, 50)
    whole = losses.FullL().terms(y, z)
    monkeypatch.setattr("asrl_mlflow.losses.classification.full_loss._MOST_CELLS", 100)
    for one, other in zip(whole, losses.FullL().terms(y, z), strict=True):
        np.testing.assert_array_equal(one, other)
