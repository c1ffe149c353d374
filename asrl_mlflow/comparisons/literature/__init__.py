"""Repeat two demonstrations of the literature in which a line is fitted, with our losses beside them.

Imports `figures` and `losses`.
"""

from __future__ import annotations

from asrl_mlflow.comparisons.literature.demonstrations import DEMONSTRATIONS, Demonstration, Points
from asrl_mlflow.comparisons.literature.line import Line, fit_line

__all__ = ["DEMONSTRATIONS", "Demonstration", "Line", "Points", "fit_line"]
