"""A study as pictures: what was tried when, what mattered, and where good losses lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from optuna.trial import FrozenTrial, TrialState

from asrl_mlflow.figures.style import COLOURS, limits, plain, titled
from asrl_mlflow.studies.study import LOSS

_FEWEST_FOR_A_SURFACE = 8
_GREY = "#B0B0B0"


def history(trials: Sequence[FrozenTrial], metric: str, name: str, title: str) -> Figure:
    """Each trial's value, and the best so far.

    Parameters
    ----------
    trials : sequence of FrozenTrial
        With a value: complete and pruned ones.
    metric : str
        What the value is.
    name : str
        Of the loss, for its colour.
    title : str
        Above the picture.
    """
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    pruned = [trial for trial in trials if trial.state == TrialState.PRUNED and trial.values]
    axes.scatter(
        [trial.number for trial in pruned],
        [trial.values[0] for trial in pruned],
        s=14,
        color=_GREY,
        label=f"pruned ({len(pruned)})",
    )
    numbers = [trial.number for trial in complete]
    values = [trial.values[0] for trial in complete]
    axes.scatter(numbers, values, s=16, color=COLOURS[name], label=f"complete ({len(complete)})")
    axes.plot(
        numbers, np.minimum.accumulate(values), color="black", linewidth=1.2, label="best so far"
    )
    low, high = limits(np.array(values))
    margin = 0.05 * (high - low)
    if margin:
        axes.set_ylim(low - margin, high + margin)
    axes.set(xlabel="trial", ylabel=f"{metric} on validation rows")
    axes.legend(frameon=False)
    plain(axes)
    titled(axes, title)
    return figure


def levels_map(trials: Sequence[FrozenTrial], metric: str, title: str) -> Figure | None:
    """The value over (q_low, q_high), every complete trial and the best; None without such levels.

    Parameters
    ----------
    trials : sequence of FrozenTrial
        Complete ones.
    metric : str
        What the value is.
    title : str
        Above the picture.
    """
    params = [trial.user_attrs[LOSS]["params"] for trial in trials]
    if not params or not {"q_low", "q_high"} <= set(params[0]):
        return None
    low = np.array([each["q_low"] for each in params])
    high = np.array([each["q_high"] for each in params])
    values = np.array([trial.values[0] for trial in trials])
    # A few failures would take all colours.
    shown = np.minimum(values, np.quantile(values, 0.9))
    figure = Figure(figsize=(7, 5.5), layout="constrained")
    axes = figure.add_subplot()
    colours = {"cmap": "viridis_r", "vmin": shown.min(), "vmax": shown.max() or 1}
    if len(set(zip(low, high, strict=True))) >= _FEWEST_FOR_A_SURFACE:
        axes.tricontourf(low, high, shown, levels=12, alpha=0.55, **colours)
    points = axes.scatter(low, high, c=shown, s=26, edgecolors="white", linewidths=0.6, **colours)
    best = int(np.argmin(values))
    axes.scatter(low[best], high[best], marker="*", s=260, color="#D55E00", edgecolors="white")
    axes.axline((0, 0), slope=1, color="black", linewidth=0.8, linestyle=":")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="q_low", ylabel="q_high")
    star = Line2D([], [], marker="*", color="#D55E00", linestyle="", markersize=12)
    axes.legend([star], [f"best: {low[best]:.3g}, {high[best]:.3g}"], loc="lower right")
    figure.colorbar(points, label=f"{metric} on validation rows")
    plain(axes)
    titled(axes, title)
    return figure


def importance(shares: Mapping[str, float], name: str, title: str) -> Figure | None:
    """How much each parameter moved the value; None where that cannot be told."""
    if not shares:
        return None
    figure = Figure(figsize=(7, 1.2 + 0.4 * len(shares)), layout="constrained")
    axes = figure.add_subplot()
    ordered = sorted(shares.items(), key=lambda item: item[1])
    axes.barh([key for key, _ in ordered], [share for _, share in ordered], color=COLOURS[name])
    axes.set(xlabel="share of what moved the objective (fANOVA)", xlim=(0, 1))
    plain(axes)
    titled(axes, title)
    return figure
