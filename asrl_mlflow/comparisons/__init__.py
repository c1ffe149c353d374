"""Compare losses.

On a table in memory, which is what the flow `compare` does, for notebooks and scripts (`compare`); with rivals over
tables, seeds and spoiled targets (`grids`); for classes under wrong labels (`label_noise`); as the paper did
(`paper`); and as other publications did (`literature`). Imports `experiments`, `reports` and what they stand on.
"""

from __future__ import annotations

from asrl_mlflow.comparisons.comparison import Comparison
from asrl_mlflow.comparisons.side_by_side import compare

__all__ = ["Comparison", "compare"]
