"""Compare losses on a table in memory: what the flow `compare` does, for notebooks and scripts.

Imports `experiments`, `reports` and what they stand on.
"""

from __future__ import annotations

from asrl_mlflow.comparisons.comparison import Comparison
from asrl_mlflow.comparisons.side_by_side import compare

__all__ = ["Comparison", "compare"]
