"""Draw the points of a demonstration, and the line of each loss."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from asrl_mlflow.figures.style import CONTEXT_GREY, colour_of, label_lines, open_figure, style_axes
from asrl_mlflow.literature.demonstrations import Demonstration, Points
from asrl_mlflow.literature.line import Line


def draw_lines(
    demonstration: Demonstration, points: Points, lines: Mapping[str, Line], context: str
) -> Figure:
    """Draw points, outliers in grey, and lines; the true one is dashed.

    Parameters
    ----------
    demonstration : Demonstration
        What was fitted.
    points : Points
        As they were drawn.
    lines : mapping of name to Line
        By name of the loss.
    context : str
        Which seed it is about.
    """
    figure, body = open_figure((9, 5), demonstration.title, context)
    axes = body.add_subplot()
    style_axes(axes)
    for chosen, colour in ((~points.is_outlier, "black"), (points.is_outlier, CONTEXT_GREY)):
        axes.scatter(
            points.x[chosen], points.y[chosen], s=6, alpha=0.4, color=colour, linewidths=0
        )
    ends = np.array([points.x.min(), points.x.max()])
    axes.plot(ends, demonstration.truth.at(ends), color="black", linestyle="--", linewidth=1.5)
    for name, line in lines.items():
        axes.plot(ends, line.at(ends), color=colour_of(name), linewidth=1.2)
    shown = {"the truth": demonstration.truth, **lines}
    label_lines(
        axes,
        [(float(ends[1]), float(line.at(ends[1:])[0])) for line in shown.values()],
        list(shown),
        ["black", *(colour_of(name) for name in lines)],
    )
    axes.set(xlabel="x", ylabel="y")
    return figure
