"""What the weights of all losses here have in common: one formula for each of three segments."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Segments(NamedTuple):
    """A weight w(r) = psi(r) / r in up to three segments of |r|.

    core for |r| <= low; middle / |r| for |r| <= high; beyond, with far = |r| - shift + scale,
    tail / (|r| far). A kernel in C computes the same where it is compiled (`kernel.weigh`).

    Parameters
    ----------
    low, high : float, 0 <= low <= high <= inf
        Where segments end, in target units; a residual on an end belongs to the inner one.
    core, middle, tail : float, in (0, inf)
        Factors.
    shift, scale : float
        Of the tail, in target units.

    Examples
    --------
    >>> Segments(low=1.0, high=2.0, core=1.0, middle=1.0, tail=2.0, shift=2.0, scale=2.0).weight(
    ...     [0.5, 2.0, 4.0]
    ... )
    array([1.   , 0.5  , 0.125])
    """

    low: float
    high: float = math.inf
    core: float = 1.0
    middle: float = 1.0
    tail: float = 1.0
    shift: float = 0.0
    scale: float = 1.0

    def weight(self, r: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """w(r), of the shape of r."""
        size = np.abs(np.asarray(r, dtype=np.float64))
        outside, far = size > self.low, size > self.high
        # Factors of 1 where a segment does without: choosing by a condition that the processor
        # cannot foresee takes three times as long.
        factors = np.array([self.core, self.middle, self.tail])
        weight: npt.NDArray[np.float64] = factors.take(outside.astype(np.intp) + far)
        divisor = size * outside
        divisor += ~outside
        size -= self.shift
        size += self.scale
        size *= far
        size += ~far
        divisor *= size
        weight /= divisor
        return weight
