"""Registered models of classes: labels, corrected probabilities, sets; the same by every way of asking."""

from __future__ import annotations

import json
from http.client import HTTPConnection

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from asrl_mlflow import datasets, predict, registry
from asrl_mlflow.losses import to_config
from asrl_mlflow.serving.server import create_app
from tests.every_class_loss import BINARY, EVERY_CLASS_LOSS
from tests.losses.test_classification import name_of
from tests.serving.test_scoring import listening
from tests.stores import newest


@pytest.fixture
def registered(flow, store):
    """A model of three classes, and its table."""
    assert flow("train", "--data=wine", "--loss=full_m", "--rounds=20", "--figures=false")[0] == 0
    version = registry.register(newest(store))
    return version, datasets.load("wine")


def test_a_model_of_classes_predicts_labels_and_corrected_probabilities(registered):
    version, table = registered
    model = mlflow.pyfunc.load_model(version.uri)
    found = model.predict(table.rows.features)
    assert list(found) == ["prediction", *(f"probability_{each}" for each in table.classes)]
    booster = registry.load_booster(version.uri)
    expected = predict(booster, table.rows.features)
    np.testing.assert_array_equal(found.iloc[:, 1:].to_numpy(), expected)
    labels = np.asarray(table.classes)[expected.argmax(axis=1)]
    assert found["prediction"].tolist() == labels.tolist()
    assert version.record.data["classes"] == list(table.classes)
    assert "log loss" in store_description(version)


def test_a_server_of_classes_gives_sets_and_knows_no_intervals(registered, free_tcp_port):
    version, table = registered
    app = create_app(registry.load(version.uri), 1 << 20)
    rows = json.loads(table.rows.features.head(3).to_json(orient="records"))
    with listening(app, free_tcp_port):
        status, said = ask(free_tcp_port, {"dataframe_records": rows, "params": {"set": 0.9}})
        assert status == 200, said
        assert f"in_set_{table.classes[0]}" in json.loads(said)["predictions"][0]
        status, said = ask(free_tcp_port, {"dataframe_records": rows, "params": {"interval": 0.9}})
        assert (status, "params may have set" in said) == (400, True)


def ask(port, body):
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Content-Type": "application/json"}
    connection.request("POST", "/invocations", json.dumps(body), headers)
    answer = connection.getresponse()
    found = answer.status, answer.read().decode()
    connection.close()
    return found


def store_description(version):
    return mlflow.MlflowClient().get_model_version(version.name, version.version).description


def test_sets_have_the_classes_that_are_probable_enough(registered):
    version, table = registered
    model = mlflow.pyfunc.load_model(version.uri)
    found = model.predict(table.rows.features, params={"set": 0.9})
    inside = found[[f"in_set_{each}" for each in table.classes]].to_numpy()
    given = found[[f"probability_{each}" for each in table.classes]].to_numpy()
    assert inside.any(axis=1).all()
    assert inside[np.arange(len(given)), given.argmax(axis=1)].all()
    others = inside.copy()
    others[np.arange(len(given)), given.argmax(axis=1)] = False
    least = given[others].min() if others.any() else 1.0
    assert (given[~inside] < least).all()
    wider = model.predict(table.rows.features, params={"set": 0.99})
    assert (wider.iloc[:, -3:].to_numpy() >= inside).all()
    with pytest.raises(MlflowException, match="set must be a level"):
        model.predict(table.rows.features, params={"set": 1.5})


def test_predict_writes_the_same_numbers_to_csv_and_parquet(flow, registered):
    version, table = registered
    table.rows.features.to_parquet("rows.parquet")
    expected = mlflow.pyfunc.load_model(version.uri).predict(
        table.rows.features, params={"set": 0.9}
    )
    for out, read in (("out.parquet", pd.read_parquet), ("out.csv", pd.read_csv)):
        command = [f"--model-uri={version.uri}", "--data=rows.parquet", f"--out={out}"]
        assert flow("predict", *command, "--interval=0.9")[0] == 0
        pd.testing.assert_frame_equal(read(out), expected, check_dtype=False)


@pytest.mark.parametrize("loss", EVERY_CLASS_LOSS, ids=name_of)
def test_the_served_copy_corrects_probabilities_as_the_losses_do(loss, served_functions):
    z = np.concatenate([np.linspace(-40, 40, 81), [-700.0, 700.0]])
    if loss not in BINARY:
        z = np.stack([z, np.zeros(z.size), z[::-1] / 3], axis=1)
    found = served_functions["probabilities"](to_config(loss), z)
    np.testing.assert_allclose(found, loss.predict(z), rtol=1e-12, atol=1e-300)


@pytest.fixture(scope="module")
def served_functions():
    """What the file that models hold a copy of defines."""
    import runpy  # noqa: PLC0415 - here alone
    from pathlib import Path  # noqa: PLC0415 - here alone

    import asrl_mlflow.serving  # noqa: PLC0415 - for its folder

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mlflow.models.set_model", lambda _: None)
        return runpy.run_path(str(Path(asrl_mlflow.serving.__file__).parent / "model.py"))


def test_a_better_model_of_classes_is_promoted_by_its_log_loss(flow, registered, store):
    assert registered[0].is_new
    assert flow("register", f"--run-id={newest(store)}", "--alias=champion")[0] == 0
    command = ["--data=wine", "--loss=log_loss", "--rounds=1", "--learning-rate=0.01"]
    assert flow("train", *command, "--figures=false")[0] == 0
    code, out, _ = flow("register", f"--run-id={newest(store)}", "--alias=champion")
    assert code == 0
    assert "champion: stays version 1; version 2 is worse: log loss +" in out


def test_a_model_of_classes_goes_on_with_the_same_classes_only(flow, registered):
    version, table = registered
    command = ["train", f"--model-uri={version.uri}", "--rounds=3", "--figures=false"]
    code, out, _ = flow(*command, "--data=wine")
    assert code == 0
    assert "goes on from" in out
    frame = table.rows.features.assign(cultivar=np.where(table.rows.target > 0, "other", "class_0"))
    frame.to_csv("two.csv", index=False)
    code, _, err = flow(*command, "--data=two.csv")
    assert code == 2
    assert "goes on with the kind of target that it knows, 'class_0', 'class_1', 'class_2'" in err
