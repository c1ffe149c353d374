"""Compare losses: the summary table that is printed and logged, and the same numbers as bars."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from asrl_mlflow.experiments.experiment import Result
from asrl_mlflow.figures.style import AUTO, TUNED, colour_of, open_figure, style_axes
from asrl_mlflow.metrics import TASKS, Task

SECONDS = "seconds"


@dataclass(frozen=True)
class Summary:
    """How the results of one task are shown.

    Parameters
    ----------
    task : Task
        Whose metrics they are.
    note : str
        Printed above the table, so that no column comes before its explanation.
    units : mapping of metric name to str
        What stands below a panel of bars.
    alone : tuple of str
        Metrics whose headings do not begin with "test".
    """

    task: Task
    note: str
    units: Mapping[str, str]
    alone: tuple[str, ...]

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """The columns, as (metric, heading)."""
        titles = self.task.titles.items()
        headings = (
            (metric, title if metric in self.alone else f"test {title}") for metric, title in titles
        )
        return (*headings, (SECONDS, SECONDS))


_SMALLER, _LARGER = "smaller is better", "larger is better"
SUMMARIES = {
    "regression": Summary(
        TASKS["regression"],
        "MedAE: median absolute error. recall: share of the test rows above the median target that are\n"
        "predicted above it too; predictions that are too high raise it.",
        {
            **dict.fromkeys(("mae", "medae", "rmse"), f"target units; {_SMALLER}"),
            "r2": _LARGER,
            "recall": "too high predictions do well",
        },
        ("recall",),
    ),
    "classification": Summary(
        TASKS["classification"],
        "error: share of the test rows that are put into another class. bal. acc.: share that is right,\n"
        "each class counting as much. Brier: squared error of the probabilities. ECE, the expected\n"
        "calibration error: how far the probability of the predicted class is from the share that is right.",
        {
            **dict.fromkeys(("logloss", "error", "brier", "calibration_error"), _SMALLER),
            **dict.fromkeys(("balanced_accuracy", "auc"), _LARGER),
        },
        ("balanced_accuracy", "auc", "brier", "calibration_error"),
    ),
}

_MANY_PANELS = 6
# Metrics without a unit, all of about the same size.
_SHARES = ("r2", "recall", "error", "balanced_accuracy", "auc", "brier", "calibration_error")

# The results of one loss: metric name to one value per seed.
Scores = Mapping[str, Sequence[float]]


def scores(results: Iterable[tuple[str, Result]]) -> dict[str, dict[str, list[float]]]:
    """Collect the metrics of results, and their seconds, by loss name: one value a result."""
    found: dict[str, dict[str, list[float]]] = {}
    for name, result in results:
        mine = found.setdefault(name, {})
        for metric, value in {**result.metrics, SECONDS: result.seconds}.items():
            mine.setdefault(metric, []).append(value)
    return found


def rank_losses(scores: Mapping[str, Scores], task: str = "regression") -> list[str]:
    """Sort the names of the losses by the mean of the task's default metric, the smallest first."""
    return sorted(scores, key=lambda name: mean(scores[name][TASKS[task].default]))


def summary_columns(
    scores: Mapping[str, Scores], task: str = "regression"
) -> dict[str, list[str | float]]:
    """Give the summary as columns: the mean over seeds and, with several seeds, the standard deviation.

    Numbers have six significant digits, as tables are read by people; the runs have all of them.
    """
    names = rank_losses(scores, task)
    columns: dict[str, list[str | float]] = {"loss": list(names)}
    for metric, heading in SUMMARIES[task].columns:
        columns[heading] = [_shorten(mean(scores[name][metric])) for name in names]
        if len(scores[names[0]][metric]) > 1:
            columns[f"{heading} sd"] = [_shorten(stdev(scores[name][metric])) for name in names]
    return columns


def _shorten(number: float) -> float:
    return float(f"{number:.6g}")


def summary_table(scores: Mapping[str, Scores], task: str = "regression") -> str:
    """Format the summary as text, sorted by the default metric; with several seeds as mean±standard deviation.

    Parameters
    ----------
    scores : mapping of loss name to {metric: one value per seed}
        With the metrics of the task's summary, and "seconds" of training: "mae", "medae", "rmse" (in
        target units), "r2", "recall" (without unit).
    task : {"regression", "classification"}
        What was learned.

    Returns
    -------
    str
        One line per loss below the headings, usually below 100 characters wide.

    Examples
    --------
    >>> one = {"medae": [1.0], "rmse": [2.0], "r2": [0.5], "recall": [0.75], "seconds": [1.0]}
    >>> print(summary_table({"huber": {"mae": [1.5], **one}, "asrl_c": {"mae": [1.25], **one}}))
    loss    test MAE  test MedAE  test RMSE  test R2  recall  seconds
    asrl_c     1.250       1.000      2.000    0.500   0.750        1
    huber      1.500       1.000      2.000    0.500   0.750        1
    """
    columns = SUMMARIES[task].columns
    rows = [["loss", *(heading for _, heading in columns)]]
    rows += [
        [name, *(format_cell(metric, scores[name][metric]) for metric, _ in columns)]
        for name in rank_losses(scores, task)
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    )


def format_cell(metric: str, values: Sequence[float]) -> str:
    """Format a metric for the summary: the mean and, with several seeds, the standard deviation.

    Examples
    --------
    >>> format_cell("mae", [1.0, 2.0]), format_cell("r2", [0.5])
    ('1.500±0.71', '0.500')
    """
    if metric == SECONDS:
        return f"{mean(values):.2g}"
    # Zeros at the end stay, so that the numbers of a column are equally long.
    digits = ".3f" if metric in _SHARES else "#.4g"
    number = f"{mean(values):{digits}}".rstrip(".")
    return f"{number}±{stdev(values):.2g}" if len(values) > 1 else number


def draw_metric_bars(
    scores: Mapping[str, Scores], context: str, task: str = "regression"
) -> Figure:
    """Draw the mean of each metric as a bar a loss, sorted by the default metric, the best on top.

    With several seeds each is a dot, and a line has the standard error of the mean on both sides.

    Parameters
    ----------
    scores : mapping of label to {metric: one value a seed}
        As for `summary_table`. The label is the name of a loss, or "<name> tuned" (a darker bar).
    context : str
        Which table and seeds it is about.
    task : {"regression", "classification"}
        What was learned.
    """
    names = rank_losses(scores, task)[::-1]
    panels = [entry for entry in SUMMARIES[task].columns if entry[0] != SECONDS]
    several = max(map(len, (scores[name][panels[0][0]] for name in names))) > 1
    keys = ["bars: mean over seeds; dots: seeds; lines: standard error of the mean"] * several
    for kind, shade in ((TUNED, "dark"), (AUTO, "light")):
        keys += [f"{shade}: {kind}"] * any(name.endswith(f" {kind}") for name in names)
    figure, body = open_figure(
        (12, 2.0 + 0.4 * len(names)),
        "Losses compared on test rows",
        "; ".join(filter(None, [context, *keys])),
    )
    for axes, (metric, heading) in zip(
        body.subplots(1, len(panels), sharey=True), panels, strict=True
    ):
        for place, name in enumerate(names):
            values = np.asarray(scores[name][metric])
            _draw_bar(axes, place, values, colour_of(name))
            # In a column beside the bars, clear of dots and lines.
            axes.text(
                1.03,
                place,
                f"{values.mean():.3g}",
                transform=axes.get_yaxis_transform(),
                va="center",
                fontsize="small",
            )
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(axis="y", length=0)
        axes.set_title(heading, fontsize="medium")
        axes.set(xlabel=SUMMARIES[task].units[metric])
        # Six narrow panels have no room for more numbers.
        axes.xaxis.set_major_locator(MaxNLocator(4 if len(panels) < _MANY_PANELS else 2))
        style_axes(axes)
        axes.grid(visible=False, axis="y")
    return figure


def _draw_bar(axes: Axes, place: int, values: npt.NDArray[np.float64], colour: str) -> None:
    """Draw one loss in one panel: the mean and, with several seeds, seeds and standard error."""
    axes.barh(place, values.mean(), color=colour, height=0.7)
    if len(values) == 1:
        return
    error = values.std(ddof=1) / np.sqrt(len(values))
    axes.errorbar(values.mean(), place - 0.25, xerr=error, color="black", elinewidth=1.2, capsize=3)
    # Below one another in the bar, above the line: equal values stay visible.
    beside = place + np.linspace(0.24, -0.08, len(values))
    axes.scatter(values, beside, s=16, color="black", edgecolors="white", linewidths=0.5, zorder=3)
