"""Compare losses and rivals over a grid of tables, contaminations and seeds: tuned alike, judged once.

`grid` lists the cells, `budget` cuts them to the time there is, `cells` judges one, `past` finds what is
done, `results`, `ranking` and `verdict` say what comes out, `figures` draws it. Imports `experiments`, `studies`
and what they stand on.
"""

from __future__ import annotations

from asrl_mlflow.comparisons.grids.cells import (
    Cell,
    Failed,
    Judged,
    Rules,
    Task,
    attempt,
    give_up,
    judge,
)
from asrl_mlflow.comparisons.grids.grid import Grid
from asrl_mlflow.comparisons.grids.results import Ratio, Results, Setting

__all__ = [
    "Cell",
    "Failed",
    "Grid",
    "Judged",
    "Ratio",
    "Results",
    "Rules",
    "Setting",
    "Task",
    "attempt",
    "give_up",
    "judge",
]
