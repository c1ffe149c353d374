"""Draw the points of a demonstration, and the lines of each loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from asrl_mlflow.comparisons.literature.demonstrations import Demonstration, Points
from asrl_mlflow.comparisons.literature.line import Line
from asrl_mlflow.figures.style import CONTEXT_GREY, colour_of, label_lines, open_figure, style_axes


def draw_lines(
    demonstration: Demonstration,
    points: Points,
    lines: Mapping[str, Sequence[Line]],
    context: str,
) -> Figure:
    """Draw points, outliers in grey, and a line for each loss and seed; the true one is dashed.

    Parameters
    ----------
    demonstration : Demonstration
        What was fitted.
    points : Points
        Those of the first seed.
    lines : mapping of label to sequence of Line
        By label of the loss, a line a seed.
    context : str
        Which seeds it is about.
    """
    figure, body = open_figure((9, 5), demonstration.title, context)
    axes = body.add_subplot()
    style_axes(axes)
    for chosen, colour in ((~points.is_outlier, "black"), (points.is_outlier, CONTEXT_GREY)):
        axes.scatter(points.x[chosen], points.y[chosen], s=6, alpha=0.4, color=colour, linewidths=0)
    ends = np.array([points.x.min(), points.x.max()])
    axes.plot(ends, demonstration.truth.at(ends), color="black", linestyle="--", linewidth=1.5)
    heights = {"the truth": float(demonstration.truth.at(ends)[1])}
    for label, each in lines.items():
        for line in each:
            axes.plot(ends, line.at(ends), color=colour_of(label), linewidth=0.9, alpha=0.7)
        heights[label] = float(np.median([line.at(ends)[1] for line in each]))
    label_lines(
        axes,
        [(float(ends[1]), height) for height in heights.values()],
        list(heights),
        ["black", *map(colour_of, lines)],
    )
    axes.set(xlabel="x", ylabel="y")
    return figure
