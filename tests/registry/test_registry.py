"""The registry: a version knows its loss, and nothing of it is run that was not registered."""

from __future__ import annotations

import json
import pickletools
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import xgboost
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

import asrl_mlflow
from asrl_mlflow import losses, registry
from asrl_mlflow.datasets.dataset import load
from asrl_mlflow.errors import InputError, StoreError
from asrl_mlflow.records.unseen import UnseenResiduals, measure_unseen
from asrl_mlflow.registry import promotion
from asrl_mlflow.registry.promotion import compare_residuals, promote
from asrl_mlflow.residuals.conformal import Calibration
from tests.conftest import fill
from tests.every_loss import EVERY_LOSS
from tests.processes import ROOT, env
from tests.stores import newest

QUICK = ["--rounds=8", "--figures=false"]
NAME = "asrl-diabetes"
CHAMPION = f"models:/{NAME}@champion"


@pytest.fixture
def train(flow, store):
    """Train a run as a user does; gives its id."""

    def call(*options):
        code, _, err = flow("train", *QUICK, *options)
        assert code == 0, err
        return newest(store)

    return call


def holder(store, alias="champion"):
    """The number of the version that has an alias."""
    return str(store.get_model_version_by_alias(NAME, alias).version)


def files_of(store, version="1", name=NAME):
    """The folder of a version's model, as this host has it."""
    source = store.get_model_version(name, version).source
    return Path(store.get_logged_model(source.removeprefix("models:/")).artifact_location)


@pytest.mark.parametrize("module", ["asrl_mlflow.registry", "flows.serve", "flows.predict"])
def test_whoever_only_uses_a_model_loads_neither_pictures_nor_tuning(module):
    check = f"import sys, {module}; print({{'matplotlib', 'optuna'}} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", check],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("loss", EVERY_LOSS[::2], ids=str)
def test_every_place_has_the_same_record(train, store, loss):
    params = ",".join(f"{key}={value}" for key, value in vars(loss).items())
    run_id = train(f"--loss={loss.name}", f"--loss-params={params}")
    version = registry.register(run_id)
    record = json.loads(version.record.to_json())
    assert record["loss"] == losses.to_config(loss)
    assert record["schema"] == 1
    assert record["data"]["digest"] == load().digest
    tags = store.get_model_version(NAME, "1").tags
    model = store.get_logged_model(store.get_model_version(NAME, "1").source[len("models:/") :])
    assert json.loads(tags["asrl.record"]) == record
    assert registry.find(version.uri).record == version.record
    flat = version.record.tags()
    assert flat.items() <= tags.items()
    assert flat.items() <= model.tags.items()
    assert len(flat) == 6
    assert model.params == version.record.params()
    measured = {(each.key, each.dataset_name): each.value for each in model.metrics}
    assert measured == {
        (f"test.{key}", record["data"]["name"]): value for key, value in record["metrics"].items()
    }
    found = mlflow.search_logged_models(
        filter_string=f"metrics.`test.mae` <= {record['metrics']['mae']}", output_format="list"
    )
    assert model.model_id in [each.model_id for each in found]
    assert "champion" in store.get_registered_model(NAME).description
    text = store.get_model_version(NAME, version.version).description
    assert f"--run-id={run_id}" in text
    assert f"--model-uri={version.uri}" in text
    assert mlflow.models.get_model_info(version.uri).metadata["asrl"] == record
    for content in (
        mlflow.artifacts.load_text(f"runs:/{run_id}/loss.json"),
        (files_of(store) / "artifacts/loss.json").read_text(),
    ):
        assert json.loads(content) == record
    assert json.loads(registry.load_booster(version.uri).attr("asrl_loss")) == record["loss"]
    run = store.get_run(run_id).data
    assert run.params["loss.name"] == loss.name
    assert {key: run.params[f"loss.{key}"] for key in vars(loss)} == {
        key: str(value) for key, value in vars(loss).items()
    }
    assert record["metrics"] == {
        key[len("test.") :]: value for key, value in run.metrics.items() if key.startswith("test.")
    }
    found = store.search_model_versions(f"tags.`asrl.loss` = '{loss.name}'")
    assert [each.version for each in found] == [store.get_model_version(NAME, "1").version]


def test_a_version_with_a_signature_is_made_on_request_and_once(flow, train, store, tmp_path):
    table = load().rows.features.assign(y=load().rows.target)
    whole = table.round(2).assign(
        sex=pd.Categorical(np.where(table.sex > 0, "a", "b")), age=(table.age * 1e3).astype(int)
    )
    whole.to_parquet("whole.parquet", index=False)
    run_id = train("--data=whole.parquet", "--target=y")
    plain = registry.register(run_id, NAME)
    for _ in range(2):
        code, out, err = flow(
            "register", f"--run-id={run_id}", f"--registered-model={NAME}", "--signature=true",
            "--alias=challenger",
        )  # fmt: skip
        assert code == 0, err
    typed = f"models:/{NAME}/2"
    assert typed in out
    assert "was registered already" in out
    assert len(store.search_model_versions(f"name = '{NAME}'")) == 2
    inputs = {each.name: each.type.name for each in registry.load(typed).metadata.signature.inputs}
    assert inputs["bmi"] == inputs["age"] == "double"
    assert inputs["sex"] == "string"
    assert registry.load(plain.uri).metadata.signature.inputs is None
    # Whoever asks for none takes what there is.
    assert registry.register(run_id, NAME).uri == plain.uri
    # MLflow's types refuse whole numbers; what this package predicts goes around them.
    with pytest.raises(MlflowException, match="Can not safely convert"):
        registry.load(typed).predict(whole)
    assert (
        flow("predict", f"--model-uri={typed}", "--data=whole.parquet", "--out=typed.csv")[0] == 0
    )
    assert (
        flow("predict", f"--model-uri={plain.uri}", "--data=whole.parquet", "--out=plain.csv")[0]
        == 0
    )
    assert Path("typed.csv").read_text() == Path("plain.csv").read_text()
    booster = mlflow.xgboost.load_model(typed)
    assert bytes(booster.save_raw("ubj")) == bytes(registry.load_booster(typed).save_raw("ubj"))


def test_what_python_compiled_where_mlflow_loaded_a_version_is_neither_refused_nor_run(
    train, store
):
    version = registry.register(train())
    code = f"import mlflow; mlflow.pyfunc.load_model({version.uri!r})"
    there = env()
    there.pop("PYTHONDONTWRITEBYTECODE", None)
    subprocess.run([sys.executable, "-c", code], env=there, check=True, capture_output=True)
    (compiled,) = files_of(store).rglob("*.pyc")
    expected = registry.load(version.uri).predict(load().rows.features)
    # The header that says which source it is of stays; what would be run does not.
    compiled.write_bytes(compiled.read_bytes()[:16] + b"nothing that can be run")
    assert (registry.load(version.uri).predict(load().rows.features) == expected).all()


def test_a_model_has_no_pickle_and_no_path_of_where_it_was_made(train, store, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    version = registry.register(train())
    with np.load(files_of(store) / "artifacts/unseen.npz", allow_pickle=False) as arrays:
        # Errors and ratios, what is an outlier and what is above, bytes of XGBoost's, a digest.
        assert {arrays[name].dtype.kind for name in arrays} <= {"f", "b", "u", "U"}
    for path in files_of(store).rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not content.startswith(b"\x80"), path
            assert path.suffix not in (".pkl", ".pickle", ".joblib", ".cloudpickle")
            with pytest.raises((ValueError, IndexError, UnicodeDecodeError)):
                list(pickletools.genops(content))
    assert str(Path.cwd()) not in (files_of(store) / "MLmodel").read_text()
    assert str(ROOT) not in (files_of(store) / "MLmodel").read_text()
    assert len(registry.load(version.uri).predict(load().rows.features)) == 442
    plain = mlflow.pyfunc.load_model(version.uri)
    assert plain.metadata.metadata["asrl"]["loss"]["name"] == "asrl_c"


def test_no_file_of_the_working_folder_gets_into_a_model(train, store):
    run_id = train()
    mine = (
        "uv.lock",
        "pyproject.toml",
        ".python-version",
        "requirements.txt",
        "conda.yaml",
        "model.py",
    )
    for name in (*mine, ".env", "code/mine.py", "artifacts/mine.txt"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("# of the working folder")
    registry.register(run_id)
    files = [path for path in files_of(store).rglob("*") if path.is_file()]
    assert {path.name for path in files} == {
        *("MLmodel", "model.py", "conda.yaml", "python_env.yaml", "requirements.txt"),
        *("input_example.json", "serving_input_example.json"),
        *("booster.ubj", "loss.json", "features.json", "unseen.npz"),
    }
    assert not [path for path in files if b"of the working folder" in path.read_bytes()]


def test_the_same_run_has_one_version(train, store):
    run_id = train()
    first, second = (registry.register(run_id) for _ in range(2))
    assert (first.is_new, second.is_new) == (True, False)
    assert first.uri == second.uri == f"models:/{NAME}/1"
    assert holder(store, "challenger") == "1"
    other = registry.register(run_id, "another")
    assert other.uri == "models:/another/1"
    (model,) = store.search_logged_models([store.get_run(run_id).info.experiment_id])
    linked = json.loads(model.tags["mlflow.modelVersions"])
    assert [each["name"] for each in linked] == [NAME, "another"], "one model, two versions of it"


def test_those_that_register_and_promote_at_once_agree_and_none_fails(train, store):
    run_id = train()
    with ThreadPoolExecutor(3) as pool:
        versions = list(pool.map(lambda _: registry.register(run_id), range(3)))
        promoted = list(pool.map(lambda version: promote(version, "champion"), versions))
    assert len({version.uri for version in versions}) == 1
    assert len(store.search_model_versions(f"name = '{NAME}'")) == 1
    assert all(each.promoted for each in promoted)
    assert registry.load(CHAMPION)


def altered(content):
    return content[:-1] + bytes([content[-1] ^ 1])


TAMPERED = {
    "a byte of the booster": ("artifacts/booster.ubj", altered),
    "a booster cut short": ("artifacts/booster.ubj", lambda content: content[:100]),
    "an empty booster": ("artifacts/booster.ubj", lambda _: b""),
    "another loader": (
        "MLmodel",
        lambda content: content.replace(b"mlflow.pyfunc.loaders.code_model", b"os"),
    ),
    "other code": ("model.py", lambda content: b"open('executed', 'w')\n" + content),
    "another loss": ("artifacts/loss.json", lambda content: content.replace(b"asrl_c", b"huber")),
    "other residuals": ("artifacts/unseen.npz", altered),
    "other requirements": ("requirements.txt", lambda content: content + b"evil\n"),
    "a file in code/": ("code/evil.py", lambda _: b"open('executed', 'w')"),
    "a planted pickle": ("python_model.pkl", lambda _: b"\x80\x04cposix\nsystem\n"),
    "a missing booster": ("artifacts/booster.ubj", None),
    "no MLmodel": ("MLmodel", None),
}


@pytest.mark.parametrize("case", TAMPERED)
def test_a_file_that_is_not_as_registered_is_named_and_nothing_is_run(train, store, case):
    version = registry.register(train())
    name, change = TAMPERED[case]
    path = files_of(store) / name
    if change is None:
        path.unlink()
    else:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(change(path.read_bytes() if path.exists() else b""))
    for opened in (
        registry.load,
        registry.load_booster,
        registry.load_columns,
        registry.load_unseen_residuals,
    ):
        with pytest.raises(InputError, match="files must be those that were registered") as refused:
            opened(version.uri)
        assert repr(name) in str(refused.value)
        assert "\n" not in str(refused.value)
    assert not Path("executed").exists()


def test_a_run_whose_model_was_tampered_with_can_be_registered_anew(train, store):
    run_id = train()
    registry.register(run_id)
    (files_of(store) / "model.py").write_text("open('executed', 'w')")
    again = registry.register(run_id)
    assert (again.version, again.is_new) == ("2", True)
    assert holder(store, "challenger") == "2"
    assert len(registry.load(again.uri).predict(load().rows.features)) == 442
    assert not Path("executed").exists()


def test_a_record_that_was_changed_in_its_tag_is_refused(train, store):
    version = registry.register(train())
    tag = json.loads(store.get_model_version(NAME, "1").tags["asrl.record"])
    tag["loss"]["params"]["q_low"] = 0.1
    store.set_model_version_tag(NAME, "1", "asrl.record", json.dumps(tag))
    with pytest.raises(InputError, match="must be that of its files"):
        registry.load_booster(version.uri)


def test_a_link_in_place_of_a_file_is_refused(train, store):
    version = registry.register(train())
    booster = files_of(store) / "artifacts/booster.ubj"
    booster.rename("elsewhere")
    booster.symlink_to(Path("elsewhere").absolute())
    with pytest.raises(InputError, match="its files must be where they were put"):
        registry.load_booster(version.uri)


def test_the_commands_refuse_a_tampered_model(train, flow, store):
    registry.register(train())
    (files_of(store) / "model.py").write_text("open('executed', 'w')")
    load().rows.features.to_csv("in.csv", index=False)
    uri = f"--model-uri=models:/{NAME}/1"
    for name, options in (
        ("predict", ["--data=in.csv"]),
        ("train", QUICK),
    ):
        code, _, err = flow(name, uri, *options)
        assert (code, err.count("Traceback"), len(err.splitlines())) == (2, 0, 1), err
        assert f"{name}: models:/{NAME}/1: its files must be those that were registered" in err
    store.set_registered_model_alias(NAME, "champion", "1")
    other = ["register", f"--run-id={train('--rounds=30')}"]
    code, _, err = flow(*other)
    assert (code, err.count("Traceback")) == (2, 0)
    assert "'model.py' changed" in err
    assert "--force=true" in err
    assert flow(*other, "--force=true")[0] == 0
    assert not Path("executed").exists()
    assert not Path("predictions.parquet").exists()


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("models:/nothing@champion", "needs a version in this tracking store"),
        ("models:/nothing/1", "needs a version in this tracking store"),
        ("models:/nothing", "models:/name@alias or models:/name/version"),
        ("models:/a/Production", "models:/name@alias or models:/name/version"),
        ("runs:/0/model", "models:/name@alias or models:/name/version"),
        ("", "models:/name@alias or models:/name/version"),
    ],
)
def test_a_model_that_is_not_there_is_one_line(store, uri, expected):
    with pytest.raises(InputError, match=expected):
        registry.load(uri)


def test_a_misspelt_model_is_told_which_models_and_aliases_there_are(store):
    with pytest.raises(InputError, match="it has no registered models; register a run"):
        registry.find("models:/asrl-mine@champion")
    for name in ("asrl-mine", "other"):
        store.create_registered_model(name)
    with pytest.raises(InputError, match=r"did you mean 'asrl-mine'.*'asrl-mine', 'other'"):
        registry.find("models:/asrl-mien@champion")
    Path("model").mkdir()
    store.create_model_version("asrl-mine", str(Path("model").absolute()))
    store.set_registered_model_alias("asrl-mine", "shadow", "1")
    with pytest.raises(InputError, match="asrl-mine has the aliases 'shadow'"):
        registry.find("models:/asrl-mine@champion")
    with pytest.raises(InputError, match="other has no alias"):
        registry.find("models:/other/7")


def test_a_version_of_others_is_not_loaded(store):
    store.create_registered_model("theirs")
    Path("model").mkdir()
    store.create_model_version("theirs", str(Path("model").absolute()))
    with pytest.raises(InputError, match="must have been registered by asrl_mlflow"):
        registry.load("models:/theirs/1")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], "either a --run-id or a --study; got none"),
        (["--run-id=1", "--study=s"], "either a --run-id or a --study; got both"),
        (["--run-id=nothing"], "got run 'nothing', without all of booster.ubj"),
        (["--run-id=1", "--alias=latest"], "An alias needs a name that MLflow takes; got 'latest'"),
        (["--run-id=1", "--alias=v1"], "An alias needs a name that MLflow takes; got 'v1'"),
        (["--run-id=1", "--alias=a b"], "An alias needs a name that MLflow takes; got 'a b'"),
        (["--study=it's"], 'got "it\'s"'),
        (["--study=nothing"], "needs a study that has ended in this tracking store; got 'nothing'"),
    ],
)
def test_register_refuses_in_one_line(flow, store, options, expected):
    code, _, err = flow("register", *options)
    assert (code, err.count("Traceback")) == (2, 0)
    assert expected in err.splitlines()[-1]


def test_a_name_that_mlflow_refuses_is_one_line(train, flow, store):
    run_id = train()
    code, _, err = flow("register", f"--run-id={run_id}", "--registered-model=a/b")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "needs a name that MLflow takes; got 'a/b'" in err
    assert flow("main", "--registered-model=a/b")[0] == 2, "before anything is trained"
    for _ in range(2):
        assert flow("register", f"--run-id={run_id}", "--registered-model=o'brien's best")[0] == 0
    assert registry.find("models:/o'brien's best@champion").version == "1"


def test_a_study_is_registered_and_its_next_best_becomes_a_version_of_its_own(flow, store):
    tune = ["tune", "--rounds=6", "--jobs=1", "--figures=false", "--study=s", "--storage=journal:j"]
    assert flow(*tune, "--trials=1")[0] == 0
    for _ in range(2):
        code, out, _ = flow("register", "--study=s")
        assert code == 0
    assert f"models:/{NAME}/1: was registered already" in out
    first = registry.find(f"models:/{NAME}/1")
    parent = store.get_run(first.run_id)
    assert json.loads(parent.data.tags["asrl.best"])["loss"] == first.record.loss
    assert parent.data.metrics["test.mae"] == first.record.metrics["mae"]
    assert flow(*tune, "--trials=6")[0] == 0
    assert flow("register", "--study=s")[0] == 0
    versions = store.search_model_versions(f"name = '{NAME}'")
    best = json.loads(store.get_run(first.run_id).data.tags["asrl.best"])["loss"]
    assert len(versions) == (1 if best == first.record.loss else 2)
    assert registry.find(f"models:/{NAME}@challenger").record.loss == best


def test_the_champion_changes_only_for_a_better_one(train, flow, store):
    runs = [
        train("--loss=squared_error", "--rounds=1"),
        train("--loss=squared_error", "--rounds=60"),
        train("--loss=squared_error", "--rounds=2"),
    ]
    said = [flow("register", f"--run-id={run_id}")[1] for run_id in runs]
    assert "champion: version 1\n" in said[0]
    assert "champion: version 2 over version 1: MAE -" in said[1]
    assert "on the same 89 rows" in said[1]
    assert "champion: stays version 2; version 3 is worse: MAE +" in said[2]
    assert holder(store) == "2"
    assert "asrl.forced" not in store.get_model_version(NAME, "3").tags
    code, out, _ = flow("register", f"--run-id={runs[2]}", "--force=true")
    assert (code, "champion: version 3 over version 2, forced\n" in out) == (0, True)
    assert store.get_model_version(NAME, "3").tags["asrl.forced"] == "champion"
    assert holder(store) == "3"
    assert len(store.search_model_versions(f"name = '{NAME}'")) == 3


def test_other_test_rows_need_rows_to_compare_on(train, flow, store):
    first, second = train("--seed=0", "--rounds=1"), train("--seed=1", "--rounds=50")
    assert flow("register", f"--run-id={first}")[0] == 0
    code, _, err = flow("register", f"--run-id={second}")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "a promotion compares on the same test rows" in err
    table = load()
    frame = table.rows.features.assign(disease_progression=table.rows.target)
    frame.to_csv("same.csv", index=False)
    code, _, err = flow("register", f"--run-id={second}", "--test=same.csv")
    assert (code, "got a table that one learned from" in err) == (2, True)
    frame.head(400).to_csv("new.csv", index=False)
    code, out, _ = flow("register", f"--run-id={second}", "--test=new.csv")
    assert (code, "over version 1: MAE -" in out) == (0, True)
    assert "on the same 400 rows" in out
    narrow = table.rows.features.drop(columns="bmi").assign(disease_progression=table.rows.target)
    narrow.to_csv("narrow.csv", index=False)
    third = train("--seed=2", "--rounds=2")
    code, _, err = flow("register", f"--run-id={third}", "--test=narrow.csv")
    assert (code, err.count("Traceback")) == (2, 0)
    assert "needs the column 'bmi'" in err


def test_an_alias_of_ones_own_can_be_asked_for(train, flow, store):
    run_id = train()
    assert flow("register", f"--run-id={run_id}", "--alias=challenger")[0] == 0
    assert set(store.get_registered_model(NAME).aliases) == {"challenger"}
    assert flow("register", f"--run-id={run_id}", "--alias=shadow")[0] == 0
    assert set(store.get_registered_model(NAME).aliases) == {"challenger", "shadow"}


@pytest.mark.parametrize("better_first", [True, False])
def test_of_promoters_at_once_the_better_one_wins_whoever_is_last(
    train, store, monkeypatch, better_first
):
    rounds = (1, 20, 5) if better_first else (1, 5, 20)
    runs = [train(f"--rounds={each}", "--loss=squared_error") for each in rounds]
    first, second, third = (registry.register(run_id) for run_id in runs)
    promote(first, "champion")
    inner = [second]
    compared = promotion._compare_versions

    def meanwhile(mine, theirs, **how):
        result = compared(mine, theirs, **how)
        if inner:
            # All of the second's promotion happens after the third has compared with the first.
            promote(inner.pop(), "champion")
        return result

    monkeypatch.setattr(promotion, "_compare_versions", meanwhile)
    promote(third, "champion")
    assert holder(store) == ("2" if better_first else "3")


def test_a_store_that_does_not_answer_is_not_an_alias_that_nobody_has(train, store, monkeypatch):
    promote(registry.register(train("--rounds=40")), "champion")
    worse = registry.register(train("--rounds=1"))

    def silent(*_):
        message = "503"
        raise MlflowException(message, error_code=TEMPORARILY_UNAVAILABLE)

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "get_model_version_by_alias", silent)
        with pytest.raises(StoreError, match="must answer"):
            promote(worse, "champion")
    assert holder(store) == "1"


class Killed(BaseException):
    """As a kill: no handler of ours catches it."""


STEPS = [
    "create_logged_model",
    "log_model_artifacts",
    "finalize_logged_model",
    "create_model_version",
    "set_registered_model_alias",
    "set_model_version_tag",
]


@pytest.mark.parametrize("step", STEPS)
def test_wherever_it_is_killed_the_champion_loads_and_the_same_command_goes_on(
    train, store, monkeypatch, step
):
    first, second = train("--rounds=1"), train("--rounds=40", "--loss=squared_error")
    promote(registry.register(first), "champion")

    def killed(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, step, killed)
        with pytest.raises(Killed):
            promote(registry.register(second), "champion")
    assert len(registry.load(CHAMPION).predict(load().rows.features)) == 442
    promote(registry.register(second), "champion")
    assert holder(store) == "2"
    assert len(store.search_model_versions(f"name = '{NAME}'")) == 2
    assert len(registry.load(CHAMPION).predict(load().rows.features)) == 442


def test_a_killed_command_leaves_no_half_model_once_it_is_called_again(train, flow, store):
    run_id = train()
    script = (
        "import os, mlflow\n"
        "mlflow.MlflowClient.finalize_logged_model = lambda *_: os._exit(9)\n"
        f"from asrl_mlflow import registry; registry.register({run_id!r})"
    )
    assert subprocess.run([sys.executable, "-c", script], env=env(), check=False).returncode == 9
    experiment = store.get_run(run_id).info.experiment_id
    assert [str(each.status) for each in store.search_logged_models([experiment])] == ["PENDING"]
    assert flow("register", f"--run-id={run_id}")[0] == 0
    assert [str(each.status) for each in store.search_logged_models([experiment])] == ["READY"]


# Of a booster of 137 KB; at the last there is room enough.
LEFT = (0, 1, 8, 12, 28, 36, 48, 128, 160, 200, 240, 320, 1000)


@pytest.mark.parametrize("full", ["where files are copied to", "where the store is"])
def test_wherever_a_disk_fills_up_register_says_so_and_goes_on_once_there_is_room(
    flow, store, small_disk, monkeypatch, full
):
    if full == "where the store is":
        shutil.copy("mlflow.db", small_disk)
        monkeypatch.chdir(small_disk)
        mlflow.set_tracking_uri(f"sqlite:///{small_disk}/mlflow.db")
        store = mlflow.MlflowClient()
    assert flow("train", *QUICK, "--rounds=1")[0] == 0
    assert flow("register", f"--run-id={newest(store)}")[0] == 0
    assert flow("train", *QUICK, "--rounds=40", "--loss=squared_error")[0] == 0
    second, ended = newest(store), []
    experiment = store.get_run(second).info.experiment_id
    for left in LEFT:
        with monkeypatch.context() as patch:
            if full == "where files are copied to":
                patch.setattr(tempfile, "tempdir", str(small_disk))
            fill(small_disk, left)
            code, _, err = flow("register", f"--run-id={second}")
        (small_disk / "other").unlink()
        ended.append(code)
        if not code:
            break
        assert (code, len(err.splitlines()), err.count("Traceback")) == (5, 1, 0), (left, err)
        assert "register: Storage must take what is written; got: " in err
        assert holder(store) == "1"
        assert [each.status for each in store.search_logged_models([experiment])] == ["READY"]
    assert len(ended) > 8
    assert ended[-1] == 0
    assert holder(store) == "2"
    assert len(store.search_model_versions(f"name = '{NAME}'")) == 2
    assert len(list(Path("mlruns").glob("*/models/*/artifacts"))) == 2, "no half model takes room"
    assert len(registry.load(CHAMPION).predict(load().rows.features)) == 442


def test_training_goes_on_with_the_loss_that_the_model_recorded(train, flow, store):
    registry.register(train("--loss-params=q_low=0.6,q_high=0.8"))
    uri = f"--model-uri=models:/{NAME}/1"
    run_id = train(uri)
    run = store.get_run(run_id)
    assert (run.data.params["loss.q_low"], run.data.tags["asrl.continued"]) == (
        "0.6",
        f"models:/{NAME}/1",
    )
    longer = registry.register(run_id)
    assert longer.record.rounds == 16
    code, _, err = flow("train", *QUICK, uri, "--loss=huber")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "goes on with the loss that it recorded, ContinuousASRL(q_low=0.6" in err
    code, _, err = flow("register", f"--run-id={run_id}")
    assert (code, "which neither has seen" in err) == (0, False), "the first champion beats nobody"
    other = train(uri, "--loss=huber", "--change-loss=true")
    code, _, err = flow("register", f"--run-id={other}")
    assert (code, "a promotion compares on the same test rows, which neither has seen" in err) == (
        2,
        True,
    )
    assert registry.register(other).record.loss["name"] == "huber"
    code, _, err = flow("train", *QUICK, uri, "--drop=age")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "goes on with the features that it knows" in err


def test_a_booster_that_was_stopped_early_is_cut_at_its_best_round(train, store):
    run_id = train("--rounds=200", "--early-stopping-rounds=5", "--learning-rate=0.5")
    version = registry.register(run_id)
    best = store.get_run(run_id).data.metrics["best_round"]
    assert registry.load_booster(version.uri).num_boosted_rounds() == best + 1 < 200


def test_residuals_keep_their_rows_and_survive_the_file():
    part = load().rows.take(np.arange(100))
    matrix = xgboost.DMatrix(part.features, label=part.target)
    booster = asrl_mlflow.train({}, matrix, 3, loss=losses.SquaredError())
    found = measure_unseen(Calibration.of_errors(np.arange(50_000.0)), booster, part, is_fresh=True)
    assert (len(found.calibration.errors), len(found.test)) == (20_000, 100)
    again = UnseenResiduals.from_bytes(found.to_bytes())
    assert np.array_equal(again.test, found.test)
    assert np.array_equal(again.calibration.errors, found.calibration.errors)
    assert again.test_rows == found.test_rows
    assert np.array_equal(again.weight, np.ones(100))
    backwards = part.take(np.arange(99, -1, -1))
    nothing = Calibration.of_errors(np.empty(0))
    other = measure_unseen(nothing, booster, backwards, is_fresh=True)
    assert other.test_rows != found.test_rows
    assert measure_unseen(nothing, booster, part, is_fresh=False).test_rows == ""


def test_a_comparison_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        noise = rng.standard_t(3, 150)
        found = compare_residuals(noise + 0.3, np.zeros(150))
        hits += found.low <= 0.3 <= found.high
    assert 180 <= hits <= 198
