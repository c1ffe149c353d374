"""Draw a study: what each trial reached, where good losses lie, which parameters mattered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from optuna.trial import FrozenTrial, TrialState

from asrl_mlflow.figures.style import (
    CONTEXT_GREY,
    colour_of,
    find_limits,
    open_figure,
    style_axes,
)
from asrl_mlflow.studies.showing import LOSS

_BEST = "#D55E00"
# A few failures would take all colours: values beyond this quantile share the last one.
_COLOURED = 0.9


class Look(NamedTuple):
    """How a group of trials is drawn: marker, its size in square points, colours."""

    marker: str
    size: float
    face: str
    edge: str


def draw_history(trials: Sequence[FrozenTrial], metric: str, name: str, context: str) -> Figure:
    """Draw the value of each trial, and the best so far.

    A pruned trial was judged by a part of the rounds or of the folds, so its value cannot be compared:
    it is an open grey square. A value far outside the others is a triangle at the edge of the axis, and
    the legend has it.

    Parameters
    ----------
    trials : sequence of FrozenTrial
        Complete and pruned ones.
    metric : str
        Name of the value, as "mae".
    name : str
        Name of the loss, for the colour.
    context : str
        Which loss, table and seed it is about.
    """
    figure, body = open_figure((9, 4.8), "What each trial of the study reached", context)
    axes = body.add_subplot()
    ordered = sorted(trials, key=lambda trial: trial.number)
    complete = [trial for trial in ordered if trial.state == TrialState.COMPLETE]
    pruned = [trial for trial in ordered if trial.state == TrialState.PRUNED and trial.values]
    low, high = find_limits(np.array([trial.values[0] for trial in [*complete, *pruned]]))
    margin = 0.06 * (high - low) or 0.5
    axes.set_ylim(low - margin, high + margin)
    colour = colour_of(name)
    groups = (
        (complete, "complete", Look("o", 34, colour, "white")),
        (
            pruned,
            "pruned: judged by a part of the rounds or folds, not comparable",
            Look("s", 26, "none", CONTEXT_GREY),
        ),
    )
    for group, label, look in groups:
        numbers = np.array([trial.number for trial in group])
        values = np.array([trial.values[0] for trial in group])
        within = (values >= low - margin) & (values <= high + margin)
        if group:
            _draw_trials(axes, numbers[within], values[within], look, f"{label} ({len(group)})")
        _mark_far_values(axes, numbers[~within], values[~within], look)
    if complete:
        axes.step(
            [trial.number for trial in complete],
            np.minimum.accumulate([trial.values[0] for trial in complete]),
            where="post",
            color="black",
            linewidth=1.2,
            label="best complete trial so far",
            zorder=2,
        )
    axes.set(xlabel="trial", ylabel=f"{metric.upper()} on validation rows")
    axes.margins(x=0.02)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    body.legend(frameon=False, loc="outside lower center", ncols=2, fontsize="small")
    style_axes(axes)
    return figure


def _draw_trials(
    axes: Axes,
    numbers: npt.NDArray[np.integer],
    values: npt.NDArray[np.floating],
    look: Look,
    label: str,
) -> None:
    """Draw trials as points; one at the edge of the axis is drawn whole."""
    axes.scatter(
        numbers,
        values,
        label=label,
        marker=look.marker,
        s=look.size,
        facecolors=look.face,
        edgecolors=look.edge,
        clip_on=False,
        zorder=3,
    )


def _mark_far_values(
    axes: Axes,
    numbers: npt.NDArray[np.integer],
    values: npt.NDArray[np.floating],
    look: Look,
) -> None:
    """Mark values outside the axis by triangles at its edge; the legend counts them."""
    low, high = axes.get_ylim()
    for far, edge, marker, where in (
        (values > high, high, "^", "above"),
        (values < low, low, "v", "below"),
    ):
        if far.any():
            farthest = values[far].max() if where == "above" else values[far].min()
            _draw_trials(
                axes,
                numbers[far],
                np.full(np.count_nonzero(far), edge),
                look._replace(marker=marker, size=60),
                f"{where} the axis ({np.count_nonzero(far)}, to {farthest:.3g})",
            )


def draw_levels(trials: Sequence[FrozenTrial], metric: str, context: str) -> Figure | None:
    """Draw every complete trial at its quantile levels, coloured by its value, and mark the best.

    Parameters
    ----------
    trials : sequence of FrozenTrial
        Complete ones.
    metric : str
        Name of the value, as "mae".
    context : str
        Which loss, table and seed it is about.

    Returns
    -------
    Figure or None
        None for a loss without q_low and q_high.
    """
    params = [trial.user_attrs[LOSS]["params"] for trial in trials]
    if not params or not {"q_low", "q_high"} <= set(params[0]):
        return None
    low = np.array([each["q_low"] for each in params])
    high = np.array([each["q_high"] for each in params])
    values = np.array([trial.values[0] for trial in trials])
    best = int(np.argmin(values))
    figure, body = open_figure((7.5, 6), "Where good quantile levels lie", context)
    axes = body.add_subplot()
    top = float(np.quantile(values, _COLOURED))
    # Good trials are drawn last, above worse ones at nearly the same place.
    order = np.argsort(-values)
    points = axes.scatter(
        low[order],
        high[order],
        c=values[order],
        s=70,
        cmap="viridis",
        vmin=values.min(),
        vmax=top if top > values.min() else values.min() + 1,
        edgecolors="white",
        linewidths=0.8,
        zorder=3,
    )
    axes.scatter(
        low[best],
        high[best],
        s=230,
        facecolors="none",
        edgecolors=_BEST,
        linewidths=2.2,
        zorder=4,
        label=f"best: q_low {low[best]:.3g}, q_high {high[best]:.3g}, {metric.upper()} {values[best]:.4g}",
    )
    axes.fill_between([0, 1], [0, 1], color="#F2F2F2", linewidth=0)
    axes.text(
        0.58,
        0.3,
        "no levels here:\nq_low must be below q_high",
        color=CONTEXT_GREY,
        fontsize="small",
    )
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1),
        xlabel="q_low (level of the lower threshold)",
        ylabel="q_high (level of the upper threshold)",
    )
    bar = figure.colorbar(
        points, ax=axes, extend="max" if values.max() > top else "neither", shrink=0.85
    )
    bar.set_label(f"{metric.upper()} on validation rows (smaller is better)")
    axes.legend(loc="lower right", frameon=False, fontsize="small")
    style_axes(axes)
    return figure


def draw_importance(shares: Mapping[str, float], name: str, context: str) -> Figure | None:
    """Draw how much of the differences between trials each parameter explains.

    Parameters
    ----------
    shares : mapping of parameter to share, in [0, 1]
        As fANOVA gives them.
    name : str
        Name of the loss, for the colour.
    context : str
        Which loss, table and seed it is about.

    Returns
    -------
    Figure or None
        None without shares: there are too few trials.
    """
    if not shares:
        return None
    figure, body = open_figure(
        (8, 1.9 + 0.4 * len(shares)), "Which parameters mattered in the study", context
    )
    axes = body.add_subplot()
    ordered = sorted(shares.items(), key=lambda item: item[1])
    axes.barh([key for key, _ in ordered], [share for _, share in ordered], color=colour_of(name))
    axes.set(xlabel="share of the variance of the value (fANOVA)")
    axes.xaxis.set_major_formatter("{x:.0%}")
    style_axes(axes)
    axes.grid(visible=False, axis="y")
    return figure
