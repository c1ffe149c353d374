"""Make the page of a run of `tune`: a study's trials, and its best loss on test rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from asrl_mlflow.errors import InputError
from asrl_mlflow.figures.style import TUNED
from asrl_mlflow.losses import describe_params, loss_class
from asrl_mlflow.metrics import TASKS
from asrl_mlflow.reports.comparison import table_of_scores
from asrl_mlflow.reports.content import Cell, Figure, Page, Recipe, Section, Table
from asrl_mlflow.reports.describing import (
    describe_run,
    recipe_of_command,
    register_study_command,
    settings_of,
)
from asrl_mlflow.reports.reading import KeptRun, KeptRuns
from asrl_mlflow.tracking.keys import PRUNED_TAG, STUDY_TAG, TRIAL_TAG, loss_params

_MOST_ROWS, _MOST_POINTS = 100, 2000
_BOOSTER_PREFIX, _LOSS_PREFIX, _SPACE_PREFIX = "booster.", "loss.", "tune.space."


@dataclass(frozen=True)
class Trial:
    """A complete trial.

    Parameters
    ----------
    number : int
        Its number in the study.
    objective : float
        What it was judged by.
    values : mapping of str to float
        Its parameters that differ between trials.
    """

    number: int
    objective: float
    values: dict[str, float]


def make_page(runs: KeptRuns) -> Page:
    """Make the page.

    Parameters
    ----------
    runs : KeptRuns
        A run of tune, whose best loss was measured on test rows.
    """
    parent = runs.parent
    trials = _trials(runs)
    pruned = sum(PRUNED_TAG in each.tags for each in runs.children)
    loss, metric = parent.params["loss.name"], parent.params["tune.metric"]
    judged = (
        "cross-validated" if int(parent.params.get("tune.folds", 1)) > 1 else "on validation rows"
    )
    title = _title(metric)
    sections = []
    if trials:
        sections.append(_trials_section(trials, f"{title}, {judged}"))
    task = parent.task
    if task is not None:
        name = f"{loss} {TUNED}"
        scores = {name: {key: [value] for key, value in parent.scores.items()}}
        table = table_of_scores(
            scores, task, "The best loss, trained again on training and validation rows"
        )
        sections.append(Section("On test rows", tables=[table]))
    study = parent.tags[STUDY_TAG]
    recipes = [
        *recipe_of_command(parent),
        Recipe("Register its best model", register_study_command(study)),
    ]
    facts = {"study": study, "trials": f"{len(trials)} complete, {pruned} pruned"}
    return Page(
        title=str(parent.run.info.run_name),
        verdict=[
            _conclude(
                runs,
                trials,
                f"{judged} {title}" if judged == "cross-validated" else f"{title} {judged}",
            )
        ],
        facts={**facts, **describe_run(runs, [parent])},
        sections=sections,
        recipes=recipes,
        settings=settings_of(parent, []),
    )


def _title(metric: str) -> str:
    titles = {key: title for task in TASKS.values() for key, title in task.titles.items()}
    return titles.get(metric, metric)


def _trials(runs: KeptRuns) -> list[Trial]:
    """The complete trials in their order, with the parameters that differ between them."""
    complete = [
        each for each in runs.children if TRIAL_TAG in each.tags and "objective" in each.metrics
    ]
    found = [_numbers(each) for each in complete]
    searched = [
        key
        for key in dict.fromkeys(key for values in found for key in values)
        if len({values.get(key) for values in found}) > 1
    ]
    trials = [
        Trial(
            int(run.tags[TRIAL_TAG]),
            run.metrics["objective"],
            {key: values[key] for key in searched if key in values},
        )
        for run, values in zip(complete, found, strict=True)
    ]
    return sorted(trials, key=lambda each: each.number)


def _numbers(run: KeptRun) -> dict[str, float]:
    """The parameters of a trial's loss and booster that are numbers."""
    found = {}
    for prefix in (_LOSS_PREFIX, _BOOSTER_PREFIX):
        for key, value in run.params.items():
            name = key.removeprefix(prefix)
            if name != key and name not in ("name", "seed"):
                try:
                    found[name] = float(value)
                except ValueError:
                    continue
    return found


def _conclude(runs: KeptRuns, trials: Sequence[Trial], title: str) -> str:
    """Say which trial is the best, what the defaults have, and how the best did on test rows."""
    parent, task = runs.parent, runs.parent.task
    best = next((each for each in trials if each.number == parent.metrics.get("best.trial")), None)
    if best is None:
        return f"The study has {len(trials)} complete trials, and no best one yet."
    given = ", ".join(describe_params(best.values, 4))
    text = f"The best of {len(trials)} complete trials is trial {best.number}"
    text += (
        f" ({given}), {title} {best.objective:.4g}" if given else f", {title} {best.objective:.4g}"
    )
    default = _default_objective(runs)
    if default is not None:
        text += f"; with its defaults {parent.params['loss.name']} has {default:.4g}"
    if task is not None:
        value = parent.metrics[f"test.{task.default}"]
        text += f". On test rows, which no trial has seen, its {task.default_title} is {value:.4g}"
    return f"{text}."


def _default_objective(runs: KeptRuns) -> float | None:
    """The objective of the trial whose loss has its default parameters, where XGBoost's are not searched."""
    searched = {
        key.removeprefix(_SPACE_PREFIX)
        for key in runs.parent.params
        if key.startswith(_SPACE_PREFIX)
    }
    try:
        default = {
            key: str(value)
            for key, value in loss_params(loss_class(runs.parent.params["loss.name"])()).items()
            if value is not None
        }
    except (InputError, TypeError):  # a user's own loss: unknown here, or without defaults
        return None
    if "max_depth" in searched:
        return None
    for run in runs.children:
        given = {key: value for key, value in run.params.items() if key.startswith(_LOSS_PREFIX)}
        if given == default and "objective" in run.metrics:
            return run.metrics["objective"]
    return None


def _trials_section(trials: Sequence[Trial], title: str) -> Section:
    best = min(trials, key=lambda each: each.objective)
    names = list(trials[0].values)
    ranked = sorted(trials, key=lambda each: each.objective)
    shown = ranked[:_MOST_ROWS]
    more = (
        f"the best {_MOST_ROWS} of {len(trials)} complete ones"
        if len(shown) < len(trials)
        else "complete ones"
    )
    drawn = ranked[:_MOST_POINTS]
    figure = Figure(
        kind="points",
        title=f"Trials by {title}",
        alternative=f"Points of {len(drawn)} complete trials. The objective falls from {trials[0].objective:.4g} "
        f"in trial {trials[0].number} to {best.objective:.4g} in trial {best.number}, the best.",
        data={
            "y": title,
            "names": names,
            "best": best.number,
            "points": [
                {"trial": each.number, "y": each.objective, "values": each.values}
                for each in sorted(drawn, key=lambda each: each.number)
            ],
        },
    )
    table = Table(
        caption=f"Trials, {more}",
        headings=["trial", "objective", *names],
        rows=[
            [
                Cell(str(each.number), each.number),
                Cell(f"{each.objective:.5g}", each.objective),
                *(_value(each, name) for name in names),
            ]
            for each in shown
        ],
        sorted_by=1,
        note=f"objective: {title}; smaller is better.",
    )
    return Section("Trials", figures=[figure], tables=[table])


def _value(trial: Trial, name: str) -> Cell:
    if name not in trial.values:
        return Cell("–", float("inf"))  # noqa: RUF001 - a dash in a table
    return Cell(f"{trial.values[name]:.4g}", trial.values[name])
