"""Compare rows whose outcomes became known later with those that a registered model was measured on.

Imports `records`, `residuals` and `figures`.
"""

from __future__ import annotations

from asrl_mlflow.diagnosis.monitoring.figure import draw_batches
from asrl_mlflow.diagnosis.monitoring.judging import FEATURE, Batch, Check, Reference, judge

__all__ = ["FEATURE", "Batch", "Check", "Reference", "draw_batches", "judge"]
