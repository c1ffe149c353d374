"""Tracking: real sqlite stores; what arrives, when, under which status, and what if it cannot."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time

import mlflow
import pytest
import xgboost
from mlflow.exceptions import MlflowException
from mlflow.utils.autologging_utils import AUTOLOGGING_INTEGRATIONS

from asrl_mlflow import datasets, losses, tracking, train
from asrl_mlflow.errors import InputError, StoreError
from asrl_mlflow.losses.regression.segmented.continuous_asrl import PointwiseContinuousASRL
from asrl_mlflow.rounds import Round
from asrl_mlflow.system.signals import hold_signals
from asrl_mlflow.tracking import spool
from asrl_mlflow.tracking.retries import stop_waiting
from tests.conftest import PARAMS
from tests.every_loss import EVERY_LOSS


def a_round(number):
    return Round(
        number=number,
        pointwise=PointwiseContinuousASRL(1.0 + number, 2.0 + number, 1.0),
        mean_weight=0.5,
        floored=0,
        train={"mae": 3.0 - number},
        valid={"mae": 4.0 - number, "rmse": 5.0},
        valid_shares={"core": 0.5, "middle": 0.25, "tail": 0.25},
    )


def history(store, run_id, key):
    return [(metric.step, metric.value) for metric in store.get_metric_history(run_id, key)]


def test_a_round_is_logged_under_the_keys_of_the_contract():
    assert a_round(0).metrics() == {
        "threshold.delta_low": 1.0,
        "threshold.delta_high": 2.0,
        "threshold.fallback": 0,
        "weight.mean": 0.5,
        "weight.floored": 0,
        "train.mae": 3.0,
        "valid.mae": 4.0,
        "valid.rmse": 5.0,
        "share.valid.core": 0.5,
        "share.valid.middle": 0.25,
        "share.valid.tail": 0.25,
    }


@pytest.mark.parametrize("loss", EVERY_LOSS, ids=str)
def test_every_losses_rounds_arrive_with_their_round_as_step(store, table, dtrain, loss):
    x, y = table
    dvalid = xgboost.QuantileDMatrix(x, label=y, ref=dtrain)
    rounds = []
    tracking.connect()
    with tracking.run("run", flow="train") as log:

        def listen(round_):
            rounds.append(round_)
            log.round(round_)

        train(PARAMS, dtrain, 4, loss=loss, evals=[(dvalid, "valid")], on_round=listen)
    assert log.complete
    for key in rounds[0].metrics():
        expected = [(r.number, float(r.metrics()[key])) for r in rounds]
        assert history(store, log.run_id, key) == expected
    weights = {"weight.alpha", "weight.beta", "weight.gamma"}
    assert (weights <= set(rounds[0].metrics())) == (loss.name == "asrl")


def test_rounds_can_be_read_while_training_goes_on(store):
    tracking.connect()
    with tracking.run("run", flow="train") as log:
        log.round(a_round(0))
        deadline = time.monotonic() + 30
        while not history(store, log.run_id, "train.mae") and time.monotonic() < deadline:
            time.sleep(0.05)
        assert history(store, log.run_id, "train.mae") == [(0, 3.0)]
        assert store.get_run(log.run_id).info.status == "RUNNING"


def test_a_long_description_ends_with_a_whole_line_and_says_that_it_is_cut(store):
    lines = [f"line {number}" for number in range(2000)]
    with tracking.run("r", flow="train") as log:
        log.describe("\n".join(["```text", *lines, "```"]))
    kept = store.get_run(log.run_id).data.tags["mlflow.note.content"]
    shown, fence, said = kept.rpartition("\n```")
    assert shown.splitlines()[1:] == lines[: len(shown.splitlines()) - 1]
    assert len(lines[-1]) < len(kept) <= 8000
    assert (fence, "not all" in said) == ("\n```", True)


def test_many_rounds_reach_the_store_in_few_calls(store, monkeypatch):
    tracking.connect()
    calls = []
    original = mlflow.MlflowClient.log_batch

    def counting(self, run_id, metrics=(), **rest):
        calls.append(len(metrics))
        return original(self, run_id, metrics=metrics, **rest)

    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", counting)
    with tracking.run("run", flow="train") as log:
        for number in range(300):
            log.round(a_round(number))
    assert len(history(store, log.run_id, "train.mae")) == 300
    assert sum(calls) == 300 * 11
    # 3300 metrics are at least 4 batches of MLflow's 1000; a second or two may have passed.
    assert len(calls) < 12


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "FINISHED"),
        (KeyboardInterrupt, "KILLED"),
        (SystemExit(143), "KILLED"),
        (SystemExit("bad words"), "FAILED"),
        (KeyError, "FAILED"),
    ],
)
def test_parent_and_child_end_with_the_status_that_is_true(store, error, status):
    tracking.connect()

    def story():
        with tracking.run("parent", flow="compare") as parent:
            ids.append(parent.run_id)
            with tracking.run("child", flow="compare") as child:
                ids.append(child.run_id)
                child.round(a_round(0))
                if error:
                    raise error

    ids = []
    if error is None:
        story()
    else:
        with pytest.raises(error if isinstance(error, type) else type(error)):
            story()
    parent, child = map(store.get_run, ids)
    assert (parent.info.status, child.info.status) == (status, status)
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.data.tags["asrl.flow"] == "compare"
    assert child.data.tags["asrl.version"]
    assert history(store, child.info.run_id, "train.mae") == [(0, 3.0)]
    assert mlflow.active_run() is None


def test_the_run_of_mlflow_run_is_adopted_with_its_experiment_and_params(store, monkeypatch):
    experiment = store.create_experiment("theirs")
    theirs = store.create_run(experiment, run_name="theirs")
    store.log_param(theirs.info.run_id, "seed", "07")
    monkeypatch.setenv("MLFLOW_RUN_ID", theirs.info.run_id)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", experiment)
    tracking.connect()
    with tracking.run("ours", flow="compare") as parent:
        parent.params({"seed": 7, "data.name": "diabetes"})
        with tracking.run("child", flow="compare") as child:
            pass
    adopted = store.get_run(theirs.info.run_id)
    assert parent.run_id == theirs.info.run_id
    assert adopted.info.run_name == "theirs"
    assert adopted.info.status == "FINISHED"
    # mlflow run wrote the seed first, and params cannot be written twice.
    assert adopted.data.params == {"seed": "07", "data.name": "diabetes"}
    assert store.get_run(child.run_id).info.experiment_id == experiment
    assert parent.complete
    assert store.get_experiment_by_name(tracking.EXPERIMENT) is None
    kind = store.get_experiment(experiment).tags["mlflow.experimentKind"]
    assert kind == "custom_model_development"
    assert f"/#/experiments/{experiment}/runs" in tracking.ui_command()


@pytest.mark.parametrize(
    ("theirs", "name"),
    [(None, "compare mine"), ("calm-cat-7", "compare mine"), ("my-run-7", "my-run-7")],
)
@pytest.mark.parametrize("is_connected", [True, False])
def test_the_run_of_mlflow_run_is_named_unless_its_user_has_named_it(
    store, monkeypatch, theirs, name, is_connected
):
    run_id = store.create_run("0", run_name=theirs).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    if is_connected:
        tracking.connect()
    with tracking.run("compare mine", flow="compare"):
        pass
    adopted = store.get_run(run_id)
    assert (adopted.info.run_name, adopted.data.tags["mlflow.runName"]) == (name, name)


def test_runs_go_to_the_experiment_asrl_mlflow_unless_one_is_configured(store, monkeypatch):
    tracking.connect()
    with tracking.run("run", flow="train") as log:
        pass
    experiment = store.get_experiment(store.get_run(log.run_id).info.experiment_id)
    assert experiment.name == "asrl-mlflow"


def test_another_store_gets_an_experiment_of_its_own(store, tmp_path):
    tracking.connect()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/other.db")
    tracking.connect()
    with tracking.run("first", flow="test") as log:
        pass
    found = mlflow.MlflowClient().get_experiment_by_name(tracking.EXPERIMENT)
    assert mlflow.get_run(log.run_id).info.experiment_id == found.experiment_id


def test_a_configured_experiment_is_respected(store, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    tracking.connect()
    with tracking.run("run", flow="train") as log:
        pass
    assert store.get_experiment(store.get_run(log.run_id).info.experiment_id).name == "mine"
    assert store.get_experiment_by_name("asrl-mlflow") is None


def test_the_default_store_is_a_sqlite_file_in_the_working_folder(store, tmp_path):
    mlflow.set_tracking_uri(None)
    tracking.connect()
    assert mlflow.get_tracking_uri() == "sqlite:///mlflow.db"
    assert (tmp_path / "mlflow.db").is_file()


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "sqlite:////proc/nowhere/mlflow.db"])
def test_a_store_that_does_not_answer_is_one_line(store, uri):
    mlflow.set_tracking_uri(uri)
    with pytest.raises(StoreError, match="The tracking store must answer") as caught:
        tracking.connect()
    assert "\n" not in str(caught.value)
    assert uri in str(caught.value)


def test_params_metrics_tags_artifacts_tables_and_the_data_arrive(store, tmp_path):
    tracking.connect()
    table = datasets.load()
    with tracking.run("run", flow="train") as log:
        log.params({"loss.name": "asrl", "left.out": None} | {f"p{i}": i for i in range(150)})
        log.metrics({"test.mae": 1.5})
        log.tags({"colour": "blue"})
        log.artifact("figures/dot.png", b"\x89PNG")
        log.artifact("loss.json", b"{}")
        log.table("comparison.json", {"loss": ["a", "b"], "test MAE": [1.0, 2.0]})
        log.dataset(table)
    run = store.get_run(log.run_id)
    assert run.data.params["p149"] == "149"
    assert "left.out" not in run.data.params
    assert run.data.metrics == {"test.mae": 1.5}
    assert run.data.tags["colour"] == "blue"
    folder = mlflow.artifacts.download_artifacts(run_id=log.run_id, dst_path=str(tmp_path / "got"))
    assert (tmp_path / "got/figures/dot.png").read_bytes() == b"\x89PNG", folder
    assert list(mlflow.load_table("comparison.json", run_ids=[log.run_id])["loss"]) == ["a", "b"]
    logged = run.inputs.dataset_inputs[0].dataset
    assert (logged.name, logged.digest, logged.source_type) == ("diabetes", table.digest, "code")
    assert json.loads(logged.profile)["num_rows"] == 442


def test_a_file_is_logged_as_a_dataset_with_its_path(store, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("a,y\n" + "".join(f"{i},{i}\n" for i in range(20)))
    tracking.connect()
    with tracking.run("run", flow="train") as log:
        log.dataset(datasets.load(str(path)))
    logged = store.get_run(log.run_id).inputs.dataset_inputs[0].dataset
    assert (logged.name, logged.source_type) == ("mine", "local")
    assert json.loads(logged.source)["uri"] == str(path)


def test_what_the_store_does_not_take_is_spooled_and_can_be_sent_again(store, tmp_path, caplog):
    tracking.connect()
    with tracking.run("run", flow="train") as log:
        log.params({"before": 1})
        engine = mlflow.tracking._tracking_service.utils._get_store().engine
        with engine.begin() as connection:
            for name in ("params", "metrics", "runs"):
                connection.exec_driver_sql(f"ALTER TABLE {name} RENAME TO {name}_gone")
        log.params({"after": 2})
        log.round(a_round(0))
        log.metrics({"test.mae": 1.5})
        log.artifact("figures/dot.png", b"\x89PNG")
    assert not log.complete
    assert mlflow.active_run() is None
    assert f"what is missing is kept in asrl-spool/{log.run_id}.jsonl" in caplog.text
    with engine.begin() as connection:
        for name in ("params", "metrics", "runs"):
            connection.exec_driver_sql(f"ALTER TABLE {name}_gone RENAME TO {name}")
    assert store.get_run(log.run_id).info.status == "RUNNING"
    assert spool.resend(log.file) == 5
    assert not log.file.exists()
    run = store.get_run(log.run_id)
    assert run.data.params == {"before": "1", "after": "2"}
    assert run.data.metrics["test.mae"] == 1.5
    assert history(store, log.run_id, "train.mae") == [(0, 3.0)]
    assert run.info.status == "FINISHED"
    assert mlflow.artifacts.download_artifacts(
        run_id=log.run_id, artifact_path="figures/dot.png", dst_path=str(tmp_path)
    )


def test_a_spool_file_stays_whole_when_the_store_fails_again(store, tmp_path):
    tracking.connect()
    kept = tmp_path / "spool.jsonl"
    line = {
        "store": mlflow.get_tracking_uri(),
        "run_id": "0" * 32,
        "kind": "params",
        "content": {"a": "1"},
    }
    kept.write_text(json.dumps(line) + "\n")
    with pytest.raises(MlflowException):
        spool.resend(kept)
    assert json.loads(kept.read_text()) == line


@pytest.fixture
def terminated():
    """SIGTERM ends the process as a flow's handler does."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("call", "status"), [("create_run", "KILLED"), ("set_terminated", "FINISHED")]
)
def test_a_signal_while_a_run_is_opened_or_closed_leaves_a_true_status(
    store, monkeypatch, terminated, call, status
):
    tracking.connect()
    original = getattr(mlflow.MlflowClient, call)

    def interrupted(self, *args, **kwargs):
        result = original(self, *args, **kwargs)
        if not came:
            came.append(call)
            signal.raise_signal(signal.SIGTERM)
        return result

    came = []
    monkeypatch.setattr(mlflow.MlflowClient, call, interrupted)
    with pytest.raises(SystemExit) as ended, tracking.run("run", flow="train") as log:
        log.round(a_round(0))
    assert ended.value.code == 143
    (run,) = store.search_runs([store.get_experiment_by_name("asrl-mlflow").experiment_id])
    assert run.info.status == status
    assert mlflow.active_run() is None
    if status == "FINISHED":
        assert history(store, run.info.run_id, "train.mae") == [(0, 3.0)]


def test_a_second_signal_is_heard_at_once(store, terminated):
    with pytest.raises(SystemExit), hold_signals(stop_waiting):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("the second signal was held too")


def test_no_thread_is_left_when_a_run_has_ended(store):
    tracking.connect()
    before = set(threading.enumerate())
    with tracking.run("run", flow="train") as log:
        log.round(a_round(0))
    assert set(threading.enumerate()) <= before


def test_a_loss_is_logged_under_the_keys_of_the_contract():
    assert tracking.loss_params(losses.ASRL()) == {
        "loss.name": "asrl",
        "loss.q_low": 0.5,
        "loss.q_high": 0.9,
        "loss.eps": 1e-6,
    }


@pytest.fixture(params=["mlflow.autolog", "mlflow.xgboost.autolog"])
def autologging(request, store):
    """The user's own autologging, switched on; afterwards it is found on."""
    # `mlflow.autolog` leaves a library as it is whose own switch was used before, in another test perhaps.
    AUTOLOGGING_INTEGRATIONS.pop("xgboost", None)
    switch = mlflow.autolog if request.param == "mlflow.autolog" else mlflow.xgboost.autolog
    switch(silent=True)
    patched = xgboost.train
    yield
    assert xgboost.train is patched
    mlflow.autolog(disable=True, silent=True)
    mlflow.xgboost.autolog(disable=True, silent=True)


def test_autologging_does_not_log_our_runs_a_second_time(autologging, store, table, dtrain):
    x, y = table
    evals = [(xgboost.QuantileDMatrix(x, label=y, ref=dtrain), "valid")]
    callbacks = []
    loss = losses.ContinuousASRL()
    with tracking.run("ours", flow="test") as log:
        train(PARAMS, dtrain, 3, loss=loss, evals=evals, callbacks=callbacks, on_round=log.round)
    assert (len(evals), callbacks) == (1, [])
    run = store.get_run(log.run_id)
    assert not {"objective", "custom_metric"} & set(run.data.params)
    assert not any("-" in name for name in run.data.metrics)
    assert store.list_artifacts(log.run_id) == []
    train(PARAMS, dtrain, 3, loss=loss)
    assert len(store.search_runs([run.info.experiment_id])) == 1
    # The user's own trainings are logged as before.
    with mlflow.start_run() as own:
        xgboost.train({"objective": "reg:squarederror"}, xgboost.DMatrix(x, label=y), 2)
    assert store.get_run(own.info.run_id).data.params["objective"] == "reg:squarederror"


def test_a_study_that_is_not_there_is_refused_with_the_names_of_those_that_are(store):
    with pytest.raises(InputError, match=r"got 'mine'; there is none; "):
        tracking.find_study_run("mine")
    ids = {}
    for name in ("mine", "other"):
        ids[name] = store.create_run("0", tags={"asrl.study": name}).info.run_id
        store.log_metric(ids[name], "best.trial", 3)
        store.set_terminated(ids[name])
    assert tracking.find_study_run("mine") == ids["mine"]
    with pytest.raises(InputError) as caught:
        tracking.find_study_run("mime")
    assert "got 'mime' (did you mean 'mine'?); there is 'other', 'mine'; " in str(caught.value)
