"""Repeat the paper's experiments (arXiv 2504.06935) and show its values beside ours.

Imports `datasets`, `figures` and `losses`.
"""

from __future__ import annotations

from asrl_mlflow.comparisons.paper.comparison import (
    DEPTHS,
    PAPER_LOSSES,
    OurResult,
    Results,
    TrainingKey,
    agrees_with_paper,
    comparison_columns,
    describe,
    paper_values,
    rounds_to,
)
from asrl_mlflow.comparisons.paper.protocol import PAPER_SEED, split_as_the_paper

__all__ = [
    "DEPTHS",
    "PAPER_LOSSES",
    "PAPER_SEED",
    "OurResult",
    "Results",
    "TrainingKey",
    "agrees_with_paper",
    "comparison_columns",
    "describe",
    "paper_values",
    "rounds_to",
    "split_as_the_paper",
]
