"""Make the page of a run of `compare`: losses side by side on one table or several."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from statistics import mean, stdev
from typing import Any

from asrl_mlflow.experiments import report
from asrl_mlflow.figures.style import colour_of
from asrl_mlflow.losses import LogLoss, SquaredError
from asrl_mlflow.metrics import Task
from asrl_mlflow.reports.content import Cell, Figure, Page, Recipe, Section, Table
from asrl_mlflow.reports.describing import (
    describe_run,
    recipe_of_command,
    register_command,
    settings_of,
)
from asrl_mlflow.reports.reading import KeptRun, KeptRuns, read_curve

# The losses that everybody uses, to which the best one is compared.
_PLAIN = {"regression": SquaredError.name, "classification": LogLoss.name}
_STEPS_SHOWN = 5

Scores = Mapping[str, Mapping[str, Sequence[float]]]


def make_page(runs: KeptRuns) -> Page:
    """Make the page.

    Parameters
    ----------
    runs : KeptRuns
        A run of compare, with at least one finished child.
    """
    groups = _group(runs.finished)
    parts = {
        heading: (_task_of(found), scores_of(found), found) for heading, found in groups.items()
    }
    verdicts = {heading: conclude(scores, task) for heading, (task, scores, _) in parts.items()}
    sections = [
        _section(heading, task, scores, found, verdicts[heading] if len(parts) > 1 else "")
        for heading, (task, scores, found) in parts.items()
    ]
    first_task, first_scores, first_runs = next(iter(parts.values()))
    best = report.rank_losses(first_scores, first_task.name)[0]
    winner = next(run for run in first_runs if run.label == best)
    return Page(
        title=str(runs.parent.run.info.run_name),
        verdict=[_conclude_all(parts) if len(parts) > 1 else next(iter(verdicts.values()))],
        facts=describe_run(runs, first_runs),
        sections=sections,
        recipes=[
            *recipe_of_command(runs.parent),
            Recipe(
                "Register the model of the first row",
                register_command(winner),
                f"{winner.run.info.run_name}: the loss was ranked by test rows, so its error on new rows "
                "may be a little larger.",
            ),
        ],
        settings=settings_of(runs.parent, first_runs),
    )


def scores_of(runs: Iterable[KeptRun]) -> dict[str, dict[str, list[float]]]:
    """Collect the metrics of runs by the label of their loss: one value a run, in the order of seeds."""
    found: dict[str, dict[str, list[float]]] = {}
    for run in sorted(runs, key=lambda each: each.seed):
        mine = found.setdefault(run.label, {})
        for metric, value in run.scores.items():
            mine.setdefault(metric, []).append(value)
    return found


def conclude(scores: Scores, task: Task) -> str:
    """Say which loss has the smallest error, how sure that is, and what the plain loss has.

    Parameters
    ----------
    scores : mapping of label to {metric: one value a seed}
        On the same test rows, seed by seed.
    task : Task
        What was learned.

    Examples
    --------
    >>> from asrl_mlflow.metrics import TASKS
    >>> conclude(
    ...     {"huber": {"mae": [1.0, 1.2]}, "squared_error": {"mae": [2.0, 2.3]}}, TASKS["regression"]
    ... )
    'huber has the smallest test MAE, 1.1 on average over 2 seeds; squared_error has 2.15 (more with 2 of 2 seeds).'
    """
    names = report.rank_losses(scores, task.name)
    errors = {name: scores[name][task.default] for name in names}
    best = names[0]
    seeds = len(errors[best])
    over = f" on average over {seeds} seeds" if seeds > 1 else ""
    text = f"{best} has the smallest test {task.default_title}, {mean(errors[best]):.4g}{over}"
    shown = [names[1]] if len(names) > 1 else []
    plain = _PLAIN[task.name]
    if plain in names and plain not in (best, *shown):
        shown.append(plain)
    for name in shown:
        text += f"; {name} has {mean(errors[name]):.4g}"
        if 1 < seeds == len(errors[name]):
            wins = sum(a < b for a, b in zip(errors[best], errors[name], strict=True))
            text += f" (more with {wins} of {seeds} seeds)"
    if seeds == 1 and shown:
        return f"{text}. With one seed, small differences may be chance: --repeats=5 tells more."
    alike = [name for name in names[1:] if _is_alike(errors[best], errors[name])]
    if alike:
        text += f". No clear difference from {best}, by one standard error: {', '.join(alike)}"
    return f"{text}."


def _is_alike(best: Sequence[float], other: Sequence[float]) -> bool:
    """Whether errors with the same seeds differ by no more than one standard error of the difference."""
    if len(best) != len(other) or len(best) == 1:
        return False
    differences = [b - a for a, b in zip(best, other, strict=True)]
    standard_error = stdev(differences) / math.sqrt(len(differences))
    return mean(differences) <= standard_error


def table_of_scores(scores: Scores, task: Task, caption: str) -> Table:
    """Make the table that the flow prints, in its order: losses by the mean of the default metric."""
    columns = report.SUMMARIES[task.name].columns
    names = report.rank_losses(scores, task.name)
    several = max(len(scores[name][task.default]) for name in names) > 1
    spread = " ±: standard deviation over the seeds." if several else ""
    return Table(
        caption=caption,
        headings=["loss", *(heading for _, heading in columns)],
        rows=[
            [Cell(name, name), *(_cell(metric, scores[name][metric]) for metric, _ in columns)]
            for name in names
        ],
        sorted_by=1,
        note=report.SUMMARIES[task.name].note.replace("\n", " ") + spread,
    )


def _cell(metric: str, values: Sequence[float]) -> Cell:
    return Cell(report.format_cell(metric, values), mean(values))


def bars(groups: Mapping[str, Scores], task: Task, order: Sequence[str], title: str) -> Figure:
    """Make a figure of bars: a row a loss and in it a bar a group, for a metric that the reader chooses.

    Parameters
    ----------
    groups : mapping of str to scores
        Names of groups, such as "labels as they are", with the same losses.
    task : Task
        What was learned.
    order : sequence of str
        The losses from top to bottom.
    title : str
        What it shows.
    """
    summary = report.SUMMARIES[task.name]
    metrics = [
        {"key": key, "title": heading, "unit": summary.units[key]}
        for key, heading in summary.columns
        if key != report.SECONDS
    ]
    sentences = []
    for name, scores in groups.items():
        means = {loss: mean(scores[loss][task.default]) for loss in order}
        low, high = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
        where = f"{name}: " if len(groups) > 1 else ""
        sentences.append(
            f"{where}the smallest test {task.default_title} has {low} with {means[low]:.4g}, the largest "
            f"{high} with {means[high]:.4g}"
        )
    return Figure(
        kind="bars",
        title=title,
        alternative=f"Bars of {len(order)} losses. {'. '.join(sentences)}. The table has every number.",
        data={
            "metrics": metrics,
            "losses": [{"name": name, "colour": colour_of(name)} for name in order],
            "groups": [
                {
                    "name": name,
                    "values": {
                        each["key"]: [list(scores[loss][each["key"]]) for loss in order]
                        for each in metrics
                    },
                }
                for name, scores in groups.items()
            ],
        },
    )


def _section(
    heading: str, task: Task, scores: Scores, runs: Sequence[KeptRun], verdict: str
) -> Section:
    order = report.rank_losses(scores, task.name)
    figures = [bars({"": scores}, task, order, "Errors on test rows")]
    curves = _curves(runs, task)
    if curves:
        figures.append(_lines(curves, task, order))
    table = table_of_scores(scores, task, "Losses on the same test rows")
    return Section(heading, verdict, figures, [table])


def _group(runs: Sequence[KeptRun]) -> dict[str, list[KeptRun]]:
    """Group runs that can be compared: those of one table, trained at one depth."""
    found: dict[tuple[str, str], list[KeptRun]] = defaultdict(list)
    for run in runs:
        found[run.params["data.name"], run.params.get("booster.max_depth", "")].append(run)
    if len(found) == 1:
        return {"Losses compared": next(iter(found.values()))}
    depths = {depth for _, depth in found}
    return {
        f"{table}, depth {depth}" if len(depths) > 1 else table: members
        for (table, depth), members in found.items()
    }


def _task_of(runs: Sequence[KeptRun]) -> Task:
    task = runs[0].task
    assert task is not None, "finished runs have test metrics"  # noqa: S101 - see KeptRuns.finished
    return task


def _conclude_all(parts: Mapping[str, tuple[Task, Scores, Any]]) -> str:
    """Say how often each loss is first, where there are several tables."""
    wins = Counter(report.rank_losses(scores, task.name)[0] for task, scores, _ in parts.values())
    (best, count), *others = wins.most_common()
    title = next(iter(parts.values()))[0].default_title
    rest = "".join(f", {name} on {number}" for name, number in others)
    return f"{best} has the smallest test {title} on {count} of {len(parts)} tables{rest}."


def _curves(runs: Sequence[KeptRun], task: Task) -> dict[str, list[tuple[int, float]]]:
    """Read each loss's error on validation rows by round: the mean over its seeds."""
    found: dict[str, list[list[tuple[int, float]]]] = defaultdict(list)
    for run in runs:
        if f"valid.{task.default}" in run.metrics:
            found[run.label].append(read_curve(run, f"valid.{task.default}"))
    means = {}
    for label, curves in found.items():
        # Trainings that stopped early do not speak for later rounds.
        together = [
            at for at in zip_longest(*curves) if None not in at and len({r for r, _ in at}) == 1
        ]
        means[label] = [(at[0][0], mean(value for _, value in at)) for at in together]
    return {label: curve for label, curve in means.items() if curve}


def _lines(
    curves: Mapping[str, Sequence[tuple[int, float]]], task: Task, order: Sequence[str]
) -> Figure:
    """Make a figure of lines: the error on validation rows, round by round."""
    shown = [name for name in order if name in curves]
    ends = {name: curves[name][-1][1] for name in shown}
    low, high = min(ends, key=ends.__getitem__), max(ends, key=ends.__getitem__)
    title = f"{task.default_title} on validation rows"
    longest = max(curves.values(), key=len)
    stride = max(1, (len(longest) - 1) // (_STEPS_SHOWN - 1))
    places = list(range(0, len(longest), stride))
    return Figure(
        kind="lines",
        title=f"{title}, round by round",
        alternative=f"Lines of {len(shown)} losses over the boosting rounds. After the last round, {low} has "
        f"the smallest {title} with {ends[low]:.4g}, and {high} the largest with {ends[high]:.4g}.",
        data={
            "x": "boosting round",
            "y": title,
            "lines": [
                {
                    "name": name,
                    "colour": colour_of(name),
                    "points": [[r, float(f"{v:.6g}")] for r, v in curves[name]],
                }
                for name in shown
            ],
        },
        numbers=Table(
            caption=f"{title} after some rounds",
            headings=["loss", *(f"round {longest[at][0]}" for at in places)],
            rows=[
                [Cell(name, name), *(_at(curves[name], at) for at in places)]
                for name in sorted(shown)
            ],
            sorted_by=0,
        ),
    )


def _at(curve: Sequence[tuple[int, float]], place: int) -> Cell:
    """The value at a place of a curve; a dash where it ended before."""
    if place >= len(curve):
        return Cell("–", float("inf"))  # noqa: RUF001 - a dash in a table
    return Cell(f"{curve[place][1]:.4g}", curve[place][1])
