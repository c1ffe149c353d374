"""Compare losses: the summary table that is printed and logged, and the same numbers as bars."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean, stdev

import numpy as np
from matplotlib.figure import Figure

from asrl_mlflow.experiments.experiment import Result
from asrl_mlflow.figures.style import COLOURS, plain

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


def metric_bars(scores: Mapping[str, Scores], title: str) -> Figure:
    """Bars across losses, sorted by MAE, with one dot a seed and the deviation over seeds.

    Parameters
    ----------
    scores : mapping of loss name to {metric: one value a seed}
        As for `summary_table`.
    title : str
        Above the figure.
    """
    names = rank_losses(scores)
    # Best on top.
    names.reverse()
    panels = [entry for entry in SUMMARY if entry[0] != "seconds"]
    better = {"r2": "larger is better", "recall": "too high predictions do well"}
    figure = Figure(figsize=(11, 1.6 + 0.42 * len(names)), layout="constrained")
    several = len(scores[names[0]]["mae"]) > 1
    legend = "\nbars: mean over seeds; dots: seeds; lines: standard deviation" if several else ""
    figure.suptitle(title + legend, fontsize="medium")
    for axes, (metric, heading) in zip(
        figure.subplots(1, len(panels), sharey=True), panels, strict=True
    ):
        for place, name in enumerate(names):
            values = np.asarray(scores[name][metric])
            axes.barh(
                place,
                values.mean(),
                xerr=values.std(ddof=1) if several else None,
                # "asrl_c tuned" is a bar of asrl_c.
                color=COLOURS[name.partition(" ")[0]],
                height=0.7,
                error_kw={"capsize": 3, "elinewidth": 1},
            )
            if several:
                axes.scatter(values, np.full(len(values), place), s=10, color="black", zorder=3)
            # In a column beside the bars, clear of dots and lines.
            axes.text(
                1.02,
                place,
                f"{values.mean():.3g}",
                transform=axes.get_yaxis_transform(),
                va="center",
                fontsize="small",
            )
        axes.set_yticks(range(len(names)), names)
        axes.set(title=heading, xlabel=better.get(metric, "smaller is better"))
        plain(axes)
    return figure
