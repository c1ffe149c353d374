"""Defaults of options: the command line comes first, then the environment, then the table, then what is built in."""

from __future__ import annotations

import os

import click
import pytest

from asrl_mlflow.command_line.catalogue import COMMANDS, keys_of, load
from asrl_mlflow.command_line.defaults import variables
from asrl_mlflow.errors import InputError
from tests.stores import runs

# Read by others than options.
OTHERS = {"ASRL_DATA_DIR", "ASRL_LOG_LEVEL"}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Work in an empty folder of a project, with this table, and without any variable of ours."""
    for name in set(os.environ) - OTHERS:
        if name.startswith("ASRL_"):
            monkeypatch.delenv(name)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    def write(text):
        path = tmp_path / "pyproject.toml"
        path.write_text(text)
        return path

    return write


def values(name, *words):
    return load(name).make_context(name, list(words)).params


LAYERS = [
    # Each comes before those that follow it.
    ("typed", 7),
    ("variable of the command", 6),
    ("variable of all commands", 5),
    ("table of the command", 4),
    ("table of all commands", 3),
    ("built in", 100),
]


@pytest.mark.parametrize("first", range(len(LAYERS)), ids=[layer for layer, _ in LAYERS])
def test_the_nearer_default_wins(project, monkeypatch, first):
    there = {layer for layer, _ in LAYERS[first:]}
    if "variable of the command" in there:
        monkeypatch.setenv("ASRL_TRAIN_ROUNDS", "6")
    if "variable of all commands" in there:
        monkeypatch.setenv("ASRL_ROUNDS", "5")
    text = "[tool.asrl-mlflow]\nrounds = 3\n" if "table of all commands" in there else ""
    if "table of the command" in there:
        text += "[tool.asrl-mlflow.train]\nrounds = 4\n"
    project(text)
    words = ["--rounds=7"] if "typed" in there else []
    assert values("train", *words)["rounds"] == LAYERS[first][1]


def test_what_is_said_of_another_command_is_not_said_of_this_one(project, monkeypatch):
    monkeypatch.setenv("ASRL_TUNE_ROUNDS", "6")
    project("[tool.asrl-mlflow]\ntrials = 9\n[tool.asrl-mlflow.compare]\nrounds = 4\n")
    assert values("train")["rounds"] == 100
    assert (values("tune")["rounds"], values("tune")["trials"]) == (6, 9)


def test_an_empty_value_means_unset_and_goes_on_to_the_next_default(project, monkeypatch):
    monkeypatch.setenv("ASRL_TRAIN_ROUNDS", "")
    project('[tool.asrl-mlflow]\nrounds = 3\n[tool.asrl-mlflow.train]\ntarget = ""\n')
    assert values("train", "--rounds=", "--target=")["rounds"] == 3
    assert values("train")["target"] is None


def test_the_table_has_text_numbers_truths_and_lists(project):
    project(
        "[tool.asrl-mlflow]\nlearning-rate = 0.05\nfigures = false\ndrop = ['a', 'b, c']\n"
        "losses = ['huber', 'asrl_c']\nloss-params = 'q_low=0.6'\n"
    )
    trained, compared = values("train"), values("compare")
    assert (trained["learning_rate"], trained["figures"]) == (0.05, False)
    assert trained["drop"] == ("a", "b, c")
    assert trained["loss_params"] == {"q_low": 0.6}
    assert [loss.name for loss in compared["losses"]] == ["huber", "asrl_c"]


def test_the_nearest_pyproject_counts_and_no_other(project, tmp_path):
    project("[tool.asrl-mlflow]\nrounds = 3\n")
    assert values("train")["rounds"] == 3
    (tmp_path / "work/pyproject.toml").write_text("[project]\nname = 'mine'\n")
    assert values("train")["rounds"] == 100


UNREADABLE = {
    "a key that is misspelt": (
        "[tool.asrl-mlflow]\nround = 3",
        ["[tool.asrl-mlflow] of ", "got 'round'; did you mean 'rounds'?"],
    ),
    "a key of another command": (
        "[tool.asrl-mlflow.train]\ntrials = 3",
        ["[tool.asrl-mlflow.train] of ", "takes data, target, ", "got 'trials'; "],
    ),
    "a command that is misspelt": (
        "[tool.asrl-mlflow.trian]\nrounds = 3",
        ["[tool.asrl-mlflow] of ", "got 'trian'; did you mean 'train'?"],
    ),
    "a key with nothing like it": (
        "[tool.asrl-mlflow]\nxyzzy = 3",
        ["got 'xyzzy'; leave it out."],
    ),
    "a command that is no table": ("[tool.asrl-mlflow]\ntrain = 3", ["must be a table", "got 3"]),
    "a value that is a table": (
        "[tool.asrl-mlflow]\nrounds = {a = 1}",
        ["rounds takes text, a number, true, false, or a list of them; got {'a': 1}"],
    ),
    "a date": ("[tool.asrl-mlflow]\ntarget = 2024-01-01", ["target takes text, a number"]),
    "no number": (
        "[tool.asrl-mlflow]\nrounds = 'many'",
        ["Invalid value for rounds in [tool.asrl-mlflow] of ", "'many' is not a valid integer"],
    ),
    "a number out of range": (
        "[tool.asrl-mlflow.train]\nrounds = 0",
        ["rounds in [tool.asrl-mlflow.train] of ", "0 is not in the range x>=1."],
    ),
    "a table that is none": ("[tool]\nasrl-mlflow = 3", ["asrl-mlflow must be a table; got 3"]),
    "no TOML": ("[tool.asrl-mlflow\n", ["must be TOML"]),
    "tool that is no table": ("tool = 3", ["must be TOML with tables"]),
}


@pytest.mark.parametrize(("text", "said"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_table_that_cannot_be_read_is_one_line_that_names_file_and_key(
    flow, store, project, text, said
):
    path = project(text)
    code, out, err = flow("train")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("train: ")
    for part in (str(path), *said):
        assert part in err
    assert runs(store) == ([], [])


def test_a_variable_that_cannot_be_read_is_named_in_one_line(flow, store, project, monkeypatch):
    monkeypatch.setenv("ASRL_ROUNDS", "many")
    code, _, err = flow("train")
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("train: Invalid value for ASRL_ROUNDS: 'many' is not a valid integer")


def test_a_variable_that_is_nearly_an_option_s_is_warned_of(project, monkeypatch, caplog):
    for name in ("ASRL_ROUDNS", "ASRL_TRAIN_ROUNDS", "ASRL_SOMETHING_ELSE"):
        monkeypatch.setenv(name, "6")
    assert values("train")["rounds"] == 6
    assert caplog.messages == ["ASRL_ROUDNS sets no option; did you mean ASRL_ROUNDS?"]


def test_a_required_option_may_come_from_the_environment(project, monkeypatch):
    monkeypatch.setenv("ASRL_MODEL_URI", "models:/m/1")
    assert values("serve")["model_uri"] == "models:/m/1"


def test_help_says_where_a_default_comes_from_and_hides_passwords(project, monkeypatch):
    project("[tool.asrl-mlflow.tune]\nrounds = 4\n")
    monkeypatch.setenv("ASRL_STORAGE", "postgresql+psycopg://me:secret@host/studies")
    monkeypatch.setenv("ASRL_LOSS", "huber")
    command = load("tune")
    with pytest.raises(click.exceptions.Exit):
        command.make_context("tune", ["--help"])
    context = command.make_context("tune", [])
    told = " ".join(command.get_help(context).split())
    assert "[default: 4, from pyproject.toml; x>=1]" in told
    assert "[default: huber, from ASRL_LOSS]" in told
    assert ("secret" in told, "psycopg://me:***@host/studies, from ASRL_STORAGE" in told) == (
        False,
        True,
    )
    assert "Defaults can be set: in ASRL_TUNE_<OPTION> or ASRL_<OPTION>, and under" in told


def test_a_default_from_elsewhere_is_part_of_the_command_that_reproduces_a_run(
    flow, store, project, monkeypatch
):
    project("[tool.asrl-mlflow]\nrounds = 2\nfigures = false\n")
    monkeypatch.setenv("ASRL_LOSSES", "huber")
    # Of this host, not of the result.
    monkeypatch.setenv("ASRL_STORAGE", "postgresql://me:secret@host/d")
    assert flow("compare", "--seed=3")[0] == 0
    (parent,), (child,) = runs(store)
    command = "asrl compare --seed=3 --losses=huber --rounds=2 --figures=false"
    assert parent.data.tags["asrl.command"] == command
    assert child.data.params["booster.num_boost_round"] == "2"


def test_the_paper_s_preset_goes_over_defaults_and_refuses_only_what_is_typed(
    flow, store, project, monkeypatch
):
    monkeypatch.setenv("ASRL_ROUNDS", "5")
    refused = "compare: --preset=paper sets everything but data and figures; got --max-depth"
    code, _, err = flow("compare", "--preset=paper", "--data=all", "--max-depth=4")
    assert (code, err.startswith(refused)) == (2, True)
    # Not the rounds: the data are what is wrong here.
    code, _, err = flow("compare", "--preset=paper", "--data=diabetes")
    assert err.startswith("compare: --preset=paper needs --data=all or one of california")


def test_no_two_options_share_a_variable():
    found = {}
    for command in COMMANDS:
        for key in keys_of(load(command)):
            own, shared = variables(command, key)
            assert found.setdefault(own, key) == key
            assert found.setdefault(shared, key) == key
            assert not {own, shared} & OTHERS


def test_a_command_without_a_table_of_its_own_reads_no_other_command_s(project):
    project("[tool.asrl-mlflow.tune]\nnonsense = 1\n")
    assert values("train")["rounds"] == 100
    with pytest.raises(InputError, match="nonsense"):
        values("tune")
