"""Compare losses for classes under wrong labels: each tuned alike on wrong labels, judged on right ones.

`cells` tunes and judges one loss at one share of wrong labels, and all of them in processes side by
side, `results` says what comes out in tables and a sentence, `figures` draws it. Imports `experiments`,
`studies` and what they stand on.
"""

from __future__ import annotations

from asrl_mlflow.comparisons.label_noise.cells import Cell, Comparison, Judged, judge, judge_all
from asrl_mlflow.comparisons.label_noise.results import SHOWN, Results

__all__ = ["SHOWN", "Cell", "Comparison", "Judged", "Results", "judge", "judge_all"]
