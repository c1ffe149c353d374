"""RobustXGBClassifier: XGBoost's classifier with a loss, wherever scikit-learn takes an estimator."""

from __future__ import annotations

import json
import math
import pickle
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
import xgboost
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.inspection import permutation_importance
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.estimator_checks import estimator_checks_generator

from asrl_mlflow import RobustXGBClassifier, RobustXGBRegressor, losses, metrics, train
from asrl_mlflow.errors import InputError
from asrl_mlflow.estimators.targets import Classes
from asrl_mlflow.residuals import row_counts
from tests.conftest import PARAMS
from tests.every_class_loss import BINARY, EVERY_CLASS_LOSS, SOFTMAX

FEW = {"n_estimators": 10, "max_depth": 3, "learning_rate": 0.3, "n_jobs": 1}
CASES = [*((loss, 2) for loss in EVERY_CLASS_LOSS), *((loss, 3) for loss in SOFTMAX)]
every_loss = pytest.mark.parametrize(("loss", "classes"), CASES, ids=repr)


def rows(classes, count=400, seed=0, wrong=0.1):
    """Rows of so many classes, told by one feature, with some wrong labels."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 4)).astype(np.float32)
    codes = np.digitize(x[:, 0], np.linspace(-1, 1, classes + 1)[1:-1])
    return x, np.where(rng.random(count) < wrong, rng.integers(0, classes, count), codes)


def checks():
    """scikit-learn's checks of two classifiers, each once."""
    for loss in ("log_loss", "generalized_cross_entropy"):
        model = RobustXGBClassifier(loss=loss, n_estimators=5, n_jobs=1)
        for number, (estimator, check) in enumerate(estimator_checks_generator(model)):
            name = getattr(check, "func", check).__name__
            yield pytest.param(estimator, check, id=f"{loss}-{number}-{name}")


# XGBoost says so of the sparse formats that it converts.
@pytest.mark.filterwarnings("ignore:Unknown data type:UserWarning")
@pytest.mark.filterwarnings("ignore:.*SCIPY_ARRAY_API:sklearn.exceptions.SkipTestWarning")
@pytest.mark.parametrize(("estimator", "check"), list(checks()))
def test_scikit_learn_finds_no_fault(estimator, check):
    check(estimator)


@pytest.mark.parametrize("weights", ["none", "whole", "fractions"])
@pytest.mark.parametrize("classes", [2, 3])
def test_log_loss_predicts_what_xgboosts_own_classifier_does(classes, weights):
    x, y = rows(classes)
    rng = np.random.default_rng(1)
    weight = {
        "none": None,
        "whole": rng.integers(0, 4, len(y)),
        # Of mean 1, as `train` makes them.
        "fractions": row_counts(rng.random(len(y), dtype=np.float32), len(y))[0],
    }[weights]
    own = xgboost.XGBClassifier(**FEW).fit(x, y, sample_weight=weight)
    ours = RobustXGBClassifier(**FEW).fit(x, y, sample_weight=weight)
    for each in (
        lambda model: model.predict_proba(x),
        lambda model: model.predict(x),
        lambda model: model.predict(x, output_margin=True),
        lambda model: model.predict_proba(x, iteration_range=(0, 3)),
    ):
        np.testing.assert_array_equal(each(ours), each(own))
    assert ours.predict_proba(x).dtype == own.predict_proba(x).dtype


@every_loss
def test_it_fits_what_train_does_and_corrects_probabilities(loss, classes):
    x, y = rows(classes)
    model = RobustXGBClassifier(loss=loss, **FEW | {"max_depth": PARAMS["max_depth"]}).fit(x, y)
    booster = train(PARAMS, xgboost.QuantileDMatrix(x, label=y), 10, loss=loss)
    margins = model.predict(x, output_margin=True)
    np.testing.assert_array_equal(margins, booster.inplace_predict(x, predict_type="margin"))
    found = model.predict_proba(x)
    assert found.shape == (len(x), classes)
    np.testing.assert_allclose(found, loss.predict(margins), atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(model.predict(x), found.argmax(axis=1))
    assert model.score(x, y) > 0.75


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (["b", "d", "e"], np.asarray),
        (["b", "d", "e"], lambda y: np.asarray(y, dtype=object)),
        (["b", "d", "e"], lambda y: np.asarray(y, dtype=np.dtypes.StringDType())),
        (["b", "d", "e"], lambda y: pd.Series(y, index=np.arange(len(y)) + 7)),
        (["b", "d", "e"], lambda y: pd.Series(y).astype("category")),
        (["b", "d", "e"], lambda y: pl.Series(y.tolist())),
        (["b", "d", "e"], lambda y: pa.array(y.tolist())),
        ([-5, 3, 70_000], np.asarray),
        ([-5, 3, 70_000], list),
        ([1.0, 2.0, 5.0], np.asarray),
        ([False, True], np.asarray),
        ([False, True], lambda y: pd.Series(y).astype("boolean")),
    ],
)
def test_labels_of_any_type_are_learned_as_their_codes_are(labels, kind, tmp_path):
    x, codes = rows(len(labels))
    y = kind(np.array(labels)[codes])
    reference = RobustXGBClassifier(**FEW).fit(x, codes)
    model = RobustXGBClassifier(**FEW).fit(x, y, eval_set=[(x, y)], verbose=False)
    assert model.classes_.tolist() == labels
    assert model.n_classes_ == len(labels)
    np.testing.assert_array_equal(model.predict_proba(x), reference.predict_proba(x))
    assert model.predict(x).tolist() == np.array(labels)[reference.predict(x)].tolist()
    model.save_model(tmp_path / "model.ubj")
    loaded = RobustXGBClassifier()
    loaded.load_model(tmp_path / "model.ubj")
    assert loaded.classes_.dtype == model.classes_.dtype
    assert loaded.predict(x).tolist() == model.predict(x).tolist()


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
PLAIN = [
    texts,
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    st.integers(-1000, 1000).map(float),
]
ANYTHING = st.one_of(
    *PLAIN, st.none(), st.floats(), st.binary(), st.dates(), st.tuples(st.integers())
)


@given(st.one_of([st.lists(each, min_size=2, max_size=30) for each in PLAIN]))
def test_labels_of_one_kind_come_back_from_codes_and_from_a_booster(labels):
    values = np.array(labels)
    if len(set(labels)) < 2:
        with pytest.raises(InputError, match="at least 2 classes"):
            Classes.of("fit", values)
        return
    classes = Classes.of("fit", values)
    assert classes.labels[classes.read(values)].tolist() == labels
    booster = xgboost.Booster()
    booster.set_attr(**classes.attributes)
    read = Classes.recorded("fit", booster).labels
    np.testing.assert_array_equal(read, classes.labels)
    assert read.dtype == classes.labels.dtype


@given(st.lists(ANYTHING, min_size=1, max_size=8))
def test_labels_are_read_or_refused_in_one_line(labels):
    values = np.empty(len(labels), dtype=object)
    values[:] = labels
    try:
        classes = Classes.of("fit", values)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert classes.labels[classes.read(values)].tolist() == labels


def test_class_weights_are_sample_weights():
    x, codes = rows(3)
    y = np.array(["a", "b", "c"])[codes]
    own = np.random.default_rng(2).integers(1, 4, len(y))
    for class_weight in ({"b": 3, "c": 2.0}, "balanced"):
        times = compute_sample_weight(class_weight, y)
        for given_weight, product in ((None, times), (own, own * times)):
            weighed = RobustXGBClassifier(class_weight=class_weight, **FEW)
            weighed.fit(x, y, sample_weight=given_weight)
            reference = RobustXGBClassifier(**FEW).fit(x, y, sample_weight=product)
            np.testing.assert_array_equal(weighed.predict_proba(x), reference.predict_proba(x))


def test_early_stopping_keeps_the_best_round():
    x, codes = rows(3, 800, wrong=0.3)
    y = np.array(["a", "b", "c"])[codes]
    model = RobustXGBClassifier(**FEW | {"n_estimators": 300}, early_stopping_rounds=5)
    model.fit(x[:400], y[:400], eval_set=[(x[400:], y[400:])], verbose=False)
    history = model.evals_result()["validation_0"]
    assert list(history) == ["error", "logloss"]
    assert len(history["logloss"]) < 300
    assert model.best_iteration == int(np.argmin(history["logloss"]))
    assert model.get_booster().num_boosted_rounds() == model.best_iteration + 1
    measured = metrics.logloss(codes[400:], model.predict_proba(x[400:]))
    assert model.best_score == pytest.approx(measured, rel=1e-5)


@pytest.mark.parametrize("name", ["log_loss", "generalized_cross_entropy"])
@pytest.mark.parametrize("classes", [2, 3])
def test_metrics_are_those_of_the_corrected_probabilities(classes, name):
    x, codes = rows(classes, 600)
    y = np.array(["a", "b", "c"])[codes]

    def own(target, prediction, sample_weight=None):
        return log_loss(target, prediction, sample_weight=sample_weight)

    named = ["auc", "brier", "calibration_error", own]
    model = RobustXGBClassifier(loss=name, eval_metric=named, **FEW)
    weight = np.arange(300) % 3
    model.fit(
        *(x[:300], y[:300]),
        eval_set=[(x[300:], y[300:]), (x[300:], y[300:])],
        sample_weight_eval_set=[np.ones(300), weight],
        verbose=False,
    )
    probabilities, target = model.predict_proba(x[300:]), codes[300:]
    for place, weight_ in enumerate((None, weight)):
        last = {
            metric: values[-1]
            for metric, values in model.evals_result()[f"validation_{place}"].items()
        }
        for metric in ("logloss", "error", "brier", "calibration_error"):
            measured = metrics.TASKS["classification"].metrics[metric](
                target, probabilities, weight_
            )
            assert last[metric] == pytest.approx(measured, rel=1e-4)
        assert last["own"] == pytest.approx(last["logloss"], rel=1e-4)
        if classes == 2:
            auc = roc_auc_score(target, probabilities[:, 1], sample_weight=weight_)
            assert last["auc"] == pytest.approx(auc, abs=1e-4)
        else:
            assert 0.5 < last["auc"] < 1


def test_a_model_goes_on_with_its_classes():
    x, codes = rows(3)
    y = np.array(["a", "b", "c"])[codes]
    half = RobustXGBClassifier(loss="poly1", **FEW | {"n_estimators": 5}).fit(x, y)
    whole = RobustXGBClassifier(loss="poly1", **FEW).fit(x, y)
    further = RobustXGBClassifier(loss="poly1", **FEW | {"n_estimators": 5})
    np.testing.assert_allclose(
        further.fit(x, y, xgb_model=half).predict_proba(x), whole.predict_proba(x), atol=1e-5
    )
    only = y == "b"
    further.fit(x[only], y[only], xgb_model=half)
    assert further.classes_.tolist() == ["a", "b", "c"]
    assert further.predict_proba(x).shape == (400, 3)
    with pytest.raises(InputError, match="knows the labels 'a', 'b', 'c'; got 'B'"):
        further.fit(x, np.char.replace(y, "b", "B"), xgb_model=half)


def test_a_booster_without_labels_has_codes_for_classes(tmp_path):
    x, y = rows(3)
    for loss, classes in ((losses.FullM(), 2), (losses.MLoss(), 2), (losses.LLoss(), 3)):
        codes = np.minimum(y, classes - 1)
        booster = train(PARAMS, xgboost.DMatrix(x, label=codes), 5, loss=loss)
        booster.save_model(tmp_path / "model.ubj")
        model = RobustXGBClassifier()
        model.load_model(tmp_path / "model.ubj")
        assert model.loss == loss
        assert model.classes_.tolist() == list(range(classes))
        assert model.score(x, codes) > 0.75
        again = RobustXGBClassifier(loss=loss, **FEW).fit(x, codes, xgb_model=booster)
        assert again.get_booster().num_boosted_rounds() == 15


@every_loss
@pytest.mark.parametrize("level", [0.05, 0.6, 0.9, 0.999])
def test_sets_have_the_labels_of_the_rows_that_calibrate_them(loss, classes, level):
    x, codes = rows(classes)
    y = np.array(["a", "b", "c"])[codes]
    model = RobustXGBClassifier(loss=loss, **FEW)
    model.fit(x[:200], y[:200], eval_set=[(x[200:], y[200:])], verbose=False)
    found = model.predict_set(x[200:], level=level)
    assert list(found.columns) == model.classes_.tolist()
    sets = found.to_numpy()
    assert sets.dtype == bool
    assert sets[np.arange(200), codes[200:]].sum() >= min(200, math.ceil(round(201 * level, 9)))
    assert sets[np.arange(200), model.predict_proba(x[200:]).argmax(axis=1)].all()
    if level == 0.999:
        assert sets.all()
    wider = model.predict_set(x[200:], level=(1 + level) / 2).to_numpy()
    assert (wider >= sets).all()


@pytest.mark.parametrize("loss", ["log_loss", "generalized_cross_entropy", "m_loss"])
@pytest.mark.parametrize("folds", [0, 4])
def test_sets_have_the_labels_of_new_rows_as_often_as_they_say(loss, folds):
    level, fits, calibrating, judged = 0.8, 25, 99, 400
    shares, sizes = [], []
    for seed in range(fits):
        x, y = rows(3, 2 * calibrating + judged, seed, wrong=0.25)
        known, new = slice(0, calibrating), slice(2 * calibrating, None)
        kept = slice(calibrating, 2 * calibrating)
        model = RobustXGBClassifier(loss=loss, set_folds=folds, **FEW | {"n_estimators": 4})
        model.fit(x[known], y[known], eval_set=[(x[kept], y[kept])], verbose=False)
        sets = model.predict_set(x[new], level=level).to_numpy()
        shares.append(sets[np.arange(judged), y[new]].mean())
        sizes.append(sets.sum(axis=1).mean())
    # What rows that calibrate and rows that judge leave to chance: binomial, three standard deviations.
    chance = 3 * math.sqrt(level * (1 - level) * (1 / calibrating + 1 / judged) / fits)
    assert np.mean(shares) > level - chance
    assert 1 <= np.mean(sizes) < 2.5


def test_rows_that_were_learned_from_calibrate_no_sets():
    x, y = rows(2)
    half = slice(0, 200)
    stopping = xgboost.callback.EarlyStopping(rounds=3)
    for model, eval_set in (
        (RobustXGBClassifier(**FEW), [(x[half], y[half])]),
        (RobustXGBClassifier(class_weight="balanced", **FEW), [(x[half].copy(), y[half].copy())]),
        (RobustXGBClassifier(**FEW, callbacks=[stopping]), [(x[200:], y[200:])]),
    ):
        model.fit(x[half], y[half], eval_set=eval_set, verbose=False)
        with pytest.raises(InputError, match="rows that training did not see"):
            model.predict_set(x)


def test_other_rows_with_the_same_labels_calibrate_sets():
    x, y = rows(2)
    order = np.argsort(y, kind="stable")
    one, other = np.sort(np.r_[order[:100:2], order[-100::2]]), np.r_[order[1:100:2], order[-99::2]]
    one = one[np.argsort(y[one], kind="stable")]
    np.testing.assert_array_equal(y[one], y[other])
    model = RobustXGBClassifier(**FEW)
    model.fit(x[one], y[one], eval_set=[(x[other], y[other])], verbose=False)
    assert model.predict_set(x).to_numpy().any(axis=1).all()


def test_a_fold_may_lack_a_class():
    x, y = rows(2)
    for loss in EVERY_CLASS_LOSS:
        if loss not in SOFTMAX:
            continue
        codes = np.where(np.arange(400) == 7, 2, y)
        model = RobustXGBClassifier(loss=loss, set_folds=3, **FEW | {"n_estimators": 2})
        assert model.fit(x, codes).predict_set(x).shape == (400, 3)
    single = np.arange(400) == 7
    for loss in BINARY:
        model = RobustXGBClassifier(loss=loss, set_folds=3, **FEW | {"n_estimators": 2})
        assert np.isfinite(model.fit(x, single).predict_proba(x)).all()


@pytest.mark.parametrize(
    "make",
    [
        np.asarray,
        lambda x: pd.DataFrame(x, columns=list("abcd"), index=np.arange(400) + 10_000),
        lambda x: pa.table({name: x[:, at] for at, name in enumerate("abcd")}),
        lambda x: pl.DataFrame({name: x[:, at] for at, name in enumerate("abcd")}),
        scipy.sparse.csr_matrix,
    ],
    ids=["numpy", "pandas", "pyarrow", "polars", "sparse"],
)
def test_it_takes_the_kinds_of_tables_that_xgboost_takes(make):
    x, y = rows(3)
    given_x = make(x)
    model = RobustXGBClassifier(loss="focal", **FEW, set_folds=3).fit(given_x, y)
    reference = RobustXGBClassifier(loss="focal", **FEW).fit(x, y)
    np.testing.assert_allclose(model.predict_proba(given_x), reference.predict_proba(x), rtol=1e-4)
    found = model.predict_set(given_x)
    assert found.shape == (400, 3)
    assert found.index[0] == (10_000 if isinstance(given_x, pd.DataFrame) else 0)


@pytest.mark.parametrize(("name", "classes"), [("log_loss", 2), ("full_l", 2), ("full_l", 3)])
def test_base_margins_are_where_boosting_starts(name, classes):
    x, y = rows(classes)
    start = 2 * np.eye(classes)[y] if classes > 2 else 4.0 * y - 2  # as of a good model
    model = RobustXGBClassifier(loss=name, **FEW).fit(x, y, base_margin=start)
    found = model.predict_proba(x, base_margin=start)
    np.testing.assert_array_equal(model.predict(x, base_margin=start), found.argmax(axis=1))
    assert metrics.logloss(y, found) < 0.5 * metrics.logloss(y, model.predict_proba(x))


def test_parameters_of_the_loss_are_parameters_of_the_classifier():
    model = RobustXGBClassifier(loss="focal", class_weight={"a": 2.0})
    assert model.get_params()["loss__gamma"] == 2.0
    assert "loss__gamma" not in model.get_params(deep=False)
    model.set_params(loss__gamma=1.0, max_depth=3)
    assert model.get_loss() == losses.Focal(gamma=1.0)
    assert clone(model).get_params() == model.get_params()
    with pytest.raises(InputError, match="Focal takes gamma, alpha; got 'gama'; did you mean"):
        model.set_params(loss__gama=1.0)
    config = RobustXGBClassifier(loss={"name": "poly1", "params": {"epsilon": 2.0}})
    assert config.get_loss() == losses.Poly1(epsilon=2.0)


@every_loss
def test_parameters_that_are_set_later_do_not_change_what_was_fitted(loss, classes):
    x, y = rows(classes)
    model = RobustXGBClassifier(loss=loss, **FEW | {"n_estimators": 3}).fit(x, y)
    before = model.predict_proba(x)
    model.set_params(loss="focal", loss__gamma=0.3, max_depth=1)
    np.testing.assert_array_equal(model.predict_proba(x), before)


def test_searches_pipelines_and_wrappers_take_it():
    x, codes = rows(3)
    y = np.array(["a", "b", "c"])[codes]
    model = RobustXGBClassifier(loss="generalized_cross_entropy", **FEW | {"n_estimators": 3})
    pipeline = make_pipeline(StandardScaler(), model)
    grid = {"robustxgbclassifier__loss__q": [0.1, 0.7]}
    best = GridSearchCV(pipeline, grid, scoring="neg_log_loss", cv=3).fit(x, y).best_estimator_[-1]
    assert best.loss.q in (0.1, 0.7)
    assert cross_val_score(model, x, y, cv=3).min() > 0.7
    assert cross_val_predict(model, x, y, cv=3, method="predict_proba").shape == (400, 3)
    calibrated = CalibratedClassifierCV(model, cv=3).fit(x, y)
    assert calibrated.score(x, y) > 0.7
    importance = permutation_importance(model.fit(x, y), x, y, n_repeats=2, random_state=0)
    assert int(importance.importances_mean.argmax()) == 0
    assert int(model.feature_importances_.argmax()) == 0


@pytest.mark.skipif(sys.version_info < (3, 12), reason="shap is tested from Python 3.12 on")
@pytest.mark.parametrize(("name", "classes"), [("log_loss", 2), ("full_m", 2), ("poly1", 3)])
def test_shap_explains_its_margins(name, classes):
    import shap  # noqa: PLC0415 - not installed on older Pythons

    x, y = rows(classes)
    model = RobustXGBClassifier(loss=name, **FEW).fit(x, y)
    explainer = shap.TreeExplainer(model.get_booster())
    sums = explainer.shap_values(x).sum(axis=1) + explainer.expected_value
    np.testing.assert_allclose(sums, model.predict(x, output_margin=True), atol=1e-4)


@every_loss
def test_pickles_and_files_keep_loss_classes_and_sets(loss, classes, tmp_path):
    x, codes = rows(classes)
    y = np.array(["a", "b", "c"])[codes]
    model = RobustXGBClassifier(loss=loss, **FEW | {"n_estimators": 2}, set_folds=3).fit(x, y)
    model.save_model(tmp_path / "model.ubj")
    loaded = RobustXGBClassifier()
    loaded.load_model(tmp_path / "model.ubj")
    for other in (loaded, pickle.loads(pickle.dumps(model))):  # noqa: S301 - of our own making
        assert other.loss == loss
        assert other.n_classes_ == classes
        np.testing.assert_array_equal(other.classes_, model.classes_)
        np.testing.assert_array_equal(other.predict_proba(x), model.predict_proba(x))
        pd.testing.assert_frame_equal(other.predict_set(x), model.predict_set(x))


def test_the_estimator_of_the_other_target_is_named(table, tmp_path):
    x, y = rows(2)
    classifier = RobustXGBClassifier(**FEW).fit(x, y)
    regressor = RobustXGBRegressor(**FEW).fit(*table)
    classifier.save_model(tmp_path / "classifier.ubj")
    regressor.save_model(tmp_path / "regressor.ubj")
    xgboost.XGBClassifier(**FEW).fit(x, y).save_model(tmp_path / "other.ubj")
    for refused, why in (
        (lambda: RobustXGBRegressor(loss="focal").fit(x, y), "use RobustXGBClassifier"),
        (lambda: RobustXGBClassifier(loss="huber").fit(x, y), "use RobustXGBRegressor"),
        (lambda: regressor.load_model(tmp_path / "classifier.ubj"), "use RobustXGBClassifier"),
        (lambda: classifier.load_model(tmp_path / "regressor.ubj"), "use RobustXGBRegressor"),
        (lambda: classifier.load_model(tmp_path / "other.ubj"), "xgboost.XGBClassifier"),
    ):
        with pytest.raises(InputError, match=why) as error:
            refused()
        assert "\n" not in str(error.value)
    np.testing.assert_array_equal(classifier.classes_, [0, 1])


def test_what_cannot_be_is_refused_in_one_line():
    x, y = rows(2)
    text = np.array(["a", "b"])[y]
    _, three = rows(3)
    model = RobustXGBClassifier(**FEW).fit(x, text)
    for refused, why in (
        (lambda: model.predict_set(x), "Sets of classes need rows that training did not see"),
        (
            lambda: RobustXGBClassifier(set_folds=2, **FEW).fit(x, y).predict_set(x, level=1.0),
            r"level in \(0, 1\)",
        ),
        (lambda: model.fit(x, text, eval_set=[(x, y)]), "knows the labels 'a', 'b'; got 0, 1"),
        (lambda: model.fit(x, ["a"] * 400), "at least 2 classes; got the one class 'a'"),
        (lambda: model.fit(x, x[:, 0]), "the fraction -?[0-9.]+ .*use RobustXGBRegressor"),
        (lambda: model.fit(x, [*text[:-1], None]), "got NoneType and str"),
        (lambda: model.fit(x, np.where(y > 0, np.nan, y)), "labels without NaN or inf"),
        (
            lambda: model.fit(x, np.array(y, dtype="datetime64[ns]")),
            "all text, all whole numbers or all booleans; got datetime64",
        ),
        (lambda: model.fit(x, text[:-1]), "one target a row; got 399 for 400 rows"),
        (lambda: model.fit(x, text, sample_weight=-np.ones(400)), "sample weights of 0 or more"),
        (lambda: RobustXGBClassifier(loss="smooth_hinge").fit(x, three), "is for two classes"),
        (lambda: RobustXGBClassifier(loss="fokal"), None),
        (lambda: RobustXGBClassifier(loss="fokal").fit(x, y), "did you mean 'focal'"),
        (lambda: RobustXGBClassifier(loss=3).fit(x, y), "a loss, the name of one, or its config"),
        (lambda: RobustXGBClassifier(loss={"nam": 3}).fit(x, y), "the name of one, or its config"),
        (
            lambda: RobustXGBClassifier(loss=losses.Focal(alpha=0.3)).fit(x, three),
            "alpha",
        ),
        (lambda: RobustXGBClassifier(loss__gamma=1.0), "takes loss__gamma by set_params"),
        (lambda: RobustXGBClassifier(class_weights={}), "did you mean 'class_weight'"),
        (
            lambda: RobustXGBClassifier(class_weight="even").fit(x, y),
            "or {label: weight}; got 'even'",
        ),
        (lambda: RobustXGBClassifier(class_weight={"A": 2}).fit(x, text), "labels of the rows"),
        (
            lambda: RobustXGBClassifier(class_weight={}).fit(x, text, sample_weight=[1, 2]),
            "one sample weight a row",
        ),
        (lambda: RobustXGBClassifier(class_weight=np.ones(2)).fit(x, y), "None, 'balanced' or"),
        (
            lambda: RobustXGBClassifier(class_weight={"a": -1}).fit(x, text),
            "sample weights of 0 or more",
        ),
        (
            lambda: RobustXGBClassifier(scale_pos_weight=2).fit(x, y),
            "weighs classes by class_weight",
        ),
        (
            lambda: RobustXGBClassifier(objective="multi:softmax").fit(x, y),
            "takes the objective from loss",
        ),
        (lambda: RobustXGBClassifier(eval_metric="mlogloss").fit(x, y), "name 'logloss'"),
        (lambda: RobustXGBClassifier(eval_metric=metrics.brier).fit(x, y), "named 'brier'"),
        (lambda: RobustXGBClassifier(set_folds=1).fit(x, y), "set_folds needs 0, or 2"),
        (lambda: RobustXGBClassifier(early_stopping_rounds=5).fit(x, y), "pass eval_set="),
        (
            lambda: RobustXGBClassifier(loss="poly1").fit(x, text, xgb_model=model),
            "goes on with the loss that xgb_model records",
        ),
    ):
        if why is None:
            refused()  # as scikit-learn has it, only fit refuses
            continue
        with pytest.raises(InputError, match=why) as error:
            refused()
        assert "\n" not in str(error.value)


def test_the_file_tells_the_classes_to_people_too():
    x, y = rows(2)
    booster = RobustXGBClassifier(**FEW).fit(x, np.array(["no", "yes"])[y]).get_booster()
    assert json.loads(booster.attr("asrl_classes")) == {"labels": ["no", "yes"], "dtype": "<U3"}
