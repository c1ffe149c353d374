"""Exact statistics of residuals whose rows are spread over many workers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from asrl_mlflow.errors import InputError
from asrl_mlflow.residuals.histogram import BINS, Histogram
from asrl_mlflow.residuals.progress import Progress
from asrl_mlflow.residuals.sample_weights import RowCounts
from asrl_mlflow.residuals.shared.counting import Question, select
from asrl_mlflow.residuals.shared.keys import Ascending, ByDistance, BySize, Order
from asrl_mlflow.residuals.shared.sums import digits_of, sum_of_digits
from asrl_mlflow.residuals.shared.workers import Workers
from asrl_mlflow.residuals.statistics import Asked, Residuals, Subtracted, blocks


class Sharing(NamedTuple):
    """How the rows of a matrix are spread over workers.

    Parameters
    ----------
    workers : Workers
        Who have them.
    rows : int
        How many there are on all of them.
    total : float
        What they weigh together, as their weights are read.
    heaviest : float
        What the heaviest of them weighs.
    """

    workers: Workers
    rows: int
    total: float
    heaviest: float = 1.0

    @classmethod
    def of(cls, counts: RowCounts, rows: int, workers: Workers) -> Sharing:
        """Ask the workers how many rows they have, and what these weigh."""
        whole, heaviest = float(rows), 1.0
        if counts.values is not None:
            whole, heaviest = float(counts.values.sum()), float(counts.values.max(initial=0))
        summed = workers.sum(np.array([rows, whole], np.float64))
        everywhere = int(summed[0])
        total = float(summed[1]) if counts.rule == "counts" else everywhere
        return cls(workers, everywhere, total, workers.largest(heaviest))


class SharedResiduals(Residuals):
    """Statistics of residuals of which each worker has a part.

    Every worker must make its part at the same time, and ask it the same questions in the same order: it
    gets the same answers, which are those of `Residuals` for all rows together: quantiles, medians and MAD
    to the bit, and the variance to the last digits.

    Parameters
    ----------
    r : float32 array of shape (n,), n >= 0
        This worker's residuals.
    counts : RowCounts
        What they count, as read for the rows of all workers.
    sharing : Sharing
        How the rows are spread.
    subtracted : Subtracted, optional
        What was seen of this worker's.
    start, progress : callables, optional
        As of `Residuals`.
    expected : Asked, optional
        What will be asked: levels and the median are found at once, in the same three messages.

    Raises
    ------
    InputError
        Residuals of any worker that are not finite: on all workers.

    Notes
    -----
    What is expected takes three messages together: 8 kB each for |r| and for the median first, then 4 to 8 kB
    for each level and the median, twice (twice as much where weights are fractions, or from 2**32 rows on). A
    MAD takes three more, of 8 to 16 kB, after the median; the variance goes along, or takes one of 64 bytes. The largest |r|
    and residuals that are not finite go along in the first message, at 4 bytes a worker. `mean_abs` and `mean_square`,
    which no loss asks for, are sums of the workers' sums: their last digits depend on how rows are spread.

    Examples
    --------
    >>> from asrl_mlflow.residuals.shared.workers import ALONE
    >>> r, counts = np.float32([-4, 1, 2, 3]), RowCounts(None, "none")
    >>> stats = SharedResiduals(r, counts, Sharing.of(counts, r.size, ALONE))
    >>> stats.quantile_abs(0.5), stats.median(), stats.mad(), stats.variance()
    (2.5, 1.5, 1.0, 7.25)
    """

    def __init__(
        self,
        r: npt.NDArray[np.float32],
        counts: RowCounts,
        sharing: Sharing,
        *,
        subtracted: Subtracted | None = None,
        start: Callable[[], Residuals] | None = None,
        progress: Progress | Callable[[], Progress] | None = None,
        expected: Asked = Asked(),  # noqa: B008 - a tuple, which nobody changes
    ) -> None:
        own = float(np.abs(r).max(initial=0)) if subtracted is None else subtracted.largest
        bad = 0 if math.isfinite(own) else int(np.count_nonzero(~np.isfinite(r)))
        self._values = r
        self._counts, self.weight_rule = counts.values, counts.rule
        if self._counts is not None and not self._counts.min(initial=1) > 0:
            kept = self._counts > 0
            self._values, self._counts = r[kept], self._counts[kept]
            own = float(np.abs(self._values).max(initial=0))
        self._sharing = sharing
        self._asked: dict[float, float] = {}
        self._others: set[str] = set()
        self._expected = expected
        self._found: dict[tuple[Order, float], float] = {}
        self._start = start
        self._progress = progress or Progress()
        self._read_total(sharing.total)
        wanted: dict[Order, Sequence[float]] = {BySize(): self._weights_at(expected.levels)}
        if {"median", "mad", "variance"} & set(expected.others):
            wanted[Ascending()] = self._middle
        # Each worker has a place of its own for its largest |r|: their sum has all of them.
        places = [0] * sharing.workers.count
        places[sharing.workers.rank] = int(np.float32(own).view(np.uint32))
        carried = self._find(wanted, [bad, *places])
        if carried[0]:
            msg = (
                f"Residuals must be finite; got {carried[0]} that are not in {sharing.rows} rows; look "
                "for infinite targets or predictions that diverged."
            )
            raise InputError(msg)
        self._largest = BySize().number(max(carried[1:]))
        self._found[BySize(), self._total] = self._largest

    @property
    def _middle(self) -> tuple[float, float]:
        """The weights at which the one or two rows in the middle are found."""
        half = self._total / 2
        return half - self._slack, half + self._slack

    def _weights_at(self, levels: Iterable[float]) -> list[float]:
        """The weights at which the neighbours of these quantiles are found; illegal levels have none."""
        neighbours = (self._neighbours(level) for level in levels if 0 <= level <= 1)
        return [weight for below, above, _ in neighbours for weight in (below, above)]

    def _find(
        self, wanted: Mapping[Order, Iterable[float]], carried: Sequence[int] = ()
    ) -> Sequence[int]:
        """Find the numbers at these weights in these orders together; give the sums of what is carried."""
        missing = {
            order: sorted({each for each in weights if (order, each) not in self._found})
            for order, weights in wanted.items()
        }
        missing = {order: weights for order, weights in missing.items() if weights}
        if not missing and not carried:
            return ()
        questions = [
            Question(order.keys(self._values), order.bits, weights)
            for order, weights in missing.items()
        ]
        found = select(
            questions, self._counts, self._sharing.workers, kind=self._kind, carried=carried
        )
        for (order, weights), keys in zip(missing.items(), found.keys, strict=True):
            for weight, key in zip(weights, keys, strict=True):
                self._found[order, weight] = order.number(key)
        return found.carried

    @property
    def _kind(self) -> npt.DTypeLike:
        """The smallest type that holds what rows weigh together, and how many there are."""
        if self.weight_rule == "mean 1":
            return np.float64
        return np.uint32 if max(self._total, self._sharing.rows) < 2**32 else np.uint64

    def _distances(self, centre: float, first: float, second: float) -> tuple[float, float]:
        order = _by_distance(centre)
        self._find({order: (first, second)})
        return self._found[order, first], self._found[order, second]

    def _foresee(self, levels: Sequence[float], centre: float) -> None:
        self._find({_by_distance(centre): self._weights_at(levels)})

    def _everywhere(self, *sums: float) -> Sequence[float]:
        found: list[float] = self._sharing.workers.sum(np.array(sums, np.float64)).tolist()
        return found

    def histogram_abs(self, unit: float) -> Histogram:
        """Count the rows of all workers by their |r|, as `Residuals` says."""
        own = super().histogram_abs(unit).counts
        counts = np.zeros(BINS.size)
        counts[: own.size] = own
        counts = np.asarray(self._sharing.workers.sum(counts), np.float64)
        last = int(np.flatnonzero(counts)[-1]) + 1
        return Histogram(BINS[:last], counts[:last])

    @cached_property
    def _median(self) -> float:
        self._find({Ascending(): self._middle})
        return sum(self._found[Ascending(), weight] for weight in self._middle) / 2

    def mad(self) -> float:
        """Median of |r - median|, as `Residuals` says."""
        if "variance" in self._expected.others:
            _ = self._powers  # with which it is found
        return super().mad()

    @cached_property
    def _powers(self) -> Sequence[int]:
        """The digits of the sums of r - median and of its square, of all workers."""
        # The MAD needs the median first, as they do: it goes along.
        goes_along = "mad" in self._expected.others
        wanted = {_by_distance(self._median): self._middle} if goes_along else {}
        return self._find(wanted, self._own_powers())

    def _own_powers(self) -> list[int]:
        return [
            digit
            for power in (1, 2)
            for digit in digits_of(self._off_median(power), self._bound(power))
        ]

    def _bound(self, power: int) -> float:
        """What no power of r - median, times what its row counts, exceeds on any worker."""
        return float((self._largest + abs(self._median)) ** power * self._sharing.heaviest)

    @cached_property
    def _variance(self) -> float:
        half = len(self._powers) // 2
        first = sum_of_digits(self._powers[:half], self._bound(1)) / self._total
        second = sum_of_digits(self._powers[half:], self._bound(2)) / self._total
        return max(0.0, second - first * first)

    def _off_median(self, power: int) -> Iterable[npt.NDArray[np.float64]]:
        """The powers of r - median, times what rows count, in parts."""
        for rows in blocks(self._values.size):
            terms = self._values[rows].astype(np.float64) - self._median
            if power == 2:  # noqa: PLR2004 - a square
                np.square(terms, out=terms)
            yield terms if self._counts is None else terms * self._counts[rows]


def _by_distance(centre: float) -> Order:
    """The order of distances from a centre."""
    return ByDistance(centre) if centre else BySize()
