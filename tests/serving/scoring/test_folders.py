"""Folders of Parquet files: each file has its result, those of `predict`, whatever was stopped or lost."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil
from functools import partial
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from asrl_mlflow import registry
from asrl_mlflow.command_line.commands.train import command as train_command
from asrl_mlflow.errors import ClusterError, InputError
from asrl_mlflow.serving.batch import predict_file
from asrl_mlflow.serving.scoring import ModelFiles, engines, predict_folder
from tests.serving.scoring.deaths import die_once
from tests.stores import newest

URI = "models:/asrl-mixed/1"


@pytest.fixture(scope="module")
def registered(empty_store, tmp_path_factory):
    """A store with two versions of a model, and a folder of rows by year, one file of which has none."""
    folder = tmp_path_factory.mktemp("registered")
    shutil.copy(empty_store, folder / "mlflow.db")
    rng = np.random.default_rng(3)
    rows = pd.DataFrame({"size": rng.normal(size=400), "rooms": rng.integers(1, 6, 400)})
    rows["town"] = pd.Categorical(rng.choice(["Ulm", "Bonn"], 400))
    rows.loc[::9, "size"] = np.nan
    rows["price"] = 10 * rows["size"].fillna(0) + 5 * rows["rooms"] + 7 * rows["town"].cat.codes
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlflow.tracking.fluent, "_active_experiment_id", None)
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        rows.to_parquet("mixed.parquet")
        for rounds in (5, 6):
            options = [f"--rounds={rounds}", "--data=mixed.parquet", "--figures=false"]
            assert train_command.main(options, standalone_mode=False) == 0
            registry.register(newest(mlflow.MlflowClient()))
        for year, part in ((2024, rows.head(150)), (2025, rows.tail(250).astype({"rooms": float}))):
            Path(f"data/year={year}").mkdir(parents=True)
            part.to_parquet(f"data/year={year}/a.parquet")
        rows.head(0).to_parquet("data/year=2025/b.parquet")
        yield folder
        mlflow.set_tracking_uri(None)


@pytest.fixture
def data(registered, store, tmp_path):
    """The folder of rows, in a working folder of its own, with the store."""
    mlflow.set_tracking_uri(f"sqlite:///{registered}/mlflow.db")
    shutil.copytree(registered / "data", tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def model(data):
    with registry.open_verified(URI) as folder:
        return ModelFiles.read(folder, URI)


def elsewhere(work, values):
    """Do the work as if in other processes: on what can be sent to them."""
    for value in values:
        yield pickle.loads(pickle.dumps(work))(pickle.loads(pickle.dumps(value)))  # noqa: S301 - our own


def scored(model, data, **asked):
    """The result of a call with the folder out, as (files, made now, rows)."""
    run = asked.pop("run", elsewhere)
    return tuple(vars(predict_folder(model, data, Path("out"), run=run, **asked)).values())


def read(folder):
    return pd.concat([pd.read_parquet(file) for file in sorted(Path(folder).rglob("*.parquet"))])


def check_equal(model, data, **asked):
    """The folder out has, to the last bit, what one file has."""
    keep = [name for name in asked.pop("keep", []) if name != "year"]  # which is in the path
    predict_file(model.load(), data, Path("one.parquet"), keep=keep, **asked)
    pd.testing.assert_frame_equal(
        read("out").reset_index(drop=True), pd.read_parquet("one.parquet"), check_exact=True
    )


def test_a_folder_has_what_one_file_would_have_and_says_when_it_is_whole(model, data):
    asked = {"level": 0.9, "keep": ["rooms", "year"]}
    assert scored(model, data, **asked) == (3, 3, 400)
    check_equal(model, data, **asked)
    names = sorted(str(each.relative_to("out")) for each in Path("out").rglob("*.parquet"))
    assert names == ["year=2024/a.parquet", "year=2025/a.parquet", "year=2025/b.parquet"]
    told = json.loads(Path("out/_SUCCESS").read_text())
    assert (told["model"], told["interval"], told["files"], told["rows"]) == (URI, 0.9, 3, 400)
    # As a table with its partitions it is read by anyone.
    found = pd.read_parquet("out")
    assert list(found) == ["rooms", "prediction", "lower", "upper", "year"]
    assert found["year"].astype(int).value_counts().to_dict() == {2025: 250, 2024: 150}


def test_the_same_call_again_does_what_is_missing_or_has_changed(model, data):
    assert scored(model, data) == (3, 3, 400)
    assert scored(model, data) == (3, 0, 400)
    Path("out/year=2024/a.parquet").unlink()
    changed = data / "year=2025/b.parquet"
    pd.read_parquet(data / "year=2024/a.parquet").head(7).to_parquet(changed)
    kept = Path("out/year=2025/a.parquet").stat()
    assert scored(model, data) == (3, 2, 407)
    assert Path("out/year=2025/a.parquet").stat() == kept
    check_equal(model, data)


def test_a_folder_that_was_not_finished_has_no_marker_and_whole_files_only(model, data):
    assert scored(model, data)[1] == 3
    Path("out/year=2024/a.parquet").unlink()

    def stopped(work, values):
        assert not Path("out/_SUCCESS").exists()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scored(model, data, run=stopped)
    assert not Path("out/_SUCCESS").exists()
    assert scored(model, data) == (3, 1, 400)
    assert Path("out/_SUCCESS").exists()


def test_a_file_that_cannot_be_predicted_is_one_line_and_the_others_stay(model, data):
    bad = data / "year=2024/a.parquet"
    rows = pd.read_parquet(bad)
    rows.assign(size=rows["size"].mask(rows.index == 3, np.inf)).to_parquet(bad)
    with pytest.raises(InputError) as caught:
        scored(model, data)
    assert f"{bad}: Model input: column 'size' must be missing or below" in str(caught.value)
    assert "an infinite value in row 4" in str(caught.value)
    assert "1 of 3 files could not be predicted; results of the others stay" in str(caught.value)
    assert not Path("out/_SUCCESS").exists()
    rows.to_parquet(bad)
    assert scored(model, data) == (3, 1, 400)


def test_results_of_another_model_or_of_other_options_are_not_mixed_in(model, data):
    assert scored(model, data, level=0.9)[1] == 3
    before = {file: file.read_bytes() for file in Path("out").rglob("*") if file.is_file()}
    with registry.open_verified("models:/asrl-mixed/2") as folder:
        other = ModelFiles.read(folder, "models:/asrl-mixed/2")
    for asked, told in (
        ((other, data), "has some of model=models:/asrl-mixed/1; got model=models:/asrl-mixed/2"),
        (
            (model, data),
            "model=models:/asrl-mixed/1, interval=0.9; got model=models:/asrl-mixed/1, ",
        ),
    ):
        with pytest.raises(InputError) as caught:
            scored(*asked, **({"level": 0.9} if asked[0] is other else {}))
        assert told in str(caught.value)
    assert {file: file.read_bytes() for file in Path("out").rglob("*") if file.is_file()} == before


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (
            lambda data: (data / "year=2025/b.parquet").unlink(),
            "got 'year=2025/b.parquet'; remove it",
        ),
        (lambda _: Path("out/notes.txt").touch(), "got 'notes.txt'; remove it"),
        (
            lambda data: shutil.copy(data / "year=2024/a.parquet", "out/year=2024/a.parquet"),
            "must be a result of asrl, whole and with its metadata; got another",
        ),
        (lambda _: os.truncate("out/year=2024/a.parquet", 100), "must be a result of asrl, whole"),
    ],
    ids=["of a file that is gone", "not Parquet", "not of asrl", "cut off"],
)
def test_a_folder_with_anything_else_in_it_is_refused(model, data, spoil, told):
    scored(model, data)
    spoil(data)
    with pytest.raises(InputError, match=told):
        scored(model, data)


@pytest.mark.parametrize(
    ("data_at", "out", "told"),
    [
        ("data/year=2024/a.parquet", "out", "needs a folder of .parquet files for an engine"),
        ("data", "data/out", "a place outside of the data"),
        ("data/year=2024", "data", "a place outside of the data"),
        ("data", "one.txt", "a folder of their own; got the file"),
        ("data", "no/out", "whose parent is there"),
    ],
)
def test_folders_that_cannot_be_are_refused(model, data, data_at, out, told):
    Path("one.txt").touch()
    with pytest.raises(InputError, match=told):
        predict_folder(model, Path(data_at), Path(out), run=elsewhere)


# A cluster's processes import all that is asked of them: one process for all tests.
@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("distributed", reason="dask is not installed (extra dask)")
    from asrl_mlflow.system.clusters import connect  # noqa: PLC0415 - needs the extra

    before = dict(os.environ)
    with connect(None, 1) as client:
        # What Dask sets for its workers would change how all that follows is trained.
        assert dict(os.environ) == before
        yield client.cluster


def test_the_command_predicts_on_a_dask_cluster(cluster, data, model, flow):
    command = [f"--model-uri={URI}", "--data=data", "--out=out", "--keep=rooms", "--interval=0.9"]
    where = [f"--scheduler={cluster.scheduler_address}", "--engine=dask"]
    code, out, err = flow("predict", *command, *where)
    assert (code, err) == (0, "")
    assert "3 files predicted, 0 were there: 400 rows in 3 files of out" in out
    check_equal(model, data, level=0.9, keep=["rooms"])


def test_work_of_a_worker_that_dies_is_done_by_another(cluster, tmp_path):
    work = partial(die_once, tmp_path / "died")
    done = engines.run_on_dask(work, range(8), scheduler=cluster.scheduler_address, workers=None)
    assert sorted(done) == list(range(8))
    assert (tmp_path / "died").exists()


def test_work_that_takes_every_worker_along_ends_in_one_line(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster.scheduler, "allowed_failures", 0)
    work = partial(die_once, tmp_path / "died")
    address = cluster.scheduler_address
    with pytest.raises(
        ClusterError, match="needs a scheduler and workers that live and have this package at tcp"
    ):
        list(engines.run_on_dask(work, [1], scheduler=address, workers=None))


def test_a_cluster_that_does_not_answer_is_one_line(monkeypatch):
    pytest.importorskip("distributed", reason="dask is not installed (extra dask)")
    from asrl_mlflow.system import clusters  # noqa: PLC0415 - needs the extra

    monkeypatch.setattr(clusters, "_SECONDS_TO_CONNECT", 1)
    with pytest.raises(
        ClusterError, match=r"needs the address of a Dask scheduler .*; got tcp://127\.0\.0\.1:9"
    ):
        list(engines.run_on_dask(str, [1], scheduler="tcp://127.0.0.1:9", workers=None))


@pytest.mark.parametrize("engine", engines.ENGINES)
def test_an_engine_that_is_not_installed_names_its_extra(engine, monkeypatch):
    for module in ("distributed", "pyspark"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(InputError, match=rf"pip install 'asrl-mlflow\[{engine}\]'"):
        list(engines.ENGINES[engine](str, [1], scheduler=None, workers=None))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--workers=2"], "--workers is about a cluster; got no --engine"),
        (["--engine=dask", "--workers=2", "--scheduler=tcp://a:1"], "leave one out"),
    ],
)
def test_options_of_a_cluster_that_contradict_are_refused(flow, options, told):
    code, _, err = flow("predict", f"--model-uri={URI}", "--data=data", *options)
    assert (code, told in err) == (2, True)
