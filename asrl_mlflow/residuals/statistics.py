"""Exact statistics of one round's residuals, which are all that a loss adapts to.

Conventions, stated once: a residual is target minus prediction, in target units; arrays have shape
(n,); float32 residuals stay float32 while they are sorted, and every number computed from them is
float64.

Quantiles of |r| need no sort: numpy partitions float32 with the processor's vectors, so that two of
them take 1.3 ns a row on 1e6 rows (np.quantile: 60), and during a training most are found among the
few rows of a bracket that was foreseen (`forecast`). Where the median or the MAD is asked too, one sort
serves all, at 3 ns a row: the rows nearest to a centre are neighbours in sorted order, so the k-th
smallest distance |r - centre| is found by bisection, for |r| (centre 0) as for the MAD (centre: the
median). A kernel of our own in C was planned for 5 to 8 ns a row, so there is none for this. Weighted
rows are sorted with their row numbers.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from asrl_mlflow.errors import InputError
from asrl_mlflow.residuals import kernel
from asrl_mlflow.residuals.forecast import Bracket
from asrl_mlflow.residuals.histogram import Histogram, count_sizes
from asrl_mlflow.residuals.progress import Progress
from asrl_mlflow.residuals.sample_weights import RowCounts, row_counts
from asrl_mlflow.residuals.selection import Selection

backend = kernel.backend

FloatArray = npt.NDArray[np.floating[Any]]

# By which the median of |r|, or the MAD, is the standard deviation of normal residuals: 1 / 0.6745.
NORMAL = 1.4826
# Positions are whole or half numbers. Whole weights add up exactly, and anything below a half keeps
# them apart; fractional ones carry rounding errors, and a boundary this close counts as reached.
_WHOLE_SLACK, _FRACTIONAL_SLACK = 0.25, 1e-6
# Rows whose float64 intermediate results stay in a core's second-level cache: 128 KB each.
_BLOCK = 2**14


def blocks(rows: int) -> Iterator[slice]:
    """Slices that cover so many rows, each small enough that its temporaries stay in the cache.

    Examples
    --------
    >>> list(blocks(20000))
    [slice(0, 16384, None), slice(16384, 20000, None)]
    """
    return (slice(start, min(start + _BLOCK, rows)) for start in range(0, rows, _BLOCK))


class Asked(NamedTuple):
    """What a round's residuals were asked, which is probably what the next ones will be.

    Parameters
    ----------
    levels : mapping of level to value
        The quantiles of |r|.
    others : collection of str
        Of "median", "mad" and "variance", where it pays to know.
    """

    levels: Mapping[float, float] = {}
    others: Collection[str] = ()


class Subtracted(NamedTuple):
    """What was seen of residuals while they were computed.

    Parameters
    ----------
    largest : float
        The largest |r|; not finite where any residual is not.
    brackets : sequence of Bracket
        Those of |r| that had been asked for.
    """

    largest: float
    brackets: Sequence[Bracket] = ()


def subtract(
    target: npt.NDArray[np.float32],
    margin: npt.NDArray[np.float32],
    out: npt.NDArray[np.float32],
    brackets: npt.NDArray[np.float32],
    scratch: npt.NDArray[np.float32],
) -> Subtracted:
    """Fill residuals, target minus margin, and look at them on the way.

    Parameters
    ----------
    target, margin : float32 arrays of shape (n,)
        In target units.
    out : float32 array of shape (n,)
        Filled with the residuals.
    brackets : float32 array of shape (k, 2), k <= 8
        Intervals [low, high] of |r| whose rows are collected, where the kernel in C does the work.
    scratch : float32 array of shape (n,)
        Overwritten.

    Examples
    --------
    >>> target, out, scratch = np.float32([3, 4, 9]), np.empty(3, np.float32), np.empty(3, np.float32)
    >>> subtract(target, np.float32([1, 1, 1]), out, np.empty((0, 2), np.float32), scratch).largest
    8.0
    >>> out
    array([2., 3., 8.], dtype=float32)
    """
    if kernel.native is None:
        np.subtract(target, margin, out=out)
        return Subtracted(float(np.abs(out, out=scratch).max()))
    largest, found = kernel.native.subtract(target, margin, brackets, scratch, out)
    room = out.size // len(found) if found else 0
    kept = [
        # A copy, as the scratch array will be needed for other things.
        Bracket(below, inside, Selection(scratch[b * room : b * room + inside].copy()))
        for b, (below, inside) in enumerate(found)
        if 0 < inside <= room
    ]
    return Subtracted(largest, kept)


class Residuals:
    """Statistics of residuals that lie in one array.

    Parameters
    ----------
    r : array of shape (n,), n >= 1
        Target minus prediction, finite.
    sample_weight : array of shape (n,), optional
        Or RowCounts, where they were read before. Read as `row_counts` says. A row of weight 0 takes
        no part, except that it is one of the rows over which fractional weights have mean 1.
    scratch : array of shape (n,), with the dtype of r, optional
        Unweighted residuals are sorted in here instead of in a new array: whoever lends it must
        call `release` before writing to it or to r.
    subtracted : Subtracted, optional
        What `subtract` has seen of them; without, they are looked at here.
    start : callable that returns Residuals, optional
        What `start` answers with; called when that is first asked for.
    progress : Progress, or callable that returns it, optional
        How far the training has come; without, it begins. Called when that is first asked for.

    Attributes
    ----------
    count : int
        The rows that the statistics speak for: the sum of the weights where they are whole
        numbers, else n.
    weight_rule : {"none", "counts", "mean 1"}
        How the sample weights were read.

    Raises
    ------
    InputError
        No residuals, residuals that are not finite (the message counts them), or bad weights.

    Notes
    -----
    The level q lies at position q (count - 1) of the sorted rows and is interpolated linearly
    between its two neighbours: Algorithm 1 of arXiv 2504.06935, and numpy's default; the level 1 is the
    last row. With whole weights every statistic equals that of the rows written out.

    Examples
    --------
    >>> stats = Residuals([-4.0, 1.0, 2.0, 3.0])
    >>> stats.quantile_abs(0.5), stats.median(), stats.mad()
    (2.5, 1.5, 1.0)
    >>> stats.quantile_abs([0.0, 1.0])
    array([1., 4.])
    >>> Residuals([1.0, 2.0], sample_weight=[1, 3]).quantile_abs(0.5)
    2.0
    """

    def __init__(
        self,
        r: npt.ArrayLike,
        sample_weight: npt.ArrayLike | RowCounts | None = None,
        *,
        scratch: FloatArray | None = None,
        subtracted: Subtracted | None = None,
        start: Callable[[], Residuals] | None = None,
        progress: Progress | Callable[[], Progress] | None = None,
    ) -> None:
        values = np.asarray(r)
        if values.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
            values = values.astype(np.float64)
        if values.ndim != 1 or values.size == 0:
            msg = f"Residuals need one dimension and at least one row; got shape {values.shape}."
            raise InputError(msg)
        if subtracted is None:
            # NaN is least and greatest where there is one.
            subtracted = Subtracted(float(np.maximum(-values.min(), values.max())))
        if not math.isfinite(subtracted.largest):
            bad = int(np.count_nonzero(~np.isfinite(values)))
            msg = (
                f"Residuals must be finite; got {bad} that are not in {values.size} rows; look for "
                "infinite targets or predictions that diverged."
            )
            raise InputError(msg)
        counts, self.weight_rule = row_counts(sample_weight, values.size)
        if counts is not None and not counts.min() > 0:
            kept = counts > 0
            values, counts = values[kept], counts[kept]
        self._values: FloatArray = values
        self._counts = counts
        self._scratch = scratch
        self._brackets = subtracted.brackets if counts is None else ()
        self._largest = subtracted.largest
        self._asked: dict[float, float] = {}
        self._others: set[str] = set()
        self._start = start
        self._progress = progress or Progress()
        self._read_total(values.size if counts is None else np.round(counts.sum()))

    def _read_total(self, total: float) -> None:
        """Take in what all rows weigh."""
        self._slack = _FRACTIONAL_SLACK if self.weight_rule == "mean 1" else _WHOLE_SLACK
        # A float on purpose: positions are computed in float64 whatever r is.
        self._total = float(total)
        self.count = int(self._total)

    @property
    def progress(self) -> Progress:
        """How far the training has come, and what is decided once in it."""
        if not isinstance(self._progress, Progress):
            self._progress = self._progress()
        return self._progress

    def release(self) -> Asked:
        """Release the array; later questions raise an error."""
        asked = Asked(self._asked, self._others)
        vars(self).clear()
        return asked

    def __copy__(self) -> Residuals:
        """No copy: it would go on answering from rows that are overwritten."""
        return self

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever was there before
        """Say what happened to attributes that `release` took away."""
        if vars(self) or name.startswith("__"):
            raise AttributeError(name)
        msg = (
            "Residuals answer only while their round's loss adapts, as their rows are overwritten "
            "afterwards; got a question later; ask in adapt, and keep the numbers."
        )
        raise InputError(msg)

    @cached_property
    def start(self) -> Residuals:
        """Those of the target about its median, where boosting starts; these, where none are known."""
        return self if self._start is None else self._start()

    @cached_property
    def _order(self) -> tuple[FloatArray, npt.NDArray[np.float64] | None]:
        """The sorted residuals and, where rows are weighted, the weight before each and after all."""
        if self._counts is None:
            order = np.empty_like(self._values) if self._scratch is None else self._scratch
            np.copyto(order, self._values)
            order.sort()
            return order, None
        by_value = np.argsort(self._values)
        return self._values[by_value], np.append(0.0, np.cumsum(self._counts[by_value]))

    def _value(self, weight: float) -> float:
        """The residual at which the weight, summed up in order, first exceeds `weight`."""
        values, before = self._order
        index = math.floor(weight)
        if before is not None:
            index = int(np.searchsorted(before[1:], weight, side="right"))
        return float(values[min(index, values.size - 1)])

    @cached_property
    def _sizes(self) -> Selection:
        """|r|, for those who need no other order."""
        return Selection(np.abs(self._values, out=self._scratch))

    def _size(self, k: int) -> float:
        """The k-th smallest |r|."""
        if k == self._values.size - 1:
            return self._largest
        found = (bracket.kth(k) for bracket in self._brackets)
        known = next((size for size in found if size is not None), None)
        return self._sizes.kth(k) if known is None else known

    def _distances(self, centre: float, first: float, second: float) -> tuple[float, float]:
        """The |r - centre| at which the weight, summed up outwards, first exceeds two weights.

        They lie in the same row or in two that are neighbours in this order.
        """
        if self._counts is not None:
            return self._weighted_distance(centre, first), self._weighted_distance(centre, second)
        rows = self._values.size
        inner, outer = (min(math.floor(weight), rows - 1) for weight in (first, second))
        if centre == 0 and "_order" not in vars(self):
            return self._size(inner), self._size(outer)
        item, size = self._order[0].item, inner + 1
        start = self._window(centre, size)
        farthest = float(max(centre - item(start), item(start + inner) - centre))
        if outer == inner:
            return farthest, farthest
        below = centre - item(start - 1) if start > 0 else math.inf
        above = item(start + size) - centre if start + size < rows else math.inf
        return farthest, float(min(below, above))

    def _window(self, centre: float, size: int) -> int:
        """Where, in order, the `size` rows nearest to the centre begin."""
        item = self._order[0].item
        return bisect_left(
            range(self._values.size - size),
            True,  # noqa: FBT003 - bisect looks for this value: the first start that holds
            key=lambda start: centre - item(start) <= item(start + size) - centre,
        )

    def _weighted_distance(self, centre: float, weight: float) -> float:
        values, before = self._order
        assert before is not None  # noqa: S101 - only weighted rows are asked here

        def exceeds(size: int) -> bool:
            start = self._window(centre, size)
            return bool(before[start + size] - before[start] > weight)

        size = 1 + bisect_left(range(1, values.size), True, key=exceeds)  # noqa: FBT003 - as above
        start = self._window(centre, size)
        return float(max(centre - values.item(start), values.item(start + size - 1) - centre))

    def _neighbours(self, q: float) -> tuple[float, float, float]:
        """The weights at which the two rows beside a quantile are found, and how far on it lies."""
        if q == 1:
            return self._total, self._total, 0.0  # the last row, whatever it weighs
        position = q * (self._total - 1)
        below = math.floor(position)
        share = position - below
        above = below + 1 if share else below
        return below + self._slack, above + self._slack, share

    def _quantile(self, q: float, centre: float) -> float:
        if not 0 <= q <= 1:
            msg = f"quantile_abs needs levels in [0, 1]; got {q}."
            raise InputError(msg)
        below, above, share = self._neighbours(q)
        low, high = self._distances(centre, below, above)
        # From the nearer end, as numpy does: equal to np.quantile to the last bit.
        nearer_low = share < 1 - share
        value = low + (high - low) * share if nearer_low else high - (high - low) * (1 - share)
        if centre == 0 and q < 1:
            self._asked[q] = value
        return value

    @overload
    def quantile_abs(self, q: float, centre: float = 0.0) -> float: ...
    @overload
    def quantile_abs(
        self, q: Sequence[float] | FloatArray, centre: float = 0.0
    ) -> npt.NDArray[np.float64]: ...
    def quantile_abs(
        self, q: float | Sequence[float] | FloatArray, centre: float = 0.0
    ) -> float | npt.NDArray[np.float64]:
        """Quantiles of |r - centre| at levels in [0, 1]: a float for a float, else an array.

        Raises
        ------
        InputError
            A level outside [0, 1].
        """
        self._foresee(np.atleast_1d(q).tolist(), centre)
        if np.ndim(q) == 0:
            return self._quantile(float(q), centre)  # type: ignore[arg-type]  # a scalar, by its ndim
        return np.array([self._quantile(float(level), centre) for level in np.asarray(q)])

    def iqr_abs(self) -> float:
        """Interquartile range of |r|, in target units."""
        lower, upper = self.quantile_abs([0.25, 0.75]).tolist()
        return float(upper - lower)

    def _foresee(self, levels: Sequence[float], centre: float) -> None:
        """Know which quantiles will be asked for next, where it is cheaper to find them together."""

    def _mean(self, function: Callable[[npt.NDArray[np.float64]], FloatArray]) -> float:
        """The mean over the rows of a function of their residuals."""
        total = 0.0
        for rows in self._parts():
            terms = function(self._values[rows].astype(np.float64, copy=False))
            total += float(np.sum(terms if self._counts is None else terms * self._counts[rows]))
        return self._everywhere(total)[0] / self._total

    def _parts(self) -> Iterator[slice]:
        """The rows in parts that are summed one after another."""
        return blocks(self._values.size)

    def _everywhere(self, *sums: float) -> Sequence[float]:
        """Sums over these rows as sums over all rows, which these are."""
        return sums

    def mean_abs(self) -> float:
        """Mean of |r|, in target units."""
        return self._mean(np.abs)

    def histogram_abs(self, unit: float) -> Histogram:
        """Count rows by their |r|, in a unit in (0, inf) that is given in target units.

        Examples
        --------
        >>> sizes, counts = Residuals([2.0, -2.0, 4.0], [1, 2, 0]).histogram_abs(2.0)
        >>> float(sizes[-1]), float(counts[-1])
        (1.03125, 3.0)
        """
        parts = (
            (self._values[rows], None if self._counts is None else self._counts[rows])
            for rows in blocks(self._values.size)
        )
        return count_sizes(parts, unit)

    def mean_smallest(self, share: float) -> float:
        """Mean of the smallest |r|, as many as this share in (0, 1] of the rows, in target units.

        The row in which the share ends counts in part.

        Examples
        --------
        >>> Residuals([0.0, 0.0, 1.0, -1.0, 1.0]).mean_smallest(0.8)
        0.5
        """
        weight = share * self._total - self._slack
        limit, _ = self._distances(0.0, weight, weight)
        inside = self._mean(lambda r: (np.abs(r) < limit).astype(np.float64))
        total = self._mean(lambda r: np.where(np.abs(r) < limit, np.abs(r), 0.0))
        return (total + (share - inside) * limit) / share

    def _moments(self, centre: float) -> tuple[float, float]:
        """The means of r - centre and of its square."""
        first, second = 0.0, 0.0
        for rows in blocks(self._values.size):
            off = self._values[rows] - np.float64(centre)
            times = None if self._counts is None else self._counts[rows]
            first += float(np.sum(off if times is None else off * times))
            np.square(off, out=off)
            second += float(np.sum(off if times is None else off * times))
        first, second = self._everywhere(first, second)
        return first / self._total, second / self._total

    def mean_square(self) -> float:
        """Mean of r^2, in target units squared."""
        return self._moments(0.0)[1]

    @cached_property
    def _variance(self) -> float:
        # One pass: no median is further from the mean than a standard deviation, so that the
        # difference of the two moments about it loses a bit at most.
        first, second = self._moments(self._median)
        return max(0.0, second - first * first) if math.isfinite(second) else math.inf

    def variance(self) -> float:
        """Population variance of r (divided by count), in target units squared."""
        self._others.add("variance")
        return self._variance

    def share_within(self, size: float) -> float:
        """Share of the rows with |r| <= size, in [0, 1]."""
        return self._mean(lambda r: (np.abs(r) <= size).astype(np.float64))

    @cached_property
    def _median(self) -> float:
        # Half the weight needs no position, so this is *the* weighted median for any weights.
        half = self._total / 2
        return (self._value(half - self._slack) + self._value(half + self._slack)) / 2

    def median(self) -> float:
        """Median of r: the mean of the two middle rows where there are two."""
        self._others.add("median")
        return self._median

    def _middle_distance(self, centre: float) -> float:
        half = self._total / 2
        return sum(self._distances(centre, half - self._slack, half + self._slack)) / 2

    def median_abs(self) -> float:
        """Median of |r|, in target units."""
        return self._middle_distance(0.0)

    def mad(self) -> float:
        """Median of |r - median|, not scaled by 1.4826, in target units."""
        self._others.add("mad")
        return self._middle_distance(self._median)


def distances(
    target: npt.ArrayLike, sample_weight: npt.ArrayLike | RowCounts | None = None
) -> Residuals:
    """Statistics of a target's distances from its (weighted) median, where boosting starts.

    Parameters
    ----------
    target : array of shape (n,), n >= 1
        Finite.
    sample_weight : array of shape (n,), optional
        As for `Residuals`.

    Raises
    ------
    InputError
        As for `Residuals`.

    Examples
    --------
    >>> distances([11.0, 12.0, 15.0]).quantile_abs([0.0, 0.5, 1.0])
    array([0., 1., 3.])
    """
    values = np.asarray(target)
    return Residuals(values - Residuals(values, sample_weight).median(), sample_weight)
