"""Completion: what a shell is told, asked in click's own way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from click.shell_completion import ShellComplete

from asrl_mlflow import losses
from asrl_mlflow.command_line.catalogue import COMMANDS
from asrl_mlflow.command_line.console import asrl
from tests.processes import ROOT


def complete(*words):
    """What the last word, which is not finished, can become."""
    shell = ShellComplete(asrl, {}, "asrl", "_ASRL_COMPLETE")
    return [(item.type, item.value) for item in shell.get_completions(list(words[:-1]), words[-1])]


def plain(*words):
    return [value for kind, value in complete(*words) if kind == "plain"]


def test_commands_are_completed_without_importing_any():
    check = (
        "import sys; from click.shell_completion import ShellComplete; "
        "from asrl_mlflow.command_line.console import asrl; "
        "items = ShellComplete(asrl, {}, 'asrl', 'X').get_completions([], ''); "
        "print(*[item.value for item in items]); "
        "print({'numpy', 'mlflow', 'xgboost'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.splitlines() == [" ".join(COMMANDS), "set()"]


def test_options_are_those_of_the_command():
    assert plain("trian", "--") == plain("--") == ["--version", "--help"]
    assert plain("train", "--loss") == ["--loss", "--loss-params"]
    assert "--trials" in plain("tune", "--tr")


@pytest.mark.parametrize("words", [("--loss", "as"), ("--loss=as",)])
def test_a_loss_is_completed_behind_a_blank_and_behind_an_equals_sign(words):
    assert plain("train", *words) == ["asrl", "asrl_c"]


def test_every_loss_is_offered():
    offered = plain("train", "--loss", "")
    assert offered == [*losses.LOSSES, "auto", *losses.CLASSIFICATION_LOSSES]


def test_of_several_losses_the_last_is_completed_and_none_is_offered_twice():
    assert plain("compare", "--losses", "huber,adaptive_h") == ["huber,adaptive_huber"]
    assert plain("compare", "--losses", "huber,hub") == []
    assert plain("compare", "--losses", "ba") == ["barron", "basic"]
    assert "huber,basic" not in plain("compare", "--losses", "huber,")


def test_a_table_is_a_name_or_a_file():
    assert complete("train", "--data", "di") == [
        ("file", "di"),
        ("plain", "diabetes"),
        ("plain", "digits"),
    ]
    assert complete("predict", "--data", "di") == [("file", "di")]


def test_kinds_of_contamination_metrics_and_switches_are_completed():
    assert plain("train", "--contaminate-kind", "flip") == ["flip", "flip_next"]
    assert plain("tune", "--metric", "tr") == ["trimmed_mae"]
    assert plain("train", "--figures", "") == ["true", "false"]


def test_registered_models_of_a_store_that_is_a_file_are_completed(store, monkeypatch):
    store.create_registered_model("asrl-mine")
    store.create_registered_model("asrl-other")
    store.create_model_version("asrl-mine", "file:///nowhere")
    store.set_registered_model_alias("asrl-mine", "champion", "1")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert plain("register", "--registered-model", "asrl-m") == ["asrl-mine"]
    assert plain("predict", "--model-uri", "") == ["models:/asrl-mine@champion"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow.get_tracking_uri())
    assert plain("main", "--registered-model", "") == ["asrl-mine", "asrl-other"]


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "sqlite:///not-there.db"])
def test_no_server_is_waited_for_and_no_database_is_made(store, monkeypatch, address):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    before = sorted(Path.cwd().iterdir())
    assert plain("register", "--registered-model", "") == []
    assert sorted(Path.cwd().iterdir()) == before


def test_a_database_of_another_kind_completes_to_nothing(store, monkeypatch, tmp_path, capfd):
    (tmp_path / "other.db").write_text("no database")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/other.db")
    assert plain("register", "--registered-model", "") == []
    assert capfd.readouterr() == ("", "")


def test_a_table_of_defaults_that_cannot_be_read_does_not_disturb_what_is_typed(
    tmp_path, monkeypatch
):
    (tmp_path / "pyproject.toml").write_text("[tool.asrl-mlflow]\nround = 3\n")
    monkeypatch.chdir(tmp_path)
    assert plain("train", "--loss", "hub") == ["huber"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_asrl_prints_the_script_that_a_shell_needs(shell):
    done = subprocess.run(
        [sys.executable, "-m", "asrl_mlflow"],
        env=os.environ | {"_ASRL_COMPLETE": f"{shell}_source"},
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"_ASRL_COMPLETE={shell}_complete" in done.stdout


def test_bash_completes_a_word_with_that_script(tmp_path):
    (tmp_path / "asrl").write_text(f'#!/bin/sh\nexec {sys.executable} -m asrl_mlflow "$@"\n')
    (tmp_path / "asrl").chmod(0o755)
    typed = (
        'eval "$(_ASRL_COMPLETE=bash_source asrl)"; COMP_WORDS=(asrl train --loss = hub); COMP_CWORD=4; '
        '_asrl_completion asrl; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", typed],  # noqa: S607 - whatever shell there is
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert (done.stdout, done.stderr) == ("huber\n", "")
