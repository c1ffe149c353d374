"""Draw a run's model of classes: how far its probabilities can be trusted, and what it takes for what."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from asrl_mlflow.figures.style import CONTEXT_GREY, colour_of, open_figure, style_axes
from asrl_mlflow.losses import ClassificationLoss, LogLoss
from asrl_mlflow.metrics import calibration_error

Array = npt.NDArray[np.floating]

_BINS = 10
# With more classes the cells could not be read.
_MOST_CLASSES, _MOST_NUMBERED = 40, 15
_LONGEST_NAME = 14
_REACH = 6.0
_TWO = 2


def draw_reliability(
    target: Array,
    before: Array,
    after: Array,
    loss: str,
    context: str,
    label: str = "corrected for the loss",
) -> Figure:
    """Draw how often a class is right that was given some probability: trusty models are on the diagonal.

    Parameters
    ----------
    target : array of shape (n,)
        Classes of the test rows, as codes.
    before, after : arrays of shape (n, K)
        Probabilities as sigmoid or softmax of the margins gives them, and as the loss corrects them.
    loss : str
        Name of the loss, for the colour.
    context : str
        Which loss, table and seed it is about.
    label : str
        What the second probabilities are called.

    Notes
    -----
    For two classes of the probability of the second class, for more of that of the predicted one.
    """
    figure, body = open_figure((7, 6.4), "Can the probabilities be trusted? Test rows", context)
    axes, below = body.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    axes.plot([0, 1], [0, 1], color="black", linewidth=1, label="calibrated")
    two = after.shape[1] == _TWO
    lines = [(label, after, colour_of(loss), "-", 3)]
    if not np.array_equal(before, after):
        lines.append(("sigmoid or softmax of the margins, as it is", before, CONTEXT_GREY, "--", 2))
    for name, shares, colour, style, order in lines:
        given = shares[:, 1] if two else shares.max(axis=1)
        right = target == (1 if two else shares.argmax(axis=1))
        places = np.minimum((given * _BINS).astype(int), _BINS - 1)
        filled = [place for place in range(_BINS) if (places == place).any()]
        axes.plot(
            [given[places == place].mean() for place in filled],
            [right[places == place].mean() for place in filled],
            color=colour,
            linestyle=style,
            marker="o",
            markeredgecolor="white",
            linewidth=2,
            zorder=order,
            label=f"{name}: calibration error {calibration_error(target, shares):.3f}",
        )
        if shares is after:
            below.hist(given, bins=_BINS, range=(0, 1), color=colour, rwidth=0.92)
    what = "class 1" if two else "the predicted class"
    axes.set(ylabel=f"share of rows that are of {what}", ylim=(-0.02, 1.02), xlim=(0, 1))
    below.set(xlabel=f"probability of {what}", ylabel="test rows")
    for each in (axes, below):
        style_axes(each)
    axes.legend(frameon=False, loc="lower right", fontsize="small")
    return figure


def draw_confusion(
    target: Array, probabilities: Array, names: Sequence[object], context: str
) -> Figure | None:
    """Draw how many test rows of each class were taken for which: all on the diagonal is perfect.

    Parameters
    ----------
    target : array of shape (n,)
        Classes of the test rows, as codes.
    probabilities : array of shape (n, K)
        Of the classes.
    names : sequence of length K
        Labels of the classes.
    context : str
        Which loss, table and seed it is about.

    Returns
    -------
    Figure or None
        None for more than 40 classes.
    """
    count = len(names)
    if count > _MOST_CLASSES:
        return None
    table = np.zeros((count, count), int)
    np.add.at(table, (target.astype(int), probabilities.argmax(axis=1)), 1)
    size = max(4.6, 1.8 + 0.42 * count)
    figure, body = open_figure(
        (size + 1, size), "Which class is taken for which? Test rows", context
    )
    axes = body.add_subplot()
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    labels = [
        name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"
        for name in map(str, names)
    ]
    axes.set_xticks(range(count), labels, rotation=40, ha="right", fontsize="small")
    axes.set_yticks(range(count), labels, fontsize="small")
    axes.set(xlabel="predicted class", ylabel="class of the row")
    if count <= _MOST_NUMBERED:
        for row, column in np.ndindex(count, count):
            if table[row, column]:
                dark = shares[row, column] > 0.5  # noqa: PLR2004 - where black could not be read
                axes.text(
                    column,
                    row,
                    str(table[row, column]),
                    ha="center",
                    va="center",
                    fontsize="small",
                    color="white" if dark else "black",
                )
    return figure


def draw_margin_loss(loss: ClassificationLoss, context: str) -> Figure:
    """Draw what a row costs, and how hard it pulls beside log loss, against its margin.

    Parameters
    ----------
    loss : ClassificationLoss
        What was minimised.
    context : str
        Which loss, table and seed it is about.
    """
    s = np.linspace(-_REACH, _REACH, 400)
    one = np.ones_like(s)
    figure, body = open_figure((9, 4.2), "What a row costs, and how hard it pulls", context)
    left, right = body.subplots(1, 2)
    plain = LogLoss()
    for each, colour, style in ((plain, CONTEXT_GREY, "--"), (loss, colour_of(loss.name), "-")):
        times = each.balance[1]
        value, gradient, _ = each.margin_terms(s)
        left.plot(s, times * value, color=colour, linestyle=style, label=each.name, linewidth=2)
        pull = -times * gradient / -plain.margin_terms(s).gradient
        right.plot(s, pull, color=colour, linestyle=style, label=each.name, linewidth=2)
        if each == plain == loss:
            break
    top = 1.25 * float(np.max(plain.value(one, -s)))
    left.set(ylabel="loss of a row", ylim=(0, top))
    highest = right.get_ylim()[1]
    right.set(ylabel="pull beside log loss (1 = as hard)", ylim=(0, min(highest, 5.0)))
    for axes in (left, right):
        style_axes(axes)
        axes.set(xlabel="margin for the row's own class")
        axes.legend(frameon=False)
    return figure
