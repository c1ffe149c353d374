"""Draw batches over time: coverage, shares beyond thresholds, stability; alarms are marked."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from asrl_mlflow.diagnosis.monitoring.judging import Batch
from asrl_mlflow.figures.style import CONTEXT_GREY, TEXT_GREY, open_figure, style_axes

_ALARM, _QUIET = "#D55E00", "#0072B2"
_MOST_PANELS, _COLUMNS, _MOST_NAMED = 9, 3, 12


def draw_batches(batches: Sequence[Batch], rate: float, context: str) -> Figure:
    """Draw each check over the batches, those with the smallest p-values first, nine at most.

    Parameters
    ----------
    batches : sequence of Batch, at least one
        In their order.
    rate : float, in (0, 1)
        As for `Batch.alarms`.
    context : str
        Which model and table it is about.
    """
    alarms = [{check.name for check in batch.alarms(rate)} for batch in batches]
    least: dict[str, float] = {}
    for batch in batches:
        for check in batch.checks:
            least[check.name] = min(check.p_value, least.get(check.name, 1.0))
    # The sort is stable: what is about outcomes stands before features that are as quiet.
    shown = sorted(least, key=lambda name: least[name])[:_MOST_PANELS]
    more = (
        f"; {len(least) - len(shown)} quieter checks are not drawn"
        if len(least) > len(shown)
        else ""
    )
    rows = max(1, math.ceil(len(shown) / _COLUMNS))
    figure, body = open_figure(
        (11, 1.2 + 2.4 * rows),
        f"Is the model still right? {sum(map(bool, alarms))} of {len(batches)} batches have an alarm",
        f"{context}{more}",
    )
    panels = body.subplots(rows, _COLUMNS, squeeze=False, sharex=True).ravel()
    for axes, name in zip(panels, shown, strict=False):
        _draw_check(axes, name, batches, alarms)
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    alarm, quiet = (
        Line2D([], [], color=color, marker="o", linestyle="none", markersize=size)
        for color, size in ((_ALARM, 7), (_QUIET, 4))
    )
    dashes = Line2D([], [], color=CONTEXT_GREY, linewidth=1, linestyle="--")
    body.legend(
        [alarm, quiet, dashes],
        ["alarm", "no alarm", "expected"],
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize="small",
    )
    return figure


def _draw_check(
    axes: Axes, name: str, batches: Sequence[Batch], alarms: Sequence[set[str]]
) -> None:
    style_axes(axes)
    # A batch none of whose rows the model can predict has no checks of outcomes.
    checks = [next((each for each in batch.checks if each.name == name), None) for batch in batches]
    observed = [math.nan if check is None else check.observed for check in checks]
    places = range(len(batches))
    is_share = name in {"coverage", "shift"} or name.startswith("beyond.")
    axes.plot(places, observed, color=_QUIET, linewidth=1)
    axes.scatter(
        places,
        observed,
        c=[_ALARM if name in found else _QUIET for found in alarms],
        s=[44 if name in found else 16 for found in alarms],
        zorder=3,
    )
    if is_share:
        expected = next(check.expected for check in checks if check is not None)
        axes.axhline(expected, color=CONTEXT_GREY, linewidth=1, linestyle="--")
        axes.yaxis.set_major_formatter("{x:.0%}")
    axes.set_title(
        name if is_share else f"{name}: stability index", fontsize="small", color=TEXT_GREY
    )
    if len(batches) <= _MOST_NAMED:
        axes.set_xticks(list(places), [batch.name for batch in batches], rotation=45, ha="right")
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("batch")
    axes.tick_params(labelsize="small")
