"""README and pages: their Python runs, their tables are what the code prints, their keys are logged.

Their shell commands run in CI, all of them in one clone, the README first.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import xgboost
from packaging.version import Version

import asrl_mlflow.mlflow as flavor
from asrl_mlflow import losses, tracking
from asrl_mlflow.command_line.commands import main, train
from asrl_mlflow.datasets import Contamination
from asrl_mlflow.losses import catalogue
from asrl_mlflow.tuning.choice import Candidate, Choice, Errors
from tests.stores import runs

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
LOSSES_PAGE = (ROOT / "docs/explanation/losses.md").read_text()
CLASSES_PAGE = (ROOT / "docs/explanation/losses-for-classes.md").read_text()
KEYS_PAGE = (ROOT / "docs/reference/mlflow.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# That of the pages' numbers.
NEWEST = Version(xgboost.__version__) >= Version("3.4")

MAIN_ROWS = {
    *losses.BASIC,
    "asrl_c auto",
    *(f"{loss.name} tuned" for loss in main.SETUPS["regression"].tuned),
}


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)


def run_python(page):
    namespace = {}
    for block in blocks(page.read_text(), "python"):
        exec(compile(block, page.name, "exec"), namespace)  # noqa: S102 - the readers' words


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if blocks(page.read_text(), "python")],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_the_python_of_a_page_runs_from_top_to_bottom(page, store, capsys, monkeypatch):
    if page.name == "dask.md" and not NEWEST:
        pytest.skip("workers need XGBoost 3.4")
    monkeypatch.setattr(catalogue, "_registered", {})  # a page may register a loss of its own
    try:
        run_python(page)
    finally:
        flavor.autolog(disable=True)  # a page may have turned it on
    printed = capsys.readouterr().out
    if page.name in ("python.md", "own-loss.md"):
        assert float(printed.split()[0]) < 0.5
    if page.name == "python.md":
        parents = {run.info.run_name: run for run in runs(store)[0]}
        assert {run.info.status for run in parents.values()} == {"FINISHED"}
        assert parents["my run"].data.params["loss.name"] == "asrl_c"
    if page.name == "autolog.md":
        parents, children = runs(store)
        named = {run.info.run_name.split()[0]: run for run in parents}
        assert {"fit", "tune"} <= set(named)
        assert len(parents) == len(children) == 3  # one is that of `evaluate`
        assert all(len(named[name].outputs.model_outputs) == 1 for name in ("fit", "tune"))
    if page.name == "README.md":
        shown = blocks(README, "text")[0].splitlines()
        errors = [
            [float(line.split()[0]) for line in each] for each in (shown, printed.splitlines())
        ]
        assert [line.split()[1:] for line in shown] == [
            line.split()[1:] for line in printed.splitlines()
        ]
        # Older releases of XGBoost build slightly other trees, of absolute error quite others.
        assert errors[1] == pytest.approx(errors[0], rel=0.02 if NEWEST else 0.2, abs=0.01)


@pytest.mark.parametrize(
    ("page", "names"),
    [
        (README, losses.BASIC),
        (LOSSES_PAGE, tuple(losses.LOSSES)),
        (CLASSES_PAGE, tuple(losses.CLASSIFICATION_LOSSES)),
    ],
    ids=["README.md", "losses.md", "losses-for-classes.md"],
)
def test_the_pages_have_the_catalogue_s_table_of_losses(page, names):
    assert f"<!-- losses -->\n{losses.markdown_table(names)}\n<!-- /losses -->" in page


def test_the_readme_s_output_of_main_has_the_form_that_main_prints():
    """Every loss with four numbers, under the headings of both scenes, with a choice for each."""
    candidate = Candidate(
        "huber",
        losses.Huber(),
        is_tuned=False,
        rounds=1,
        errors=Errors(np.ones(1), np.ones(1)),
        curve=[1.0],
    )
    clean, spoiled = (
        main.Scene(
            contamination,
            {name: {"mae": [1.0], "medae": [1.0]} for name in MAIN_ROWS},
            Choice(candidate, candidate, 0.0, 1.0),
            {},
            {},
        )
        for contamination in (Contamination(), main.SETUPS["regression"].spoiled)
    )
    shown = next(block for block in blocks(README, "text") if "chosen:" in block).splitlines()
    printed = main._side_by_side(clean, spoiled, "regression").splitlines()
    assert [line.split() for line in shown[:2]] == [line.split() for line in printed[:2]]
    rows = [re.split(r"  +", line) for line in shown[2 : 2 + len(MAIN_ROWS)]]
    assert {row[0] for row in rows} == MAIN_ROWS
    assert [len(row) for row in rows] == [5] * len(rows)
    errors = [float(row[3]) for row in rows]
    assert errors == sorted(errors)
    for scene in (clean, spoiled):
        start = f"{main._heading(scene.contamination)}: chosen: "
        (line,) = (line for line in shown if line.startswith(start))
        assert line.removeprefix(start).split(";")[0] in MAIN_ROWS
    verdict = main._conclude(clean, spoiled, "regression")
    assert sum(line.startswith(verdict.split(" of ")[0]) for line in shown) == 1


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 150


def test_every_page_stands_in_the_table_of_contents_and_every_link_leads_somewhere():
    index = (ROOT / "docs/index.md").read_text()
    for page in PAGES:
        name = (
            page.relative_to(ROOT / "docs").with_suffix("").as_posix() if page != PAGES[0] else ""
        )
        assert not name or name == "index" or f"\n{name}\n" in index
        for link in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
        for image in re.findall(r"\{image\} (\S+)", page.read_text()):
            assert (page.parent / image).is_file(), f"{page.name}: {image}"


def test_notebooks_are_kept_without_outputs_and_stand_in_the_table_of_contents():
    index = (ROOT / "docs/index.md").read_text()
    notebooks = sorted((ROOT / "docs").rglob("notebooks/*.ipynb"))
    assert notebooks
    for path in notebooks:
        assert f"\nnotebooks/{path.stem}\n" in index
        cells = json.loads(path.read_text())["cells"]
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
        kinds = [cell["cell_type"] for cell in cells]
        assert kinds[0] == kinds[-1] == "markdown"
        # What a cell shows is said below it.
        assert all("code" not in pair[:1] or pair[1] == "markdown" for pair in pairwise(kinds))


def test_ci_runs_every_command_of_the_pages_once():
    listed = subprocess.run(
        [sys.executable, ROOT / ".ci/readme-commands"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    shown = [
        line
        for page in PAGES
        for block in blocks(page.read_text(), "sh")
        for line in block.splitlines()
    ]
    assert len(listed) == len(set(listed))
    assert set(listed) == set(shown)


def test_every_key_of_a_tracked_run_is_on_the_page_of_keys(store):
    assert (
        train.command.main(["--loss=asrl", "--rounds=3", "--figures=false"], standalone_mode=False)
        == 0
    )
    (run,), _ = runs(store)
    keys = [*run.data.metrics, *run.data.params]
    expanded = KEYS_PAGE.replace("`.middle`", "`share.valid.middle`").replace(
        "`.tail`", "`share.valid.tail`"
    )
    missing = [
        key
        for key in keys
        if f"`{key}`" not in expanded and not key.startswith(("loss.", "booster."))
    ]
    assert missing == []
    assert tracking.EXPERIMENT in KEYS_PAGE
