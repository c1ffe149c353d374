"""Draw several losses in one figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from asrl_mlflow.figures.style import (
    TUNED,
    colour_of,
    label_lines,
    label_plain_numbers,
    label_rounds,
    open_figure,
    style_axes,
)

# Values whose largest is more than so many times the smallest are shown on a logarithmic axis.
_WIDE = 3.0


def draw_validation_curves(
    curves: Mapping[str, Sequence[Sequence[float]]],
    context: str,
    title: str = "MAE (target units)",
) -> Figure | None:
    """Draw an error on validation rows by boosting round, one line a loss.

    With several seeds the line is the mean and each seed is a thin line behind it. A tuned loss has a
    dashed line.

    Parameters
    ----------
    curves : mapping of label to curves
        The label is the name of a loss, or "<name> tuned". For each seed one sequence: the error
        after each round; lengths may differ.
    context : str
        Which table and seeds it is about.
    title : str
        What the error is called.

    Returns
    -------
    Figure or None
        None where no loss has a value.

    Examples
    --------
    >>> figure = draw_validation_curves(
    ...     {"huber": [[3.0, 2.0, 1.5]], "asrl_c tuned": [[2.5, 1.8, 1.4]]}, "diabetes, seed 0"
    ... )
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['asrl_c tuned 1.4', 'huber 1.5']
    """
    kept = {label: [seed for seed in seeds if len(seed)] for label, seeds in curves.items()}
    kept = {label: seeds for label, seeds in kept.items() if seeds}
    if not kept:
        return None
    figure, body = open_figure((9, 5), "Error on validation rows, round by round", context)
    axes = body.add_subplot()
    style_axes(axes)
    ends, labels, colours = [], [], []
    for label, seeds in kept.items():
        colour = colour_of(label)
        if len(seeds) > 1:
            for seed in seeds:
                axes.plot(seed, color=colour, linewidth=0.7, alpha=0.35)
        shortest = min(map(len, seeds))
        mean = np.mean([seed[:shortest] for seed in seeds], axis=0)
        style = (0, (4, 1.5)) if label.endswith(f" {TUNED}") else "-"
        axes.plot(mean, color=colour, linewidth=1.8, linestyle=style, label=label)
        ends.append((shortest - 1, float(mean[-1])))
        labels.append(f"{label} {mean[-1]:.3g}")
        colours.append(colour)
    several = max(map(len, kept.values())) > 1
    axes.set(ylabel=f"validation {title}{', mean over seeds' if several else ''}")
    label_rounds(axes)
    axes.margins(x=0.01)
    values = np.concatenate([seed for seeds in kept.values() for seed in seeds])
    if 0 < _WIDE * values.min() < values.max():
        axes.set_yscale("log")
        label_plain_numbers(axes)
    label_lines(axes, ends, labels, colours)
    return figure
