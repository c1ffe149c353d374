"""Find out which labels are probably wrong: rank the rows of a training, most suspicious first.

A task adds one function that turns its out-of-fold predictions into a score for each row's own label, in
[0, 1], where a low score makes the label suspicious: `rank_residuals` is that of regression, `rank_classes`
that of classification. Keeping the table with a run and reading it again are the same for every task.

Imports `records`, `registry`, `tracking`, `estimators` and `figures`.
"""

from __future__ import annotations

from asrl_mlflow.diagnosis.labels.class_ranking import rank_classes
from asrl_mlflow.diagnosis.labels.keeping import MOST_ROWS, keep_ranking, predict_in_halves
from asrl_mlflow.diagnosis.labels.ranking import rank_residuals
from asrl_mlflow.diagnosis.labels.which import which_labels

__all__ = [
    "MOST_ROWS",
    "keep_ranking",
    "predict_in_halves",
    "rank_classes",
    "rank_residuals",
    "which_labels",
]
