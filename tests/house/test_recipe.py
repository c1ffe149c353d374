"""The recipe for many hosts: its files fit each other, and its commands are ones that this package and MLflow take."""

from __future__ import annotations

import configparser
import re
import shlex

import mlflow.environment_variables
import pytest
import yaml
from mlflow.cli import server

from asrl_mlflow.command_line.catalogue import load
from asrl_mlflow.command_line.defaults import variables
from tests.processes import ROOT

FOLDER = ROOT / "docs/how-to/many-hosts"
TEXT = (FOLDER / "compose.yaml").read_text()
RECIPE = yaml.safe_load(TEXT)
SERVICES = RECIPE["services"]
PAGE = (ROOT / "docs/scaling.md").read_text()
ACCOUNTS = configparser.ConfigParser()
ACCOUNTS.read(FOLDER / "basic_auth.ini")


def test_what_the_recipe_asks_for_is_what_the_page_says_to_give_it():
    (given,) = re.findall(r"^```text\n((?:[A-Z_]+=.*\n)+)```", PAGE, flags=re.MULTILINE)
    asked = set(re.findall(r"\$\{(\w+):\?", TEXT))
    assert {line.partition("=")[0] for line in given.splitlines()} == asked
    assert set(re.findall(r"\$\{(\w+)", TEXT)) == asked, "each has to be given"


def test_no_address_has_a_password_and_each_database_is_made():
    addresses = re.findall(r"postgresql\+psycopg://\S+", TEXT)
    addresses.append(ACCOUNTS["mlflow"]["database_uri"])
    made = re.findall(r"CREATE DATABASE (\w+);", (FOLDER / "databases.sql").read_text())
    assert sorted(address.rpartition("/")[2] for address in addresses) == sorted(made)
    assert {address.rpartition("/")[0] for address in addresses} == {
        "postgresql+psycopg://asrl@postgres"
    }


def test_files_that_are_mounted_and_copied_are_there():
    for service in SERVICES.values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (FOLDER / source).is_file()
            elif not source.startswith("$"):
                assert source in RECIPE["volumes"]
    build = SERVICES["worker"]["build"]
    assert (FOLDER / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).parent == FOLDER
    copied = re.findall(r"^COPY (.*) \S+$", (FOLDER / "Dockerfile").read_text(), re.MULTILINE)
    assert all((ROOT / name).exists() for line in copied for name in line.split())


@pytest.mark.parametrize(
    ("service", "program", "command"),
    [("worker", ["asrl", "tune"], load("tune")), ("mlflow", ["mlflow", "server"], server)],
)
def test_its_commands_have_options_and_variables_that_are_known(service, program, command):
    words = shlex.split(SERVICES[service]["command"])
    assert words[:2] == program
    context = command.make_context(command.name, words[2:])
    known = {option.envvar for option in command.params if isinstance(option.envvar, str)}
    known |= {variables("tune", str(option.name))[1] for option in load("tune").params}
    known |= {name for name in vars(mlflow.environment_variables) if name.startswith("MLFLOW_")}
    # Of MLflow's forms, which it reads by itself, of PostgreSQL's library and of OpenMP.
    known |= {"MLFLOW_FLASK_SERVER_SECRET_KEY", "PGPASSWORD", "OMP_NUM_THREADS"}
    assert set(SERVICES[service]["environment"]) <= known
    assert context.params.get("trials", 200) == 200


def test_the_server_takes_the_name_that_the_workers_ask_for():
    (allowed,) = re.findall(r"--allowed-hosts=(\S+)", SERVICES["mlflow"]["command"])
    address = SERVICES["worker"]["environment"]["MLFLOW_TRACKING_URI"]
    assert address.removeprefix("http://") in allowed.split(",")
