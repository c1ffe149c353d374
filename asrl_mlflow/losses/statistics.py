"""What losses for regression may ask of a round's residuals, wherever the rows are stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, overload

import numpy as np
import numpy.typing as npt

from asrl_mlflow.residuals.histogram import Histogram
from asrl_mlflow.residuals.progress import Progress
from asrl_mlflow.residuals.statistics import FloatArray

Array = npt.NDArray[np.float64]


class Statistics(Protocol):
    """Statistics of a round's residuals that a loss may ask for, wherever the rows are stored."""

    @property
    def count(self) -> int:
        """How many rows the statistics speak for."""

    @overload
    def quantile_abs(self, q: float) -> float: ...
    @overload
    def quantile_abs(self, q: Sequence[float] | FloatArray) -> Array: ...
    def quantile_abs(self, q: float | Sequence[float] | FloatArray) -> float | Array:
        """Quantiles of |r| at levels in [0, 1]."""

    def iqr_abs(self) -> float:
        """Interquartile range of |r|."""

    def histogram_abs(self, unit: float) -> Histogram:
        """How many rows have a |r| of which size, in this unit."""

    def variance(self) -> float:
        """Population variance of r."""

    def median(self) -> float:
        """Median of r."""

    def mad(self) -> float:
        """Unscaled median absolute deviation of r from its median."""

    @property
    def progress(self) -> Progress:
        """How far the training has come, and what is decided once in it."""

    @property
    def start(self) -> Statistics:
        """Statistics of the target's distances from its median, constant over the rounds."""
