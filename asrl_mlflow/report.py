"""What people look at: the summary table and the figures.

Figures are drawn without pyplot, so that nothing global changes, with one colour a loss everywhere
(the palette of Okabe and Ito, which colour-blind readers can tell apart).
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping, Sequence
from statistics import mean, stdev

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from asrl_mlflow.losses import LOSSES
from asrl_mlflow.rounds import Round

_PALETTE = (
    "#D55E00",
    "#0072B2",
    "#6E6E6E",
    "#009E73",
    "#E69F00",
    "#CC79A7",
    "#56B4E9",
    "#000000",
)
COLOURS: Mapping[str, str] = {
    name: _PALETTE[index % len(_PALETTE)] for index, name in enumerate(LOSSES)
}
# Columns of the summary, as (metric, heading).
SUMMARY = (
    ("mae", "test MAE"),
    ("rmse", "test RMSE"),
    ("r2", "test R2"),
    ("recall", "recall"),
    ("seconds", "seconds"),
)
RECALL_NOTE = (
    "recall: share of the test rows above the median target that are predicted above it too\n"
    "        (predictions that are too high do well by it)"
)

# A loss's results: metric name to one value a seed.
Scores = Mapping[str, Sequence[float]]


def ranked(scores: Mapping[str, Scores]) -> list[str]:
    """Loss names by mean test MAE, the best first."""
    return sorted(scores, key=lambda name: mean(scores[name]["mae"]))


def summary_columns(scores: Mapping[str, Scores]) -> dict[str, list[str | float]]:
    """The summary as columns of numbers: mean over seeds and, with several, the deviation."""
    names = ranked(scores)
    columns: dict[str, list[str | float]] = {"loss": list(names)}
    for metric, heading in SUMMARY:
        columns[heading] = [mean(scores[name][metric]) for name in names]
        if len(scores[names[0]][metric]) > 1:
            columns[f"{heading} sd"] = [stdev(scores[name][metric]) for name in names]
    return columns


def summary_table(scores: Mapping[str, Scores]) -> str:
    """The summary as text, sorted by test MAE.

    Parameters
    ----------
    scores : mapping of loss name to {metric: one value a seed}
        With the metrics "mae", "rmse", "r2", "recall" and "seconds".

    Examples
    --------
    >>> one = {"rmse": [2.0], "r2": [0.5], "recall": [0.75], "seconds": [1.0]}
    >>> print(summary_table({"huber": {"mae": [1.5], **one}, "asrl_c": {"mae": [1.25], **one}}))
    loss    test MAE  test RMSE  test R2  recall  seconds
    asrl_c     1.250      2.000   0.5000  0.7500        1
    huber      1.500      2.000   0.5000  0.7500        1
    """
    rows = [["loss", *(heading for _, heading in SUMMARY)]]
    rows += [
        [name, *(_cell(metric, scores[name][metric]) for metric, _ in SUMMARY)]
        for name in ranked(scores)
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    )


def _cell(metric: str, values: Sequence[float]) -> str:
    spread = f" ± {stdev(values):.2g}" if len(values) > 1 else ""
    # Four digits, zeros at the end included, so that a column can be compared at a glance.
    number = f"{mean(values):.2g}" if metric == "seconds" else f"{mean(values):#.4g}".rstrip(".")
    return number + spread


def png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def predicted_against_actual(
    actual: npt.ArrayLike, predicted: npt.ArrayLike, loss: str, title: str
) -> Figure:
    """Test rows as points: the closer to the diagonal, the better.

    Parameters
    ----------
    actual, predicted : arrays of shape (n,)
        In target units.
    loss : str
        Its name, for the colour.
    title : str
        Above the figure.
    """
    actual, predicted = np.asarray(actual), np.asarray(predicted)
    figure = Figure(figsize=(5.5, 5.5), layout="constrained")
    axes = figure.add_subplot()
    _plain(axes)
    low, high = _limits(np.concatenate([actual, predicted]))
    axes.plot([low, high], [low, high], color="black", linewidth=1, label="perfect")
    # Many points must not become one blot.
    opacity = float(np.clip(200 / len(actual), 0.08, 0.7))
    axes.scatter(
        actual, predicted, s=14, color=COLOURS[loss], alpha=opacity, linewidths=0, label="test row"
    )
    axes.set(xlabel="actual target", ylabel="predicted target")
    axes.set_title(title, fontsize="medium", wrap=True)
    outside = np.count_nonzero(
        (np.minimum(actual, predicted) < low) | (np.maximum(actual, predicted) > high)
    )
    if outside:
        margin = 0.03 * (high - low)
        axes.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin))
    legend = axes.legend(
        frameon=False,
        loc="upper left",
        title=f"{outside} of {len(actual)} rows lie outside" if outside else None,
    )
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1)
    return figure


def _limits(values: npt.NDArray[np.floating]) -> tuple[float, float]:
    """Ends of an axis: of all values, unless a few outliers would press the others into a corner."""
    low, high = np.quantile(values, [0.25, 0.75])
    reach = 4 * (high - low)
    return float(max(values.min(), low - reach)), float(min(values.max(), high + reach))


def thresholds_and_weights(rounds: Sequence[Round], loss: str, title: str) -> Figure | None:
    """How the loss moved while it trained; None for a loss that has nothing that could move.

    Above the thresholds, below the region weights (for losses without them the mean row weight).

    Parameters
    ----------
    rounds : sequence of Round
        Of one training.
    loss : str
        Its name, for the colour.
    title : str
        Above the figure.
    """
    if not rounds or len(rounds[0].pointwise.regions) == 1:
        return None
    fields = [
        (field.metadata["group"], field.name)
        for field in dataclasses.fields(rounds[0].pointwise)
        if "group" in field.metadata and field.name != "fallback"
    ]
    numbers = [round_.number for round_ in rounds]
    figure = Figure(figsize=(7, 6), layout="constrained")
    above, below = figure.subplots(2, sharex=True)
    styles = ("-", "--", ":")

    def draw(axes: Axes, names: Sequence[str]) -> None:
        for name, style in zip(names, styles, strict=False):
            values = [getattr(round_.pointwise, name) for round_ in rounds]
            axes.plot(numbers, values, style, color=COLOURS[loss], linewidth=2, label=name)

    draw(above, [name for group, name in fields if group == "threshold"])
    weights = [name for group, name in fields if group == "weight"]
    if weights:
        draw(below, weights)
        below.set(ylabel="region weight", yscale="log")
    else:
        means = [round_.mean_weight for round_ in rounds]
        below.plot(numbers, means, color=COLOURS[loss], linewidth=2, label="mean row weight")
        below.set(ylabel="mean weight of a row (1 = full)", ylim=(0, 1.05))
    above.set(ylabel="threshold (target units)")
    if all(line.get_ydata().min() > 0 for line in above.get_lines()):
        # Under contamination delta_high is a hundred times delta_low.
        above.set_yscale("log")
    above.set_title(title, fontsize="medium", wrap=True)
    below.set(xlabel="boosting round")
    below.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    for axes in (above, below):
        if axes.get_yscale() == "log":
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
        _plain(axes)
        axes.legend(frameon=False)
    return figure


def metric_bars(scores: Mapping[str, Scores], title: str) -> Figure:
    """Bars across losses, sorted by MAE, with one dot a seed and the deviation over seeds.

    Parameters
    ----------
    scores : mapping of loss name to {metric: one value a seed}
        As for `summary_table`.
    title : str
        Above the figure.
    """
    names = ranked(scores)
    # Best on top.
    names.reverse()
    panels = [entry for entry in SUMMARY if entry[0] != "seconds"]
    better = {"mae": "smaller is better", "rmse": "smaller is better", "r2": "larger is better"}
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
                color=COLOURS[name],
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
        axes.set(title=heading, xlabel=better.get(metric, "too high predictions do well"))
        _plain(axes)
    return figure


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
