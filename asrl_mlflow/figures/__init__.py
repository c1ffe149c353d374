"""Draw the figures of a run: its loss, its residuals, its model.

Figures are made without pyplot, so that nothing global changes. Imports `losses`, `datasets` and
`rounds`.
"""

from __future__ import annotations

from asrl_mlflow.figures.comparison_figures import draw_validation_curves
from asrl_mlflow.figures.run_figures import draw_run
from asrl_mlflow.figures.style import colour_of, png

__all__ = [
    "colour_of",
    "draw_run",
    "draw_validation_curves",
    "png",
]
