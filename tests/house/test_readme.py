"""The README: its Python runs, its table is what `main` prints, its keys are those that are logged.

Its shell commands run in CI, all of them in one clone in the order of the page.
"""

from __future__ import annotations

import re
from pathlib import Path

import xgboost
from packaging.version import Version

import flows.main
import flows.train
from asrl_mlflow import losses, tracking
from tests.stores import runs

README = (Path(__file__).parents[2] / "README.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_the_python_of_the_readme_runs_from_top_to_bottom(store, capsys):
    namespace = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), namespace)  # noqa: S102 - the readers' words
    assert float(capsys.readouterr().out.split()[0]) < 0.5
    (run,), _ = runs(store)
    assert (run.info.status, run.data.params["loss.name"]) == ("FINISHED", "asrl_c")


def test_the_readme_shows_the_table_that_main_prints(store, capsys):
    assert flows.main.command.main(["--figures=false", "--trials=1"], standalone_mode=False) == 0
    printed, shown = capsys.readouterr().out.splitlines(), blocks("text")[0].splitlines()
    fixed = [line for line in map(without_seconds, shown) if line]
    assert fixed == [line for line in map(without_seconds, printed) if line][: len(fixed)]
    for loss in ("asrl", "asrl_c"):
        assert any(line.startswith(f"{loss} tuned") for line in shown)


def without_seconds(line):
    """A line without what is the reader's own: seconds, and what two workers at once have chosen."""
    first, *others = line.split() or [""]
    if (
        first in ("study", "best:", "mae")
        or "-diabetes-" in first
        or others[:1] in (["tuned"], ["refitted"])
        # Another loss before XGBoost 3.4, which the page shows.
        or (first == "absolute_error" and Version(xgboost.__version__) < Version("3.4"))
    ):
        return None
    return line.split()[:-1] if first in ("loss", *losses.LOSSES) else line


def test_the_readme_has_the_catalogue_s_table_of_losses():
    assert losses.markdown_table() in README


def test_every_key_of_a_tracked_run_is_in_the_readme(store):
    assert (
        flows.train.command.main(
            ["--loss=asrl", "--rounds=3", "--figures=false"], standalone_mode=False
        )
        == 0
    )
    (run,), _ = runs(store)
    keys = [*run.data.metrics, *run.data.params]
    expanded = README.replace("`.middle`", "`share.valid.middle`").replace(
        "`.tail`", "`share.valid.tail`"
    )
    missing = [
        key
        for key in keys
        if f"`{key}`" not in expanded and not key.startswith(("loss.", "booster."))
    ]
    assert missing == []
    assert tracking.EXPERIMENT in README
