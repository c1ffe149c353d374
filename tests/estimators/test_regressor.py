"""RobustXGBRegressor: XGBoost's regressor with a loss, wherever scikit-learn takes an estimator."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
import xgboost
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import FitFailedWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - makes the next one known
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from asrl_mlflow import RobustXGBRegressor, losses, train
from asrl_mlflow.errors import InputError
from asrl_mlflow.metrics import mae
from tests.conftest import PARAMS
from tests.every_loss import EVERY_LOSS

FEW = {"n_estimators": 20, "max_depth": 4, "learning_rate": 0.3, "n_jobs": 1}


ROUNDING = "a weight times a count is rounded to float32 once, a repeated row's weight not"
# It compares to a rounding error of float64; XGBoost computes in float32.
EXPECTED_FAILURES = {
    f"check_sample_weight_equivalence_on_{kind}_data": ROUNDING for kind in ("dense", "sparse")
}


def checks():
    """scikit-learn's checks of two regressors, each once."""
    for loss in ("asrl_c", "squared_error"):
        model = RobustXGBRegressor(loss=loss, n_estimators=5, n_jobs=1)
        for number, (estimator, check) in enumerate(estimator_checks_generator(model)):
            name = getattr(check, "func", check).__name__
            fails = loss == "asrl_c" and name in EXPECTED_FAILURES
            marks = pytest.mark.xfail(reason=ROUNDING) if fails else ()
            yield pytest.param(estimator, check, id=f"{loss}-{number}-{name}", marks=marks)


# XGBoost says so of the sparse formats that it converts.
@pytest.mark.filterwarnings("ignore:Unknown data type:UserWarning")
@pytest.mark.filterwarnings("ignore:.*SCIPY_ARRAY_API:sklearn.exceptions.SkipTestWarning")
@pytest.mark.parametrize(("estimator", "check"), list(checks()))
def test_scikit_learn_finds_no_fault(estimator, check):
    check(estimator)


def test_a_weight_counts_as_so_many_rows():
    rng = np.random.default_rng(0)
    x, y, weight = rng.random((40, 5)), rng.integers(0, 9, 40), rng.integers(0, 5, 40)
    weighted = RobustXGBRegressor(**FEW).fit(x, y, sample_weight=weight)
    repeated = RobustXGBRegressor(**FEW).fit(x.repeat(weight, axis=0), y.repeat(weight))
    np.testing.assert_allclose(weighted.predict(x), repeated.predict(x), rtol=1e-5)


def test_squared_error_predicts_what_xgboosts_own_regressor_does(table):
    x, y = table
    base = float(np.median(y))
    own = xgboost.XGBRegressor(**FEW, base_score=base).fit(x, y)
    ours = RobustXGBRegressor(loss="squared_error", **FEW, base_score=base).fit(x, y)
    np.testing.assert_array_equal(ours.predict(x), own.predict(x))


@pytest.mark.parametrize("loss", EVERY_LOSS, ids=repr)
def test_it_fits_what_train_does(table, loss):
    x, y = table
    model = RobustXGBRegressor(loss=loss, **FEW).fit(x, y)
    booster = train(PARAMS, xgboost.QuantileDMatrix(x, label=y), 20, loss=loss)
    np.testing.assert_array_equal(model.predict(x), booster.inplace_predict(x))
    assert model.get_params()["loss"] == loss


def test_early_stopping_keeps_the_best_round(table):
    x, y = table
    model = RobustXGBRegressor(**FEW | {"n_estimators": 500}, early_stopping_rounds=5)
    model.fit(x[:400], y[:400], eval_set=[(x[400:], y[400:])], verbose=False)
    errors = model.evals_result()["validation_0"]["mae"]
    assert len(errors) < 500
    assert model.best_iteration == int(np.argmin(errors))
    assert model.get_booster().num_boosted_rounds() == model.best_iteration + 1
    assert model.best_score == min(errors)


def test_a_metric_of_the_users_own_selects(table):
    x, y = table

    def bias(target, prediction):
        return abs(float(np.mean(prediction - target)))

    model = RobustXGBRegressor(
        **FEW | {"n_estimators": 60}, early_stopping_rounds=5, eval_metric=bias
    ).fit(x[:400], y[:400], eval_set=[(x[400:], y[400:])], verbose=False)
    assert model.best_iteration == int(np.argmin(model.evals_result()["validation_0"]["bias"]))


@pytest.mark.parametrize(
    "make",
    [
        np.asarray,
        lambda x: pd.DataFrame(x, columns=list("abcde")),
        lambda x: pa.table({name: x[:, at] for at, name in enumerate("abcde")}),
        lambda x: pl.DataFrame({name: x[:, at] for at, name in enumerate("abcde")}),
        scipy.sparse.csr_matrix,
    ],
    ids=["numpy", "pandas", "pyarrow", "polars", "sparse"],
)
def test_it_takes_the_kinds_of_tables_that_xgboost_takes(table, make):
    x, y = table
    given = make(x)
    model = RobustXGBRegressor(**FEW, interval_folds=3).fit(given, y)
    reference = RobustXGBRegressor(**FEW).fit(x, y)
    np.testing.assert_allclose(model.predict(given), reference.predict(x), rtol=1e-5)
    assert model.n_features_in_ == 5
    assert np.isfinite(model.predict(given, interval=0.5).to_numpy()).all()


def test_categories_keep_their_meaning_in_another_order(table):
    x, y = table
    names = np.array(["low", "mid", "high"])[np.digitize(x[:, 0], [-0.5, 0.5])]
    frame = pd.DataFrame({"level": pd.Categorical(names), "other": x[:, 1]})
    model = RobustXGBRegressor(**FEW, enable_categorical=True, interval_folds=3).fit(frame, y)
    assert list(model.feature_names_in_) == ["level", "other"]
    turned = frame.assign(level=pd.Categorical(names, categories=["high", "mid", "low"]))
    np.testing.assert_array_equal(model.predict(turned), model.predict(frame))
    further = RobustXGBRegressor(**FEW, enable_categorical=True)
    further.fit(turned, y, xgb_model=model, eval_set=[(frame, y)], verbose=False)
    assert further.get_booster().num_boosted_rounds() == 40
    measured = further.evals_result()["validation_0"]["mae"][-1]
    assert measured == pytest.approx(np.abs(further.predict(frame) - y).mean(), rel=1e-4)


def test_parameters_of_the_loss_are_parameters_of_the_regressor():
    model = RobustXGBRegressor()
    assert model.get_params()["loss__q_low"] == 0.5
    assert "loss__q_low" not in model.get_params(deep=False)
    model.set_params(loss__q_low=0.95, loss__q_high=0.99, max_depth=3)
    assert model.loss == losses.ContinuousASRL(0.95, 0.99)
    assert clone(model).get_params() == model.get_params()
    model.set_params(loss="huber", loss__delta=2.0)
    assert model.loss == losses.Huber(2.0)
    with pytest.raises(InputError, match="Huber takes delta; got 'detla'; did you mean 'delta'"):
        model.set_params(loss__detla=1.0)


def test_searches_pipelines_and_wrappers_take_it(table):
    x, y = table
    model = RobustXGBRegressor(**FEW | {"n_estimators": 5})
    pipeline = make_pipeline(StandardScaler(), model)
    grid = {"robustxgbregressor__loss__q_low": [0.2, 0.6]}
    for search in (
        GridSearchCV(pipeline, grid, scoring="neg_mean_absolute_error", cv=3),
        HalvingGridSearchCV(pipeline, grid, scoring="neg_mean_absolute_error", cv=3),
    ):
        best = search.fit(x, y).best_estimator_[-1]
        assert best.loss.q_low in (0.2, 0.6)
    assert cross_val_score(model, x, y, cv=3).shape == (3,)
    wrapped = TransformedTargetRegressor(model, func=np.log, inverse_func=np.exp).fit(x, y)
    assert np.isfinite(wrapped.predict(x)).all()
    importance = permutation_importance(model.fit(x, y), x, y, n_repeats=2, random_state=0)
    assert int(importance.importances_mean.argmax()) == 0


@pytest.mark.skipif(sys.version_info < (3, 12), reason="shap is tested from Python 3.12 on")
def test_shap_explains_it_as_xgboost_does(table):
    import shap  # noqa: PLC0415 - not installed on older Pythons

    x, y = table[0].astype(np.float32), table[1]
    model = RobustXGBRegressor(**FEW).fit(x, y)
    explainer = shap.TreeExplainer(model)
    own = model.get_booster().predict(xgboost.DMatrix(x), pred_contribs=True)
    np.testing.assert_allclose(explainer.shap_values(x), own[:, :-1], atol=1e-4)
    assert explainer.expected_value == pytest.approx(own[0, -1], rel=1e-6)


def test_pickles_and_files_keep_loss_and_intervals(table, tmp_path):
    x, y = table
    model = RobustXGBRegressor(loss=losses.Huber(3.0), **FEW, interval_folds=3).fit(x, y)
    model.save_model(tmp_path / "model.ubj")
    loaded = RobustXGBRegressor()
    loaded.load_model(tmp_path / "model.ubj")
    for other in (loaded, pickle.loads(pickle.dumps(model))):  # noqa: S301 - of our own making
        assert other.loss == losses.Huber(3.0)
        pd.testing.assert_frame_equal(
            other.predict(x, interval=0.8), model.predict(x, interval=0.8)
        )
    xgboost.XGBRegressor(**FEW).fit(x, y).save_model(tmp_path / "other.ubj")
    with pytest.raises(InputError, match="record their loss"):
        loaded.load_model(tmp_path / "other.ubj")


@pytest.mark.parametrize("folds", [0, 5])
def test_intervals_cover_new_targets_as_often_as_they_say(folds):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(3000, 3))
    y = 5 * x[:, 0] + rng.normal(size=3000)
    model = RobustXGBRegressor(**FEW, interval_folds=folds)
    model.fit(x[:1000], y[:1000], eval_set=[(x[1000:2000], y[1000:2000])], verbose=False)
    found = model.predict(x[2000:], interval=0.8)
    inside = (found["lower"] <= y[2000:]) & (y[2000:] <= found["upper"])
    assert 0.74 < inside.mean() < 0.88


def test_what_cannot_be_is_refused_in_one_line(table):
    x, y = table
    model = RobustXGBRegressor(**FEW).fit(x, y)
    for refused, why in (
        (lambda: model.predict(x, interval=0.9), "Intervals need rows that training did not see"),
        (lambda: RobustXGBRegressor(loss="hubre").fit(x, y), "did you mean 'huber'"),
        (
            lambda: RobustXGBRegressor(loss=1).fit(x, y),
            "needs a loss, the name of one, or its config",
        ),
        (
            lambda: RobustXGBRegressor(objective="reg:absoluteerror").fit(x, y),
            "takes the objective from loss",
        ),
        (
            lambda: model.fit(x, y, eval_set=[(x, y)], sample_weight_eval_set=[y, y]),
            "one entry for each of eval_set",
        ),
        (
            lambda: RobustXGBRegressor(eval_metric=[len, max]).fit(x, y),
            "one eval_metric that is a function",
        ),
        (lambda: RobustXGBRegressor(eval_metric=mae).fit(x, y), "a function named 'mae'"),
        (lambda: RobustXGBRegressor(loss__q_low=0.1), "takes loss__q_low by set_params"),
        (lambda: RobustXGBRegressor(los="huber"), "did you mean 'loss'"),
        (lambda: model.fit(pd.DataFrame({"city": ["a"] * 600}), y), "got text in column 'city'"),
        (lambda: RobustXGBRegressor(interval_folds=1).fit(x, y), "interval_folds needs 0, or 2"),
        (lambda: RobustXGBRegressor(interval_folds=601).fit(x, y), "as many as there are rows"),
        (lambda: RobustXGBRegressor(early_stopping_rounds=5).fit(x, y), "pass eval_set="),
        (lambda: model.fit(x, y, eval_set=[(x, y, y)]), "an entry that is no pair"),
        (lambda: model.fit(x, np.where(y > 50, np.nan, y)), "targets without NaN or inf"),
        (lambda: model.fit(x, y, sample_weight=-y), "sample weights of 0 or more"),
        (lambda: model.fit(x, y[:-1]), "one target a row; got 599 for 600 rows"),
        (
            lambda: RobustXGBRegressor(loss="huber").fit(x, y, xgb_model=model),
            "goes on with the loss that xgb_model records",
        ),
        (
            lambda: (
                RobustXGBRegressor(interval_folds=2)
                .fit(x, y)
                .predict(x, interval=0.5, iteration_range=(0, 2))
            ),
            "calibrated for all rounds",
        ),
    ):
        with pytest.raises(InputError, match=why) as error:
            refused()
        assert "\n" not in str(error.value)


def test_a_search_may_try_pairs_of_levels_that_do_not_go_together(table):
    x, y = table
    grid = {"loss__q_low": [0.2, 0.95], "loss__q_high": [0.9, 0.99]}
    search = GridSearchCV(
        RobustXGBRegressor(**FEW | {"n_estimators": 3}), grid, cv=2, error_score=np.nan
    )
    with pytest.warns(FitFailedWarning), pytest.warns(UserWarning, match="non-finite"):
        search.fit(x, y)
    assert np.isnan(search.cv_results_["mean_test_score"]).sum() == 1
    one_by_one = RobustXGBRegressor().set_params(loss__q_low=0.95)
    with pytest.raises(InputError, match="0 < q_low < q_high < 1"):
        one_by_one.fit(x, y)
    assert clone(one_by_one).get_params()["loss__q_low"] == 0.95
    assert one_by_one.set_params(loss__q_high=0.99).loss == losses.ContinuousASRL(0.95, 0.99)


def test_what_is_refused_changes_nothing(table, tmp_path):
    x, y = table
    model = RobustXGBRegressor(**FEW).fit(x, y)
    before, predicted = model.get_params(), model.predict(x)
    with pytest.raises(InputError, match="got 'detla'"):
        model.set_params(loss="huber", max_depth=9, loss__detla=1.0)
    xgboost.XGBRegressor(**FEW).fit(x, 2 * y).save_model(tmp_path / "other.ubj")
    with pytest.raises(InputError, match="record their loss"):
        model.load_model(tmp_path / "other.ubj")
    assert model.get_params() == before
    np.testing.assert_array_equal(model.predict(x), predicted)
    assert "hubre" in repr(RobustXGBRegressor(loss="hubre"))


def test_rows_that_were_learned_from_calibrate_no_intervals(table):
    x, y = table
    half = slice(0, 300)
    stopping = xgboost.callback.EarlyStopping(rounds=3)
    for model, eval_set in (
        (RobustXGBRegressor(**FEW), [(x[half], y[half])]),
        (RobustXGBRegressor(**FEW), [(x[half].copy(), y[half].copy())]),
        (RobustXGBRegressor(**FEW, callbacks=[stopping]), [(x[300:], y[300:])]),
    ):
        model.fit(x[half], y[half], eval_set=eval_set, verbose=False)
        with pytest.raises(InputError, match="rows that training did not see"):
            model.predict(x, interval=0.9)


def test_clean_intervals_hold_right_targets_where_some_are_gross_outliers(table):
    x, y = table
    model = RobustXGBRegressor(loss="auto", n_estimators=30, n_jobs=1, interval_folds=5).fit(x, y)
    plain, clean = (model.predict(x, interval=0.95, clean=clean) for clean in (False, True))
    # Every tenth target of `table` is far off.
    assert (clean["upper"] - clean["lower"])[0] < (plain["upper"] - plain["lower"])[0] / 3
    with pytest.raises(InputError, match="clean is about intervals"):
        model.predict(x, clean=True)


def test_adaptive_intervals_hold_as_many_noisy_rows_as_quiet_ones(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(3000, 2))
    is_noisy = x[:, 1] > 0.5
    y = 5 * x[:, 0] + (1 + 9 * is_noisy) * rng.normal(size=3000)
    model = RobustXGBRegressor(**FEW, interval_folds=3).fit(x[:2000], y[:2000])
    model.save_model(tmp_path / "model.ubj")
    other = RobustXGBRegressor()
    other.load_model(tmp_path / "model.ubj")
    shares = {}
    for adaptive in (False, True):
        found = other.predict(x[2000:], interval=0.9, adaptive=adaptive)
        inside = (found.lower <= y[2000:]) & (y[2000:] <= found.upper)
        shares[adaptive] = [inside[is_noisy[2000:] == noisy].mean() for noisy in (True, False)]
    noisy, quiet = shares[False]
    assert (noisy < 0.85, quiet > 0.99) == (True, True), shares
    assert all(0.86 < share < 0.96 for share in shares[True]), shares


def test_adaptive_intervals_know_categories_by_their_names():
    rng = np.random.default_rng(0)
    kind = rng.choice(["a", "b", "c"], 600)
    frame = pd.DataFrame({"x": rng.uniform(size=600), "kind": pd.Categorical(kind)})
    y = 5 * frame["x"] + rng.normal(size=600) * np.where(kind == "c", 10, 1)
    model = RobustXGBRegressor(**FEW, enable_categorical=True, interval_folds=2).fit(frame, y)
    found = model.predict(frame, interval=0.9, adaptive=True)
    width = found["upper"] - found["lower"]
    assert width[kind == "c"].median() > 4 * width[kind == "a"].median()
    other = frame.assign(kind=pd.Categorical(kind, categories=["c", "b", "a"]))
    pd.testing.assert_frame_equal(model.predict(other, interval=0.9, adaptive=True), found)


def test_a_spread_is_learned_from_weighted_rows_with_margins_and_refused_of_few_rows(table):
    x, y = table
    weight = np.arange(y.size) % 3
    model = RobustXGBRegressor(**FEW, interval_folds=2)
    model.fit(x, y, sample_weight=weight, base_margin=np.ones(y.size))
    widths = model.predict(x, interval=0.5, adaptive=True)
    assert (widths["upper"] > widths["lower"]).all()
    few = RobustXGBRegressor(**FEW, interval_folds=2).fit(x[:99], y[:99])
    with pytest.raises(InputError, match="Adaptive intervals need a model that learned the spread"):
        few.predict(x, interval=0.5, adaptive=True)
    with pytest.raises(InputError, match="adaptive is about intervals"):
        few.predict(x, adaptive=True)


def test_intervals_keep_the_index_of_a_frame(table):
    x, y = table
    frame = pd.DataFrame(x, columns=list("abcde"), index=np.arange(600) + 10_000)
    model = RobustXGBRegressor(**FEW, interval_folds=2).fit(frame, y)
    assert list(model.predict(frame[:2], interval=0.5).index) == [10_000, 10_001]
