"""Find rows by their rank among the rows of all workers, by counting: no row leaves its worker.

Rows are compared by keys, which are whole numbers. In each step the rows that share the leading bits
found so far are counted by their next ones, and the counts are summed over the workers: what is found is
exact, and what is sent does not grow with the rows. Several questions go into the same messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from asrl_mlflow.residuals.shared.keys import Keys
from asrl_mlflow.residuals.shared.workers import Workers

# So many bits at most are looked at in one step: 2048 counts.
_MOST_BITS = 11
# Rows whose intermediate results stay in a core's second-level cache.
_BLOCK = 2**14


class Question(NamedTuple):
    """Rows that are looked for.

    Parameters
    ----------
    keys : uint32 or uint64 array of shape (n,), n >= 0
        This worker's.
    bits : int
        Keys are below 2**bits.
    weights : sequence of float, at least one
        The same on all workers. Looked for are the least keys up to which the rows of all workers weigh more.
        Beyond the weight of all rows the last row is found.
    """

    keys: Keys
    bits: int
    weights: Sequence[float]


class Found(NamedTuple):
    """What `select` finds.

    Parameters
    ----------
    keys : sequence of sequences of int
        One for each weight of each question.
    carried : sequence of int
        The sums of what the workers sent along.
    """

    keys: Sequence[Sequence[int]]
    carried: Sequence[int]


def select(
    questions: Sequence[Question],
    counts: npt.NDArray[np.float64] | None,
    workers: Workers,
    *,
    kind: npt.DTypeLike = np.uint64,
    carried: Sequence[int] = (),
) -> Found:
    """Answer questions together.

    Parameters
    ----------
    questions : sequence of Question
        As many on all workers.
    counts : float64 array of shape (n,), optional
        What each row weighs; without, 1.
    workers : Workers
        Who have the rows.
    kind : dtype
        In which sums are sent; it must hold what all rows weigh, exactly where these are whole numbers.
    carried : sequence of int >= 0
        Sent along in the first message; `kind` must hold their sums.

    Notes
    -----
    One message for each 11 bits of the longest keys, whatever the rows, the workers and the questions (one
    where there is none, for what is carried). A question adds 2048 sums to the first message, and to a later
    one 1024 or 2048 for each weight, fewer where they are found in the same place.

    Examples
    --------
    >>> from asrl_mlflow.residuals.shared.workers import ALONE
    >>> question = Question(np.array([7, 5, 900], np.uint32), 32, [0, 1.5, 2])
    >>> select([question], None, ALONE, carried=[3])
    Found(keys=[[5, 7, 900]], carried=[3])
    """
    steps = max((-(-question.bits // _MOST_BITS) for question in questions), default=1)
    searches = [_Search(question, counts, steps) for question in questions]
    along = np.array(carried, kind)
    for step in range(steps):
        tables = [search.count(step) for search in searches]
        message = np.concatenate([*map(np.ravel, tables), along][: len(tables) + (step == 0)])
        summed = np.asarray(workers.sum(message.astype(kind)))
        for search, table in zip(searches, tables, strict=True):
            search.learn(step, summed[: table.size].reshape(table.shape))
            summed = summed[table.size :]
        if step == 0:
            along = summed
    return Found([search.found for search in searches], [int(each) for each in along])


class _Search:
    """How far one question has come: the leading bits of each key that is looked for."""

    def __init__(
        self, question: Question, counts: npt.NDArray[np.float64] | None, steps: int
    ) -> None:
        keys, bits, self._weights = question
        self._widths = [len(part) for part in np.array_split(np.arange(bits), steps)]
        self._shifts = (bits - np.cumsum(self._widths)).tolist()
        self.found = [0] * len(self._weights)
        # What the rows before them weigh.
        self._below = [0.0] * len(self._weights)
        # The rows whose keys begin so.
        self._groups = {0: (keys, counts)}

    def count(self, step: int) -> npt.NDArray[Any]:
        """What this worker's rows weigh by their next bits, a line for each beginning that was found."""
        width, shift = self._widths[step], self._shifts[step]
        return np.stack(
            [_count(*self._groups[each], shift, width) for each in sorted(self._groups)]
        )

    def learn(self, step: int, table: npt.NDArray[Any]) -> None:
        """Take in what the rows of all workers weigh."""
        width, shift = self._widths[step], self._shifts[step]
        lines = dict(zip(sorted(self._groups), table, strict=True))
        for place, (prefix, weight) in enumerate(zip(self.found, self._weights, strict=True)):
            upto = self._below[place] + np.cumsum(lines[prefix], dtype=np.float64)
            digit = int(np.searchsorted(upto, weight, side="right"))
            digit = min(digit, int(np.flatnonzero(lines[prefix])[-1]))
            self._below[place] = float(upto[digit] - lines[prefix][digit])
            self.found[place] = prefix << width | digit
        if shift:
            self._groups = {
                prefix: _having(*self._groups[prefix >> width], prefix, shift)
                for prefix in set(self.found)
            }


def _count(
    keys: Keys, counts: npt.NDArray[np.float64] | None, shift: int, width: int
) -> npt.NDArray[Any]:
    """Weigh rows by so many bits of their keys."""
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
