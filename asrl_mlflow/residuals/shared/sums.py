"""Sums that do not depend on the order of their terms, nor on which worker has them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from asrl_mlflow.residuals.shared.workers import Workers

# A term is cut into so many whole numbers of so many bits, whose sums are exact.
_PIECES, _PIECE_BITS = 3, 26
# A sum is sent in so many digits of so many bits: any kind of number holds their sums over 2**16 workers.
_DIGITS, _DIGIT_BITS = 8, 16


def digits_of(parts: Iterable[npt.NDArray[np.float64]], bound: float) -> list[int]:
    """Sum terms exactly; give the digits of the sum, to be summed over the workers, each by itself.

    Parameters
    ----------
    parts : iterable of float64 arrays
        This worker's terms, each part of at most 2**26 of them.
    bound : float, in [0, inf)
        No term of any worker is larger, in size; the same on all workers.

    Returns
    -------
    list of 8 int, in [0, 2**16)

    Notes
    -----
    Each term is rounded to 78 bits behind the leading one of the bound, and their sum is exact up to 2**36
    terms.
    """
    exponent = math.frexp(bound)[1]
    pieces = [0] * _PIECES
    for part in parts:
        rest = np.ldexp(part, -exponent)  # in [-1, 1]
        for place in range(_PIECES):
            rest *= 2.0**_PIECE_BITS
            whole = np.rint(rest)
            pieces[place] += int(whole.sum())
            rest -= whole
    total = 0
    for piece in pieces:
        total = (total << _PIECE_BITS) + piece
    # Of a negative sum those of its complement, as processors have it.
    return [total >> place * _DIGIT_BITS & (2**_DIGIT_BITS - 1) for place in range(_DIGITS)]


def sum_of_digits(digits: Sequence[int], bound: float) -> float:
    """Compute a sum from the digits of `digits_of`, summed over the workers.

    Examples
    --------
    >>> here, there = digits_of([np.array([3.5])], 4.0), digits_of([np.array([-4.0])], 4.0)
    >>> sum_of_digits([a + b for a, b in zip(here, there)], 4.0)
    -0.5
    """
    bits = _DIGITS * _DIGIT_BITS
    total = sum(int(digit) << place * _DIGIT_BITS for place, digit in enumerate(digits)) % 2**bits
    if total >= 2 ** (bits - 1):
        total -= 2**bits
    return math.ldexp(float(total), math.frexp(bound)[1] - _PIECES * _PIECE_BITS)


def sum_in_any_order(
    parts: Iterable[npt.NDArray[np.float64]], bound: float, workers: Workers
) -> float:
    """Sum the terms of all workers to the same bits, however they are ordered and spread.

    Parameters
    ----------
    parts, bound
        As of `digits_of`.
    workers : Workers
        Who have the terms.

    Examples
    --------
    >>> from asrl_mlflow.residuals.shared.workers import ALONE
    >>> terms = np.array([1e16, 1.0, -1e16])
    >>> sum_in_any_order([terms], 1e16, ALONE), sum_in_any_order([terms[::-1]], 1e16, ALONE)
    (1.0, 1.0)
    """
    summed = workers.sum(np.array(digits_of(parts, bound), np.int64))
    return sum_of_digits(summed.tolist(), bound)
