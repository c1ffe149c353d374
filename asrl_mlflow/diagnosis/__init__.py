"""Say what a regression target is like, and which loss suits it, from one quick fit.

`labels` finds which labels are probably wrong, `monitoring` whether a registered model is still right. Imports
`registry`, `estimators` and what they stand on.
"""

from __future__ import annotations

from asrl_mlflow.diagnosis.diagnosis import Diagnosis, diagnose
from asrl_mlflow.diagnosis.figure import draw_diagnosis

__all__ = ["Diagnosis", "diagnose", "draw_diagnosis"]
