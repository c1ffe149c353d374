"""Draw a run's loss: its shape, the residuals that it met, how its thresholds and weights moved."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from asrl_mlflow.figures.style import (
    CONTEXT_GREY,
    colour_of,
    find_limits,
    label_plain_numbers,
    label_rounds,
    open_figure,
    region_colours,
    style_axes,
)
from asrl_mlflow.losses import PointwiseLoss
from asrl_mlflow.rounds import Round

Curve = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]

# The largest threshold is so many times the smallest: one linear axis cannot show both.
_FAR_APART = 10
# The whole axis is so many times as long as what three quarters of the rows need.
_FAR_OUT = 5
# The largest share of rows that are counted beside the histogram and not drawn.
_FEW = 0.02
_BINS = 60
_SHORTEST_AXIS = 1e-100
_REFERENCES: Mapping[str, Literal["--", ":"]] = {"squared_error": "--", "absolute_error": ":"}
# Headroom above the curve of the loss; references may leave the panel.
_HEADROOM = 1.25
VALUE, WEIGHT, INFLUENCE = "value", "weight", "influence"
_HEADINGS = {
    VALUE: ("Loss of a row", "loss"),
    WEIGHT: ("Weight of a row", "weight (1 = a full row)"),
    INFLUENCE: ("Influence of a row", "influence = weight x residual"),
}


def draw_loss_shape(
    pointwise: PointwiseLoss,
    reach: float,
    loss: str,
    context: str,
    panels: Sequence[str] = (VALUE, WEIGHT),
) -> Figure:
    """Draw what a residual costs and what its row weighs, at the thresholds of one round.

    Squared and absolute error are drawn in grey for comparison: squared error has the same curvature at
    zero, absolute error the same slope as squared error at the first threshold. Where thresholds are far
    apart, a second row of panels shows the neighbourhood of the first one.

    Parameters
    ----------
    pointwise : PointwiseLoss
        Usually of the last round.
    reach : float, >= 0
        The largest |r| to show, in target units; all thresholds are shown in any case.
    loss : str
        Name of the loss, for the colour.
    context : str
        Which loss, table and seed it is about.
    panels : sequence of {"value", "weight", "influence"}
        What to show, from left to right. Values are those of the loss; weight and influence are divided
        by the weight at zero, as XGBoost is given them.

    Returns
    -------
    Figure
        With one row of panels, or two.
    """
    thresholds = [limit for limit in _thresholds(pointwise) if limit > 0]
    reach = _positive(max([reach, *(1.3 * limit for limit in thresholds)]))
    reaches = [reach]
    if thresholds and thresholds[0] * _FAR_APART < reach:
        reaches.append(4 * thresholds[0])
    figure, body = open_figure(
        (4.4 * len(panels), 1.4 + 2.9 * len(reaches)),
        f"Shape of the loss {loss}: what a residual costs and how much its row counts",
        context,
    )
    grid = body.subplots(len(reaches), len(panels), squeeze=False)
    for row, (axes_of_row, end) in enumerate(zip(grid, reaches, strict=True)):
        r = _sample(thresholds, end)
        for axes, panel in zip(axes_of_row, panels, strict=True):
            _draw_curves(axes, panel, pointwise, loss, r)
            style_axes(axes)
            axes.xaxis.set_major_locator(MaxNLocator(7))
            heading, unit = _HEADINGS[panel]
            axes.set_title(f"{heading}, near zero" if row else heading, fontsize="medium")
            axes.set(ylabel=unit, xlim=(-end, end))
            _shade_regions(axes, pointwise, end)
    for axes in grid[-1]:
        axes.set(xlabel="residual: target minus prediction (target units)")
    handles = [
        Line2D([], [], color=colour_of(loss), linewidth=2, label=loss),
        *(
            Line2D([], [], color=CONTEXT_GREY, linestyle=style, label=name)
            for name, style in _REFERENCES.items()
            if name != loss
        ),
        *_region_patches(pointwise),
    ]
    body.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _draw_curves(
    axes: Axes, panel: str, pointwise: PointwiseLoss, loss: str, r: npt.NDArray[np.float64]
) -> None:
    """Draw one panel: the references in grey, the loss above them."""
    full = pointwise.row_weight
    first = next((limit for limit in _thresholds(pointwise) if limit > 0), float(r[-1]) / 3)
    with np.errstate(divide="ignore"):
        references: dict[str, dict[str, Curve]] = {
            "squared_error": {
                VALUE: lambda r: full * r**2 / 2,
                WEIGHT: np.ones_like,
                INFLUENCE: lambda r: r,
            },
            "absolute_error": {
                VALUE: lambda r: full * first * np.abs(r),
                WEIGHT: lambda r: first / np.abs(r),
                INFLUENCE: lambda r: first * np.sign(r),
            },
        }
        own: dict[str, Curve] = {
            VALUE: pointwise.value,
            WEIGHT: lambda r: pointwise.weight(r) / full,
            INFLUENCE: lambda r: pointwise.influence(r) / full,
        }
        curve = own[panel](r)
        axes.plot(r, curve, color=colour_of(loss), linewidth=2, zorder=3)
        for name, style in _REFERENCES.items():
            if name != loss:
                y = references[name][panel](r)
                axes.plot(r, y, style, color=CONTEXT_GREY, linewidth=1.3, zorder=2)
    if panel == WEIGHT and curve.max() > _FAR_APART:
        # Beside a jump upwards the core would look as if it counted for nothing.
        axes.set(yscale="log", ylim=(curve[curve > 0].min() / 1.5, 2 * curve.max()))
        label_plain_numbers(axes)
        return
    axes.set_ylim(*_view(panel, curve))


def _view(panel: str, curve: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Choose the limits of the vertical axis so that the curve of the loss fills it."""
    if panel == WEIGHT:
        return 0.0, _HEADROOM * float(max(1.0, curve.max()))
    high = _HEADROOM * float(np.abs(curve).max()) or 1.0
    return (-high if panel == INFLUENCE else min(0.0, float(curve.min()))), high


def _sample(thresholds: Sequence[float], reach: float) -> npt.NDArray[np.float64]:
    """Choose residuals to draw at, from -reach to reach, dense near the thresholds."""
    positive = np.linspace(0, reach, 1500)
    if thresholds:
        positive = np.union1d(positive, np.geomspace(thresholds[0] / 100, reach, 1500))
    # A jump is drawn as one, from just inside to just outside the threshold.
    beside = [float(np.nextafter(limit, side)) for limit in thresholds for side in (0, np.inf)]
    positive = np.union1d(positive, [place for place in beside if place <= reach])
    return np.concatenate([-positive[::-1], positive])


def draw_residual_histogram(
    residuals: npt.NDArray[np.floating], pointwise: PointwiseLoss, loss: str, context: str
) -> Figure:
    """Draw the histogram of validation residuals, with the regions of one round's loss behind it.

    A few outliers may lie outside, and are counted. Where many lie far out, all rows are in a panel that
    has a logarithmic axis of counts, and a second panel shows the neighbourhood of zero.

    Parameters
    ----------
    residuals : array of shape (n,)
        Target minus prediction, in target units.
    pointwise : PointwiseLoss
        Usually of the last round.
    loss : str
        Name of the loss, for the colour.
    context : str
        Which loss, table and seed it is about.

    Returns
    -------
    Figure
        Its legend says which share of the rows lies in each region.
    """
    size = np.abs(residuals)
    thresholds = _thresholds(pointwise)
    low, high = find_limits(residuals)
    reach = _positive(max([-low, high, *(1.1 * limit for limit in thresholds)]))
    if np.mean(size > reach) > _FEW:
        reach = float(size.max())
    near = max([float(np.quantile(size, 0.75)), *(4 * limit for limit in thresholds[:1])])
    reaches = [reach]
    if near < reach / _FAR_OUT:
        reaches = [_positive(max(reach, float(size.max()))), _positive(near)]
    figure, body = open_figure(
        (max(8.0, 4.6 * len(reaches)), 4.6),
        "Residuals on validation rows, and the regions they fall into",
        context,
    )
    for axes, end in zip(body.subplots(1, len(reaches), squeeze=False)[0], reaches, strict=True):
        style_axes(axes)
        axes.xaxis.set_major_locator(MaxNLocator(7))
        bins = np.linspace(-end, end, _BINS + 1)
        axes.hist(residuals[size <= end], bins=bins.tolist(), color=colour_of(loss))
        axes.set(xlabel="residual: target minus prediction (target units)", xlim=(-end, end))
        _shade_regions(axes, pointwise, end)
    first, *second = body.axes
    first.set(ylabel=f"validation rows (of {size.size})")
    for axes in second:
        first.set(ylabel=f"validation rows (of {size.size}), logarithmic")
        first.set(yscale="log", ylim=(0.7, None))
        label_plain_numbers(first)
        first.set_title("All rows", fontsize="medium")
        axes.set_title("Near zero", fontsize="medium")
    shares: list[float] = []
    if pointwise.regions:
        ranks = np.searchsorted([*pointwise.regions.values()], size)
        shares = (np.bincount(ranks, minlength=len(pointwise.regions)) / size.size).tolist()
    outside = np.count_nonzero(size > reaches[0])
    body.legend(
        handles=_region_patches(pointwise, shares),
        loc="outside lower center",
        ncols=3,
        frameon=False,
        title=f"{outside} of {size.size} rows lie outside" if outside else None,
    )
    return figure


def draw_thresholds_and_weights(rounds: Sequence[Round], loss: str, context: str) -> Figure | None:
    """Draw how the loss moved while it trained.

    Thresholds are above, then shapes, and region weights below; for losses without region weights the
    mean weight of a row is below.

    Parameters
    ----------
    rounds : sequence of Round
        Of one training.
    loss : str
        Name of the loss, for the colour.
    context : str
        Which loss, table and seed it is about.

    Returns
    -------
    Figure or None
        None for a loss that has nothing that could move.
    """
    fields = _moving_fields(rounds)
    if not any(fields.values()):
        return None
    panels = [
        (group, label)
        for group, label in (("threshold", "threshold (target units)"), ("shape", "shape"))
        if fields[group]
    ]
    count = 1 + len(panels)
    figure, body = open_figure(
        (8, 1.4 + 2.5 * count), "Thresholds and weights of the loss, round by round", context
    )
    grid = body.subplots(count, sharex=True, squeeze=False)[:, 0]
    for axes, (group, label) in zip(grid, panels, strict=False):
        _draw_fields(axes, rounds, fields[group], loss)
        axes.set(ylabel=label)
    below = grid[-1]
    if fields["weight"]:
        _draw_fields(below, rounds, fields["weight"], loss)
        below.set(ylabel="weight of a region")
    else:
        numbers, means = zip(*((each.number, each.mean_weight) for each in rounds), strict=True)
        below.plot(numbers, means, color=colour_of(loss), linewidth=2, label="mean row weight")
        below.set(ylabel="mean weight of a row\n(1 = a full row)", ylim=(0, 1.05))
    label_rounds(below)
    for axes in grid:
        style_axes(axes)
        axes.legend(frameon=False)
    return figure


def _moving_fields(rounds: Sequence[Round]) -> dict[str, list[str]]:
    """List the fields that are logged, by group; a loss of two stages has others later on."""
    names: dict[str, list[str]] = {"threshold": [], "shape": [], "weight": []}
    kinds = dict.fromkeys(type(each.pointwise) for each in rounds if each.pointwise is not None)
    for field in itertools.chain.from_iterable(map(dataclasses.fields, kinds)):
        group = names.get(field.metadata.get("group", ""))
        if group is not None and field.name not in [*group, "fallback"]:
            group.append(field.name)
    return names


def _draw_fields(axes: Axes, rounds: Sequence[Round], fields: Sequence[str], loss: str) -> None:
    """Draw fields of the loss against rounds, on a logarithmic axis where all are above zero."""
    lowest = np.inf
    for name, style in zip(fields, itertools.cycle(("-", "--", ":", "-.")), strict=False):
        having = [round_ for round_ in rounds if hasattr(round_.pointwise, name)]
        numbers = [round_.number for round_ in having]
        values = [getattr(round_.pointwise, name) for round_ in having]
        axes.plot(numbers, values, linestyle=style, color=colour_of(loss), linewidth=2, label=name)
        lowest = min(lowest, *values)
    if lowest > 0:
        # Under contamination delta_high is a hundred times delta_low.
        axes.set_yscale("log")
        label_plain_numbers(axes)


def _thresholds(pointwise: PointwiseLoss) -> list[float]:
    """List the finite ends of the regions, in target units."""
    return [limit for limit in pointwise.regions.values() if np.isfinite(limit)]


def _positive(reach: float) -> float:
    """Give an axis some length, also where every residual is zero."""
    return reach if reach > _SHORTEST_AXIS else 1.0


def _shade_regions(axes: Axes, pointwise: PointwiseLoss, reach: float) -> None:
    """Shade the regions behind the data, on both sides of zero."""
    colours = region_colours(pointwise.regions)
    inner = 0.0
    for name, limit in pointwise.regions.items():
        outer = min(limit, reach)
        if outer < inner:
            break
        for sign in (-1, 1):
            ends = (sign * inner, sign * outer)
            axes.axvspan(*ends, color=colours[name], zorder=0, linewidth=0)
        inner = outer


def _region_patches(pointwise: PointwiseLoss, shares: Sequence[float] = ()) -> list[Patch]:
    """List the regions for a legend: name, share of the rows, and where each ends."""
    colours = region_colours(pointwise.regions)
    patches = []
    for place, (name, limit) in enumerate(pointwise.regions.items()):
        share = f" {shares[place]:.0%}" if shares else ""
        end = f", |r| up to {limit:.3g}" if np.isfinite(limit) else ""
        patches.append(Patch(color=colours[name], label=f"{name}{share}{end}"))
    return patches
