"""A line that is printed can be typed where it is printed: each is run as it stands, by a shell of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

from asrl_mlflow import registry
from tests.processes import ROOT

QUICK = ("--rounds=2", "--figures=false")
# What a shell has that knows no environment of Python.
BARE = {"PATH": "/usr/bin:/bin", "HOME": "/nowhere", "OMP_WAIT_POLICY": "PASSIVE"}


def call(*words, **settings):
    done = subprocess.run(words, capture_output=True, text=True, check=False, **settings)
    assert done.returncode == 0, done.stderr
    return done.stdout


def register_line(printed):
    return re.search(r"^Register it: (.*)$", printed, flags=re.MULTILINE)[1]


def type_in(line, folder, **environment):
    """Type a line into a shell that is in a folder."""
    return call("bash", "-c", line, cwd=folder, env={**BARE, **environment})


@pytest.mark.parametrize("door", ["flows.train", "asrl_mlflow"])
def test_in_a_clone_the_line_works_whatever_environment_the_shell_has(tmp_path, door):
    clone = tmp_path / "clone"
    for name in ("asrl_mlflow", "flows"):
        shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
    words = ("train", *QUICK) if door == "asrl_mlflow" else QUICK
    printed = call(sys.executable, "-m", door, *words, cwd=clone, env=BARE)
    assert "registered, alias challenger" in type_in(register_line(printed), clone)


def test_under_uv_run_the_line_has_uv_run_in_front_and_works_behind_it(store, tmp_path):
    environment = os.environ | {"UV": "uv", "UV_RUN_RECURSION_DEPTH": "1", "PYTHONPATH": str(ROOT)}
    printed = call(sys.executable, "-m", "asrl_mlflow", "train", *QUICK, env=environment)
    line = register_line(printed)
    assert line.startswith("uv run asrl register --run-id=")
    # uv itself would make an environment first; a stand-in finds what this one has.
    stand_in = tmp_path / "bin"
    stand_in.mkdir()
    (stand_in / "uv").write_text('#!/bin/sh\nshift\nexec "$@"\n')
    (stand_in / "asrl").write_text(f'#!/bin/sh\nexec {sys.executable} -m asrl_mlflow "$@"\n')
    for each in stand_in.iterdir():
        each.chmod(0o755)
    out = type_in(line, tmp_path, PATH=f"{stand_in}:{BARE['PATH']}", PYTHONPATH=str(ROOT))
    assert "registered, alias challenger" in out


def test_after_mlflow_run_of_a_repository_the_line_works_in_any_folder(store, tmp_path):
    repository, elsewhere = tmp_path / "repository", tmp_path / "elsewhere"
    repository.mkdir()
    elsewhere.mkdir()
    for name in ("asrl_mlflow", "flows"):
        shutil.copytree(
            ROOT / name, repository / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("MLproject", "conda.yaml"):
        shutil.copy(ROOT / name, repository)
    who = ("-c", "user.name=me", "-c", "user.email=me@example.org")
    for words in (("init", "-q"), ("add", "."), (*who, "commit", "-qm", "all")):
        call("git", *words, cwd=repository)
    address = "https://git.example/asrl-mlflow"
    environment = BARE | {
        "PATH": f"{Path(sys.executable).parent}:{BARE['PATH']}",
        "MLFLOW_TRACKING_URI": mlflow.get_tracking_uri(),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{repository.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": address,
    }
    options = ("-e", "train", "-P", "rounds=2", "-P", "figures=false", "--env-manager", "local")
    mlflow_run = (sys.executable, "-m", "mlflow", "run", address, *options)
    printed = call(*mlflow_run, cwd=elsewhere, env=environment)
    line = register_line(printed)
    clone = re.match(r"PYTHONPATH=(\S+) ", line)[1]
    assert Path(clone) != repository
    assert (Path(clone) / "flows/train.py").is_file()
    # The store is named in the line: that shell knows nothing of it.
    assert "registered, alias challenger" in type_in(line, elsewhere)
    assert registry.find("models:/asrl-diabetes@challenger").version == "1"
    shutil.rmtree(clone)
