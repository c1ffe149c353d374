"""The page of settings says what the code reads."""

from __future__ import annotations

import logging
import re
import tomllib

import pytest

from asrl_mlflow.command_line import log
from asrl_mlflow.command_line.catalogue import COMMANDS, keys_of, load
from asrl_mlflow.command_line.defaults import TABLE, find_defaults, variables
from tests.processes import ROOT

PAGE = (ROOT / "docs/how-to/track/settings.md").read_text()
OTHERS = PAGE.partition("## Other variables")[2].partition("## Completion")[0]


def test_the_table_of_options_is_that_of_the_commands():
    having = {}
    for command in COMMANDS:
        for key in keys_of(load(command)):
            having.setdefault(key, []).append(command)
    rows = [
        f"| `--{key}` | `{variables('any', key)[1]}` | `{key}` | {', '.join(commands)} |"
        for key, commands in having.items()
    ]
    assert "\n".join(["|---|---|---|---|", *rows, ""]) in PAGE


def test_every_other_variable_that_the_package_reads_is_on_the_page():
    options = {
        name
        for command in COMMANDS
        for key in keys_of(load(command))
        for name in variables(command, key)
    }
    read = set()
    for path in (ROOT / "asrl_mlflow").rglob("*.py"):
        text = path.read_text()
        read |= set(re.findall(r"\b_?ASRL_[A-Z_]+\b", text)) - options
        for name in re.findall(r"environ(?:\.get\(|\[)?\"([A-Z_]+)\"", text):
            read.add(name)
        read |= set(re.findall(r"\"([A-Z_]+)\" (?:not )?in os\.environ", text))
    # How names are made, and the examples of docstrings.
    read = {name for name in read if not name.endswith("_")}
    assert {"ASRL_DATA_DIR", "ASRL_LOG_LEVEL", "OMP_NUM_THREADS", "XDG_CACHE_HOME", "UV"} <= read
    assert {name for name in read if f"`{name}`" not in OTHERS} == set()


def test_the_example_of_a_table_is_one_that_every_command_takes(tmp_path, monkeypatch):
    (example,) = re.findall(r"^```toml\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert TABLE.split(".")[1] in tomllib.loads(example)["tool"]
    (tmp_path / "pyproject.toml").write_text(example)
    monkeypatch.chdir(tmp_path)
    found = {name: find_defaults(load(name)) for name in COMMANDS}
    assert found["train"]["drop"].text == "id,name"
    assert found["tune"]["trials"].text == "200"
    assert "trials" not in found["main"]


@pytest.mark.parametrize("level", log._LEVELS)
def test_every_level_is_on_the_page(level):
    assert f"`{level}`" in OTHERS
    assert log._LEVELS[level] == getattr(logging, level.upper())
