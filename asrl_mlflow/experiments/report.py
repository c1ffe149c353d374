"""Compare losses: the summary table that is printed and logged, and the same numbers as bars."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean, stdev

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from asrl_mlflow.experiments.experiment import Result
from asrl_mlflow.figures.style import AUTO, TUNED, colour_of, open_figure, style_axes

# Columns of the summary, as (metric, heading).
SUMMARY = (
    ("mae", "test MAE"),
    ("medae", "test MedAE"),
    ("rmse", "test RMSE"),
    ("r2", "test R2"),
    ("recall", "recall"),
    ("seconds", "seconds"),
)
# Printed above the table, so that no column comes before its explanation.
NOTE = (
    "MedAE: median absolute error. recall: share of the test rows above the median target that are\n"
    "predicted above it too; predictions that are too high raise it."
)
_BETTER = {
    "mae": "target units; smaller is better",
    "medae": "target units; smaller is better",
    "rmse": "target units; smaller is better",
    "r2": "larger is better",
    "recall": "too high predictions do well",
}

# The results of one loss: metric name to one value per seed.
Scores = Mapping[str, Sequence[float]]


def scores(results: Iterable[tuple[str, Result]]) -> dict[str, dict[str, list[float]]]:
    """Collect the metrics of results, and their seconds, by loss name: one value a result."""
    found: dict[str, dict[str, list[float]]] = {}
    for name, result in results:
        mine = found.setdefault(name, {})
        for metric, value in {**result.metrics, "seconds": result.seconds}.items():
            mine.setdefault(metric, []).append(value)
    return found


def rank_losses(scores: Mapping[str, Scores]) -> list[str]:
    """Sort the names of the losses by mean test MAE, the smallest first."""
    return sorted(scores, key=lambda name: mean(scores[name]["mae"]))


def summary_columns(scores: Mapping[str, Scores]) -> dict[str, list[str | float]]:
    """Give the summary as columns: the mean over seeds and, with several seeds, the standard deviation."""
    names = rank_losses(scores)
    columns: dict[str, list[str | float]] = {"loss": list(names)}
    for metric, heading in SUMMARY:
        columns[heading] = [mean(scores[name][metric]) for name in names]
        if len(scores[names[0]][metric]) > 1:
            columns[f"{heading} sd"] = [stdev(scores[name][metric]) for name in names]
    return columns


def summary_table(scores: Mapping[str, Scores]) -> str:
    """Format the summary as text, sorted by test MAE; with several seeds as mean±standard deviation.

    Parameters
    ----------
    scores : mapping of loss name to {metric: one value per seed}
        With the metrics "mae", "medae", "rmse" (in target units), "r2", "recall" (without unit) and
        "seconds" of training.

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
    rows = [["loss", *(heading for _, heading in SUMMARY)]]
    rows += [
        [name, *(_cell(metric, scores[name][metric]) for metric, _ in SUMMARY)]
        for name in rank_losses(scores)
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    )


def _cell(metric: str, values: Sequence[float]) -> str:
    if metric == "seconds":
        return f"{mean(values):.2g}"
    # Zeros at the end stay, so that the numbers of a column are equally long.
    digits = ".3f" if metric in ("r2", "recall") else "#.4g"
    number = f"{mean(values):{digits}}".rstrip(".")
    return f"{number}±{stdev(values):.2g}" if len(values) > 1 else number


def draw_metric_bars(scores: Mapping[str, Scores], context: str) -> Figure:
    """Draw the mean of each metric as a bar a loss, sorted by MAE, the best on top.

    With several seeds each is a dot, and a line has the standard error of the mean on both sides.

    Parameters
    ----------
    scores : mapping of label to {metric: one value a seed}
        As for `summary_table`. The label is the name of a loss, or "<name> tuned" (a darker bar).
    context : str
        Which table and seeds it is about.
    """
    names = rank_losses(scores)[::-1]
    panels = [entry for entry in SUMMARY if entry[0] != "seconds"]
    several = max(len(scores[name]["mae"]) for name in names) > 1
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
        axes.set(xlabel=_BETTER[metric])
        axes.xaxis.set_major_locator(MaxNLocator(4))
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
