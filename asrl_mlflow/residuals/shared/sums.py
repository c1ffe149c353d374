"""Sums that do not depend on the order of their terms, nor on which worker has them."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from asrl_mlflow.residuals.shared.workers import Workers

# A term is cut into so many whole numbers of so many bits, whose sums are exact.
_PIECES, _BITS = 3, 26


def sum_in_any_order(
    parts: Iterable[npt.NDArray[np.float64]], bound: float, workers: Workers
) -> float:
    """Sum the terms of all workers to the same bits, however they are ordered and spread.

    Parameters
    ----------
    parts : iterable of float64 arrays
        This worker's terms, each part of at most 2**26 of them.
    bound : float, in [0, inf)
        No term of any worker is larger, in size; the same on all workers.
    workers : Workers
        Who have the terms.

    Notes
    -----
    Each term is rounded to 78 bits behind the leading one of the bound, and their sum is exact up to 2**36
    terms. Other sums of the same parts can be computed in the same way at 2 ns a term and piece.

    Examples
    --------
    >>> from asrl_mlflow.residuals.shared.workers import ALONE
    >>> terms = np.array([1e16, 1.0, -1e16])
    >>> sum_in_any_order([terms], 1e16, ALONE), sum_in_any_order([terms[::-1]], 1e16, ALONE)
    (1.0, 1.0)
    """
    exponent = math.frexp(bound)[1]
    pieces = np.zeros(_PIECES, np.int64)
    for part in parts:
        rest = np.ldexp(part, -exponent)  # in [-1, 1]
        for place in range(_PIECES):
            rest *= 2.0**_BITS
            whole = np.rint(rest)
            pieces[place] += int(whole.sum())
            rest -= whole
    total = 0
    for piece in np.asarray(workers.sum(pieces)):
        total = (total << _BITS) + int(piece)
    return math.ldexp(float(total), exponent - _PIECES * _BITS)
