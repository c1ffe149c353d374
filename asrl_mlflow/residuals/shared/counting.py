"""Find rows by their rank among the rows of all workers, by counting: no row leaves its worker.

Numbers are compared by their bits, as whole numbers. In each step the rows that share the leading bits
found so far are counted by their next ones, and the counts are summed over the workers: what is found is
exact, and what is sent does not grow with the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from asrl_mlflow.residuals.shared.workers import Workers

Keys = npt.NDArray[np.uint32] | npt.NDArray[np.uint64]

# So many bits at most are looked at in one step: 2048 counts.
_MOST_BITS = 11
# Rows whose intermediate results stay in a core's second-level cache.
_BLOCK = 2**14
_SIGN = np.uint32(2**31)


class Found(NamedTuple):
    """What `select` finds.

    Parameters
    ----------
    keys : sequence of int
        One for each weight that was asked for.
    carried : int
        The sum of what the workers sent along.
    """

    keys: Sequence[int]
    carried: int


def select(
    keys: Keys,
    bits: int,
    counts: npt.NDArray[np.float64] | None,
    weights: Sequence[float],
    workers: Workers,
    *,
    kind: npt.DTypeLike = np.uint64,
    carried: int = 0,
) -> Found:
    """Find the least keys up to which the rows of all workers weigh more than the weights say.

    Parameters
    ----------
    keys : uint32 or uint64 array of shape (n,), n >= 0
        This worker's.
    bits : int
        Keys are below 2**bits.
    counts : float64 array of shape (n,), optional
        What each row weighs; without, 1.
    weights : sequence of float, at least one
        The same on all workers. Beyond the weight of all rows the last row is found.
    workers : Workers
        Who have the rows.
    kind : dtype
        In which counts of rows are sent that have no weights; it must hold the number of all rows.
    carried : int
        Sent along in the first step.

    Notes
    -----
    One reduction for each 11 bits, whatever the rows, the workers and the weights; of 2048 counts first, then
    of 1024 or 2048 for each weight, fewer where they are found in the same place.

    Examples
    --------
    >>> from asrl_mlflow.residuals.shared.workers import ALONE
    >>> select(np.array([7, 5, 900], np.uint32), 32, None, [0, 1.5, 2], ALONE).keys
    [5, 7, 900]
    """
    steps = -(-bits // _MOST_BITS)
    widths = [len(part) for part in np.array_split(np.arange(bits), steps)]
    kind = np.dtype(kind if counts is None else np.float64)
    groups: dict[int, tuple[Keys, npt.NDArray[np.float64] | None]] = {0: (keys, counts)}
    found, below, total = [0] * len(weights), [0.0] * len(weights), 0
    shift = bits
    for width in widths:
        shift -= width
        prefixes = sorted(set(found))
        message = np.zeros(len(prefixes) * 2**width + 1, kind)
        message[-1] = carried
        table = message[:-1].reshape(-1, 2**width)
        for row, prefix in zip(table, prefixes, strict=True):
            row[:] = _count(*groups[prefix], shift, width)
        message = np.asarray(workers.sum(message))
        table = message[:-1].reshape(-1, 2**width)
        total, carried = total + int(message[-1]), 0
        for place, (prefix, weight) in enumerate(zip(found, weights, strict=True)):
            row = table[prefixes.index(prefix)]
            upto = below[place] + np.cumsum(row, dtype=np.float64)
            digit = min(
                int(np.searchsorted(upto, weight, side="right")), int(np.flatnonzero(row)[-1])
            )
            below[place] = float(upto[digit] - row[digit])
            found[place] = prefix << width | digit
        if shift:
            groups = {
                prefix: _having(*groups[prefix >> width], prefix, shift) for prefix in set(found)
            }
    return Found(found, total)


def sizes(r: npt.NDArray[np.float32]) -> npt.NDArray[np.uint32]:
    """Give the keys of |r|: 31 bits."""
    return np.abs(r).view(np.uint32)


def in_order(r: npt.NDArray[np.float32]) -> npt.NDArray[np.uint32]:
    """Give the keys of r: 32 bits.

    Examples
    --------
    >>> keys = in_order(np.float32([-2, -1, 0, 3]))
    >>> bool((np.diff(keys.astype(np.int64)) > 0).all()), [from_order(int(key)) for key in keys]
    (True, [-2.0, -1.0, 0.0, 3.0])
    """
    bits = (r + np.float32(0)).view(np.uint32)  # -0.0 becomes 0.0
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def from_order(key: int) -> float:
    """Give the residual that has a key of `in_order`."""
    bits = key ^ int(_SIGN) if key & int(_SIGN) else key ^ 0xFFFFFFFF
    return float(np.uint32(bits).view(np.float32))


def _count(
    keys: Keys, counts: npt.NDArray[np.float64] | None, shift: int, width: int
) -> npt.NDArray[Any]:
    """Count rows by so many bits of their keys."""
    found = np.zeros(2**width, np.int64 if counts is None else np.float64)
    mask = keys.dtype.type(2**width - 1)
    for start in range(0, keys.size, _BLOCK):
        rows = slice(start, start + _BLOCK)
        digits = ((keys[rows] >> keys.dtype.type(shift)) & mask).astype(np.intp)
        found += np.bincount(digits, None if counts is None else counts[rows], 2**width)
    return found


def _having(
    keys: Keys, counts: npt.NDArray[np.float64] | None, prefix: int, shift: int
) -> tuple[Keys, npt.NDArray[np.float64] | None]:
    """Take the rows whose keys begin so."""
    kind = keys.dtype.type
    low, high = kind(prefix << shift), kind(((prefix + 1) << shift) - 1)
    kept = (keys >= low) & (keys <= high)
    return keys[kept], None if counts is None else counts[kept]
