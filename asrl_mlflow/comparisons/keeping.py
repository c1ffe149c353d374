"""What a comparison trains, and what it keeps with its parent run: a table, metrics and figures."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from statistics import mean

from asrl_mlflow.datasets.contamination import Contamination
from asrl_mlflow.datasets.dataset import Dataset
from asrl_mlflow.experiments import report
from asrl_mlflow.experiments.experiment import Result, prepare_split
from asrl_mlflow.experiments.series import Case
from asrl_mlflow.experiments.settings import Settings
from asrl_mlflow.figures.comparison_figures import draw_validation_curves
from asrl_mlflow.figures.style import png
from asrl_mlflow.losses import BaseLoss
from asrl_mlflow.metrics import TASKS
from asrl_mlflow.tracking.run_log import RunLog


def list_cases(
    tables: Sequence[Dataset],
    losses: Sequence[BaseLoss],
    seeds: Sequence[int],
    settings: Settings,
    spoiling: Contamination,
) -> Iterator[Case]:
    """List every loss on every table with every seed, in the order in which they are trained."""
    for table, seed in itertools.product(tables, seeds):
        parts = prepare_split(table, seed, spoiling)
        where = f" {table.name}" if len(tables) > 1 else ""
        which = f", seed {seed}" if len(seeds) > 1 else ""
        for loss in losses:
            yield Case(f"{loss.label}{where}{which}", loss, table, parts, seed, settings)


def keep_results(
    results: Sequence[tuple[str, Result]],
    task: str,
    context: str,
    parent: RunLog,
    *,
    place: str = "",
    figures: bool,
) -> dict[str, dict[str, list[float]]]:
    """Log the results of one table with the parent run: `comparison.json`, metrics and figures.

    Parameters
    ----------
    results : sequence of (str, Result)
        The names of losses, each with a result; one a seed.
    task : {"regression", "classification"}
        What was learned.
    context : str
        Which table and seeds it is about, for the figures.
    parent : RunLog
        Log of the parent run.
    place : str
        In front of the names of files and metrics, where there are several tables.
    figures : bool
        Whether to draw.

    Returns
    -------
    dict of loss name to {metric: one value a seed}
    """
    metric, scores = TASKS[task].default, report.scores(results)
    parent.table(f"{place}comparison.json", report.summary_columns(scores, task))
    parent.metrics({f"{place}{metric}.{loss}": mean(each[metric]) for loss, each in scores.items()})
    if figures:
        curves = {loss: list[list[float]]() for loss in scores}
        for loss, result in results:
            curves[loss].append([each.valid[metric] for each in result.rounds])
        draw_comparison(scores, curves, context, parent, f"{place}figures", task=task)
    return scores


def draw_comparison(
    scores: Mapping[str, Mapping[str, Sequence[float]]],
    curves: Mapping[str, Sequence[Sequence[float]]],
    context: str,
    parent: RunLog,
    folder: str,
    *,
    task: str,
) -> None:
    """Log the figures of losses side by side: their metrics, and their errors by boosting round."""
    title = TASKS[task].default_title
    figures = {
        "metrics": report.draw_metric_bars(scores, context, task),
        "validation_curves": draw_validation_curves(
            curves, context, f"{title} (target units)" if task == "regression" else title
        ),
    }
    for name, figure in figures.items():
        if figure is not None:
            parent.artifact(f"{folder}/{name}.png", png(figure))
