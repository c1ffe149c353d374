"""Exact statistics of residuals whose rows are spread over many workers."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from asrl_mlflow.errors import InputError
from asrl_mlflow.residuals.histogram import BINS, Histogram
from asrl_mlflow.residuals.progress import Progress
from asrl_mlflow.residuals.sample_weights import RowCounts
from asrl_mlflow.residuals.shared.counting import from_order, in_order, select, sizes
from asrl_mlflow.residuals.shared.sums import sum_in_any_order
from asrl_mlflow.residuals.shared.workers import Workers
from asrl_mlflow.residuals.statistics import Residuals, Subtracted, blocks

# Bits of |r| and r in float32, and of |r - centre| in float64.
_SIZE_BITS, _ORDER_BITS, _DISTANCE_BITS = 31, 32, 63


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
    """

    workers: Workers
    rows: int
    total: float

    @classmethod
    def of(cls, counts: RowCounts, rows: int, workers: Workers) -> Sharing:
        """Ask the workers how many rows they have, and what these weigh."""
        whole = rows if counts.values is None else float(counts.values.sum())
        summed = workers.sum(np.array([rows, whole], np.float64))
        everywhere = int(summed[0])
        return cls(workers, everywhere, float(summed[1]) if counts.rule == "counts" else everywhere)


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
    expected : collection of float in [0, 1]
        Levels of |r| that will be asked for: they are found at once, with the same three messages.

    Raises
    ------
    InputError
        Residuals of any worker that are not finite: on all workers.

    Notes
    -----
    Quantiles of |r| take three reductions, however many levels there are: 24 kB where two levels are asked,
    8 kB more for each level further (twice as much of weighted rows). A median takes three, of 16 to 24 kB, and
    a MAD six more; the variance one. `mean_abs` and `mean_square`, which no loss asks for, are sums of the
    workers' sums: their last digits depend on how rows are spread.

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
        expected: Collection[float] = (),
    ) -> None:
        self._values = r
        self._counts, self.weight_rule = counts.values, counts.rule
        self._sharing = sharing
        self._asked: dict[float, float] = {}
        self._found: dict[float, float] = {}
        self._start = start
        self._progress = progress or Progress()
        self._read_total(sharing.total)
        largest = math.inf if subtracted is None else subtracted.largest
        bad = 0 if math.isfinite(largest) else int(np.count_nonzero(~np.isfinite(r)))
        # Whoever asks for a level asks for the largest too, to compare it with.
        levels = [*expected, 1.0] if expected else []
        self._find_sizes(self._weights_at(levels), bad=bad)

    def _weights_at(self, levels: Iterable[float]) -> list[float]:
        """The weights at which the neighbours of these quantiles are found; illegal levels have none."""
        neighbours = (self._neighbours(level) for level in levels if 0 <= level <= 1)
        return [weight for below, above, _ in neighbours for weight in (below, above)]

    def _find_sizes(self, weights: Sequence[float], *, bad: int | None = None) -> None:
        """Find the |r| at these weights, all at once; refuse bad rows of any worker."""
        missing = sorted(set(weights) - self._found.keys())
        workers = self._sharing.workers
        if missing:
            keys, carried = select(
                sizes(self._values),
                _SIZE_BITS,
                self._counts,
                missing,
                workers,
                kind=self._kind,
                carried=bad or 0,
            )
            found = np.array(keys, np.uint32).view(np.float32)
            self._found |= dict(zip(missing, found.tolist(), strict=True))
        elif bad is not None:
            carried = int(workers.sum(np.array([bad]))[0])
        else:
            return
        if carried:
            msg = (
                f"Residuals must be finite; got {carried} that are not in {self._sharing.rows} rows; look "
                "for infinite targets or predictions that diverged."
            )
            raise InputError(msg)

    @property
    def _kind(self) -> npt.DTypeLike:
        """The smallest type that counts all rows."""
        return np.uint32 if self._sharing.rows < 2**32 else np.uint64

    def _distances(self, centre: float, first: float, second: float) -> tuple[float, float]:
        if centre == 0:
            self._find_sizes((first, second))
            return self._found[first], self._found[second]
        keys = np.abs(self._values.astype(np.float64) - centre).view(np.uint64)
        found = select(
            keys,
            _DISTANCE_BITS,
            self._counts,
            (first, second),
            self._sharing.workers,
            kind=self._kind,
        )
        inner, outer = np.array(found.keys, np.uint64).view(np.float64).tolist()
        return inner, outer

    def _foresee(self, levels: Sequence[float], centre: float) -> None:
        if centre == 0:
            self._find_sizes(self._weights_at(levels))

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
        half = self._total / 2
        keys, _ = select(
            in_order(self._values),
            _ORDER_BITS,
            self._counts,
            (half - self._slack, half + self._slack),
            self._sharing.workers,
            kind=self._kind,
        )
        return sum(from_order(key) for key in keys) / 2

    @cached_property
    def _variance(self) -> float:
        centre, workers = self._median, self._sharing.workers
        bound = float(self.quantile_abs(1.0)) + abs(centre)
        heaviest = 1.0
        if self.weight_rule != "none":
            own = 1.0 if self._counts is None else float(self._counts.max(initial=0.0))
            heaviest = workers.largest(own)
        first = sum_in_any_order(self._powers(centre, 1), bound * heaviest, workers)
        second = sum_in_any_order(self._powers(centre, 2), bound * bound * heaviest, workers)
        first, second = first / self._total, second / self._total
        return max(0.0, second - first * first)

    def _powers(self, centre: float, power: int) -> Iterable[npt.NDArray[np.float64]]:
        """The powers of r - centre, times what rows count, in parts."""
        for rows in blocks(self._values.size):
            terms = self._values[rows].astype(np.float64) - centre
            if power == 2:  # noqa: PLR2004 - a square
                np.square(terms, out=terms)
            yield terms if self._counts is None else terms * self._counts[rows]
