"""Draw residuals with the distribution that was fitted to them, and the gross outliers among them."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from scipy import stats

from asrl_mlflow.datasets.splits import FloatArray
from asrl_mlflow.diagnosis.diagnosis import Diagnosis
from asrl_mlflow.figures.style import open_figure, style_axes

_BINS = 60
# Up to so many scales the axis is nearly linear; beyond it is logarithmic.
_INNER = 2.0


def draw_diagnosis(found: Diagnosis, context: str) -> Figure:
    """Draw how many rows have which residual, and how many would by the distribution of right targets.

    Parameters
    ----------
    found : Diagnosis
        Of the table.
    context : str
        Which table and seed it is about.
    """
    outliers, residual = found.outliers, found.found.residual
    is_outlier = outliers.probability > 0.5  # noqa: PLR2004 - more probable than not
    figure, body = open_figure(
        (9, 4.8), f"What are the targets like? {residual.size} rows", context
    )
    axes = body.add_subplot()
    style_axes(axes)
    inner = _INNER * outliers.scale or 1.0
    axes.set_xscale("asinh", linear_width=inner)
    axes.set_yscale("symlog", linthresh=1)
    axes.xaxis.set_major_locator(FixedLocator(_ticks(inner, residual)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{float(f'{value:.2g}'):,g}"))
    # Equal bins of what the axis shows.
    place = axes.xaxis.get_transform()
    shown = place.transform(residual)
    edges = np.linspace(shown.min(), shown.max() + 1e-9, _BINS + 1)
    bins = place.inverted().transform(edges)
    axes.hist(
        [residual[~is_outlier], residual[is_outlier]],
        bins=bins.tolist(),
        stacked=True,
        color=["#B9C4CC", "#D55E00"],
        label=["targets that fit", f"gross outliers: {outliers.share:.1%}"],
    )
    right = stats.t(outliers.degrees, outliers.center, max(outliers.scale, 1e-300))
    expected = (1 - outliers.share) * residual.size * np.diff(right.cdf(bins))
    middle = place.inverted().transform((edges[1:] + edges[:-1]) / 2)
    seen = expected > 1e-2  # noqa: PLR2004 - less is no row
    axes.plot(
        middle[seen],
        expected[seen],
        color="black",
        linewidth=1.4,
        label=f"expected: Student, {outliers.degrees:.1f} degrees of freedom",
    )
    axes.set(
        xlabel="target minus prediction, out of fold (target units; logarithmic outside of the middle)",
        ylabel="rows (logarithmic)",
    )
    body.legend(frameon=False, fontsize="small", loc="outside lower center", ncols=3)
    return figure


def _ticks(inner: float, residual: FloatArray) -> list[float]:
    """0, where the axis becomes logarithmic, and powers of ten that lie well beyond."""
    most = float(np.max(np.abs(residual)))
    if most <= 2 * inner:
        return [-inner, 0.0, inner]
    first, last = math.ceil(math.log10(2 * inner)), math.floor(math.log10(most))
    beyond = [10.0**power for power in range(first, last + 1)]
    return [*(-each for each in reversed(beyond)), -inner, 0.0, inner, *beyond]
