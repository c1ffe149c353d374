"""Draw what a grid came to: ratios to the best rival, and ranks with their critical difference."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from asrl_mlflow.comparisons.grids.convergence import Convergence
from asrl_mlflow.comparisons.grids.levels import Levels
from asrl_mlflow.comparisons.grids.ranking import ALPHA, Ranking
from asrl_mlflow.comparisons.grids.results import Results, Setting
from asrl_mlflow.figures.style import (
    CONTEXT_GREY,
    colour_of,
    label_plain_numbers,
    open_figure,
    style_axes,
)
from asrl_mlflow.losses import auto
from asrl_mlflow.losses.regression.scale import AUTO

# Ratios beyond are drawn at the edge, with an arrow: they would press the others together.
_MOST = 1.75
# From so many doublings of the error on the map is too dark for black letters.
_DARK = 0.6


def draw_ratios(results: Results, context: str) -> Figure:
    """Draw each method's test MAE over that of the best rival, a panel a setting.

    Parameters
    ----------
    results : Results
        Of at least one setting.
    context : str
        Which tables and seeds it is about.
    """
    settings, methods = list(results.errors), results.methods
    across = min(4, len(settings))
    down = -(-len(settings) // across)
    figure, body = open_figure(
        (2.5 + 2.4 * across, 1.2 + down * (0.8 + 0.26 * len(methods))),
        "Test MAE over that of the best rival: left of the line is better",
        f"{context}; points: seeds; lines: 95%, corrected for all comparisons",
    )
    panels = body.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
    ratios = results.ratios()
    for axes, setting in zip(panels, settings, strict=False):
        style_axes(axes)
        axes.axvline(1, color=CONTEXT_GREY, linewidth=1)
        frame = results.errors[setting]
        rival = results.best_rival(setting)
        intervals = {each.method: each for each in ratios[setting]}
        for place, method in enumerate(methods):
            colour = _colour(method)
            seeds = (frame[method] / frame[rival]).to_numpy()
            middle = float(np.exp(np.log(seeds).mean()))
            if middle > _MOST:
                axes.text(
                    _MOST,
                    place,
                    f"{middle:.2g} ▸",
                    ha="right",
                    va="center",
                    color=colour,
                    fontsize=8,
                )
                continue
            axes.plot(seeds, np.full(len(seeds), place), ".", color=colour, alpha=0.35, ms=4)
            axes.plot(middle, place, "o", color=colour, ms=6)
            each = intervals.get(method)
            if each is not None and each.low < each.high:
                axes.plot([each.low, each.high], [place, place], color=colour, linewidth=1.8)
        axes.set_title(results.label(setting), fontsize="small")
        axes.set_yticks(range(len(methods)), methods, fontsize=8)
        axes.tick_params(axis="x", labelsize=8)
        axes.grid(visible=False, axis="y")
    shown = np.concatenate(
        [
            (frame.div(frame[results.best_rival(setting)], axis=0)).to_numpy().ravel()
            for setting, frame in results.errors.items()
        ]
    )
    panels[0].set_xlim(0.95 * float(shown.min()), min(_MOST, 1.05 * float(shown.max())))
    for axes in panels[len(settings) :]:
        axes.set_visible(False)
    # The lowest of each column has the numbers, also where the last line is not full.
    for axes in panels[max(0, len(settings) - across) : len(settings)]:
        axes.tick_params(labelbottom=True)
    panels[0].set_ylim(len(methods) - 0.5, -0.5)
    return figure


def draw_ranks(ranking: Ranking, context: str) -> Figure:
    """Draw a critical-difference diagram: mean ranks, a bar over methods that do not clearly differ.

    Parameters
    ----------
    ranking : Ranking
        Of at least three methods.
    context : str
        Which tables and seeds it is about.
    """
    # Here, not above: it takes more than a second to import.
    from scikit_posthocs import critical_difference_diagram  # noqa: PLC0415 - see above

    figure, body = open_figure(
        (9, 1.9 + 0.24 * len(ranking.ranks)),
        "Mean rank of the test MAE: left is better; a bar joins what does not clearly differ",
        f"{context}; {ranking.blocks} comparisons; Friedman p = {ranking.p:.2g}; Nemenyi: mean ranks that are "
        f"{ranking.critical_difference:.2f} apart differ clearly",
    )
    axes = body.add_subplot()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own, by version
        critical_difference_diagram(
            ranking.ranks,
            ranking.differ,
            alpha=ALPHA,
            ax=axes,
            label_fmt_left="{label} ({rank:.2f})",
            label_fmt_right="({rank:.2f}) {label}",
            color_palette={str(name): _colour(str(name)) for name in ranking.ranks.index},
        )
    return figure


def draw_levels(results: Results, levels: Mapping[str, Levels], context: str) -> Figure:
    """Draw the map of continuous ASRL's levels: a column of panels a setting, a row a tail.

    Parameters
    ----------
    results : Results
        Of at least one setting.
    levels : mapping of method to Levels
        The points of the map.
    context : str
        Which tables and seeds it is about.
    """
    settings, tails = list(results.errors), sorted({each.tail for each in levels.values()})
    lows, highs = (sorted({each[place] for each in levels.values()}) for place in (0, 1))
    figure, body = open_figure(
        (1.5 + 2.6 * len(settings), 1.3 + 2.0 * len(tails)),
        "Levels and tail of asrl_c: test MAE over that of the best rival (blue is better)",
        context,
    )
    panels = body.subplots(len(tails), len(settings), sharex=True, sharey=True, squeeze=False)
    table = results.table()
    for column, setting in enumerate(settings):
        ratios = table[results.label(setting)]
        for row, tail in enumerate(tails):
            axes = panels[row, column]
            shown = np.full((len(highs), len(lows)), np.nan)
            for name, point in levels.items():
                if point.tail == tail:
                    shown[highs.index(point.q_high), lows.index(point.q_low)] = ratios[name]
            # Half and twice the rival's error are the ends, the same in every panel.
            axes.imshow(
                np.log2(shown), cmap="RdBu_r", vmin=-1, vmax=1, origin="lower", aspect="auto"
            )
            for high, low in zip(*np.nonzero(np.isfinite(shown)), strict=True):
                value = shown[high, low]
                ink = "white" if abs(np.log2(value)) > _DARK else "black"
                axes.text(
                    low, high, f"{value:.2f}", ha="center", va="center", fontsize=8, color=ink
                )
            axes.set_xticks(range(len(lows)), [f"{each:g}" for each in lows], fontsize=8)
            axes.set_yticks(range(len(highs)), [f"{each:g}" for each in highs], fontsize=8)
            if row == 0:
                axes.set_title(results.label(setting), fontsize="small")
            if column == 0:
                axes.set_ylabel(f"tail {tail:g}\nq_high", fontsize=8)
            if row == len(tails) - 1:
                axes.set_xlabel("q_low", fontsize=8)
    return figure


def draw_convergence(convergence: Convergence) -> dict[str, Figure]:
    """Draw the test MAE against rounds and against seconds, a column of panels a learning rate.

    Parameters
    ----------
    convergence : Convergence
        Of at least one setting.

    Returns
    -------
    dict of str to Figure
        By table, contamination and rows, as a file may be called.
    """
    groups: dict[str, list[Setting]] = {}
    for setting in convergence.curves:
        contamination = setting.contamination
        name = f"{setting.table}_{contamination.kind}_{contamination.share:g}"
        name += "" if setting.shift == "none" else "_shifted"
        groups.setdefault(f"{name}_{setting.rows or 'all'}", []).append(setting)
    return {name: _draw_curves(convergence, settings) for name, settings in groups.items()}


def _draw_curves(convergence: Convergence, settings: Sequence[Setting]) -> Figure:
    contamination = settings[0].contamination.describe()
    figure, body = open_figure(
        (1.5 + 2.8 * len(settings), 6),
        "Test MAE by boosting round and by seconds; a dot: within 2% of the method's smallest",
        f"{settings[0].table}{contamination}; mean over the seeds; nothing is chosen by these rows",
    )
    panels = body.subplots(2, len(settings), sharey=True, squeeze=False)
    for column, setting in enumerate(settings):
        for method, curve in convergence.curves[setting].items():
            rounds = np.arange(1, len(curve.errors) + 1)
            near, colour = curve.near, _colour(method)
            for axes, unit in zip(panels[:, column], (1.0, curve.round_seconds), strict=True):
                axes.plot(rounds * unit, curve.errors, color=colour, linewidth=1.6, label=method)
                axes.plot(near * unit, curve.errors[near - 1], "o", color=colour, ms=5)
        panels[0, column].set(
            title=f"learning rate {setting.learning_rate:g}", xlabel="boosting rounds"
        )
        panels[1, column].set(xlabel="seconds")
        for axes in panels[:, column]:
            style_axes(axes)
            axes.set_yscale("log")
            label_plain_numbers(axes)
    for axes in panels[:, 0]:
        axes.set_ylabel("test MAE (target units)")
    panels[0, -1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return figure


def _colour(method: str) -> str:
    """The colour of a method, that of its loss in every figure."""
    return colour_of(auto().label if method == AUTO else method)
