"""Say of a run what every page says: what it is about, how to repeat it, how to register its model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT

from asrl_mlflow.reports.content import Recipe
from asrl_mlflow.reports.reading import KeptRun, KeptRuns
from asrl_mlflow.tracking.keys import COMMAND_TAG, VERSION_TAG
from asrl_mlflow.tracking.shell import stored_command
from asrl_mlflow.tracking.store import runner


def describe_run(runs: KeptRuns, measured: Sequence[KeptRun]) -> dict[str, str]:
    """Say on what rows a run worked, when, and with which version.

    Parameters
    ----------
    runs : KeptRuns
        The run and its children.
    measured : sequence of KeptRun
        Those that were measured on test rows.
    """
    params, tags, info = runs.parent.params, runs.parent.tags, runs.parent.run.info
    rows = params.get("data.rows", "")
    seeds = sorted({each.seed for each in measured})
    facts = {
        "data": f"{params.get('data.name', '')}{f', {rows} rows' if rows else ''}",
        "target": params.get("data.target", ""),
        "rows": measured[0].params.get("split.rows", "") if measured else "",
        "training targets": _targets(params) if runs.flow != "main" else "",
        "seeds" if len(seeds) > 1 else "seed": ", ".join(map(str, seeds)),
        "began": f"{datetime.fromtimestamp(info.start_time / 1000, UTC):%Y-%m-%d %H:%M} UTC",
        "asrl-mlflow": tags.get(VERSION_TAG, ""),
        "commit": tags.get(MLFLOW_GIT_COMMIT, "")[:10],
        "run": runs.parent.run_id,
    }
    names = {"rows": "train / valid / test"}
    return {names.get(name, name): value for name, value in facts.items() if value}


def _targets(params: Mapping[str, str]) -> str:
    kind = params.get("contaminate.kind", "none")
    if kind == "none":
        return "as they are"
    return f"{float(params.get('contaminate.share', 0)):.0%} spoiled ({kind}); test targets as they are"


def recipe_of_command(run: KeptRun) -> list[Recipe]:
    """Give the command that made a run; none where it was made from Python."""
    command = run.tags.get(COMMAND_TAG)
    if not command:
        return []
    digest = run.params.get("data.digest")
    note = f"The table must have the digest {digest}." if digest else ""
    return [Recipe("Reproduce it", f"{runner()}{command}", note)]


def register_command(run: KeptRun) -> str:
    """Give the command that registers a run's model."""
    return f"{runner()}{stored_command('register', f'--run-id={run.run_id}')}"


def register_study_command(study: str) -> str:
    """Give the command that registers the best model of a study."""
    return f"{runner()}{stored_command('register', f'--study={study}')}"


def settings_of(run: KeptRun, measured: Sequence[KeptRun]) -> dict[str, str]:
    """Give the params of a run, and those that all measured runs have in common."""
    common = (
        set.intersection(*(set(each.params.items()) for each in measured)) if measured else set()
    )
    found = {**dict(common), **run.params}
    return {key: found[key] for key in sorted(found) if key != "loss.name"}
