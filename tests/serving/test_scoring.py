"""Predicting: whatever type a column has, one prediction; what cannot be predicted is one line."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import pyarrow.csv
import pytest
import uvicorn
import xgboost
from mlflow.exceptions import MlflowException

from asrl_mlflow import registry, train
from asrl_mlflow.command_line.commands.train import command as train_command
from asrl_mlflow.datasets.contamination import Contamination
from asrl_mlflow.datasets.dataset import load
from asrl_mlflow.datasets.splits import join
from asrl_mlflow.errors import InputError
from asrl_mlflow.experiments.experiment import prepare_split
from asrl_mlflow.losses import ContinuousASRL
from asrl_mlflow.records.unseen import predict_out_of_fold
from asrl_mlflow.residuals.conformal import half_width
from asrl_mlflow.serving import bodies, connections
from asrl_mlflow.serving import server as server_file
from tests.conftest import fill
from tests.processes import env, spawn
from tests.stores import newest

URI = "models:/asrl-mixed/1"


@pytest.fixture(scope="module")
def mixed():
    """Numbers, whole numbers, booleans, categories of text and of numbers; gaps; a target."""
    rng = np.random.default_rng(3)
    count = 400
    frame = pd.DataFrame(
        {
            "size": rng.normal(size=count),
            "rooms": rng.integers(1, 6, count),
            "new": rng.random(count) < 0.5,
            "town": pd.Categorical(rng.choice(["Ulm", "Bonn", "Köln"], count)),
            "zone": pd.Categorical(rng.choice([3, 7, 12], count)),
        }
    )
    frame.loc[::9, "size"] = np.nan
    price = 10 * frame["size"].fillna(0) + 5 * frame["rooms"] + 20 * frame["new"]
    frame["price"] = price + 7 * frame["town"].cat.codes + rng.normal(size=count)
    return frame


@pytest.fixture
def model(flow, store, mixed):
    """Registered, from a Parquet file."""
    mixed.to_parquet("mixed.parquet")
    options = ["--data=mixed.parquet", "--rounds=20", "--figures=false"]
    assert flow("train", *options)[0] == 0
    registry.register(newest(store))
    return mlflow.pyfunc.load_model(URI)


@pytest.fixture(scope="module")
def loaded(mixed, empty_store, tmp_path_factory):
    """The same, made once, for tests that need no store: plain MLflow's model, booster, residuals."""
    folder = tmp_path_factory.mktemp("loaded")
    shutil.copy(empty_store, folder / "mlflow.db")
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlflow.tracking.fluent, "_active_experiment_id", None)
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        mixed.to_parquet("mixed.parquet")
        options = ["--data=mixed.parquet", "--rounds=20", "--figures=false"]
        assert train_command.main(options, standalone_mode=False) == 0
        registry.register(newest(mlflow.MlflowClient()))
        yield SimpleNamespace(
            predict=mlflow.pyfunc.load_model(URI).predict,
            booster=registry.load_booster(URI),
            unseen=registry.load_unseen_residuals(URI),
        )
        mlflow.set_tracking_uri(None)


@pytest.fixture
def features(mixed):
    return mixed.drop(columns="price")


def as_objects(frame):
    """As JSON gives it: Python's own objects, None for what is missing."""
    plain = frame.astype(object)
    return plain.where(frame.notna(), None)


FORMS = {
    "as trained": lambda frame: frame,
    "float32": lambda frame: frame.assign(size=frame["size"].astype(np.float32)),
    "int64 as int8": lambda frame: frame.assign(rooms=frame["rooms"].astype(np.int8)),
    "int64 as float64": lambda frame: frame.assign(rooms=frame["rooms"].astype(np.float64)),
    "nullable Int64": lambda frame: frame.assign(rooms=frame["rooms"].astype("Int64")),
    "bool as int64": lambda frame: frame.assign(new=frame["new"].astype(np.int64)),
    "nullable boolean": lambda frame: frame.assign(new=frame["new"].astype("boolean")),
    "nullable Float64": lambda frame: frame.assign(size=frame["size"].astype("Float64")),
    "pyarrow": lambda frame: frame.assign(rooms=frame["rooms"].astype("int64[pyarrow]")),
    "objects": as_objects,
    "categories as text": lambda frame: frame.assign(town=frame["town"].astype(str)),
    "other order of categories": lambda frame: frame.assign(
        town=frame["town"].cat.reorder_categories(["Ulm", "Köln", "Bonn"])
    ),
    "other order of columns": lambda frame: frame[frame.columns[::-1]],
    "more columns": lambda frame: frame.assign(id="secret"),
    "another index": lambda frame: frame.set_index(np.arange(len(frame))[::-1]),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_prediction_depends_on_values_and_names_alone(loaded, features, form):
    booster = loaded.booster
    expected = booster.inplace_predict(features)
    sent = features if form != "float32" else FORMS[form](features)
    if form == "float32":
        expected = booster.inplace_predict(sent)
    assert np.array_equal(loaded.predict(FORMS[form](features)), expected)


def test_whole_numbers_may_be_missing(loaded, features):
    gaps = features.assign(rooms=features["rooms"].astype("Int64").mask(features["rooms"] > 3))
    floats = features.assign(rooms=features["rooms"].astype(float).mask(features["rooms"] > 3))
    expected = loaded.booster.inplace_predict(floats)
    for frame in (gaps, floats, as_objects(floats)):
        assert np.array_equal(loaded.predict(frame), expected)
    assert np.isfinite(loaded.predict(features.assign(rooms=None))).all()
    assert np.isfinite(loaded.predict(features.assign(town=None))).all()


REFUSED = {
    "a missing column": (lambda frame: frame.drop(columns="rooms"), "needs the column 'rooms'"),
    "text": (lambda frame: frame.assign(size="secret"), "column 'size' must be numbers"),
    "one text": (
        lambda frame: frame.assign(size=[1.0] * 7 + ["secret"] + [None] * 392),
        "column 'size' must be numbers; got: something else in row 8",
    ),
    "dates": (
        lambda frame: frame.assign(size=pd.Timestamp("2024-01-31")),
        "column 'size' must be numbers; got: datetime64",
    ),
    "an infinite value": (
        lambda frame: frame.assign(size=[0.0] * 399 + [math.inf]),
        "'size' must be missing or below 3.4e38; got: an infinite value in row 400",
    ),
    "too large for float32": (lambda frame: frame.assign(rooms=1e39), "'rooms' must be missing or"),
    "another category": (
        lambda frame: frame.assign(town=["Ulm"] * 399 + ["secret"]),
        "'town' must be categories that the training had; got: another one in row 400",
    ),
    "a complex number": (
        lambda frame: frame.assign(size=1 + 2j),
        "'size' must be numbers; got: complex",
    ),
    "a huge integer": (
        lambda frame: frame.assign(size=pd.Series([10**400] * 400, dtype=object)),
        "'size' must be missing or below 3.4e38; got: a number that is larger",
    ),
    "a column that stands twice": (
        lambda frame: pd.concat([frame, frame[["size"]]], axis=1),
        "needs the column 'size' once",
    ),
    "a list in a cell": (lambda frame: frame.assign(size=[[1, 2]] * 400), "must be numbers"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_names_column_and_row_and_shows_no_data(loaded, features, case):
    spoil, expected = REFUSED[case]
    with pytest.raises(MlflowException) as refused:
        loaded.predict(spoil(features))
    assert refused.value.message.startswith("Model input: ")
    assert expected in refused.value.message
    assert "secret" not in refused.value.message
    assert "\n" not in refused.value.message


@pytest.mark.parametrize("level", [0, 1, -0.1, 1.5, math.nan])
def test_a_level_is_between_0_and_1(loaded, features, level):
    with pytest.raises(MlflowException, match="interval must be a level in"):
        loaded.predict(features, params={"interval": level})


def test_an_interval_is_the_residual_of_rank_n_plus_1_times_level(loaded, features):
    residuals = np.sort(loaded.unseen.calibration.errors)
    count = len(residuals)
    for level in (0.01, 0.5, 0.9, count / (count + 1)):
        rank = math.ceil(round((count + 1) * level, 9))
        found = loaded.predict(features, params={"interval": level})
        assert list(found) == ["prediction", "lower", "upper"]
        half = (found["upper"] - found["lower"]) / 2
        assert np.allclose(half, residuals[rank - 1], rtol=1e-5)
        assert half_width(residuals, level) == residuals[rank - 1]
        assert np.array_equal(found["prediction"], loaded.predict(features).astype(np.float64))
    assert loaded.predict(features, params={"interval": 1e-12})["upper"][0] <= found["upper"][0]
    widest = loaded.predict(features, params={"interval": (count + 0.5) / (count + 1)})
    assert np.isinf(widest["upper"]).all()


def test_a_clean_interval_leaves_the_residuals_of_gross_outliers_out(flow, store, features):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 3))
    y = 10 * x[:, 0] + 5 * np.sin(3 * x[:, 1]) + rng.normal(size=2000)
    pd.DataFrame(x).add_prefix("x").assign(y=y).to_csv("made.csv", index=False)
    given = ("--data=made.csv", "--target=y", "--contaminate-share=0.2", "--figures=false")
    assert flow("train", *given)[0] == 0
    registry.register(newest(store))
    model = registry.load("models:/asrl-made/1")
    rows = load("made.csv", "y").rows
    unseen = registry.load_unseen_residuals("models:/asrl-made/1").calibration
    assert unseen.is_outlier.mean() == pytest.approx(0.2, abs=0.03)
    plain = model.predict(rows.features, params={"interval": 0.9})
    clean = model.predict(rows.features, params={"interval": 0.9, "clean": True})
    half = (clean["upper"] - clean["lower"]) / 2
    assert half[0] == pytest.approx(unseen.half_width(0.9, clean=True))
    assert half[0] < ((plain["upper"] - plain["lower"]) / 2)[0] / 4
    inside = (clean["lower"] <= rows.target) & (rows.target <= clean["upper"])
    # Of rows that the model has partly seen, whose targets here are right.
    assert 0.88 <= inside.mean() <= 0.97
    rows.features.to_csv("in.csv", index=False)
    command = ("predict", "--model-uri=models:/asrl-made/1", "--data=in.csv", "--out=out.csv")
    assert flow(*command, "--interval=0.9", "--clean=true")[0] == 0
    assert pd.read_csv("out.csv")["upper"].to_numpy() == pytest.approx(clean["upper"], rel=1e-6)
    code, _, err = flow(*command, "--clean=true")
    assert (code, "Clean intervals need a level" in err) == (2, True)
    with pytest.raises(MlflowException, match="clean is about intervals"):
        model.predict(rows.features, params={"clean": True})


def test_an_adaptive_interval_is_wide_where_residuals_are_and_alike_wherever_it_is_asked_for(
    flow, store
):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.uniform(size=3000), "kind": rng.choice(["a", "b"], 3000)})
    is_noisy = (frame["x"] > 0.5) & (frame["kind"] == "b")
    frame["y"] = 5 * frame["x"] + (1 + 9 * is_noisy) * rng.normal(size=3000)
    frame.astype({"kind": "category"}).to_parquet("made.parquet")
    assert flow("train", "--data=made.parquet", "--rounds=20", "--figures=false")[0] == 0
    registry.register(newest(store))
    model = registry.load("models:/asrl-made/1")
    given = {"interval": 0.9, "adaptive": True, "clean": True}
    found = model.predict(frame, params=given)
    half = ((found["upper"] - found["lower"]) / 2).to_numpy()
    assert 4 < np.median(half[is_noisy]) / np.median(half[~is_noisy]) < 20
    inside = frame["y"].between(found["lower"], found["upper"])
    for part in (is_noisy, ~is_noisy):
        assert 0.8 < inside[part].mean() < 0.98
    command = (
        "predict",
        "--model-uri=models:/asrl-made/1",
        "--data=made.parquet",
        "--out=out.parquet",
    )
    assert flow(*command, "--interval=0.9", "--adaptive=true", "--clean=true")[0] == 0
    assert pd.read_parquet("out.parquet")["upper"].to_numpy() == pytest.approx(found["upper"])
    code, _, err = flow(*command, "--adaptive=true")
    assert (code, "Adaptive intervals need a level" in err) == (2, True)


def test_without_rows_to_calibrate_by_there_are_no_intervals(flow, store, features):
    assert flow("train", "--rounds=20", "--early-stopping-rounds=5", "--figures=false")[0] == 0
    registry.register(newest(store))
    model = registry.load("models:/asrl-diabetes/1")
    with pytest.raises(MlflowException, match="rows that training did not see"):
        model.predict(load().rows.features, params={"interval": 0.9})
    with pytest.raises(MlflowException, match="learned the spread of its residuals"):
        model.predict(load().rows.features, params={"interval": 0.9, "adaptive": True})


@pytest.mark.parametrize("kind", ["none", "asym"])
def test_intervals_cover_clean_targets_as_often_as_they_say(kind):
    found = []
    for seed in range(8):
        parts = prepare_split(load(), seed, Contamination(kind, 0.2))
        known = join(parts.train, parts.valid)
        loss, params = ContinuousASRL(0.7, 0.75), {"max_depth": 3, "nthread": 1, "seed": seed}
        residuals = np.sort(np.abs(predict_out_of_fold(loss, params, 20, known, seed).residual))
        dtrain = xgboost.QuantileDMatrix(known.features, label=known.target)
        booster = train(params, dtrain, 20, loss=loss)
        off = np.abs(parts.test.target - booster.inplace_predict(parts.test.features))
        half = residuals[math.ceil((len(residuals) + 1) * 0.8) - 1]
        found.append((off <= half).mean())
    # 712 test rows: two standard errors are 0.03. Spoiled residuals widen them.
    assert np.mean(found) >= 0.77
    assert kind == "asym" or np.mean(found) <= 0.83


TABLES = {
    "csv": lambda frame, path: frame.to_csv(path, index=False),
    "parquet": lambda frame, path: frame.to_parquet(path),
}


@pytest.mark.parametrize("out", ["out.csv", "out.parquet"])
@pytest.mark.parametrize("kind", TABLES)
def test_a_table_is_predicted_in_its_order(model, flow, features, kind, out):
    TABLES[kind](features.assign(id=[f"r{row}" for row in range(400)]), f"in.{kind}")
    command = ["predict", f"--model-uri={URI}", f"--data=in.{kind}", f"--out={out}"]
    code, said, err = flow(*command, "--keep=id,town", "--interval=0.9")
    assert (code, err) == (0, "")
    assert said.splitlines()[-1] == f"400 rows predicted into {out}"
    # Not by pandas, whose older releases lose a number's last digit.
    found = pyarrow.csv.read_csv(out).to_pandas() if out.endswith("csv") else pd.read_parquet(out)
    assert list(found) == ["id", "town", "prediction", "lower", "upper"]
    assert list(found["id"]) == [f"r{row}" for row in range(400)]
    expected = model.predict(features, params={"interval": 0.9})
    assert np.array_equal(found["prediction"], expected["prediction"])
    assert np.array_equal(found["upper"], expected["upper"])
    assert [path.name for path in Path().glob("*unfinished*")] == []


def test_a_folder_is_predicted_with_one_type_a_column(model, flow, features):
    Path("folder").mkdir()
    features.head(200).to_parquet("folder/a.parquet")
    features.tail(200).astype({"rooms": float}).to_parquet("folder/b.parquet")
    assert flow("predict", f"--model-uri={URI}", "--data=folder", "--out=out.parquet")[0] == 0
    assert np.array_equal(pd.read_parquet("out.parquet")["prediction"], model.predict(features))


def test_a_large_table_comes_in_chunks_and_its_bad_row_is_named(model, flow, features):
    large = pd.concat([features] * 500, ignore_index=True)
    large.to_csv("large.csv", index=False)
    command = ["predict", f"--model-uri={URI}"]
    assert flow(*command, "--data=large.csv", "--out=large.parquet")[0] == 0
    found = pd.read_parquet("large.parquet")["prediction"].to_numpy()
    assert np.array_equal(found, np.tile(model.predict(features), 500))
    spoiled = large.astype({"size": object})
    spoiled.loc[190_000, "size"] = "secret"
    spoiled.to_csv("spoiled.csv", index=False)
    code, _, err = flow(*command, "--data=spoiled.csv")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "column 'size' must hold numbers; got 'secret' in row 190001" in err
    large["size"] = large["size"].mask(large.index == 190_000, np.inf)
    large.to_parquet("infinite.parquet")
    code, _, err = flow(*command, "--data=infinite.parquet")
    assert (code, "an infinite value in row 190001" in err) == (2, True)
    assert not Path("predictions.parquet").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--data=nothing.csv"], "got nothing.csv; check it"),
        (["--data=mixed.parquet", "--out=out.xlsx"], "ends in .csv or .parquet; got out.xlsx"),
        (["--data=mixed.parquet", "--out=mixed.parquet"], "needs a file of its own"),
        (["--data=mixed.parquet", "--out=no/out.csv"], "needs a folder that is there"),
        (["--data=mixed.parquet", "--keep=prize"], "got 'prize'; did you mean 'price'?"),
        (["--data=mixed.parquet", "--interval=1"], "--interval"),
        (["--data=narrow.csv"], "'rooms' is missing; it has 'size'"),
        (["--data=table.txt"], "needs a .csv or .parquet file"),
        (["--data=broken.parquet"], "broken.parquet: must be readable"),
        (["--data=folder"], "files of a folder need the same columns; got 'rooms' in only one"),
        (["--data=folder", "--out=folder/out.parquet"], "needs a place outside of the data"),
        (["--data=lists.parquet", "--keep=lists", "--out=out.csv"], "be writable to out.csv"),
        (["--data=empty.csv"], "got a table without any"),
        (["--data=predicted.csv", "--keep=prediction"], "has a column 'prediction' of its own"),
    ],
)
def test_predict_refuses_in_one_line_and_writes_nothing(model, flow, features, options, expected):
    features.drop(columns="rooms").to_csv("narrow.csv", index=False)
    Path("table.txt").write_text("a,b\n1,2\n")
    Path("broken.parquet").write_bytes(Path("mixed.parquet").read_bytes()[:2000])
    Path("folder").mkdir()
    features.to_parquet("folder/a.parquet")
    features.drop(columns="rooms").to_parquet("folder/b.parquet")
    features.assign(lists=[[1]] * 400).to_parquet("lists.parquet")
    features.head(0).to_csv("empty.csv", index=False)
    features.assign(prediction=0).to_csv("predicted.csv", index=False)
    before = Path("mixed.parquet").read_bytes()
    code, _, err = flow("predict", f"--model-uri={URI}", *options)
    assert (code, err.count("Traceback")) == (2, 0)
    assert expected in err.splitlines()[-1]
    assert not Path("predictions.parquet").exists()
    assert Path("mixed.parquet").read_bytes() == before
    assert not list(Path().glob("*unfinished*"))


def test_an_interrupted_prediction_leaves_the_old_result(model, features):
    large = pd.concat([features] * 4000, ignore_index=True)
    large.to_parquet("large.parquet")
    Path("out.csv").write_text("old")
    process = spawn(
        *("flows.predict", f"--model-uri={URI}", "--data=large.parquet", "--out=out.csv"),
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while not list(Path().glob(".out.csv*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    assert process.returncode == 143, err
    assert "nothing was written" in err
    assert Path("out.csv").read_text() == "old"
    assert not list(Path().glob(".out.csv*"))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_full_disk_ends_a_prediction_with_5_and_leaves_nothing_on_it(
    model, flow, features, small_disk, kind
):
    pd.concat([features] * 1000, ignore_index=True).to_parquet("large.parquet")
    fill(small_disk, 200)
    command = ["predict", f"--model-uri={URI}", "--data=large.parquet", "--interval=0.9"]
    code, _, err = flow(*command, f"--out={small_disk}/out.{kind}", "--keep=size")
    assert (code, len(err.splitlines()), err.count("Traceback")) == (5, 1, 0), err
    assert [path.name for path in small_disk.iterdir()] == ["other"]


def test_mlflow_predicts_from_the_command_line(model, features):
    records = json.loads(features.head(5).to_json(orient="split"))
    Path("in.json").write_text(json.dumps({"dataframe_split": records}))
    command = [sys.executable, "-m", "mlflow", "models", "predict", "-m", URI, "-i", "in.json"]
    options = ["-t", "json", "--env-manager", "local", "-o", "out.json"]
    guarded = env() | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    done = subprocess.run(
        [*command, *options], env=guarded, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(Path("out.json").read_text())["predictions"]
    assert np.array_equal(np.float32(found), model.predict(features.head(5)))


class Server:
    """A server in a process of its own, and what it answers."""

    def __init__(self, port, *command):
        self.port = port
        guarded = env() | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
        # On its PATH, so that MLflow finds the uvicorn beside this Python.
        guarded["PATH"] = f"{Path(sys.executable).parent}:{guarded['PATH']}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=guarded,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if self.ask("GET", "/ping")[0] == 200:
                    return
            except OSError:
                time.sleep(0.1)
        raise AssertionError(self.end())

    def ask(self, method, path, body=None, kind="application/json"):
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, {"Content-Type": kind})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def score(self, body, kind="application/json"):
        sent = body if isinstance(body, str | bytes) else json.dumps(body)
        return self.ask(
            "POST", "/invocations", sent.encode() if isinstance(sent, str) else sent, kind
        )

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.communicate(timeout=60)[1]


@pytest.fixture
def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture
def server(model, free_port):
    server = Server(free_port, "flows.serve", f"--model-uri={URI}", f"--port={free_port}")
    yield server
    if server.process.poll() is None:
        server.end()


def check_answers(server, model, features):
    few = features.head(7)
    expected = [float(each) for each in model.predict(few)]
    records = json.loads(few.to_json(orient="records"))
    split = json.loads(few.to_json(orient="split", index=False))
    columns = {name: [row[name] for row in records] for name in records[0]}
    for body in (
        {"dataframe_records": records},
        {"dataframe_split": split},
        {"instances": records},
        {"inputs": columns},
    ):
        status, text = server.score(body)
        assert status == 200, (body.keys(), text)
        assert json.loads(text)["predictions"] == expected, body.keys()
    status, text = server.score({"dataframe_records": records, "params": {"interval": 0.9}})
    assert status == 200, text
    rows = json.loads(text)["predictions"]
    assert [row["prediction"] for row in rows] == expected
    assert all(row["lower"] < row["prediction"] < row["upper"] for row in rows)
    status, text = server.score(few.to_csv(index=False), "text/csv")
    assert status == 200, text
    assert json.loads(text)["predictions"] == expected


def test_mlflow_serves_it(model, features, free_port):
    command = ["mlflow", "models", "serve", "-m", URI, "-p", str(free_port)]
    server = Server(free_port, *command, "--env-manager", "local")
    try:
        check_answers(server, model, features)
    finally:
        os.killpg(server.process.pid, signal.SIGTERM)
        server.process.communicate(timeout=60)


def check_large_bodies(server):
    """They are refused unread, and forgotten where they come all the same."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.putrequest("POST", "/invocations")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(100_000_000))
    connection.endheaders()
    # Not a byte of it was sent.
    answer = connection.getresponse()
    assert (answer.status, len(answer.read()) < 200) == (413, True)
    connection.close()
    assert server.score(b"x" * 100_000_000)[0] == 413


def test_the_server_answers_well_or_in_one_short_line(server, model, features):
    check_answers(server, model, features)
    good = json.loads(features.head(1).to_json(orient="records"))[0]

    def row(**changes):
        return {"dataframe_records": [{**good, **changes}]}

    bodies = {
        "malformed": '{"dataframe_records": [{"secret',
        "empty": "",
        "a list": "[1, 2]",
        "no rows": {"dataframe_records": []},
        "nothing known": {"secret": 1},
        "nested deeply": "[" * 100_000,
        "nested cell": row(size=json.loads("[" * 500 + "]" * 500)),
        "a missing column": {"dataframe_records": [{"size": 1.0}]},
        "text": row(size="secret"),
        "an infinite value": json.dumps(row(size=0)).replace('"size": 0', '"size": 1e999'),
        "a huge integer": json.dumps(row(size=0)).replace('"size": 0', '"size": ' + "9" * 5000),
        "a huge cell": row(size="secret" * 1_700_000),
        "an unknown category": row(town="secret"),
        "a bad level": {**row(), "params": {"interval": 2}},
        "no level": {**row(), "params": {"interval": "secret"}},
        "a level as text": {**row(), "params": {"interval": "0.9"}},
        "a misspelt param": {**row(), "params": {"secret": 0.9}},
        "a header alone": "size,rooms,new,town,zone",
        "params of another kind": {**row(), "params": ["secret"]},
        "bytes": b"\xff\xfe\x00secret",
        "a broken mark": '{"a": "\nError: Model input: secret',
    }
    for name, body in bodies.items():
        status, text = server.score(body, "text/csv" if "header" in name else "application/json")
        assert 400 <= status < 500, (name, status, text)
        assert set(json.loads(text)) == {"error"}, name
        assert len(text) < 4096, name
        for shown in ("secret", "/", "Traceback", ".py"):
            assert shown not in text.replace("application/json", "").replace("/invocations", ""), (
                name,
                text,
            )
    assert "'town' must be categories" in server.score(bodies["an unknown category"])[1]
    assert "needs the columns 'rooms', 'new', 'town'" in server.score(bodies["a missing column"])[1]
    for body, kind in ((b"x", "text/plain"), (b"a,b\n1", "text/csv"), (b"PAR1", "application/x")):
        status, text = server.score(body, kind)
        assert 400 <= status < 500, text
        assert len(text) < 4096
    # A few kilobytes of Parquet can unfold to gigabytes.
    features.to_parquet("in.parquet")
    kind = "application/vnd.apache.parquet"
    assert server.score(Path("in.parquet").read_bytes(), kind)[0] == 415
    assert server.ask("POST", "/invocations?interval=0.9", json.dumps(row()))[0] == 400
    for path in ("/secret", "/docs", "/openapi.json", "/ping/"):
        assert server.ask("GET", path)[0] == 404, path
    assert server.ask("GET", "/invocations")[0] == 405
    check_large_bodies(server)
    assert server.score(row())[0] == 200, "and goes on"


def wide(count, form):
    """A body of one row with very many columns."""
    names = [f"c{each}" for each in range(count)]
    if form == "csv":
        return ",".join(names) + "\n" + ",".join("1" for _ in names), "text/csv"
    if form == "csv, one name":
        return "a," * count + "\n" + "1," * count, "text/csv"
    if form == "csv, broken names":
        return '"\n",' * count + "\n1", "text/csv"
    if form == "csv, no names":
        return "\n \na\n" + "1," * count, "text/csv"
    if form == "csv, cells left out":
        return ",".join(names[:900]) + "\n" + "1\n" * count, "text/csv"
    row = dict.fromkeys(names, 1)
    bodies = {
        "records": {"dataframe_records": [row]},
        "records, each another": {"dataframe_records": [{name: 1} for name in names]},
        "records, cells left out": {
            "dataframe_records": [dict.fromkeys(names[:900]), *[{}] * count]
        },
        "split": {"dataframe_split": {"columns": names, "data": [[1] * count]}},
        "split, rows without cells": {
            "dataframe_split": {"columns": names[:900], "index": names, "data": []}
        },
        "inputs": {"inputs": {name: [1] for name in names}},
        "instances": {"instances": [[1] * count]},
        "a prompt": {"prompt": 1, **row},
    }
    return json.dumps(bodies[form]), "application/json"


WIDE = (
    *("csv", "csv, one name", "csv, broken names", "csv, no names", "csv, cells left out"),
    *("records", "records, each another", "records, cells left out"),
    *("split", "split, rows without cells", "inputs", "instances", "a prompt"),
)


def hostile_bodies(good):
    """Thirty bodies that are no table, or one that takes far more room than its bytes."""
    odd = json.dumps({"dataframe_records": [{**good, "size": 0}]})
    cell = json.dumps({"dataframe_records": [{**good, "size": "x" * 10_000_000}]})
    fine = [wide(1_500_000 if "csv" in form else 300_000, form) for form in WIDE]
    plain = [
        *('{"dataframe_records": [{', "", "[1, 2]", "[" * 100_000, cell, "x" * 15_000_000),
        *(odd.replace('"size": 0', f'"size": {each}') for each in ("1e999", "9" * 5000, "[[]]")),
        *(
            json.dumps({"dataframe_records": [{**good, "town": "x"}], "params": each})
            for each in ([1], 2)
        ),
        *("{" * 1_000_000, '{"a":' * 1_000_000, json.dumps({"instances": [[]] * 1_000_000}), cell),
    ]
    return [
        *fine,
        *((each, "application/json") for each in plain),
        ("size,rooms", "text/csv"),
        fine[0],
    ]


def memory(process):
    """Resident kilobytes."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_hostile_bodies_are_refused_soon_leave_no_memory_and_fail_no_good_client(server, features):
    good = json.loads(features.head(1).to_json(orient="records"))[0]
    rows = json.dumps({"dataframe_records": [good] * 100})
    for _ in range(30):
        assert server.score(rows)[0] == 200
    before, seconds, statuses, ended = memory(server.process), [], [], threading.Event()

    def ask_well():
        while not ended.is_set():
            statuses.append(server.score(rows)[0])

    with ThreadPoolExecutor(3) as pool, contextlib.ExitStack() as idle:
        for _ in range(100):
            idle.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        clients = [pool.submit(ask_well) for _ in range(3)]
        for body, kind in hostile_bodies(good):
            began = time.monotonic()
            status, text = server.score(body, kind)
            seconds.append(time.monotonic() - began)
            assert 400 <= status < 500, (status, text[:200], body[:40])
            assert len(text) < 1000
        ended.set()
        for client in clients:
            client.result()
    assert set(statuses) == {200}
    assert len(seconds) == 30
    assert min(seconds[0], seconds[-1]) < 2, "of the CSV of very many columns"
    # It is given back a second later.
    deadline = time.monotonic() + 10
    while memory(server.process) > 1.3 * before and time.monotonic() < deadline:
        time.sleep(0.2)
    assert memory(server.process) <= 1.3 * before


@pytest.mark.parametrize("form", WIDE)
def test_a_table_far_larger_than_its_body_is_refused_before_it_is_made(form):
    body, kind = wide(20_000, form)
    began = time.process_time()
    with pytest.raises(InputError, match=r"^Body: ") as refused:
        bodies.check_body(body.encode(), is_csv=kind == "text/csv", known=5)
    assert time.process_time() - began < 2
    assert "c1" not in str(refused.value)


@contextlib.contextmanager
def listening(app, port):
    """Uvicorn in this process, with our connections."""
    config = uvicorn.Config(app, port=port, http=connections.Connection, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield
    server.should_exit = True
    thread.join(30)
    assert not thread.is_alive()


async def no_app(*_):
    raise AssertionError


def test_who_sends_a_byte_now_and_then_is_answered_and_who_sends_nothing_is_cut_off(
    free_port, monkeypatch
):
    monkeypatch.setattr(server_file, "_SECONDS_TO_WAIT", 0.5)
    monkeypatch.setattr(connections, "_SECONDS_TO_ASK", 0.5)
    head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
    with (
        listening(server_file.LimitingApp(no_app, 1 << 20, 5), free_port),
        contextlib.ExitStack() as clients,
    ):
        slow, mute, unfinished = (
            clients.enter_context(socket.create_connection(("127.0.0.1", free_port), 30))
            for _ in range(3)
        )
        slow.sendall(head + b"\r\n")
        unfinished.sendall(head)
        slow.settimeout(0.1)
        answer, deadline = b"", time.monotonic() + 20
        while b"long pauses" not in answer and time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError, OSError):
                slow.sendall(b"x")
                answer += slow.recv(10_000)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert mute.recv(1) == b""
        with contextlib.suppress(ConnectionResetError):
            assert unfinished.recv(1) == b""


def test_large_tables_that_the_model_knows_are_answered(server, features):
    row = json.loads(features.head(1).to_json(orient="records"))[0]
    wide_row = {**row, **{f"more{each}": 1 for each in range(900)}}
    for body, kind, count in (
        ({"dataframe_records": [wide_row] * 20}, "application/json", 20),
        ({"dataframe_records": [row] * 50_000}, "application/json", 50_000),
        (pd.concat([features] * 500).to_csv(index=False), "text/csv", 200_000),
        (
            {"inputs": {name: [value] * 50_000 for name, value in row.items()}},
            "application/json",
            50_000,
        ),
    ):
        status, text = server.score(body, kind)
        assert status == 200, text[:200]
        assert len(json.loads(text)["predictions"]) == count


def test_a_second_signal_leaves_no_traceback(server):
    # A client in the middle of its body, so that the server is still ending when the second one comes.
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.putrequest("POST", "/invocations")
    connection.putheader("Content-Length", "100")
    connection.endheaders(b"{")
    time.sleep(0.3)
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    err = server.end(signal.SIGINT)
    connection.close()
    assert server.process.returncode in {130, 143}
    assert "Traceback" not in err


def test_what_was_accepted_is_answered_when_a_signal_ends_the_server(server, features):
    records = json.loads(features.to_json(orient="records")) * 20
    body = json.dumps({"dataframe_records": records})
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(server.score, body) for _ in range(6)]
        time.sleep(0.4)
        err = server.end()
        answered = []
        for each in asked:
            try:
                answered.append(each.result())
            except OSError:
                # It came after the signal and was not accepted.
                continue
    assert server.process.returncode == 143, err
    assert "Interrupted by SIGTERM; what was accepted has been answered" in err
    assert answered
    assert all(
        (status, len(json.loads(text)["predictions"])) == (200, 8000) for status, text in answered
    )


def test_a_client_that_stops_in_the_middle_does_not_keep_the_server(model, free_port):
    server = Server(free_port, "flows.serve", f"--model-uri={URI}", f"--port={free_port}")
    connection = HTTPConnection("127.0.0.1", free_port, timeout=60)
    connection.putrequest("POST", "/invocations")
    connection.putheader("Content-Length", "1000")
    connection.endheaders(b"x")
    time.sleep(0.5)
    began = time.monotonic()
    err = server.end()
    connection.close()
    assert server.process.returncode == 143
    assert time.monotonic() - began < 10
    assert "Traceback" not in err


def test_a_port_in_use_is_one_line(model, flow):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = f"--port={taken.getsockname()[1]}"
        code, out, err = flow("serve", f"--model-uri={URI}", port)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "serve needs an address of its own" in err


def test_serve_refuses_a_tampered_model(model, flow, store):
    source = store.get_model_version("asrl-mixed", "1").source.removeprefix("models:/")
    code = Path(store.get_logged_model(source).artifact_location) / "model.py"
    code.write_text("open('executed', 'w')")
    code, _, err = flow("serve", f"--model-uri={URI}")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "'model.py' changed" in err
    assert not Path("executed").exists()


def test_the_server_knows_the_model_files_errors_by_the_same_words():
    # The model file cannot be imported here: that would set it as the model to log.
    text = Path(server_file.__file__).with_name("model.py").read_text()
    assert f'\nERROR_PREFIX = "{server_file.ERROR_PREFIX}"\n' in text
