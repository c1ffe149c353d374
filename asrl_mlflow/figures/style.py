"""How every figure looks: without pyplot, so that nothing global changes, one colour a loss.

Colours are the palette of Okabe and Ito, which colour-blind readers can tell apart.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from asrl_mlflow.losses import LOSSES

_PALETTE = (
    "#D55E00",
    "#0072B2",
    "#6E6E6E",
    "#009E73",
    "#E69F00",
    "#CC79A7",
    "#56B4E9",
    "#000000",
)
COLOURS: Mapping[str, str] = {
    name: _PALETTE[index % len(_PALETTE)] for index, name in enumerate(LOSSES)
}
REGION_COLOURS: Mapping[str, str] = {"core": "#CFE3F5", "middle": "#FBEBC0", "tail": "#F6D0CB"}

_DOTS_PER_INCH = 100
_TITLE_WIDTH = 90


def png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file."""
    # A dollar sign in the name of a file or column is a dollar sign.
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    buffer = io.BytesIO()
    # Compressed lightly: a run's figures must not cost more than its training.
    figure.savefig(
        buffer,
        format="png",
        dpi=_DOTS_PER_INCH,
        pil_kwargs={"compress_level": 1, "optimize": False},
    )
    return buffer.getvalue()


def titled(axes: Axes, title: str) -> None:
    """A title that wraps where it is long."""
    # Not by matplotlib, which measures what it wraps as mathematics.
    axes.set_title(textwrap.fill(title, _TITLE_WIDTH), fontsize="medium")


def plain(axes: Axes) -> None:
    """A light grid behind the data, and no frame where there is no axis."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)


def rounds_below(axes: Axes) -> None:
    """The horizontal axis counts boosting rounds."""
    axes.set(xlabel="boosting round")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))


def plain_numbers(axes: Axes) -> None:
    """A logarithmic vertical axis with numbers as people write them."""
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def limits(values: npt.NDArray[np.floating]) -> tuple[float, float]:
    """Ends of an axis: of all values, unless a few outliers would press the others into a corner."""
    low, high = np.quantile(values, [0.25, 0.75])
    # Where most values are equal, the others are not a few outliers but all there is to see.
    reach = 4 * (high - low) or np.inf
    return float(max(values.min(), low - reach)), float(min(values.max(), high + reach))
