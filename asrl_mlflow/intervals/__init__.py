"""Learn what prediction intervals need beside a booster: errors of rows that it has not seen, and their spread.

How wide an interval is says `residuals.conformal`. Imports `boosting`, `losses` and what they stand on.
"""

from __future__ import annotations

from asrl_mlflow.intervals.calibration import Judged, calibrate_by_evals, judge, keep, kept
from asrl_mlflow.intervals.spread import learn_spread, predict_spread

__all__ = [
    "Judged",
    "calibrate_by_evals",
    "judge",
    "keep",
    "kept",
    "learn_spread",
    "predict_spread",
]
