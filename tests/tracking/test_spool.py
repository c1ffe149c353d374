"""Spool files: sent once, twice or torn, what arrives is there once; and no address shows its secret."""

from __future__ import annotations

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import mlflow
import pytest

from asrl_mlflow import tracking
from asrl_mlflow.errors import InputError
from asrl_mlflow.studies.storages import open_storage
from asrl_mlflow.system.uris import hide_address_secrets, hide_secrets, public_address
from asrl_mlflow.tracking import resend, spool
from asrl_mlflow.tracking.run_log import RunLog
from asrl_mlflow.tracking.runs import _create_in_spool

SHOWN = {
    "postgresql+psycopg://me:secret@host:5432/d": "postgresql+psycopg://me:***@host:5432/d",
    "postgresql://me:se@/cret@host/d": "postgresql://me:***@host/d",
    "https://secret@host/x": "https://***@host/x",
    "http://me:secret@host:5000": "http://me:***@host:5000",
    "mysql+pymysql://me@h/d?ssl=1&sslpassword=secret": "mysql+pymysql://me@h/d?ssl=1&sslpassword=***",
    "postgresql://h/d?token=secret&x=1": "postgresql://h/d?token=***&x=1",
    "postgresql:/me:secret@h/d": "***@h/d",
    "me:secret@h/d": "***@h/d",
    "postgres://me:se cret@h/d": "postgres://me:***@h/d",
    "postgres://me:se\tcr\net@h/d": "postgres://me:***@h/d",
    "postgresql://me@srv:secret@h/db": "postgresql://me@srv:***@h/db",
    "postgresql://dom/me:secret@h/db": "postgresql://dom/me:***@h/db",
    "postgresql://me?:secret@h/db": "postgresql://me?:***@h/db",
    "https://me@firm:secret@h/api": "https://***@firm:***@h/api",
    "https://secret@secret@h/api": "https://***@h/api",
    "mysql://h/d?pass=secret&ssl=1": "mysql://h/d?pass=***&ssl=1",
    "wasbs://h/d?AccountKey=secret;x=1": "wasbs://h/d?AccountKey=***;x=1",
    "http://host:5000/path?bypass_cache=1": "http://host:5000/path?bypass_cache=1",
    "postgresql://me@h:5432/d": "postgresql://me@h:5432/d",
    "sqlite:////home/me@work/x.db": "sqlite:////home/me@work/x.db",
}


@pytest.mark.parametrize(("address", "shown"), SHOWN.items())
def test_an_address_is_shown_without_its_secret(address, shown):
    if address.startswith("sqlite"):
        assert hide_secrets(address) == shown
    else:
        assert hide_address_secrets(address) == shown
        told = hide_secrets(f"no answer from {address}: refused", address)
        assert "cret" not in told.replace("\tcr\n", "cr") or "://" not in address


@pytest.mark.parametrize(
    "storage",
    [
        "postgres://me:secret@host/d",
        "postgresql:/me:secret@host/d",
        "postgresql+psycopg://me:secret@host:notaport/d",
        "postgresql+psycopg://me:sec@ret@host/d",
        "postgresql://me@srv:secret@host/d",
        "postgresql+nothing://me:secret@host/d?token=secret",
    ],
)
def test_a_storage_that_cannot_be_used_is_refused_without_its_secret(storage):
    with pytest.raises(InputError) as caught:
        open_storage(storage).__enter__()
    assert "\n" not in str(caught.value)
    for part in ("secret", "sec@", "ret@"):
        assert part not in str(caught.value) + public_address(storage)


@pytest.mark.parametrize(
    "uri",
    [
        "http://me:secret@127.0.0.1:notaport",
        "http://me:se/cret@127.0.0.1:9",
        "postgresql://me@srv:secret@127.0.0.1:9/d",
    ],
)
def test_a_store_whose_address_cannot_be_read_is_exit_code_2_without_its_secret(flow, store, uri):
    mlflow.set_tracking_uri(uri)
    code, out, err = flow("train", "--rounds=2")
    assert code == 2
    assert "Traceback" not in err
    assert "cret" not in out + err


@pytest.mark.parametrize("password", ["secret", "the secret"])
def test_a_store_that_does_not_answer_is_named_without_its_secret(flow, store, password):
    mlflow.set_tracking_uri(f"http://me:{password}@127.0.0.1:9")
    code, out, err = flow("train", "--rounds=2")
    assert code == 3
    assert "me:***@127.0.0.1:9" in err
    assert "secret" not in out + err + tracking.ui_command() + public_address(
        mlflow.get_tracking_uri()
    )


def test_the_storage_may_come_from_the_environment(flow, store, monkeypatch):
    monkeypatch.setenv("ASRL_STORAGE", "postgres://me:secret@host/d")
    code, out, err = flow("tune", "--trials=1")
    assert code == 2
    assert "tune: A storage needs the form " in err
    assert "secret" not in out + err


def test_a_secret_that_mlflow_run_has_logged_is_warned_of(store, monkeypatch, caplog):
    theirs = store.create_run("0")
    store.log_param(theirs.info.run_id, "storage", "postgresql://me:secret@host/d")
    monkeypatch.setenv("MLFLOW_RUN_ID", theirs.info.run_id)
    tracking.connect()
    (line,) = [text for text in caplog.messages if "param storage" in text]
    assert "ASRL_STORAGE" in line
    assert "secret@" not in line


def open_in_spool(key, name, tags, experiment):
    return _create_in_spool(key, name, tags, experiment, ConnectionError("no answer"))


def an_unmade_run(store):
    """A run with a child that only spool files know: their logs."""
    experiment = store.create_experiment("theirs")
    parent = open_in_spool("1" * 32, "parent", {}, experiment)
    child = tracking.open_child("child", flow="tune", parent=parent, tags={})
    for log in (parent, child):
        log.params({"a": 1})
        log.metrics({"objective": 0.1 + 0.2})
        log.table("table.json", {"x": [1, 2]})
        log.close("FINISHED")
    return experiment, parent, child


def check(store, experiment):
    """Parent and child are there once, with all that they were told."""
    runs = {run.info.run_name: run for run in store.search_runs([experiment])}
    assert len(store.search_runs([experiment])) == 2
    assert runs["child"].data.tags["mlflow.parentRunId"] == runs["parent"].info.run_id
    for run in runs.values():
        assert run.info.status == "FINISHED"
        assert run.info.end_time >= run.info.start_time
        assert run.data.metrics == {"objective": 0.1 + 0.2}
        assert len(store.get_metric_history(run.info.run_id, "objective")) == 1
        text = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/table.json")
        assert json.loads(text)["data"] == [[1], [2]]


def test_whatever_is_sent_twice_is_there_once(store, tmp_path, caplog):
    experiment, parent, child = an_unmade_run(store)
    copies = [shutil.copy(log.file, tmp_path / f"{log.run_id}.copy") for log in (parent, child)]
    # The child first: the run that it belongs to waits in a file beside it.
    assert spool.resend(child.file) == spool.resend(parent.file) == 5
    check(store, experiment)
    for copy in copies:
        assert spool.resend(copy) == 5
    check(store, experiment)
    assert spool.resend(parent.file) == 0
    assert "nothing to send" in caplog.text


def test_copies_that_are_sent_at_the_same_moment_make_one_run(store, tmp_path):
    experiment, parent, child = an_unmade_run(store)
    files = [parent.file, shutil.copy(parent.file, tmp_path / "copy")]
    # A lock is held by whoever opened its file: threads are kept apart as processes are.
    with ThreadPoolExecutor(len(files)) as senders:
        assert list(senders.map(spool.resend, files)) == [5, 5]
    spool.resend(child.file)
    check(store, experiment)


def test_what_is_torn_is_kept_and_said_and_what_is_no_entry_refused(store, caplog):
    experiment, parent, child = an_unmade_run(store)
    whole = child.file.read_bytes()
    child.file.write_bytes(b"anything\n" + whole)
    with pytest.raises(InputError, match="got something else in line 1"):
        spool.resend(child.file)
    child.file.write_bytes(whole + b'{"store": "sqli')
    assert spool.resend(child.file) == 5
    torn = child.file.with_name(f"{child.file.name}.torn")
    assert f"the 15 bytes are kept in {torn}" in caplog.text
    assert torn.read_bytes() == b'{"store": "sqli\n'
    spool.resend(parent.file)
    check(store, experiment)


def test_another_file_is_refused_and_not_deleted(store, tmp_path):
    file = tmp_path / "notes"
    file.write_text("mine")
    with pytest.raises(InputError, match="a spool file needs an entry in every line"):
        spool.resend(file)
    assert file.read_text() == "mine"


def test_an_entry_after_a_torn_one_arrives(store, tmp_path):
    experiment = store.create_experiment("theirs")
    first = open_in_spool("1" * 32, "run", {}, experiment)
    with first.file.open("ab") as file:
        file.write(b'{"store": "sqli')
    # As another process that goes on with the run.
    later = RunLog(first.run_id)
    later.spool("params", {"a": "1"})
    whole = first.file.read_bytes()
    # The last entry is whole, but for the end of its line.
    first.file.write_bytes(whole[:-1])
    later.spool("params", {"b": "2"})
    assert spool.resend(first.file) == 3
    (run,) = store.search_runs([experiment])
    assert run.data.params == {"a": "1", "b": "2"}


def test_a_file_that_is_sent_while_its_run_goes_on_loses_nothing(store):
    experiment = store.create_experiment("theirs")
    log = open_in_spool("1" * 32, "run", {}, experiment)
    log.params({"before": 1})
    spool.resend(log.file)
    log.params({"between": 2})
    goes_on = threading.Thread(
        target=lambda: [log.metrics({f"m{number}": number}) for number in range(300)]
    )
    goes_on.start()
    while goes_on.is_alive():
        spool.resend(log.file)
    goes_on.join()
    log.close("FINISHED")
    spool.resend(log.file)
    (run,) = store.search_runs([experiment])
    assert run.info.status == "FINISHED"
    assert run.data.params == {"before": "1", "between": "2"}
    assert run.data.metrics == {f"m{number}": number for number in range(300)}
    assert not log.file.exists()


def test_a_file_that_cannot_be_sent_is_one_line_and_stays(store, capsys):
    log = RunLog("0" * 32)
    log.spool("params", {"a": "1"})
    with pytest.raises(SystemExit) as ended:
        resend.main(str(log.file))
    assert ended.value.code == 3
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert log.file.exists()


def test_no_secret_is_kept_and_it_must_come_from_who_sends(store, tmp_path):
    mlflow.set_tracking_uri("http://me:secret@127.0.0.1:9")
    log = RunLog("0" * 32)
    log.spool("params", {"a": "1"})
    assert "secret" not in log.file.read_text()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    with pytest.raises(
        InputError, match=r"for the store http://me:\*\*\*@127.0.0.1:9, whose secret"
    ):
        spool.resend(log.file)
    mlflow.set_tracking_uri("http://me:other@127.0.0.1:9")
    with pytest.raises(mlflow.MlflowException, match=r"127\.0\.0\.1:9"):
        spool.resend(log.file)
