"""Draw which labels are suspicious: the residuals in the order of the ranking, and where they lie."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from asrl_mlflow.figures.style import CONTEXT_GREY, TEXT_GREY, open_figure, style_axes

# The first rows of the ranking, whose numbers are written beside them.
_NAMED = 5
_MOST_LABELS = 20
# More points than these are drawn in part, from the end of the ranking.
_MOST_POINTS = 10_000
# The axis is linear where nine rows in ten lie, and logarithmic beyond where others lie so much further.
_INNER, _FAR_OUT = 0.9, 6.0
# Full rows are pale, rows without weight dark; both can be told from white, and apart without colour.
_WEIGHTS = LinearSegmentedColormap.from_list(
    "weights", ["#8B1A00", "#D55E00", "#E8B98A", "#B9C4CC"]
)


def draw_ranking(
    table: pd.DataFrame, regions: Mapping[str, float], left_out: int, context: str
) -> Figure:
    """Draw signed residuals, out of fold: in the order of the ranking, and against the prediction.

    Parameters
    ----------
    table : DataFrame of shape (n, 6), n >= 1
        As `rank_residuals` gives it.
    regions : mapping of name to float
        Of the loss that gave the weights: the largest |residual| of each region, in target units.
    left_out : int
        How many rows could not be ranked.
    context : str
        Which loss, table and seed it is about.
    """
    count = len(table)
    more = f"; {left_out} rows without an out-of-fold prediction are left out" if left_out else ""
    figure, body = open_figure(
        (10, 4.8),
        f"Which labels are suspicious? {count} training rows, ranked",
        f"{context}{more}",
    )
    ranked, placed = body.subplots(1, 2, sharey=True)
    _scale(ranked, table["residual"].to_numpy())
    ranked.set_xscale("log")
    rank = np.arange(1, count + 1)
    shown = np.unique(
        np.r_[: min(count, _MOST_POINTS // 2), : count : -(-2 * count // _MOST_POINTS)]
    )
    part = table.take(shown)
    residual = part["residual"].to_numpy()
    # The most suspicious last, above the others.
    for axes, across in ((ranked, rank[shown]), (placed, part["prediction"].to_numpy())):
        style_axes(axes)
        _draw_thresholds(axes, regions)
        points = axes.scatter(
            across[::-1],
            residual[::-1],
            c=part["weight"].to_numpy()[::-1],
            cmap=_WEIGHTS,
            vmin=0,
            vmax=1,
            s=16,
            alpha=float(np.clip(1500 / len(shown), 0.55, 0.9)),
            linewidths=0,
            zorder=3,
        )
        axes.axhline(0, color="black", linewidth=0.8)
    ranked.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ranked.set(
        xlabel="rank, the most suspicious first (logarithmic)",
        ylabel="target minus prediction (target units)",
    )
    placed.set(xlabel="prediction, out of fold (target units)")
    _name_rows(ranked, table.head(_NAMED))
    bar = body.colorbar(points, ax=[ranked, placed], pad=0.02, aspect=30)
    bar.set_alpha(1)
    bar.outline.set_visible(False)
    if _thresholds(regions):
        handle = Line2D([], [], color=CONTEXT_GREY, linewidth=1, linestyle="--")
        body.legend(
            [handle],
            ["thresholds of the loss"],
            loc="outside lower center",
            frameon=False,
            fontsize="small",
        )
    bar.set_label("weight of the row (1 = a full row)")
    return figure


def draw_class_ranking(table: pd.DataFrame, left_out: int, context: str) -> Figure:
    """Draw the probability of each row's label, out of fold, in the order of the ranking; and by label.

    Parameters
    ----------
    table : DataFrame of shape (n, 6), n >= 1
        As `rank_classes` gives it.
    left_out : int
        How many rows could not be ranked.
    context : str
        Which loss, table and seed it is about.
    """
    count = len(table)
    more = f"; {left_out} rows without an out-of-fold prediction are left out" if left_out else ""
    figure, body = open_figure(
        (10, 4.8),
        f"Which labels are suspicious? {count} training rows, ranked",
        f"{context}{more}",
    )
    ranked, by_label = body.subplots(1, 2, width_ratios=(3, 2))
    rank = np.arange(1, count + 1)
    shown = np.unique(
        np.r_[: min(count, _MOST_POINTS // 2), : count : -(-2 * count // _MOST_POINTS)]
    )
    for name, label, colour in (
        ("likeliest_probability", "the likeliest other class", CONTEXT_GREY),
        ("probability", "the row's label", "#D55E00"),
    ):
        ranked.scatter(
            rank[shown],
            table[name].to_numpy()[shown],
            s=14,
            color=colour,
            label=label,
            linewidths=0,
        )
    ranked.set_xscale("log")
    ranked.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ranked.set(
        xlabel="rank, the most suspicious first (logarithmic)",
        ylabel="probability, out of fold",
        ylim=(-0.02, 1.12),
    )
    ranked.legend(frameon=False, loc="upper center", ncols=2, fontsize="small")
    for place, row in enumerate(table["row"].head(_NAMED)):
        ranked.annotate(
            f"row {row}" if place == 0 else str(row),
            (place + 1, table["likeliest_probability"].iloc[place]),
            xytext=(2, 5),
            textcoords="offset points",
            fontsize="x-small",
            color=TEXT_GREY,
        )
    doubted = table["probability"] < table["likeliest_probability"]
    shares = doubted.groupby(table["label"]).mean().sort_values().tail(_MOST_LABELS)
    by_label.barh([str(each) for each in shares.index], shares.to_numpy(), color="#D55E00")
    by_label.set(xlabel="share of the label's rows\nthat look more like another class")
    by_label.xaxis.set_major_formatter("{x:.0%}")
    for axes in (ranked, by_label):
        style_axes(axes)
    by_label.grid(visible=False, axis="y")
    return figure


def _draw_thresholds(axes: Axes, regions: Mapping[str, float]) -> None:
    """Draw the ends of the loss's regions, above and below 0."""
    for limit in _thresholds(regions):
        for side in (-limit, limit):
            axes.axhline(side, color=CONTEXT_GREY, linewidth=1, linestyle="--")


def _thresholds(regions: Mapping[str, float]) -> list[float]:
    return [limit for limit in regions.values() if math.isfinite(limit)]


def _scale(axes: Axes, residual: npt.NDArray[np.float64]) -> None:
    """Scale the vertical axis so that far residuals do not press the others together."""
    size = np.abs(residual)
    inner = float(np.quantile(size, _INNER))
    if size.max() > _FAR_OUT * inner > 0:
        axes.set_yscale("symlog", linthresh=inner, linscale=1.5)
        axes.yaxis.set_minor_locator(NullLocator())
        # Numbers between 0 and where it is logarithmic would lie upon each other.
        axes.yaxis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{value:g}" if abs(value) >= inner or not value else "")
        )


def _name_rows(axes: Axes, first: pd.DataFrame) -> None:
    """Write their row numbers beside the first rows of the ranking."""
    for place, (row, residual) in enumerate(zip(first["row"], first["residual"], strict=True)):
        axes.annotate(
            f"row {row}" if place == 0 else str(row),
            (place + 1, residual),
            xytext=(5, 2),
            textcoords="offset points",
            fontsize="x-small",
            color=TEXT_GREY,
            zorder=4,
        )
