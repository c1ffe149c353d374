"""Load tables to learn from, check them, split them, and spoil them on purpose.

Named tables, CSV files, Parquet files and folders of them. Imports `residuals` and `system`.
"""

from __future__ import annotations

from asrl_mlflow.datasets.contamination import (
    CONTAMINATIONS,
    Contamination,
    ContaminationKind,
    contaminate,
)
from asrl_mlflow.datasets.dataset import (
    DATA_DIR_VARIABLE,
    DEFAULT,
    NAMED,
    PAPER,
    Dataset,
    from_arrays,
    load,
)
from asrl_mlflow.datasets.matrices import ParquetBatches, make_matrix
from asrl_mlflow.datasets.roles import Roles
from asrl_mlflow.datasets.splits import Blocks, Rows, Split, folds, join, split

__all__ = [
    "CONTAMINATIONS",
    "DATA_DIR_VARIABLE",
    "DEFAULT",
    "NAMED",
    "PAPER",
    "Blocks",
    "Contamination",
    "ContaminationKind",
    "Dataset",
    "ParquetBatches",
    "Roles",
    "Rows",
    "Split",
    "contaminate",
    "folds",
    "from_arrays",
    "join",
    "load",
    "make_matrix",
    "split",
]
