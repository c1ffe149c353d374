"""The look of every figure: colours, titles, axes, and the PNG file.

Figures are made without pyplot, so that nothing global changes. Colours of losses come from the palette
of Okabe and Ito, which colour-blind readers can tell apart; grey is for context.
"""

from __future__ import annotations

import colorsys
import hashlib
import io
import itertools
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure, SubFigure
from matplotlib.text import Text
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

TUNED, AUTO = "tuned", "auto"
CONTEXT_GREY, TEXT_GREY = "#8C8C8C", "#595959"

_LOSS_COLOURS: Mapping[str, str] = {
    "asrl": "#D55E00",
    "asrl_c": "#0072B2",
    "squared_error": "#6E6E6E",
    "absolute_error": "#009E73",
    "huber": "#E69F00",
    "adaptive_huber": "#CC79A7",
    # For classes: never in one figure with those above.
    "log_loss": "#404040",
    "softmax_cross_entropy": "#6E6E6E",
    "m_loss": "#D55E00",
    "full_m": "#E69F00",
    "l_loss": "#0072B2",
    "full_l": "#56B4E9",
    "generalized_cross_entropy": "#009E73",
    "focal": "#CC79A7",
}
_REGION_COLOURS: Mapping[str, str] = {"core": "#CFE3F5", "middle": "#FBEBC0", "tail": "#F6D0CB"}
_OTHER_REGION_COLOURS = ("#DCEBD3", "#E6DAEF", "#D3ECEA", "#F3DCE8", "#E4E4E4")
# What the colour of a loss is mixed with where the same loss is tuned, or automatic: a share of black, or
# of white, of which text bears less.
_MIXED_WITH = {TUNED: (0.5, 0.0), AUTO: (0.3, 1.0)}

_DOTS_PER_INCH = 150
# As many as fit on average, in the two sizes of titles.
_CHARACTERS_PER_INCH = {"large": 10, "small": 16}
_LEFT = 0.012
# What stands for the colour of the page around an SVG, until it is written.
_INK = "#010203"


def colour_of(label: str) -> str:
    """Choose the colour of a loss, the same in every figure and every process.

    Parameters
    ----------
    label : str
        The name of a loss, one of the package or of a user; "<name> tuned" is a darker shade,
        "<name> auto" a lighter one.

    Returns
    -------
    str
        As "#RRGGBB".

    Examples
    --------
    >>> colour_of("asrl_c"), colour_of("asrl_c tuned"), colour_of("asrl_c auto")
    ('#0072B2', '#003959', '#4C9CC9')
    >>> colour_of("my_loss") == colour_of("my_loss") != colour_of("another_loss")
    True
    """
    name, _, rest = label.partition(" ")
    colour = _LOSS_COLOURS.get(name) or _colour_from_digest(name)
    if rest in _MIXED_WITH:
        share, grey = _MIXED_WITH[rest]
        red, green, blue = ((1 - share) * each + share * grey for each in to_rgb(colour))
        colour = to_hex((red, green, blue))
    return colour.upper()


def _colour_from_digest(name: str) -> str:
    """Derive hue and lightness from the name: `hash` differs between processes, a digest does not."""
    digest = hashlib.sha256(name.encode()).digest()
    hue = int.from_bytes(digest[:4], "big") / 2**32
    lightness = 0.3 + 0.2 * digest[4] / 255
    return to_hex(colorsys.hls_to_rgb(hue, lightness, 0.6))


def region_colours(names: Iterable[str]) -> dict[str, str]:
    """Choose a pale colour for each region of a loss.

    Parameters
    ----------
    names : iterable of str
        Region names from the inside out; any names.

    Examples
    --------
    >>> region_colours(["core", "my region"])
    {'core': '#CFE3F5', 'my region': '#DCEBD3'}
    """
    others = itertools.cycle(_OTHER_REGION_COLOURS)
    return {name: _REGION_COLOURS.get(name) or next(others) for name in names}


def open_figure(size: tuple[float, float], headline: str, context: str) -> tuple[Figure, SubFigure]:
    """Make an empty figure with its two titles.

    Parameters
    ----------
    size : tuple of float
        Width and height, in inches.
    headline : str
        What the figure shows.
    context : str
        Which loss, table and seed it is about; may be empty.

    Returns
    -------
    Figure
        What is saved.
    SubFigure
        The place below the titles, for axes and legends.
    """
    figure = Figure(figsize=size, layout="constrained")
    place = {"x": _LEFT, "ha": "left"}
    figure.suptitle(wrap(headline, size[0], "large"), fontsize="large", fontweight="bold", **place)
    body: SubFigure = figure.subfigures(squeeze=False)[0, 0]
    if context:
        body.suptitle(wrap(context, size[0], "small"), fontsize="small", color=TEXT_GREY, **place)
    return figure, body


def wrap(text: str, inches: float, fontsize: str) -> str:
    """Break a text into lines that fit a width, in inches, at the font size "large" or "small"."""
    # Not by matplotlib, which measures what it wraps as mathematics.
    return textwrap.fill(text, int(inches * _CHARACTERS_PER_INCH[fontsize]))


def png(figure: Figure) -> bytes:
    """Render a figure as the bytes of a PNG file."""
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


def svg(figure: Figure) -> str:
    """Render a figure as SVG that stands in a page and takes the page's colour for text and axes.

    Whoever shows it says how lines are joined, as the file's own rule for that would reach other pictures.
    """
    for text in figure.findobj(Text):
        text.set_parse_math(False)
        text.set_color(_INK)
    for axes in figure.axes:
        axes.patch.set_alpha(0)
        axes.tick_params(color=_INK, labelsize="small")
        for spine in axes.spines.values():
            spine.set_edgecolor(_INK)
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    # Text as text, which is smaller and can be read aloud; the same names of parts in each process.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "asrl"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    _, start, rest = buffer.getvalue().partition("<svg")
    rest = re.sub(r"<style type=\"text/css\">.*?</style>", "", rest, flags=re.DOTALL)
    return f"{start}{rest}".replace(_INK, "currentColor").strip()


def style_axes(axes: Axes) -> None:
    """Put a light grid behind the data; remove the frame where there is no axis."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)


def label_rounds(axes: Axes) -> None:
    """Label the horizontal axis as boosting rounds, with whole numbers."""
    axes.set(xlabel="boosting round")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))


def label_plain_numbers(axes: Axes) -> None:
    """Label a logarithmic vertical axis with numbers as people write them: 20, not 2 x 10^1."""
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def label_lines(
    axes: Axes,
    ends: Sequence[tuple[float, float]],
    labels: Sequence[str],
    colours: Sequence[str],
) -> None:
    """Write a label at the right end of each line, moved apart where they would overlap.

    Parameters
    ----------
    axes : Axes
        With its final limits and scale.
    ends : sequence of (float, float)
        The last point of each line, in data coordinates.
    labels, colours : sequence of str
        One a line.
    """
    figure = axes.get_figure(root=True)
    if not isinstance(figure, Figure):
        return
    # Constrained layout decides the height of the axes, and with it where labels collide.
    figure.draw_without_rendering()
    height = axes.get_window_extent().height
    to_share = axes.transData + axes.transAxes.inverted()
    heights = [float(to_share.transform(end)[1]) for end in ends]
    gap = 1.35 * 9 * figure.dpi / 72 / height
    order = sorted(range(len(ends)), key=heights.__getitem__)
    places = spread([heights[place] for place in order], gap)
    for line, where in zip(order, places, strict=True):
        axes.annotate(
            labels[line],
            xy=ends[line],
            xycoords="data",
            xytext=(1.025, where),
            textcoords=axes.transAxes,
            va="center",
            fontsize=9,
            color=colours[line],
            arrowprops={
                "arrowstyle": "-",
                "relpos": (0, 0.5),
                "color": colours[line],
                "linewidth": 0.6,
                "shrinkA": 1,
                "shrinkB": 1,
            },
            annotation_clip=False,
        )


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Move ascending numbers apart, each as little as keeps neighbours `gap` apart.

    Parameters
    ----------
    heights : sequence of float
        Ascending, in [0, 1].
    gap : float, > 0
        The least distance.

    Returns
    -------
    list of float
        In [0, 1], unless there are too many for it.

    Examples
    --------
    >>> spread([0.0, 0.5, 0.5], 0.25)
    [0.0, 0.375, 0.625]
    """
    # Neighbours that are moved together: the mean of what they wanted, and how many they are.
    groups: list[tuple[float, int]] = []
    for height in heights:
        groups.append((height, 1))
        while len(groups) > 1 and _end(groups[-2], gap, 1) > _end(groups[-1], gap, -1):
            (upper, more), (lower, fewer) = groups.pop(), groups.pop()
            count = more + fewer
            groups.append(((upper * more + lower * fewer) / count, count))
    return [
        _middle(group, gap) + (place - (group[1] - 1) / 2) * gap
        for group in groups
        for place in range(group[1])
    ]


def _middle(group: tuple[float, int], gap: float) -> float:
    """Place a group where it wants to be, but inside [0, 1]."""
    wanted, count = group
    half = min((count - 1) / 2 * gap, 0.5)
    return min(max(wanted, half), 1 - half)


def _end(group: tuple[float, int], gap: float, side: int) -> float:
    """Find the end of a group, half a gap beyond its last member on one side."""
    return _middle(group, gap) + side * group[1] * gap / 2


def find_limits(values: npt.NDArray[np.floating]) -> tuple[float, float]:
    """Find the ends of an axis: all values, unless a few outliers would press the others together."""
    low, high = np.quantile(values, [0.25, 0.75])
    # Where most values are equal, the others are not a few outliers but all there is to see.
    reach = 4 * (high - low) or np.inf
    return float(max(values.min(), low - reach)), float(min(values.max(), high + reach))
