"""Exact statistics of one round's residuals, which are all that a loss adapts to.

Order statistics are computed by numpy, the passes over all rows by a kernel in C where it was compiled.
Imports nothing of this project but `errors`.
"""

from __future__ import annotations

from asrl_mlflow.residuals.kernel import backend
from asrl_mlflow.residuals.sample_weights import RowCounts, WeightRule, row_counts
from asrl_mlflow.residuals.statistics import (
    NORMAL,
    FloatArray,
    Residuals,
    Subtracted,
    blocks,
    distances,
    subtract,
)

__all__ = [
    "NORMAL",
    "FloatArray",
    "Residuals",
    "RowCounts",
    "Subtracted",
    "WeightRule",
    "backend",
    "blocks",
    "distances",
    "row_counts",
    "subtract",
]
