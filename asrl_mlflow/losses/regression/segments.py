"""Weights of rows by segments of |r|: one formula for each of up to three segments."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


def continuous_value(
    size: npt.NDArray[np.float64], low: float, high: float, tail: float
) -> npt.NDArray[np.float64]:
    """Rho of quadratic core, linear middle and logarithmic tail, joined with equal value and slope.

    Parameters
    ----------
    size : array of any shape
        |r|.
    low, high : float, 0 < low <= high
        Where segments end, in the unit of size.
    tail : float, in (0, inf)
        Scale of the tail in units of `high`.

    Examples
    --------
    >>> continuous_value(np.array([1.0, 3.0]), 2.0, 4.0, 1.0)
    array([0.5, 4. ])
    """
    core = np.minimum(size, low)
    middle = np.minimum(size, high) - core
    tau = tail * high
    beyond = tau * np.log1p(np.maximum(size - high, 0) / tau)
    value: npt.NDArray[np.float64] = core**2 / 2 + low * (middle + beyond)
    return value


class Segments(NamedTuple):
    """A weight w(r) = psi(r) / r in up to three segments of |r|.

    core for |r| <= low; middle / |r| for |r| <= high; beyond tail / |r| scale / far, with
    far = |r| - shift + scale. A kernel in C computes the same where it is compiled.

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
    >>> Segments(low=1.0, high=2.0, shift=2.0, scale=2.0).weight([0.5, 2.0, 4.0])
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
        infinite = np.isinf(size)
        if infinite.any():
            # Infinity times the 0 below would be no number.
            size = np.where(infinite, np.finfo(np.float64).max, size)
        outside, far = size > self.low, size > self.high
        # Factors of 1 where a segment does without: choosing by a condition that the processor
        # cannot foresee takes three times as long.
        factors = np.array([self.core, self.middle, self.tail])
        weight: npt.NDArray[np.float64] = factors.take(outside.astype(np.intp) + far)
        weight /= size * outside + ~outside
        size -= self.shift
        size += self.scale
        scale = np.array([1.0, self.scale]).take(far.astype(np.intp))
        scale /= size * far + ~far
        weight *= scale
        return weight
