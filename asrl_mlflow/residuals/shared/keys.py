"""Whole numbers that are in the order of residuals: by themselves, by size, by distance from a centre.

A key holds all bits of its residual, so that who has found a key has found a number.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint32] | npt.NDArray[np.uint64]
Float32Array = npt.NDArray[np.float32]

_SIGN = np.uint32(2**31)
_ALL = np.uint32(2**32 - 1)
# Rows whose intermediate results stay in a core's second-level cache.
_BLOCK = 2**14


class Order(ABC):
    """Interface for an order of residuals.

    Attributes
    ----------
    bits : int
        Keys are below 2**bits.
    """

    bits: ClassVar[int]

    @abstractmethod
    def keys(self, r: Float32Array) -> Keys:
        """Give the keys of float32 residuals of shape (n,)."""

    @abstractmethod
    def number(self, key: int) -> float:
        """Give the number that a key stands for."""


@dataclass(frozen=True)
class Ascending(Order):
    """The order of r itself.

    Examples
    --------
    >>> keys = Ascending().keys(np.float32([-2, -1, 0, 3]))
    >>> bool((np.diff(keys.astype(np.int64)) > 0).all()), [Ascending().number(int(k)) for k in keys]
    (True, [-2.0, -1.0, 0.0, 3.0])
    """

    bits: ClassVar[int] = 32

    def keys(self, r: Float32Array) -> Keys:  # noqa: D102 - Order says it
        bits = (r + np.float32(0)).view(np.uint32)  # -0.0 becomes 0.0
        # All ones where the sign is set: numbers below 0 are in the reverse order of their bits.
        return bits ^ ((bits.view(np.int32) >> 31).view(np.uint32) | _SIGN)

    def number(self, key: int) -> float:  # noqa: D102 - Order says it
        bits = key ^ int(_SIGN) if key & int(_SIGN) else key ^ int(_ALL)
        return float(np.uint32(bits).view(np.float32))


@dataclass(frozen=True)
class BySize(Order):
    """The order of |r|.

    Examples
    --------
    >>> keys = BySize().keys(np.float32([-2, 0.5]))
    >>> [BySize().number(int(key)) for key in keys]
    [2.0, 0.5]
    """

    bits: ClassVar[int] = 31

    def keys(self, r: Float32Array) -> Keys:  # noqa: D102 - Order says it
        return np.abs(r).view(np.uint32)

    def number(self, key: int) -> float:  # noqa: D102 - Order says it
        return float(np.uint32(key).view(np.float32))


@dataclass(frozen=True)
class ByDistance(Order):
    """The order of |r - centre|, computed in float64.

    Parameters
    ----------
    centre : float
        In target units.

    Notes
    -----
    Distances have 63 bits; keys have 33. Rows on one side of the centre are in the order of their own 32
    bits. A row on the other side is reflected at the centre, and takes the bits of the next float32
    beyond. The side towards zero is the one that is kept: float32 is finer there, so that no two rows are reflected
    to the same number, and one bit more tells a row that was reflected from one that lies there.

    Examples
    --------
    >>> order = ByDistance(1.25)
    >>> keys = order.keys(np.float32([1.5, -2, 1, 8]))
    >>> [order.number(int(key)) for key in keys]
    [0.25, 3.25, 0.25, 6.75]
    """

    bits: ClassVar[int] = 33
    centre: float

    @property
    def _size(self) -> np.float64:
        """The size of the centre: distances are the same where it and residuals change their signs."""
        return np.float64(abs(self.centre))

    def keys(self, r: Float32Array) -> Keys:  # noqa: D102 - Order says it
        keys = np.empty(r.shape, np.uint64)
        sign = np.float32(-1 if self.centre < 0 else 1)
        for start in range(0, r.size, _BLOCK):
            rows = slice(start, start + _BLOCK)
            y = r[rows] * sign
            is_beyond = y > self._size
            y = np.where(is_beyond, self._reflected(y), y)
            # The farther below the centre, the greater; one that was reflected is no farther than one that
            # lies there.
            keys[rows] = ~Ascending().keys(y)
            keys[rows] <<= np.uint64(1)
            keys[rows] |= ~is_beyond
        return keys

    def number(self, key: int) -> float:  # noqa: D102 - Order says it
        y = Ascending().number(key >> 1 ^ int(_ALL))
        if not key & 1:
            # The one float32 that is reflected to there.
            y = float(self._reflected(np.array([y], np.float32))[0])
        return float(abs(y - self._size))

    def _reflected(self, y: Float32Array) -> Float32Array:
        """The largest float32 up to 2 centre - y, which is exact."""
        twice, y64 = 2 * self._size, y.astype(np.float64)
        # The sum and what its rounding leaves (Knuth's TwoSum).
        total = twice - y64
        back = total - twice
        left = (twice - (total - back)) + (-y64 - back)
        # Infinity is above all, and no row beyond the centre is reflected beyond float32.
        with np.errstate(over="ignore"):
            nearest = total.astype(np.float32)
            is_above = (nearest > total) | ((nearest == total) & (left < 0))
            return np.where(is_above, np.nextafter(nearest, np.float32(-np.inf)), nearest)
