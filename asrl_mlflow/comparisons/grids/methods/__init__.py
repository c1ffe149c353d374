"""What a grid compares: losses of this package, and rivals of other libraries, each with its search space.

A rival is one entry of `RIVALS` in `catalogue`.
"""

from __future__ import annotations

from asrl_mlflow.comparisons.grids.methods.catalogue import PLAIN, RIVALS, find_method
from asrl_mlflow.comparisons.grids.methods.method import (
    BOOSTER_SPACE,
    BOOSTER_START,
    Boosting,
    Fitted,
    Method,
)

__all__ = [
    "BOOSTER_SPACE",
    "BOOSTER_START",
    "PLAIN",
    "RIVALS",
    "Boosting",
    "Fitted",
    "Method",
    "find_method",
]
