"""Commands that are printed work in the shell that they are typed into."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import mlflow
import pytest

from asrl_mlflow import tracking
from tests.processes import ROOT

UV_RUN = {"UV": "/bin/uv", "UV_RUN_RECURSION_DEPTH": "1"}


@pytest.fixture
def connected(store, monkeypatch):
    """Connect in an environment of its own, started by `mlflow run` or not."""

    def connect(environment, *, is_project):
        for name in ("UV", "UV_RUN_RECURSION_DEPTH"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        if is_project:
            experiment = store.create_experiment("of the project")
            monkeypatch.setenv("MLFLOW_RUN_ID", store.create_run(experiment).info.run_id)
        tracking.connect()

    return connect


@pytest.mark.parametrize(
    ("environment", "is_project", "line"),
    [
        ({}, False, f"{shlex.quote(sys.executable)} -m mlflow ui --backend-store-uri sqlite:///"),
        (UV_RUN, False, "uv run mlflow ui --backend-store-uri"),
        ({"UV": "/bin/uv"}, False, "uvx mlflow ui --backend-store-uri"),
        # Whoever has typed `mlflow run` can type `mlflow ui`.
        ({}, True, "mlflow ui --backend-store-uri"),
        (UV_RUN, True, "uv run mlflow ui --backend-store-uri"),
        ({"UV": "/bin/uv"}, True, "uvx mlflow ui --backend-store-uri"),
    ],
)
def test_the_line_that_opens_the_ui_works_in_the_shell_it_is_typed_into(
    connected, environment, is_project, line
):
    connected(environment, is_project=is_project)
    assert tracking.ui_command().startswith(line)
    page = re.search(
        r"/#/experiments/\d+/runs\?workflowType=machine_learning\b", tracking.ui_command()
    )
    mlflow.set_tracking_uri("http://tracking.example:5000")
    assert tracking.ui_command() == f"http://tracking.example:5000{page[0]}"


def test_the_address_of_a_store_in_a_folder_with_a_blank_is_one_word(connected, tmp_path):
    connected({}, is_project=False)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/my runs/mlflow.db")
    words = shlex.split(tracking.ui_command().partition("   (")[0])
    assert words[-1] == f"sqlite:///{tmp_path}/my runs/mlflow.db"


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        (UV_RUN, "uv run asrl register '--study=my study'"),
        ({}, f"{shlex.quote(sys.executable)} -m asrl_mlflow register '--study=my study'"),
        # Its own tool's environment is on no PATH but this process's.
        (
            {"UV": "/bin/uv"},
            f"{shlex.quote(sys.executable)} -m asrl_mlflow register '--study=my study'",
        ),
    ],
)
def test_a_command_is_that_of_uv_run_or_of_this_interpreter(connected, environment, line):
    connected(environment, is_project=False)
    assert tracking.shell_command("register", "--study=my study") == line


@pytest.mark.parametrize("environment", [{}, UV_RUN])
def test_after_mlflow_run_a_command_names_the_project_s_folder_and_the_store(
    connected, tmp_path, environment
):
    connected(environment, is_project=True)
    assert shlex.split(tracking.shell_command("register", "--study=s")) == [
        f"PYTHONPATH={ROOT}",
        f"MLFLOW_TRACKING_URI=sqlite:///{tmp_path}/mlflow.db",
        *(sys.executable, "-m", "asrl_mlflow", "register", "--study=s"),
    ]
    assert Path(ROOT, "asrl_mlflow/__main__.py").is_file()


def test_a_store_with_a_password_is_named_in_no_command(connected):
    connected({}, is_project=True)
    mlflow.set_tracking_uri("postgresql://me:secret@host/runs")
    line = tracking.shell_command("register", "--study=s")
    assert ("secret" in line, "MLFLOW_TRACKING_URI" in line) == (False, False)
