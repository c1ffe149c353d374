"""Statistics of residuals in the memory of a GPU.

Written for CuPy, and for any other module that has numpy's functions: sorting on a device is so fast that
nothing else pays. It was tested with numpy's arrays in CuPy's place, and never run on a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from asrl_mlflow.errors import InputError
from asrl_mlflow.residuals.histogram import Histogram, count_sizes
from asrl_mlflow.residuals.progress import Progress
from asrl_mlflow.residuals.sample_weights import WeightRule
from asrl_mlflow.residuals.statistics import Residuals

# Of a module that this package does not depend on.
DeviceArray = Any


class DeviceResiduals(Residuals):
    """Statistics of residuals that lie in the memory of a device: those of `Residuals`.

    Quantiles, medians and MAD are the same to the bit; sums may differ in their last digits.

    Parameters
    ----------
    r : float32 array of the module, of shape (n,), n >= 1
        Target minus prediction.
    counts : float64 array of the module, of shape (n,), optional
        What they count.
    weight_rule : {"none", "counts", "mean 1"}
        How the weights were read.
    xp : module
        CuPy, or what has its functions.
    start, progress : callables, optional
        As of `Residuals`.

    Raises
    ------
    InputError
        Residuals that are not finite.

    Examples
    --------
    >>> stats = DeviceResiduals(np.float32([-4, 1, 2, 3]), None, "none", np)
    >>> stats.quantile_abs(0.5), stats.median(), stats.mad(), stats.variance()
    (2.5, 1.5, 1.0, 7.25)
    """

    def __init__(
        self,
        r: DeviceArray,
        counts: DeviceArray | None,
        weight_rule: WeightRule,
        xp: Any,  # noqa: ANN401 - a module
        *,
        start: Callable[[], Residuals] | None = None,
        progress: Progress | Callable[[], Progress] | None = None,
    ) -> None:
        bad = r.size - int(xp.isfinite(r).sum())
        if bad:
            msg = (
                f"Residuals must be finite; got {bad} that are not in {r.size} rows; look for "
                "infinite targets or predictions that diverged."
            )
            raise InputError(msg)
        if counts is not None and not float(counts.min()) > 0:
            kept = counts > 0
            r, counts = r[kept], counts[kept]
        self._xp, self._values, self._counts = xp, r, counts
        self.weight_rule = weight_rule
        self._asked: dict[float, float] = {}
        self._others: set[str] = set()
        self._start, self._progress = start, progress or Progress()
        self._orders: dict[float | None, tuple[DeviceArray, DeviceArray | None]] = {}
        self._read_total(r.size if counts is None else round(float(counts.sum())))

    def _in_order(self, centre: float | None) -> tuple[DeviceArray, DeviceArray | None]:
        """The |r - centre| in order, or without a centre r, and what rows weigh up to each."""
        if centre not in self._orders:
            xp, values = self._xp, self._values
            if centre is not None:
                # float32 is exact about zero.
                values = xp.abs(values.astype(np.float64) - centre if centre else values)
            if self._counts is None:
                self._orders[centre] = xp.sort(values), None
            else:
                order = xp.argsort(values)
                self._orders[centre] = values[order], xp.cumsum(self._counts[order])
        return self._orders[centre]

    def _find(self, centre: float | None, weight: float) -> float:
        """Where the weight, summed up in order, first exceeds `weight`."""
        values, upto = self._in_order(centre)
        place = math.floor(weight)
        if upto is not None:
            wanted = self._xp.asarray([weight], dtype=np.float64)
            place = int(self._xp.searchsorted(upto, wanted, side="right")[0])
        return float(values[min(place, values.size - 1)])

    def _distances(self, centre: float, first: float, second: float) -> tuple[float, float]:
        return self._find(centre, first), self._find(centre, second)

    @cached_property
    def _median(self) -> float:
        half = self._total / 2
        return (self._find(None, half - self._slack) + self._find(None, half + self._slack)) / 2

    def _parts(self) -> Iterator[slice]:
        """All rows at once: what is slow on a device is to begin."""
        return iter([slice(None)])

    def _moments(self, centre: float) -> tuple[float, float]:
        off = self._values.astype(np.float64) - centre
        first = off if self._counts is None else off * self._counts
        return float(first.sum()) / self._total, float((first * off).sum()) / self._total

    def histogram_abs(self, unit: float) -> Histogram:
        """Count rows by their |r|, here: the rows are brought."""
        counts = None if self._counts is None else _brought(self._counts)
        return count_sizes([(_brought(self._values), counts)], unit)


def _brought(values: DeviceArray) -> npt.NDArray[Any]:
    """Copy an array from the device."""
    found: npt.NDArray[Any] = values.get() if hasattr(values, "get") else values
    return found
