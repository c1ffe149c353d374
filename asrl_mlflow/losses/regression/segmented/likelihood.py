"""The most likely thresholds of ContinuousASRL, without a choice of levels."""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numpy as np

from asrl_mlflow.losses.regression.pointwise import Array
from asrl_mlflow.losses.regression.segments import continuous_value
from asrl_mlflow.residuals.histogram import BINS, Histogram

# Thresholds that are tried, in scales, and the logarithms of scales, in units of the histogram.
_SIZES = np.geomspace(0.15, 12, 25)
_LOGS = np.log(2) * np.linspace(-2.5, 2.5, 21)
# Below a product of both thresholds of 1 there is no density; this close to it, hardly.
_LEAST_PRODUCT = 1.02


class Likely(NamedTuple):
    """The most likely thresholds of residuals.

    Parameters
    ----------
    delta_low, delta_high : float, 0 < delta_low <= delta_high
        In the unit of the histogram.
    """

    delta_low: float
    delta_high: float


def log_partition(low: float, high: float, tail: float = 1.0) -> float:
    """Log Z, where exp(-rho(x)) / Z is a density; rho is that of `ContinuousASRL`.

    Parameters
    ----------
    low, high : float, 0 < low <= high
        Thresholds.
    tail : float, low high tail > 1
        Scale of the tail in units of `high`. Where the product is smaller, the integral is infinite.

    Examples
    --------
    >>> round(log_partition(40.0, 41.0), 6)  # log(2 pi) / 2, of the normal density
    0.918939
    """
    core = math.sqrt(math.pi / 2) * math.erf(low / math.sqrt(2))
    end, far = math.exp(-low * low / 2), math.exp(low * low / 2 - low * high)
    return math.log(2 * (core + (end - far) / low + far * tail * high / (low * high * tail - 1)))


def fit(histogram: Histogram) -> Likely:
    """Find the thresholds and scale of the density of `ContinuousASRL` by maximum likelihood.

    Tail 1. The best of a grid, for which rho of every bin stands in a table: neighbours differ by a
    fifth, which is as good as thresholds need to be known.

    Parameters
    ----------
    histogram : Histogram
        Of |r|, in a unit of the order of the scale.

    Examples
    --------
    >>> from asrl_mlflow.residuals import Residuals
    >>> r = np.random.default_rng(0).standard_normal(4000)
    >>> normal, spoiled = Residuals(r), Residuals(np.append(r, np.full(1000, 50.0)))
    >>> fit(normal.histogram_abs(1.0)).delta_low > 2.5, fit(spoiled.histogram_abs(1.0)).delta_high < 2
    (True, True)
    """
    shares = histogram.counts / histogram.counts.sum()
    # Not by @, which wakes the threads of a linear algebra library.
    losses = _rest() + np.einsum("psb,b->ps", _table()[..., : shares.size], shares)
    pair, place = np.unravel_index(int(losses.argmin()), losses.shape)
    low, high = np.exp(_LOGS[place]) * _pairs()[pair]
    return Likely(float(low), float(high))


@cache
def _pairs() -> Array:
    """Pairs of thresholds for which there is a density."""
    return np.array(
        [
            (low, high)
            for low in _SIZES
            for high in _SIZES
            if low <= high and low * high >= _LEAST_PRODUCT
        ]
    )


@cache
def _rest() -> Array:
    """log(scale) + log Z, a row a pair of thresholds."""
    rest: Array = _LOGS + np.array([[log_partition(low, high)] for low, high in _pairs()])
    return rest


@cache
def _table() -> Array:
    """Rho of every bin, for each pair and scale: as the bins are always the same, it is made once."""
    x = BINS / np.exp(_LOGS)[:, None]
    return np.array([continuous_value(x, low, high, 1.0) for low, high in _pairs()])
