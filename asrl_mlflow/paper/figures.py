"""Overviews of the paper's experiments as we repeat them: losses, predictions, metrics, and rounds."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from asrl_mlflow.figures.model_figures import draw_predicted_against_actual
from asrl_mlflow.figures.style import COLOURS, plain, plain_numbers, rounds_below
from asrl_mlflow.paper.comparison import (
    DEPTHS,
    PAPER_LOSSES,
    TOLERANCES,
    Results,
    TrainingKey,
    paper_values,
    tables_in_order,
)


def drawn(results: Results) -> dict[str, Figure]:
    """All of them, by file name."""
    return {
        "1_losses": losses(results),
        "2_predicted_against_actual": predictions(results),
        "3_metrics": metrics(results),
        "mae_against_rounds": mae_against_rounds(results),
    }


def losses(results: Results) -> Figure:
    """What a residual costs and weighs under each loss, in the last round on the first table."""
    name = tables_in_order(results)[0]
    ours = {
        loss.name: results[TrainingKey(name, DEPTHS[-1], loss.name)]
        for loss in PAPER_LOSSES.values()
    }
    one = next(iter(ours.values()))
    reach = float(np.quantile(np.abs(one.actual - one.predicted), 0.98))
    r = np.linspace(-reach, reach, 2001)
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    figure.suptitle(f"The losses after the last round on {name} (each over its value at the edge)")
    left, right = figure.subplots(1, 2)
    for axes in (left, right):
        plain(axes)
        axes.set(xlabel="residual: target minus prediction")
    for loss, result in ours.items():
        value, influence = result.pointwise.value(r), result.pointwise.influence(r)
        left.plot(r, value / value[-1], color=COLOURS[loss], linewidth=2, label=loss)
        right.plot(
            r, influence / np.abs(influence).max(), color=COLOURS[loss], linewidth=2, label=loss
        )
    left.set(ylabel="loss")
    right.set(ylabel="influence (how hard the row pulls)")
    left.legend(frameon=False)
    return figure


def predictions(results: Results) -> Figure:
    """Test rows as points, a row of panels a table and a column a loss."""
    names = tables_in_order(results)
    figure = Figure(figsize=(3.2 * len(PAPER_LOSSES), 3.0 * len(names)), layout="constrained")
    figure.suptitle(f"Predicted against actual test targets, depth {DEPTHS[-1]}")
    grid = figure.subplots(len(names), len(PAPER_LOSSES), squeeze=False)
    for name, row in zip(names, grid, strict=True):
        for loss, axes in zip(PAPER_LOSSES.values(), row, strict=True):
            ours = results[TrainingKey(name, DEPTHS[-1], loss.name)]
            draw_predicted_against_actual(axes, ours.actual, ours.predicted, loss.name)
            axes.legend_ = None
            axes.set_title(f"{name}, {loss.name}: MAE {ours.metrics['mae']:.3g}", fontsize="small")
            if axes is not row[0]:
                axes.set(ylabel="")
            if name != names[-1]:
                axes.set(xlabel="")
    return figure


def metrics(results: Results) -> Figure:
    """The paper's values and ours as bars, a row of panels a metric and a column a table."""
    names = tables_in_order(results)
    figure = Figure(figsize=(1 + 3.0 * len(names), 9), layout="constrained")
    figure.suptitle(
        "In each group: the paper (hatched), ours at depth "
        + " and ".join(
            f"{depth} ({shade})" for depth, shade in zip(DEPTHS, ("pale", "full"), strict=True)
        )
    )
    grid = figure.subplots(len(TOLERANCES), len(names), squeeze=False)
    for (metric, how), row in zip(TOLERANCES.items(), grid, strict=True):
        for name, axes in zip(names, row, strict=True):
            plain(axes)
            for place, (theirs, loss) in enumerate(PAPER_LOSSES.items()):
                ours = [
                    results[TrainingKey(name, depth, loss.name)].metrics[metric] for depth in DEPTHS
                ]
                values = [paper_values()[name][theirs][metric], *ours]
                styles: list[dict[str, object]] = [
                    {"color": "white", "edgecolor": COLOURS[loss.name], "hatch": "////"},
                    {"color": COLOURS[loss.name], "alpha": 0.45},
                    {"color": COLOURS[loss.name]},
                ]
                for offset, value, style in zip((-0.27, 0.0, 0.27), values, styles, strict=True):
                    axes.bar(place + offset, value, width=0.25, **style)
            axes.set_xticks([])
            if metric in ("r2", "recall"):
                axes.set_ylim(0.5, 1)
            axes.set_title(f"{name}: {how.heading}", fontsize="small")
    names_of_colours = [
        Patch(color=COLOURS[loss.name], label=loss.name) for loss in PAPER_LOSSES.values()
    ]
    figure.legend(handles=names_of_colours, loc="outside lower center", ncols=len(PAPER_LOSSES))
    return figure


def mae_against_rounds(results: Results) -> Figure:
    """Which loss converges faster: test MAE after each round, a row of panels a depth."""
    names = tables_in_order(results)
    figure = Figure(figsize=(1 + 3.2 * len(names), 3.2 * len(DEPTHS)), layout="constrained")
    figure.suptitle("Test MAE against boosting rounds")
    grid = figure.subplots(len(DEPTHS), len(names), squeeze=False)
    for depth, row in zip(DEPTHS, grid, strict=True):
        for name, axes in zip(names, row, strict=True):
            plain(axes)
            for loss in PAPER_LOSSES.values():
                curve = results[TrainingKey(name, depth, loss.name)].curve
                axes.plot(curve, color=COLOURS[loss.name], linewidth=1.6, label=loss.name)
            axes.set_yscale("log")
            plain_numbers(axes)
            axes.set_title(f"{name}, depth {depth}", fontsize="small")
            rounds_below(axes)
            if depth != DEPTHS[-1]:
                axes.set(xlabel="")
    grid[0][0].set(ylabel="MAE (target units)")
    grid[-1][0].set(ylabel="MAE (target units)")
    grid[0][0].legend(frameon=False, fontsize="small")
    return figure
