"""Draw the figures of a run: its loss, its residuals, its model.

Without pyplot, so that nothing global changes. Imports `losses`, `datasets` and `rounds`.
"""

from __future__ import annotations

from asrl_mlflow.figures.run_figures import drawn
from asrl_mlflow.figures.style import COLOURS, png

__all__ = [
    "COLOURS",
    "drawn",
    "png",
]
