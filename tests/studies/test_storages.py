"""Storages of studies: which are understood, and what a kill, a full disk or a crowd leaves whole."""

from __future__ import annotations

import contextlib
import multiprocessing
import socket
import threading
import time
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy.exc import OperationalError

from asrl_mlflow.errors import InputError, StorageError
from asrl_mlflow.studies import servers, storages
from asrl_mlflow.studies.storages import default_storage, open_storage
from asrl_mlflow.system.files import create_atomically
from tests.postgres import Postgres

FILES = ["journal:studies.journal", "sqlite:///studies.db"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def study_in():
    """Open a study in a storage; storages are closed at the end."""
    with contextlib.ExitStack() as stack:

        def study(storage):
            found = stack.enter_context(open_storage(storage))
            return optuna.create_study(storage=found, study_name="s", load_if_exists=True)

        yield study


def judged(study, count):
    for _ in range(count):
        trial = study.ask()
        study.tell(trial, trial.suggest_float("x", 0, 1))


@pytest.mark.parametrize("storage", FILES)
def test_a_study_is_found_again_by_its_name_also_from_another_folder(
    study_in, storage, tmp_path, monkeypatch
):
    judged(study_in(storage), 3)
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    kind, _, file = storage.rpartition("/" if "/" in storage else ":")
    absolute = f"{kind}{'//' if 'sqlite' in kind else ':'}{tmp_path}/{file}"
    assert len(study_in(absolute.replace("sqlite:////", "sqlite:///")).trials) == 3


REFUSED = {
    "no form": ("studies.db", "A storage needs the form journal:PATH, sqlite:///PATH, "),
    "no path": ("journal:", "A storage needs the form journal:PATH, sqlite:///PATH, "),
    "memory": ("sqlite://", "A storage needs the form journal:PATH, sqlite:///PATH, "),
    "no URL": ("postgresql+psycopg", "A storage needs the form journal:PATH, "),
    "no driver": ("postgresql+pg8000://u@h/d", "postgresql+pg8000://u@h/d needs a driver that is"),
    "a file that is no journal": (
        "journal:text",
        "text: a journal needs a JSON record in every line; ",
    ),
    "a file that is no database": ("sqlite:///text", "text: must be a SQLite database; got: "),
}


@pytest.mark.parametrize(("storage", "line"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_storage_is_refused_in_one_line(storage, line):
    Path("text").write_text("a,b\n1,2\n3,4\n" * 100)
    with pytest.raises(InputError) as caught:
        open_storage(storage).__enter__()
    assert str(caught.value).removeprefix(f"{Path.cwd()}/").startswith(line)
    assert "\n" not in str(caught.value)
    assert Path("text").read_text() == "a,b\n1,2\n3,4\n" * 100


def test_the_database_of_mlflow_is_left_alone(store):
    before = Path("mlflow.db").read_bytes()
    with pytest.raises(
        InputError, match="studies need a database of their own; got one that is an"
    ):
        open_storage("sqlite:///mlflow.db").__enter__()
    assert Path("mlflow.db").read_bytes() == before


def test_a_database_that_does_not_answer_is_one_line(monkeypatch):
    monkeypatch.setattr("asrl_mlflow.studies.storages._ATTEMPTS", 1)
    with pytest.raises(StorageError) as caught:
        open_storage("postgresql+psycopg://someone:secret@127.0.0.1:9/nowhere").__enter__()
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_default_lies_beside_the_tracking_store():
    assert default_storage("sqlite:///mlflow.db") == "journal:asrl-studies.journal"
    assert default_storage("file:///data/mlruns") == "journal:/data/mlruns/asrl-studies.journal"


TORN = [b'{"op_code": 5, "worker_id": "a', b"\0\0\0\0", b'{"op_code": 5', b"\xff{}\n"]


@pytest.mark.parametrize("torn", TORN)
@pytest.mark.parametrize("relative", [True, False])
def test_a_torn_last_line_is_cut_off_and_kept_beside(study_in, torn, relative, tmp_path, caplog):
    path = "j" if relative else f"{tmp_path}/j"
    judged(study_in(f"journal:{path}"), 2)
    whole = Path("j").read_bytes()
    Path("j").write_bytes(whole + torn)
    study = study_in(f"journal:{path}")
    assert len(study.trials) == 2
    (copy,) = Path().glob("j.torn-*")
    assert copy.read_bytes() == torn
    (note,) = [record.getMessage() for record in caplog.records]
    assert "its last line was not finished" in note
    assert copy.name in note
    judged(study, 1)
    assert len(study_in("journal:j").trials) == 3


def test_a_line_torn_while_others_work_does_not_swallow_the_next_one(study_in):
    one, other = study_in("journal:j"), study_in("journal:j")
    judged(one, 1)
    with Path("j").open("ab") as file:
        file.write(b'{"op_code": 6, "tri')
    judged(other, 1)
    assert len(one.trials) == len(study_in("journal:j").trials) == 2


@pytest.mark.parametrize("opened_before", [True, False])
def test_a_last_record_that_lacks_only_the_end_of_its_line_is_kept(
    study_in, opened_before, tmp_path
):
    judged(study_in("journal:j"), 2)
    study = study_in("journal:j") if opened_before else None
    whole = Path("j").read_bytes()
    Path("j").write_bytes(whole[:-1])
    study = study or study_in("journal:j")
    judged(study, 1)
    assert [trial.state.name for trial in study_in("journal:j").trials] == ["COMPLETE"] * 3
    assert Path("j").read_bytes().startswith(whole)
    assert not list(tmp_path.glob("j.torn-*"))


def test_a_journal_that_is_broken_in_the_middle_is_refused_by_its_name(study_in):
    judged(study_in("journal:j"), 2)
    lines = Path("j").read_bytes().splitlines(keepends=True)
    lines[2] = b"nonsense\n"
    Path("j").write_bytes(b"".join(lines))
    with pytest.raises(InputError, match=r"j: a journal needs .* in line 3; restore the file, or"):
        open_storage("journal:j").__enter__()
    assert Path("j").read_bytes() == b"".join(lines)


def test_a_file_of_one_line_that_is_no_journal_is_not_cut():
    Path("j").write_text("my only copy")
    with pytest.raises(InputError, match="a journal needs JSON records; got another file; name"):
        open_storage("journal:j").__enter__()
    assert Path("j").read_text() == "my only copy"


def test_a_journal_that_was_torn_in_its_first_line_begins_again(study_in):
    Path("j").write_bytes(b'{"op_code":0,"worker_')
    judged(study_in("journal:j"), 1)


@pytest.mark.parametrize("as_link", [True, False])
def test_a_stale_lock_of_another_program_is_not_waited_for(study_in, as_link, caplog):
    lock = Path("j.lock")
    lock.symlink_to("j") if as_link else lock.touch()
    judged(study_in("journal:j"), 1)
    (note,) = [record.getMessage() for record in caplog.records]
    assert "a lock file of another program; not waited for" in note


def work(storage, trials):
    """One of many processes that begin at the same moment."""
    with open_storage(storage) as found:
        study = optuna.create_study(storage=found, study_name="s", load_if_exists=True)
        judged(study, trials)


# Forked from a process that has imported everything and nothing else: a start costs no seconds.
FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(
    ["tests.studies.test_storages", "optuna", "asrl_mlflow.studies.storages"]
)


def crowd(study_in, storage, processes=8, trials=4):
    """Many processes at once on a storage that is not there yet."""
    started = [FORKED.Process(target=work, args=(storage, trials)) for _ in range(processes)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0] * processes
    numbers = [trial.number for trial in study_in(storage).trials]
    assert sorted(numbers) == list(range(processes * trials))


@pytest.mark.parametrize("storage", FILES)
def test_eight_processes_may_begin_at_the_same_moment(study_in, storage):
    crowd(study_in, storage)


@pytest.fixture(scope="module")
def postgres():
    """A PostgreSQL server of our own."""
    server = Postgres()
    yield server
    server.remove()


def test_eight_processes_may_begin_at_the_same_moment_on_postgresql(study_in, postgres):
    crowd(study_in, postgres.url)


def test_a_server_that_is_restarted_is_waited_for(study_in, postgres, caplog):
    study = study_in(postgres.url)
    before = len(study.trials)
    judged(study, 1)
    trial = study.ask()
    postgres.stop()
    again = threading.Timer(0.5, postgres.start)
    again.start()
    study.tell(trial, trial.suggest_float("x", 0, 1))
    judged(study, 1)
    again.join()
    trials = study_in(postgres.url).trials[before:]
    assert [each.state for each in trials] == [TrialState.COMPLETE] * 3
    (note,) = [each.getMessage() for each in caplog.records]
    assert note == "The storage of studies does not answer; it is waited for up to 40 s."


def test_a_connection_may_be_lost_before_any_statement(study_in, postgres, monkeypatch):
    monkeypatch.setattr(servers, "_SECONDS_BETWEEN_CALLS", 0.0)
    study = study_in(postgres.url)
    admin = sqlalchemy.create_engine(postgres.url, isolation_level="AUTOCOMMIT")
    end = sqlalchemy.text("SELECT pg_terminate_backend(:pid)")
    alive = sqlalchemy.text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid")
    seen = lost = 0

    def lose(connection, *_):
        nonlocal seen
        seen += 1
        if seen == lost:
            pid = connection.connection.driver_connection.info.backend_pid
            with admin.connect() as other:
                assert other.scalar(end, {"pid": pid})
                while other.scalar(alive, {"pid": pid}):
                    time.sleep(0.001)

    sqlalchemy.event.listen(study._storage._backend.engine, "before_cursor_execute", lose)
    while seen >= lost:
        seen, lost, before = 0, lost + 1, len(study.trials)
        judged(study, 1)
        ended = [trial for trial in study.trials[before:] if trial.state == TrialState.COMPLETE]
        assert [list(trial.params) for trial in ended] == [["x"]]
    assert lost > 20
    admin.dispose()


def test_a_lost_connection_is_noticed_in_seconds_unless_the_address_says_otherwise(
    postgres, monkeypatch
):
    def settings(url):
        with open_storage(url) as storage, storage.engine.connect() as connection:
            return connection.connection.driver_connection.info.get_parameters()

    usual = settings(postgres.url)
    assert (usual["connect_timeout"], usual["tcp_user_timeout"]) == ("10", "15000")
    assert (usual["keepalives_idle"], usual["keepalives_count"]) == ("5", "2")
    own = settings(f"{postgres.url}&connect_timeout=7&tcp_user_timeout=0")
    assert (own["connect_timeout"], own["tcp_user_timeout"]) == ("7", "0")
    assert own["keepalives_idle"] == "5"
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "8")
    assert settings(postgres.url).get("connect_timeout") == "8"


def test_a_server_that_takes_connections_and_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(storages, "_SECONDS_TO_OPEN", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        url = f"postgresql+psycopg://u:secret@127.0.0.1:{port}/s?connect_timeout=2"
        with pytest.raises(StorageError, match=r"must answer; got: .*timeout") as caught:
            open_storage(url).__enter__()
    assert "secret" not in str(caught.value)


def test_a_server_that_stays_away_ends_the_work(study_in, postgres, monkeypatch):
    monkeypatch.setattr(servers, "_SECONDS_OF_PATIENCE", 0.0)
    study = study_in(postgres.url)
    postgres.stop()
    with pytest.raises(StorageInternalError):
        study.ask()
    postgres.start()


@pytest.mark.parametrize(("state", "values"), [(TrialState.COMPLETE, 3.0), (TrialState.FAIL, None)])
def test_a_trial_is_ended_once_where_the_answer_is_lost(
    study_in, postgres, monkeypatch, state, values
):
    study = study_in(postgres.url)
    trial = study.ask()
    end = RDBStorage.set_trial_state_values
    lost = [OperationalError("update", {}, ConnectionError())]

    def answer_is_lost(*arguments):
        end(*arguments)
        if lost:
            raise StorageInternalError from lost.pop()

    with monkeypatch.context() as patch:
        patch.setattr(RDBStorage, "set_trial_state_values", answer_is_lost)
        patch.setattr(servers, "_SECONDS_BETWEEN_CALLS", 0.0)
        study.tell(trial, values, state=state)
    assert (study.trials[-1].state, study.trials[-1].value) == (state, values)
    with pytest.raises(UpdateFinishedTrialError):
        study._storage.set_trial_state_values(trial._trial_id, TrialState.PRUNED)


def test_a_file_that_was_not_finished_does_not_count(tmp_path):
    class Killed(BaseException):
        pass

    def killed(path):
        path.write_text("half")
        raise Killed

    with pytest.raises(Killed):
        create_atomically(tmp_path / "file", killed)
    assert not (tmp_path / "file").exists()
    create_atomically(tmp_path / "file", lambda path: path.write_text("whole"))
    create_atomically(tmp_path / "file", killed)
    assert (tmp_path / "file").read_text() == "whole"
