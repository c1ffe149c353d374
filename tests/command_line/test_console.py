"""The command `asrl`: what it says of itself, and that every command is the same through both doors."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from importlib.metadata import version
from inspect import getdoc

import pytest

from asrl_mlflow.command_line.catalogue import COMMANDS, load
from tests.conftest import FLOWS
from tests.processes import ROOT, env, spawn
from tests.stores import runs

QUICK = ("--rounds=2", "--figures=false")


def asrl(*words, **settings):
    return subprocess.run(
        [sys.executable, "-m", "asrl_mlflow", *words],
        capture_output=True,
        text=True,
        check=False,
        **settings,
    )


def test_every_flow_is_a_command_of_asrl_and_has_the_summary_of_its_help():
    assert set(COMMANDS) == set(FLOWS)
    for name, summary in COMMANDS.items():
        assert FLOWS[name].command is load(name)
        assert getdoc(FLOWS[name].command.callback).splitlines()[0] == summary


@pytest.mark.parametrize("option", [(), ("--help",)])
def test_help_names_every_command_and_imports_none_of_the_heavy_libraries(option):
    heavy = {"numpy", "pandas", "xgboost", "mlflow", "optuna", "matplotlib"}
    check = (
        "import atexit, sys; from asrl_mlflow.__main__ import main; "
        f"sys.argv = {['asrl', *option]}; "
        # Called before the process is left, as it was registered later.
        "from asrl_mlflow.command_line import process; leave = process.leave; "
        f"process.leave = lambda code: (print({heavy} & set(sys.modules)), leave(code)); main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.splitlines()[-1] == "set()"
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)


def test_versions_are_those_that_are_installed():
    done = asrl("--version", cwd=ROOT)
    names = ("asrl-mlflow", "xgboost", "mlflow", "optuna")
    expected = ", ".join(f"{name} {version(name)}" for name in names)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{expected}\n", "")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["trian"], "asrl: A command needs one of the names main, train, "),
        (["--verison"], "asrl: No such option"),
        (["train", "--rounds=0"], "asrl train: Invalid value for '--rounds': 0 is not in"),
        (["predict", "--data=a.csv"], "asrl predict: Missing option '--model-uri'."),
    ],
)
def test_an_error_is_one_line_with_the_name_of_the_command_and_exit_code_2(words, line):
    done = asrl(*words, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(line)


def test_a_misspelt_command_is_told_the_one_that_is_like_it():
    assert asrl("trian", cwd=ROOT).stderr.endswith("; got 'trian'; did you mean 'train'?\n")


def test_a_command_of_asrl_trains_and_prints_as_the_flow_does(store):
    done = asrl("train", *QUICK, env=env())
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert done.stdout.splitlines()[0].startswith("diabetes: 442 rows")
    (run,), _ = runs(store)
    assert (run.info.status, run.data.tags["asrl.flow"]) == ("FINISHED", "train")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_a_command_is_imported_is_one_line_and_128_plus_its_number(store, number):
    process = spawn("asrl_mlflow", "train", *QUICK, stderr=subprocess.PIPE)
    time.sleep(0.5)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    said = f"asrl train: Interrupted by {signal.Signals(number).name}; no run was open.\n"
    assert (process.returncode, err) == (128 + number, said)
    assert runs(store) == ([], [])


def test_a_signal_while_a_command_trains_leaves_a_killed_run_and_one_line(store):
    process = spawn("asrl_mlflow", "train", "--rounds=100000", stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not any(
        "train.mae" in run.data.metrics for run in runs(store)[0]
    ):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    said = "asrl train: Interrupted by SIGTERM; unfinished runs are KILLED; See every run: "
    assert (process.returncode, said in err, "Traceback" in err) == (143, True, False), err
    assert [run.info.status for run in runs(store)[0]] == ["KILLED"]
