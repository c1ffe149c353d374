"""Pictures of a run's loss: its shape, the residuals it meets, its thresholds and weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from asrl_mlflow.figures.style import (
    COLOURS,
    REGION_COLOURS,
    limits,
    plain,
    plain_numbers,
    rounds_below,
    titled,
)
from asrl_mlflow.losses import PointwiseLoss
from asrl_mlflow.rounds import Round

# Thresholds further apart than this are not seen side by side on a linear axis.
_FAR_APART = 10
_BINS = 60
_SHORTEST_AXIS = 1e-100


def loss_shape(pointwise: PointwiseLoss, reach: float, loss: str, title: str) -> Figure:
    """What a residual costs, and what its row weighs, at one round's thresholds.

    Parameters
    ----------
    pointwise : PointwiseLoss
        Usually of the last round.
    reach : float, >= 0
        The largest |r| that should be seen, in target units; thresholds are seen in any case.
    loss : str
        Its name, for the colour.
    title : str
        Above the figure.
    """
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    figure.suptitle(title, fontsize="medium")
    thresholds = [limit for limit in _thresholds(pointwise) if limit > 0]
    reach = _seen(max([reach, *(1.3 * limit for limit in thresholds)]))
    positive = np.linspace(0, reach, 1500)
    if thresholds:
        positive = np.union1d(positive, np.geomspace(thresholds[0] / 100, reach, 1500))
    # A jump is drawn as one, from just inside to just outside the threshold.
    beside = [float(np.nextafter(limit, side)) for limit in thresholds for side in (0, np.inf)]
    positive = np.union1d(positive, beside)
    r = np.concatenate([-positive[::-1], positive])
    weight = pointwise.weight(r) / pointwise.row_weight
    left, right = figure.subplots(1, 2)
    left.plot(r, pointwise.value(r), color=COLOURS[loss], linewidth=2)
    left.set(ylabel="loss of a row")
    right.plot(r, weight, color=COLOURS[loss], linewidth=2)
    right.set(ylabel="weight of a row (1 = core)", ylim=(0, 1.05 * max(1.0, weight.max())))
    if weight.max() > _FAR_APART:
        # Beside a jump upwards the core would look as if it counted for nothing.
        right.set(yscale="log", ylim=(weight.min() / 1.5, 1.5 * weight.max()))
    for axes in (left, right):
        _residual_axis(axes, pointwise, reach)
        _shade(axes, pointwise, reach)
    figure.legend(handles=_region_patches(pointwise), loc="outside lower center", ncols=3)
    return figure


def residual_histogram(
    residuals: npt.NDArray[np.floating], pointwise: PointwiseLoss, loss: str, title: str
) -> Figure:
    """Validation residuals, with the regions of one round's loss behind them.

    Where the thresholds are far apart the axis is logarithmic outside the core, bins are of equal
    width on it, and all rows are seen; else a few outliers may lie outside, and are counted.

    Parameters
    ----------
    residuals : array of shape (n,)
        Target minus prediction, in target units.
    pointwise, loss, title
        As for `loss_shape`.
    """
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axes = figure.add_subplot()
    size = np.abs(residuals)
    if _far_apart(pointwise):
        reach = max(float(size.max()), 1.1 * _thresholds(pointwise)[-1])
    else:
        low, high = limits(residuals)
        reach = _seen(max([-low, high, *(1.1 * limit for limit in _thresholds(pointwise))]))
    _residual_axis(axes, pointwise, reach)
    scale = axes.xaxis.get_transform()
    low, high = scale.transform([-reach, reach])
    bins = scale.inverted().transform(np.linspace(low, high, _BINS + 1))
    axes.hist(residuals[size <= reach], bins=bins.tolist(), color=COLOURS[loss])
    axes.set(ylabel="validation rows")
    _shade(axes, pointwise, reach)
    titled(axes, title)
    ranks = np.searchsorted([*pointwise.regions.values()], size)
    shares = np.bincount(ranks, minlength=len(pointwise.regions)) / size.size
    outside = np.count_nonzero(size > reach)
    figure.legend(
        handles=_region_patches(pointwise, shares.tolist()),
        loc="outside lower center",
        ncols=3,
        title=f"{outside} of {size.size} rows lie outside" if outside else None,
    )
    return figure


def thresholds_and_weights(rounds: Sequence[Round], loss: str, title: str) -> Figure | None:
    """How the loss moved while it trained; None for a loss that has nothing that could move.

    Above the thresholds, below the region weights (for losses without them the mean row weight).

    Parameters
    ----------
    rounds : sequence of Round
        Of one training.
    loss : str
        Its name, for the colour.
    title : str
        Above the figure.
    """
    if not rounds or len(rounds[0].pointwise.regions) == 1:
        return None
    fields = [
        (field.metadata["group"], field.name)
        for field in dataclasses.fields(rounds[0].pointwise)
        if "group" in field.metadata and field.name != "fallback"
    ]
    numbers = [round_.number for round_ in rounds]
    figure = Figure(figsize=(7, 6), layout="constrained")
    above, below = figure.subplots(2, sharex=True)
    styles = ("-", "--", ":")

    def draw(axes: Axes, names: Sequence[str]) -> None:
        for name, style in zip(names, styles, strict=False):
            values = [getattr(round_.pointwise, name) for round_ in rounds]
            axes.plot(numbers, values, style, color=COLOURS[loss], linewidth=2, label=name)

    draw(above, [name for group, name in fields if group == "threshold"])
    weights = [name for group, name in fields if group == "weight"]
    if weights:
        draw(below, weights)
        below.set(ylabel="region weight", yscale="log")
    else:
        means = [round_.mean_weight for round_ in rounds]
        below.plot(numbers, means, color=COLOURS[loss], linewidth=2, label="mean row weight")
        below.set(ylabel="mean weight of a row (1 = full)", ylim=(0, 1.05))
    above.set(ylabel="threshold (target units)")
    if all(line.get_ydata().min() > 0 for line in above.get_lines()):
        # Under contamination delta_high is a hundred times delta_low.
        above.set_yscale("log")
    titled(above, title)
    rounds_below(below)
    for axes in (above, below):
        if axes.get_yscale() == "log":
            plain_numbers(axes)
        plain(axes)
        axes.legend(frameon=False)
    return figure


def _thresholds(pointwise: PointwiseLoss) -> list[float]:
    return [limit for limit in pointwise.regions.values() if np.isfinite(limit)]


def _seen(reach: float) -> float:
    """An axis needs some length, also where every residual is zero."""
    return reach if reach > _SHORTEST_AXIS else 1.0


def _far_apart(pointwise: PointwiseLoss) -> bool:
    thresholds = _thresholds(pointwise)
    return len(thresholds) > 1 and 0 < thresholds[0] * _FAR_APART < thresholds[-1]


def _residual_axis(axes: Axes, pointwise: PointwiseLoss, reach: float) -> None:
    """From -reach to reach, in logarithmic steps outside a core that would be too small to see."""
    plain(axes)
    axes.set(xlabel="residual: target minus prediction")
    if _far_apart(pointwise):
        thresholds = _thresholds(pointwise)
        axes.set_xscale("symlog", linthresh=thresholds[0])
        axes.set(xlabel="target minus prediction (logarithmic outside the core)")
        ticks = [0.0, *thresholds]
        axes.set_xticks(
            [-tick for tick in ticks[:0:-1]] + ticks,
            [f"{-tick:.3g}" for tick in ticks[:0:-1]] + [f"{tick:.3g}" for tick in ticks],
        )
    axes.set_xlim(-reach, reach)


def _shade(axes: Axes, pointwise: PointwiseLoss, reach: float) -> None:
    """The regions behind the data, on both sides of zero."""
    inner = 0.0
    for name, limit in pointwise.regions.items():
        outer = min(limit, reach)
        for sign in (-1, 1):
            axes.axvspan(
                sign * inner, sign * outer, color=REGION_COLOURS[name], zorder=0, linewidth=0
            )
        inner = outer


def _region_patches(pointwise: PointwiseLoss, shares: Sequence[float] | None = None) -> list[Patch]:
    """The regions for a legend: name, share of the rows, and where it ends."""
    patches = []
    for place, (name, limit) in enumerate(pointwise.regions.items()):
        share = "" if shares is None else f" {shares[place]:.0%}"
        end = f", |r| up to {limit:.3g}" if np.isfinite(limit) else ""
        patches.append(Patch(color=REGION_COLOURS[name], label=f"{name}{share}{end}"))
    return patches
