"""Keep what a model needs for later use: its record, its columns, its residuals on unseen rows.

Imports `boosting`, `datasets`, `intervals` and `losses`.
"""

from __future__ import annotations

from asrl_mlflow.records.artifacts import ARTIFACTS, RunArtifacts, fetch_artifacts
from asrl_mlflow.records.record import Record
from asrl_mlflow.records.unseen import UnseenResiduals

__all__ = [
    "ARTIFACTS",
    "Record",
    "RunArtifacts",
    "UnseenResiduals",
    "fetch_artifacts",
]
