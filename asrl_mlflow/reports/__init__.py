"""Write a page about a run of compare, tune or main, from what the tracking store has of it.

The page is one file of HTML with its figures' library (Chart.js) inside. Imports `experiments`,
`figures`, `records` and `tracking`.
"""

from __future__ import annotations

from asrl_mlflow.reports.story import VERDICT
from asrl_mlflow.reports.writing import REPORT, publish, write

__all__ = ["REPORT", "VERDICT", "publish", "write"]
