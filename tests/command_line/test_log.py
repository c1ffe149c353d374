"""The logger `asrl_mlflow`: what the package says beside a command's output."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest

from tests.processes import ROOT, env

QUICK = ("--rounds=2", "--figures=false")


@pytest.fixture(autouse=True)
def as_before():
    """Commands that a test calls set the level and the handler of the logger."""
    logger = logging.getLogger("asrl_mlflow")
    level, handlers = logger.level, list(logger.handlers)
    yield
    logger.setLevel(level)
    logger.handlers[:] = handlers


def train(**environment):
    return subprocess.run(
        [sys.executable, "-m", "asrl_mlflow", "train", *QUICK],
        env=env() | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_command_says_nothing_but_warnings_unless_it_is_asked_to(store, tmp_path):
    quiet = train(ASRL_LOG_LEVEL="")
    assert (quiet.returncode, "asrl_mlflow" in quiet.stderr) == (0, False), quiet.stderr
    # An extension of no version stands before that which may be compiled.
    (tmp_path / "_asrl_mlflow_kernel.py").write_text("VERSION = 0\n")
    path = f"{tmp_path}{os.pathsep}{ROOT}"
    done = train(ASRL_LOG_LEVEL="info", PYTHONPATH=path)
    said = "asrl_mlflow.residuals.kernel: The passes over the rows are numpy's: those in C are of"
    assert (done.returncode, done.stderr.count(said)) == (0, 1), done.stderr


def test_a_level_that_is_none_is_one_line_and_exit_code_2(flow, store, monkeypatch):
    monkeypatch.setenv("ASRL_LOG_LEVEL", "warnings")
    assert flow("train", *QUICK) == (
        2,
        "",
        "train: ASRL_LOG_LEVEL takes debug, info, warning, error, critical; got 'warnings'; did you mean "
        "'warning'?\n",
    )


@pytest.mark.parametrize(("level", "shown"), [("", True), ("ERROR", False)])
def test_a_command_shows_a_warning_as_one_line_without_a_prefix(
    flow, store, monkeypatch, level, shown
):
    monkeypatch.setenv("ASRL_LOG_LEVEL", level)
    run = store.create_run(store.create_experiment("of a project"))
    store.log_param(run.info.run_id, "storage", "postgresql://me:secret@host/d")
    monkeypatch.setenv("MLFLOW_RUN_ID", run.info.run_id)
    code, _, err = flow("train", *QUICK)
    lines = [line for line in err.splitlines() if "The tracking store shows the secret" in line]
    assert (code, len(lines)) == (0, int(shown))
    assert all(line.startswith("The tracking store") for line in lines)


def test_the_library_alone_adds_no_handler_and_sets_no_level():
    check = (
        "import logging, asrl_mlflow; from asrl_mlflow import train, tracking, tuning, registry; "
        "logger = logging.getLogger('asrl_mlflow'); print(logger.handlers, logger.level)"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.split("\n")[0] == "[] 0"


def test_every_logger_of_the_package_is_below_the_documented_one():
    for path in (ROOT / "asrl_mlflow").rglob("*.py"):
        text = path.read_text()
        own = text.count("logging.getLogger(__name__)") + text.count("logging.getLogger(LOGGER)")
        # What others log is silenced where our own line says it.
        others = sum(
            text.count(f'logging.getLogger("{name}')
            for name in ("mlflow", "alembic", "sqlalchemy", "distributed")
        )
        assert text.count("logging.getLogger(") == own + others, path
