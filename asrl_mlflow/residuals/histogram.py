"""How many rows have a |r| of which size, in bins that are the same for all residuals."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

# A bin is read off the bits of a float32: its exponent and so many bits behind it.
_BITS, _ALL_BITS = 4, 23
# The least number that float32 has with all its digits.
_TINY = 2.0**-126
_FIRST, _LAST = 2.0**-10, 2.0**30


def _bin_of(sizes: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
    bits: npt.NDArray[np.int32] = sizes.view(np.int32)
    return bits >> (_ALL_BITS - _BITS)


_START, _END = (int(_bin_of(np.array(end, np.float32))) for end in (_FIRST, _LAST))


def _middles() -> npt.NDArray[np.float64]:
    edges = (np.arange(_START, _END + 2, dtype=np.int32) << (_ALL_BITS - _BITS)).view(np.float32)
    middles = (edges[1:].astype(np.float64) + edges[:-1]) / 2
    middles[0] = 0.0  # whatever is smaller lies here too
    return middles


# The middles of all bins, in the unit of a histogram.
BINS = _middles()


class Histogram(NamedTuple):
    """How many rows have a |r| of which size.

    Parameters
    ----------
    sizes : array of shape (bins,)
        The middles of the bins, from 0 on, in the unit of the histogram. A bin is 3 to 6% wide; the first
        one holds all below 2**-10, the last of all bins all beyond 2**30.
    counts : array of shape (bins,)
        How many rows lie in each, as their weights count them.
    """

    sizes: npt.NDArray[np.float64]
    counts: npt.NDArray[np.float64]


def count_sizes(
    parts: Iterable[tuple[npt.NDArray[np.floating[Any]], npt.NDArray[np.float64] | None]],
    unit: float,
) -> Histogram:
    """Count rows by their |r|.

    Parameters
    ----------
    parts : iterable of pairs
        Residuals, and their weights or None.
    unit : float, in (0, inf)
        Of the histogram, in target units.

    Examples
    --------
    >>> sizes, counts = count_sizes([(np.array([0.0, 2.0, -2.0, 4.0]), None)], 2.0)
    >>> filled = counts > 0
    >>> sizes[filled], counts[filled]
    (array([0.     , 1.03125, 2.0625 ]), array([1., 2., 1.]))
    """
    counts = np.zeros(BINS.size)
    last = 0
    # A unit that float32 would take for 0 or infinite.
    is_extreme = not _TINY < unit < 1 / _TINY
    # Whoever is farther than float32 reaches lies in the last bin.
    with np.errstate(over="ignore"):
        for r, weights in parts:
            divisor = np.float64(unit) if is_extreme else r.dtype.type(unit)
            sizes = np.abs(r / divisor).astype(np.float32, copy=False)
            places = np.clip(_bin_of(sizes), _START, _END)
            places -= _START
            counted = np.bincount(places, weights)
            counts[: counted.size] += counted
            last = max(last, counted.size)
    return Histogram(BINS[:last], counts[:last])
