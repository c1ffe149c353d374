"""Keep the ranking of a run's training rows with the run, as a table and a figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asrl_mlflow.datasets.splits import Rows
from asrl_mlflow.diagnosis.labels.class_ranking import rank_classes
from asrl_mlflow.diagnosis.labels.figure import draw_class_ranking, draw_ranking
from asrl_mlflow.diagnosis.labels.ranking import final_loss, rank_residuals
from asrl_mlflow.figures.style import png
from asrl_mlflow.losses import BaseLoss, Loss
from asrl_mlflow.records.unseen import OutOfFold, predict_out_of_fold
from asrl_mlflow.residuals.outliers import find_outliers
from asrl_mlflow.tracking.run_log import RunLog

# CSV, as MLflow shows it as a table and every program opens it; at this many rows it has some 9 MB.
TABLE = "which_labels.csv"
FIGURE = "figures/which_labels.png"
MOST_ROWS = 100_000
# Halves, shuffled anew: the mean of a few boosters, each of half of the rows, ranks better than one booster
# of four fifths of them, in less time (benchmarks/quality/labels.py). Small tables gain most from more of them.
FOLDS = 2
_FEW_ROWS, _REPEATS_OF_FEW, _REPEATS = 5_000, 5, 2


def predict_in_halves(
    loss: BaseLoss, params: Mapping[str, Any], rounds: int, rows: Rows, seed: int
) -> OutOfFold:
    """Predict each row by boosters that learned from a half of the rows without it.

    It takes as long as `count_repeats` trainings on all rows.

    Parameters
    ----------
    loss, params, rounds, rows, seed
        As for `predict_out_of_fold`.
    """
    repeats = count_repeats(len(rows))
    return predict_out_of_fold(loss, params, rounds, rows, seed, count=FOLDS, repeats=repeats)


def count_repeats(rows: int) -> int:
    """Choose how often rows are shuffled into halves anew.

    Examples
    --------
    >>> count_repeats(442), count_repeats(20_000)
    (5, 2)
    """
    return _REPEATS_OF_FEW if rows <= _FEW_ROWS else _REPEATS


def keep_ranking(found: OutOfFold, loss: BaseLoss, log: RunLog, context: str | None) -> None:
    """Rank rows, and log the table, its number of rows and the figure to an open run.

    Parameters
    ----------
    found : OutOfFold
        The rows that the run learned from, with their out-of-fold predictions.
    loss : BaseLoss
        The run's loss.
    log : RunLog
        The log of the open run.
    context : str, optional
        Which loss, table and seed it is about; without it no figure is drawn.
    """
    ranked = len(found.target)
    log.metrics({"labels.ranked": ranked, "labels.left_out": found.left_out})
    if not ranked:
        return
    if isinstance(loss, Loss):
        outliers = find_outliers(found.residual, found.weight)
        log.metrics({"labels.above": outliers.above, "labels.below": outliers.below})
        table = rank_residuals(found, loss)
    else:
        table = rank_classes(found)
    log.artifact(TABLE, table.to_csv(index=False).encode())
    if context is None:
        return
    if isinstance(loss, Loss):
        figure = draw_ranking(table, final_loss(found, loss).regions, found.left_out, context)
    else:
        figure = draw_class_ranking(table, found.left_out, context)
    log.artifact(FIGURE, png(figure))
