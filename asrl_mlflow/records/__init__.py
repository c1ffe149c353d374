"""Keep what a model needs to be used later: its record, its columns, its errors on unseen rows.

Imports `boosting`, `datasets`, `losses` and `trials`.
"""

from __future__ import annotations

from asrl_mlflow.records.artifacts import ARTIFACTS, Parts, parts_of
from asrl_mlflow.records.record import Record
from asrl_mlflow.records.unseen import Unseen

__all__ = [
    "ARTIFACTS",
    "Parts",
    "Record",
    "Unseen",
    "parts_of",
]
