"""The flavor: what was saved comes back, and every way of MLflow's to use it predicts the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import xgboost
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature, infer_signature

import asrl_mlflow.mlflow as flavor
from asrl_mlflow import RobustXGBClassifier, RobustXGBRegressor, losses, predict, registry, train
from asrl_mlflow.errors import InputError
from tests.conftest import PARAMS
from tests.processes import env

SMALL = {"n_estimators": 5, "max_depth": 3, "n_jobs": 1, "enable_categorical": True}


@pytest.fixture(scope="module")
def frame():
    """Numbers with gaps, and a column of categories; targets that follow from both."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(200, 2))
    kind = np.array(["no", "perhaps", "yes"])[rng.integers(0, 3, 200)]
    y = 10 + 3 * x[:, 0] + 5 * (kind == "yes")
    x[::9, 1] = np.nan
    return pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "kind": pd.Categorical(kind)}), y


@pytest.fixture
def booster(dtrain):
    return train(PARAMS, dtrain, 5, loss=losses.auto())


def same(one, other):
    return np.array_equal(np.asarray(one), np.asarray(other))


def test_a_loaded_booster_predicts_to_the_bit_what_the_saved_one_does(booster, table, tmp_path):
    flavor.save_model(booster, tmp_path / "model")
    expected = booster.inplace_predict(table[0])
    back = flavor.load_model(str(tmp_path / "model"))
    assert back.attr("asrl_loss") == booster.attr("asrl_loss")
    assert same(back.inplace_predict(table[0]), expected)
    served = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    assert same(served.predict(table[0]), expected)
    assert same(
        mlflow.xgboost.load_model(str(tmp_path / "model")).inplace_predict(table[0]), expected
    )
    # Without names columns are known by their place, whatever they are called.
    assert same(served.predict(pd.DataFrame(table[0], columns=list("vwxyz"))), expected)
    with pytest.raises(MlflowException, match="needs 5 columns, in their order; got: 4"):
        served.predict(table[0][:, :4])


def test_a_loaded_regressor_has_its_parameters_and_predicts_to_the_bit_the_same(frame, tmp_path):
    x, y = frame
    x = x.fillna({"b": -99.0})
    model = RobustXGBRegressor(loss=losses.Huber(), interval_folds=3, missing=-99.0, **SMALL)
    model.fit(x, y)
    flavor.save_model(model, tmp_path / "model", input_example=x)
    back = flavor.load_model(str(tmp_path / "model"))
    assert back.get_params() == model.get_params()
    assert same(back.predict(x), model.predict(x))
    assert same(back.fit(x, y).predict(x), model.predict(x))
    served = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    assert same(served.predict(x), model.predict(x))
    bounds = served.predict(x, params={"interval": 0.8})
    pd.testing.assert_frame_equal(bounds, model.predict(x, interval=0.8))
    assert len(served.predict(served.input_example)) == 3


@pytest.mark.parametrize("loss", ["log_loss", "m_loss"])
@pytest.mark.parametrize("count", [2, 3])
def test_a_classifier_keeps_its_classes_and_probabilities(frame, tmp_path, loss, count):
    x, y = frame
    labels = np.array(["high", "low", "middle"])[np.digitize(y, np.quantile(y, [0.4, 0.8])) % count]
    model = RobustXGBClassifier(loss=loss, set_folds=3, **SMALL).fit(x, labels)
    flavor.save_model(model, tmp_path / "model")
    back = flavor.load_model(str(tmp_path / "model"))
    assert same(back.predict(x), model.predict(x))
    assert same(back.predict_proba(x), model.predict_proba(x))
    served = mlflow.pyfunc.load_model(str(tmp_path / "model")).predict(x, params={"set": 0.7})
    assert same(served["prediction"], model.predict(x))
    names = [f"probability_{each}" for each in model.classes_]
    np.testing.assert_allclose(served[names], model.predict_proba(x), atol=1e-7)
    sets = served[[f"in_set_{each}" for each in model.classes_]]
    assert same(sets, model.predict_set(x, level=0.7))
    # The xgboost flavor knows nothing of the loss: it gives the sums of leaves.
    raw = mlflow.xgboost.load_model(str(tmp_path / "model"))
    margin = raw.inplace_predict(x, predict_type="margin")
    assert same(margin, model.predict(x, output_margin=True))
    np.testing.assert_allclose(predict(raw, x), model.predict_proba(x), atol=1e-7)


def test_a_model_of_several_targets_predicts_a_column_each(table, tmp_path):
    x, y = table
    matrix = xgboost.QuantileDMatrix(x, label=np.stack([y, -y], axis=1))
    booster = train(PARAMS, matrix, 3, loss=losses.Huber(delta=5.0))
    flavor.save_model(booster, tmp_path / "model")
    served = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    assert same(served.predict(x), booster.inplace_predict(x))


def test_rounds_that_a_callback_has_stopped_behind_are_not_predicted_by(table, tmp_path):
    x, y = table
    stops = xgboost.callback.EarlyStopping(rounds=2)
    model = RobustXGBRegressor(loss="huber", callbacks=[stops], **{**SMALL, "n_estimators": 60})
    model.fit(x[:300], y[:300], eval_set=[(x[300:], y[300:])], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    flavor.save_model(model, tmp_path / "model")
    served = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    assert same(served.predict(x), model.predict(x))
    assert same(flavor.load_model(str(tmp_path / "model")).predict(x), model.predict(x))


def test_what_has_no_loss_of_ours_is_refused(table, tmp_path):
    x, y = table
    plain = xgboost.train(PARAMS, xgboost.DMatrix(x, label=y), 1)
    with pytest.raises(
        InputError, match=r"records its loss; got one\s+without; use mlflow.xgboost"
    ):
        flavor.save_model(plain, tmp_path / "model")
    for other in (xgboost.XGBRegressor(), RobustXGBRegressor(), "model"):
        with pytest.raises(InputError, match="a fitted RobustXGBRegressor"):
            flavor.save_model(other, tmp_path / "model")


def test_a_logged_model_is_verified_and_found_as_a_registered_one(store, frame):
    x, y = frame
    model = RobustXGBRegressor(loss="huber", **SMALL).fit(x, y)
    with mlflow.start_run() as run:
        info = flavor.log_model(
            model, name="mine", registered_model_name="mine", tags={"team": "a"}, input_example=x
        )
    assert str(info.registered_model_version) == "1"
    found = registry.find("models:/mine/1")
    assert found.record.loss == losses.to_config(losses.Huber())
    assert found.run_id == run.info.run_id
    assert store.get_model_version("mine", "1").tags["team"] == "a"
    assert same(registry.load(found.uri).predict(x), model.predict(x))
    assert same(registry.load_booster(found.uri).inplace_predict(x), model.predict(x))
    logged = store.get_logged_model(info.model_id)
    assert logged.params["loss.name"] == "huber"
    assert set(info.flavors) == {"python_function", "xgboost", "asrl"}
    with (Path(logged.artifact_location) / "MLmodel").open("a") as file:
        file.write("# changed\n")
    with pytest.raises(InputError, match="got 'MLmodel' changed"):
        registry.load(found.uri)


def test_a_signature_names_the_inputs_if_it_is_asked_for(store, frame, tmp_path):
    x, y = frame
    model = RobustXGBRegressor(**SMALL).fit(x, y)
    flavor.save_model(model, tmp_path / "plain", input_example=x)
    assert mlflow.models.get_model_info(str(tmp_path / "plain")).signature.inputs is None
    flavor.save_model(model, tmp_path / "typed", input_example=x, signature=True)
    served = mlflow.pyfunc.load_model(str(tmp_path / "typed"))
    kinds = {each.name: each.type.name for each in served.metadata.signature.inputs}
    assert kinds == {"a": "double", "b": "double", "kind": "string"}
    # Gaps are fine in both; pandas' categories are not for MLflow.
    plain = x.astype({"kind": object})
    plain.loc[3, "kind"] = None
    assert len(served.predict(plain)) == len(x)
    with pytest.raises(MlflowException, match="Can not safely convert category"):
        served.predict(x)
    own = infer_signature(plain, model.predict(x))
    flavor.save_model(model, tmp_path / "own", signature=own)
    found = mlflow.models.get_model_info(str(tmp_path / "own")).signature
    assert isinstance(found, ModelSignature)
    assert found.inputs == own.inputs


def test_mlflow_itself_predicts_from_a_saved_model(frame, tmp_path):
    x, y = frame
    model = RobustXGBRegressor(loss="huber", **SMALL).fit(x, y)
    flavor.save_model(model, tmp_path / "model", input_example=x, signature=True)
    x.astype({"kind": object}).to_csv(tmp_path / "rows.csv", index=False)
    out = tmp_path / "out.json"
    subprocess.run(
        [
            *(sys.executable, "-m", "mlflow", "models", "predict", "--env-manager", "local"),
            *("-m", tmp_path / "model", "-i", tmp_path / "rows.csv", "-t", "csv", "-o", out),
        ],
        check=True,
        env=env(),
        capture_output=True,
    )
    found = json.loads(out.read_text())["predictions"]
    np.testing.assert_allclose(found, model.predict(x), rtol=1e-6)
    subprocess.run(
        [
            *(sys.executable, "-m", "mlflow", "models", "generate-dockerfile"),
            *("-m", tmp_path / "model", "-d", tmp_path / "docker"),
        ],
        check=True,
        env=env(),
        capture_output=True,
    )
    assert "model_dir" in (tmp_path / "docker/Dockerfile").read_text()
