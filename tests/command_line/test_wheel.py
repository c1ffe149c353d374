"""The installed package works without a clone: a wheel, in an environment of its own, in a folder of the user's."""

from __future__ import annotations

import os
import re
import shutil
import site
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.processes import ROOT

UV = os.environ.get("UV") or shutil.which("uv")
# What a shell has that knows no environment of Python.
BARE = {"PATH": "/usr/bin:/bin", "OMP_WAIT_POLICY": "PASSIVE"}
QUICK = ("--rounds=2", "--figures=false")


def call(*words, **settings):
    done = subprocess.run(words, capture_output=True, text=True, check=False, **settings)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel that the sources make."""
    if UV is None:
        pytest.skip("a wheel is built by uv, and there is none")
    # A copy: whatever a build leaves behind stays there.
    sources = tmp_path_factory.mktemp("sources")
    shutil.copytree(
        ROOT / "asrl_mlflow",
        sources / "asrl_mlflow",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    # Without a compiler: numpy does what the kernel does.
    call(
        UV,
        "build",
        "-q",
        "--wheel",
        "-o",
        sources / "dist",
        cwd=sources,
        env=os.environ | {"CC": "false"},
    )
    (built,) = (sources / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder of the commands of an environment that has the wheel, and behind it what the tests have."""
    environment = tmp_path_factory.mktemp("environment")
    call(UV, "venv", "-q", "--clear", "--python", sys.executable, environment)
    call(UV, "pip", "install", "-q", "--no-deps", "--python", environment / "bin/python", wheel)
    (packages,) = environment.glob("lib/python*/site-packages")
    # Only folders: what these have installed as editable, as this package may be, is not followed.
    (packages / "tests.pth").write_text("\n".join(site.getsitepackages()))
    return environment / "bin"


def test_the_wheel_has_the_commands_and_all_that_pages_are_made_of(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "asrl_mlflow").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in (".c", ".so")
    }
    assert sources - names == set()
    assert not any(name.startswith(("flows", "tests", "benchmarks")) for name in names)


def test_the_installed_package_trains_tunes_and_registers_in_any_folder(installed, tmp_path):
    code = "import asrl_mlflow; print(asrl_mlflow.__file__)"
    where = call(installed / "python", "-c", code, cwd=tmp_path, env=BARE)
    assert Path(where).is_relative_to(installed.parent)
    call(installed / "asrl", "--version", cwd=tmp_path, env=BARE)
    trained = call(installed / "asrl", "train", *QUICK, cwd=tmp_path, env=BARE)
    tuned = call(
        installed / "asrl", "tune", "--trials=1", "--jobs=1", *QUICK, cwd=tmp_path, env=BARE
    )
    for printed in (trained, tuned):
        (line,) = re.findall(r"^Register it: (.*)$", printed, flags=re.MULTILINE)
        # The shell has no environment activated.
        said = call("bash", "-c", line, cwd=tmp_path, env=BARE)
        assert "registered, alias challenger" in said
    assert list(tmp_path.rglob("report.html"))
