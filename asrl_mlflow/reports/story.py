"""Make the page of a run of `main`: losses with the labels as they are, and with spoiled ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean

from asrl_mlflow.errors import InputError
from asrl_mlflow.experiments import report
from asrl_mlflow.figures.style import TUNED
from asrl_mlflow.metrics import Task
from asrl_mlflow.reports.comparison import Scores, bars, table_of_scores
from asrl_mlflow.reports.content import Cell, Page, Recipe, Section, Table
from asrl_mlflow.reports.describing import (
    describe_run,
    recipe_of_command,
    register_command,
    settings_of,
)
from asrl_mlflow.reports.reading import KeptRun, KeptRuns, read_run, read_text
from asrl_mlflow.tracking.keys import CHOSEN_TAG, STUDY_TAG, TRIAL_TAG

# What `main` has said of its results, as it was printed.
VERDICT = "verdict.txt"
_METRICS_SIDE_BY_SIDE = 2


def make_page(runs: KeptRuns) -> Page:
    """Make the page.

    Parameters
    ----------
    runs : KeptRuns
        A run of main, with at least one loss that was measured in both scenes.
    """
    scenes = _scenes(runs)
    (clean_name, clean), (_, spoiled) = scenes.items()
    both = [name for name in spoiled if name in clean]
    measured = [*clean.values(), *spoiled.values()]
    task = measured[0].task
    if task is None or not both:
        msg = (
            f"report needs a loss that was measured in both scenes; got none in run {runs.parent.run_id}; "
            "wait until main has ended, or run it again."
        )
        raise InputError(msg)
    scores = {
        scene: {
            name: {key: [value] for key, value in run.scores.items()} for name, run in found.items()
        }
        for scene, found in scenes.items()
    }
    order = report.rank_losses({name: scores[list(scenes)[1]][name] for name in both}, task.name)
    figure = bars(
        {scene: {name: each[name] for name in order} for scene, each in scores.items()},
        task,
        order,
        "Errors on the same clean test rows",
    )
    details = [table_of_scores(each, task, scene.capitalize()) for scene, each in scores.items()]
    chosen = runs.parent.tags.get(CHOSEN_TAG)
    register = [read_run(chosen)] if chosen else []
    verdict = list(map(_as_sentence, read_text(runs.parent, VERDICT).strip().splitlines()))
    return Page(
        title=str(runs.parent.run.info.run_name),
        # The last line sums up what the others chose by.
        verdict=[*verdict[-1:], *verdict[:-1]],
        facts=describe_run(runs, measured),
        sections=[
            Section(
                "Both scenes",
                figures=[figure],
                tables=[_side_by_side(scores, task, order)],
            ),
            Section("All metrics", tables=details),
        ],
        recipes=[
            *recipe_of_command(runs.parent),
            *(
                Recipe(
                    "Register the model that was chosen",
                    register_command(run),
                    f"{run.run.info.run_name}, trained with the {clean_name}; main has done so, unless it "
                    "was interrupted.",
                )
                for run in register
            ),
        ],
        settings=settings_of(runs.parent, measured),
    )


def _as_sentence(line: str) -> str:
    """Make a sentence of its own of a line that stood among others."""
    text = line.removeprefix("So: ").rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."


def _scenes(runs: KeptRuns) -> dict[str, dict[str, KeptRun]]:
    """The runs of both scenes by label: losses as they are are children, tuned ones are named by tags."""
    found: list[dict[str, KeptRun]] = [{}, {}]
    # Tuned ones first, as main has them: equal errors stand in that order.
    for key, run_id in runs.parent.tags.items():
        if key.startswith(f"{STUDY_TAG}."):
            run = read_run(run_id)
            if run.task is not None:
                found[_is_spoiled(run)][f"{run.params['loss.name']} {TUNED}"] = run
    for run in runs.finished:
        if STUDY_TAG not in run.tags and TRIAL_TAG not in run.tags:
            found[_is_spoiled(run)][run.label] = run
    share = next((float(run.params["contaminate.share"]) for run in found[1].values()), 0.0)
    return {
        "labels as they are": found[0],
        f"{share:.0%} of the training labels spoiled": found[1],
    }


def _is_spoiled(run: KeptRun) -> bool:
    return run.params.get("contaminate.kind", "none") != "none"


def _side_by_side(scores: Mapping[str, Scores], task: Task, order: Sequence[str]) -> Table:
    """Two metrics of each scene, sorted as `main` prints them: by the error of the spoiled scene."""
    shown = report.SUMMARIES[task.name].columns[:_METRICS_SIDE_BY_SIDE]
    short = [
        scene.removeprefix("labels ").replace(" of the training labels", "") for scene in scores
    ]
    headings = [f"{heading}, {scene}" for scene in short for _, heading in shown]
    return Table(
        caption="Losses on the same clean test rows",
        headings=["loss", *headings],
        rows=[
            [
                Cell(name, name),
                *(
                    Cell(report.format_cell(metric, each[name][metric]), mean(each[name][metric]))
                    for each in scores.values()
                    for metric, _ in shown
                ),
            ]
            for name in order
        ],
        sorted_by=1 + _METRICS_SIDE_BY_SIDE,
        note=report.SUMMARIES[task.name].note.replace("\n", " "),
    )
