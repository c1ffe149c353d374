"""Draw overviews of the repeated experiments of the paper: losses, predictions, metrics, rounds."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from asrl_mlflow.comparisons.paper.comparison import (
    DEPTHS,
    PAPER_LOSSES,
    TOLERANCES,
    Results,
    TrainingKey,
    paper_values,
    tables_in_order,
)
from asrl_mlflow.figures.model_figures import scatter_predicted_against_actual
from asrl_mlflow.figures.style import (
    colour_of,
    label_plain_numbers,
    label_rounds,
    open_figure,
    style_axes,
)


def draw_overviews(results: Results) -> dict[str, Figure]:
    """Draw all overviews, by file name without ending.

    Parameters
    ----------
    results : mapping of Key to Ours
        One result for each table, depth and loss.
    """
    return {
        "1_losses": draw_losses(results),
        "2_predicted_against_actual": draw_predictions(results),
        "3_metrics": draw_metrics(results),
        "mae_against_rounds": draw_mae_against_rounds(results),
    }


def draw_losses(results: Results) -> Figure:
    """Draw loss and influence of a residual under each loss, in the last round on the first table."""
    name = tables_in_order(results)[0]
    ours = {
        loss.name: results[TrainingKey(name, DEPTHS[-1], loss.name)]
        for loss in PAPER_LOSSES.values()
    }
    one = next(iter(ours.values()))
    reach = float(np.quantile(np.abs(one.actual - one.predicted), 0.98))
    r = np.linspace(-reach, reach, 2001)
    figure, body = open_figure(
        (10, 4.6),
        "What a residual costs and how hard its row pulls, under each loss",
        f"{name}, last round, depth {DEPTHS[-1]}; each curve is divided by its largest value",
    )
    left, right = body.subplots(1, 2)
    for axes in (left, right):
        style_axes(axes)
        axes.set(xlabel="residual: target minus prediction (target units)")
    for loss, result in ours.items():
        value, influence = result.pointwise.value(r), result.pointwise.influence(r)
        left.plot(r, value / value.max(), color=colour_of(loss), linewidth=2, label=loss)
        right.plot(
            r, influence / np.abs(influence).max(), color=colour_of(loss), linewidth=2, label=loss
        )
    left.set(ylabel="loss / its largest value")
    right.set(ylabel="influence / its largest value")
    left.legend(frameon=False)
    return figure


def draw_predictions(results: Results) -> Figure:
    """Draw test rows as points, with a row of panels for each table and a column for each loss."""
    names = tables_in_order(results)
    figure, body = open_figure(
        (3.2 * len(PAPER_LOSSES), 0.6 + 3.2 * len(names)),
        "Predicted against actual target, test rows of the paper's tables",
        f"depth {DEPTHS[-1]}; the line is a perfect prediction",
    )
    grid = body.subplots(len(names), len(PAPER_LOSSES), squeeze=False)
    for name, row in zip(names, grid, strict=True):
        for loss, axes in zip(PAPER_LOSSES.values(), row, strict=True):
            ours = results[TrainingKey(name, DEPTHS[-1], loss.name)]
            scatter_predicted_against_actual(axes, ours.actual, ours.predicted, loss.name)
            axes.legend_ = None
            axes.set_title(f"{name}, {loss.name}: MAE {ours.metrics['mae']:.3g}", fontsize="small")
            if axes is not row[0]:
                axes.set(ylabel="")
            if name != names[-1]:
                axes.set(xlabel="")
    return figure


def draw_metrics(results: Results) -> Figure:
    """Draw the paper's values and ours as bars, with a row of panels a metric and a column a table."""
    names = tables_in_order(results)
    shades = zip(DEPTHS, ("pale", "full"), strict=True)
    figure, body = open_figure(
        (1 + 3.0 * len(names), 9.4),
        "The paper's metrics and ours",
        "for each loss, from the left: the paper (hatched), "
        + ", ".join(f"ours at depth {depth} ({shade})" for depth, shade in shades),
    )
    grid = body.subplots(len(TOLERANCES), len(names), squeeze=False)
    for (metric, how), row in zip(TOLERANCES.items(), grid, strict=True):
        for name, axes in zip(names, row, strict=True):
            style_axes(axes)
            for place, (theirs, loss) in enumerate(PAPER_LOSSES.items()):
                ours = [
                    results[TrainingKey(name, depth, loss.name)].metrics[metric] for depth in DEPTHS
                ]
                values = [paper_values()[name][theirs][metric], *ours]
                styles: list[dict[str, object]] = [
                    {"color": "white", "edgecolor": colour_of(loss.name), "hatch": "////"},
                    {"color": colour_of(loss.name), "alpha": 0.45},
                    {"color": colour_of(loss.name)},
                ]
                for offset, value, style in zip((-0.27, 0.0, 0.27), values, styles, strict=True):
                    axes.bar(place + offset, value, width=0.25, **style)
            axes.set_xticks([])
            if metric in ("r2", "recall"):
                axes.set_ylim(0.5, 1)
            axes.set_title(f"{name}: {how.heading}", fontsize="small")
    names_of_colours = [
        Patch(color=colour_of(loss.name), label=loss.name) for loss in PAPER_LOSSES.values()
    ]
    body.legend(
        handles=names_of_colours,
        loc="outside lower center",
        # One table is too narrow for all names in a line.
        ncols=len(PAPER_LOSSES) if len(names) > 1 else 2,
        frameon=False,
    )
    return figure


def draw_mae_against_rounds(results: Results) -> Figure:
    """Draw test MAE after each round, with a row of panels for each depth."""
    names = tables_in_order(results)
    figure, body = open_figure(
        (1 + 3.2 * len(names), 0.6 + 3.2 * len(DEPTHS)),
        "Error on test rows, round by round",
        "the paper's tables and losses",
    )
    grid = body.subplots(len(DEPTHS), len(names), squeeze=False)
    for depth, row in zip(DEPTHS, grid, strict=True):
        for name, axes in zip(names, row, strict=True):
            style_axes(axes)
            for loss in PAPER_LOSSES.values():
                curve = results[TrainingKey(name, depth, loss.name)].curve
                axes.plot(curve, color=colour_of(loss.name), linewidth=1.6, label=loss.name)
            axes.set_yscale("log")
            label_plain_numbers(axes)
            axes.set_title(f"{name}, depth {depth}", fontsize="small")
            label_rounds(axes)
            if depth != DEPTHS[-1]:
                axes.set(xlabel="")
    grid[0][0].set(ylabel="MAE (target units)")
    grid[-1][0].set(ylabel="MAE (target units)")
    grid[0][0].legend(frameon=False, fontsize="small")
    return figure
