"""The house: floors, laziness, one truth about options and versions, docstrings that run."""

from __future__ import annotations

import ast
import doctest
import importlib
import importlib.metadata
import inspect
import re
import subprocess
import sys
import tomllib

import pytest
import xgboost
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import asrl_mlflow
from tests.conftest import FLOWS
from tests.processes import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MLPROJECT = yaml.safe_load((ROOT / "MLproject").read_text())
CONDA = yaml.safe_load((ROOT / "conda.yaml").read_text())

# From the top floor to the ground: a room may import from its own floor's rooms and from floors below.
FLOORS = (
    ("__main__", "flows"),
    ("mlflow", "plugins"),
    ("command_line",),
    ("comparisons", "tuning"),
    ("reports",),
    ("experiments",),
    ("diagnosis", "serving"),
    ("registry",),
    ("records",),
    ("distributed", "estimators"),
    ("intervals",),
    ("figures", "tracking", "boosting"),
    ("rounds", "studies"),
    ("losses", "metrics"),
    ("datasets",),
    ("residuals",),
    ("cards", "system"),
    ("errors",),
)
# Rooms of one floor do not import each other.
GROUND = {"numpy", "asrl_mlflow"} | set(sys.stdlib_module_names)
NUMPY_ONLY = {"losses", "metrics", "residuals", "rounds"}


def room(name):
    """The room of a module: its package, or the module itself where it stands at the root."""
    parts = name.split(".")
    return "flows" if parts[0] == "flows" else parts[1]


def floor(name):
    return next(number for number, rooms in enumerate(reversed(FLOORS)) if name in rooms)


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


ROOMS = {each for floor_ in FLOORS for each in floor_}
MODULES = [
    path
    for folder in ("asrl_mlflow", "flows")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path != ROOT / "asrl_mlflow/__init__.py"
]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down_only(path):
    here = room(module_name(path))
    for name in imports(path):
        if name.split(".")[0] not in ("asrl_mlflow", "flows") or name == "asrl_mlflow":
            continue
        there = room(name)
        if name == "asrl_mlflow.train":
            there = "boosting"
        if there not in ROOMS:
            assert hasattr(asrl_mlflow, there), f"{here} imports {name}, which is no room"
            continue
        assert there == here or floor(there) < floor(here), f"{here} imports {there}, not below it"
    if here in NUMPY_ONLY:
        assert {name.split(".")[0] for name in imports(path)} <= GROUND


def test_every_room_is_on_a_floor():
    assert {room(module_name(path)) for path in MODULES} == ROOMS


def test_the_picture_of_the_floors_is_that_of_this_test():
    page = (ROOT / "CONTRIBUTING.md").read_text()
    picture = re.search(r"^```mermaid\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)[1]
    shown = re.findall(r'^    f\d+\["(.*)"\]$', picture, flags=re.MULTILINE)
    assert [tuple(each.split(" · ")) for each in shown] == list(FLOORS)


def test_no_folder_has_more_than_about_a_dozen_entries():
    folders = {path.parent for path in (ROOT / "asrl_mlflow").rglob("*.py")}
    assert len(folders) > 10
    for folder in folders - {ROOT / "asrl_mlflow"}:
        entries = [each for each in folder.iterdir() if each.name != "__pycache__"]
        assert len(entries) <= 14, folder


def test_importing_the_package_imports_none_of_the_heavy_libraries():
    check = (
        "import sys, asrl_mlflow; "
        "print({'xgboost', 'mlflow', 'optuna', 'matplotlib', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "set()"


def test_the_names_of_the_contract_can_be_imported():
    for name in asrl_mlflow.__all__:
        assert getattr(asrl_mlflow, name) is not None
    assert set(asrl_mlflow.__all__) <= set(dir(asrl_mlflow))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        asrl_mlflow.nothing  # noqa: B018 - the access is the test


def test_train_has_the_signature_of_the_contract():
    keywords = [
        *("loss", "evals", "early_stopping_rounds", "metric", "on_round", "callbacks"),
        *("evals_result", "xgb_model", "verbose_eval"),
    ]
    parameters = inspect.signature(asrl_mlflow.train).parameters
    assert list(parameters)[:12] == ["params", "dtrain", "num_boost_round", *keywords]
    assert {parameters[name].kind for name in keywords} == {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize(("entry_point", "flow"), FLOWS.items(), ids=FLOWS)
def test_mlproject_offers_the_options_of_the_flow_with_their_defaults(entry_point, flow):
    offered = MLPROJECT["entry_points"][entry_point]
    options = {option.opts[0]: option for option in flow.command.params}
    names = {name: f"--{name.replace('_', '-')}" for name in offered["parameters"]}
    assert set(names.values()) == set(options)
    in_order = [(option, name) for option in options for name in names if names[name] == option]
    for name, option in names.items():
        default = offered["parameters"][name]["default"]
        own = options[option].default
        assert default == (own if isinstance(own, str | int | float) else ""), name
    words = offered["command"].split()
    assert words[:3] == ["python", "-m", f"flows.{entry_point}"]
    # A bare {p} is quoted by MLflow; quotes around it would be a hole in the shell.
    assert words[3:] == [f"{option}={{{name}}}" for option, name in in_order]


def test_every_flow_is_an_entry_point():
    assert set(MLPROJECT["entry_points"]) == set(FLOWS)
    assert len(FLOWS) >= 7


def test_conda_pins_what_pyproject_allows_and_nothing_is_missing():
    python, rest = CONDA["dependencies"]
    version = re.fullmatch(r"python=(3\.\d+)", python)[1]
    assert Version(version) in SpecifierSet(PYPROJECT["project"]["requires-python"])
    pins = {}
    for line in rest["pip"][:-1]:
        name, version = line.split("==")
        pins[name] = version
    assert rest["pip"][-1] == "."
    bounds = {
        req.name: req.specifier for req in map(Requirement, PYPROJECT["project"]["dependencies"])
    }
    assert set(pins) == set(bounds)
    for name, version in pins.items():
        assert Version(version) in bounds[name], name


def test_every_dependency_and_every_exception_has_its_reason():
    text = (ROOT / "pyproject.toml").read_text()
    bounds = [line for line in text.splitlines() if re.search(r'"[\w-]*(\[|>=|<|==)', line)]
    bounded = [*PYPROJECT["project"]["dependencies"], *PYPROJECT["build-system"]["requires"]]
    for group in ("test", "lint", "docs", "browser"):
        bounded += PYPROJECT["dependency-groups"][group]
    for extra in ("dask", "postgres", "rivals", "signing", "spark"):
        bounded += PYPROJECT["project"]["optional-dependencies"][extra]
    assert len(bounds) == len(bounded) + 1, "every bound and requires-python, a line each"
    ignored = re.findall(r'^    "[A-Z]+\d*",.*$', text, flags=re.MULTILINE)
    assert len(ignored) > 10
    for line in [*bounds, *ignored]:
        assert re.search(r"#\s*\S+ \S+", line), line
    for path in [*MODULES, *(ROOT / "tests").glob("*.py")]:
        for line in path.read_text().splitlines():
            comment = re.search(r"#\s*(noqa|type: ignore)(.*)", line)
            if comment and "re.search" not in line:
                reason = re.search(r"( - |  # )\S+", comment[2])
                assert reason, f"{path.name}: {line.strip()}"


NAMES = [
    "asrl_mlflow." + ".".join(path.relative_to(ROOT / "asrl_mlflow").with_suffix("").parts)
    for path in MODULES
    if path.is_relative_to(ROOT / "asrl_mlflow")
]
# Trees that choose splits by gradients of their own came with XGBoost 3.2.
if Version(xgboost.__version__) < Version("3.2"):
    NAMES.remove("asrl_mlflow.boosting.several_targets.splits")
# Workers need XGBoost 3.4, and Dask comes with the tests where that can be installed.
if Version(xgboost.__version__) < Version("3.4"):
    of_dask = (
        "distributed",
        "experiments.cluster",
        "experiments.trials.cluster",
        "system.clusters",
    )
    NAMES = [
        name
        for name in NAMES
        if not name.startswith(tuple(f"asrl_mlflow.{each}" for each in of_dask))
    ]


@pytest.mark.parametrize("name", [name.removesuffix(".__init__") for name in NAMES])
def test_the_examples_in_docstrings_run(name, store, forgetful):
    result = doctest.testmod(
        importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE
    )
    assert result.failed == 0


def test_every_public_function_and_class_has_a_docstring():
    for name in NAMES:
        module = importlib.import_module(name.removesuffix(".__init__"))
        for key, value in vars(module).items():
            if inspect.isfunction(value) or inspect.isclass(value):
                own = value.__module__ == module.__name__ and not key.startswith("_")
                assert not own or inspect.getdoc(value), f"{name}.{key}"


def test_the_installed_version_is_the_one_of_pyproject():
    assert importlib.metadata.version("asrl-mlflow") == PYPROJECT["project"]["version"]
