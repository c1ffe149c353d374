"""Rank rows by how far their target is from what boosters predict that did not learn from them."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from scipy.ndimage import median_filter

from asrl_mlflow.datasets.splits import FloatArray
from asrl_mlflow.losses import Loss, PointwiseLoss
from asrl_mlflow.records.unseen import OutOfFold
from asrl_mlflow.residuals.progress import Progress
from asrl_mlflow.residuals.sample_weights import row_counts
from asrl_mlflow.residuals.statistics import Residuals, distances

# How many rows have a similar prediction: this share of all rows, but not fewer than the number.
_SHARE_NEARBY, _FEWEST_NEARBY = 0.4, 31
# Shares of two more distances, which are added to that of rows with a similar prediction: that of all rows,
# as few rows may be alike by chance, and the spread of the row's own predictions.
_SHARE_OF_ALL, _SHARE_OF_OWN = 0.5, 0.5


def rank_residuals(found: OutOfFold, loss: Loss) -> pd.DataFrame:
    """Rank the rows of a regression, those whose target is most probably wrong first.

    Parameters
    ----------
    found : OutOfFold
        Rows with their out-of-fold predictions.
    loss : Loss
        The loss of the training, which says what each row still weighs.

    Returns
    -------
    DataFrame of shape (n, 6)
        Columns as those of `which_labels`.

    Examples
    --------
    >>> from asrl_mlflow.losses import ContinuousASRL
    >>> prediction = np.arange(40.0)
    >>> target = prediction + np.tile([-1.0, 1.0], 20)
    >>> target[3] += 90
    >>> found = OutOfFold(np.arange(40), target, prediction, spread=np.zeros(40))
    >>> table = rank_residuals(found, ContinuousASRL())
    >>> table.head(1).round(3)
       row  target  prediction  residual  weight  score
    0    3    94.0         3.0      91.0     0.0  0.025
    """
    residual = found.residual
    weight, _ = final_loss(found, loss).relative_weight(residual)
    distance = measure_distance(residual, found.prediction, found.spread)
    # Sorted by size and, where that is equal, by row.
    order = np.argsort(-distance, kind="stable")
    as_far = len(order) - np.searchsorted(np.sort(distance), distance)
    return (
        pd.DataFrame(
            {
                "row": found.numbers,
                "target": found.target,
                "prediction": found.prediction,
                "residual": residual,
                "weight": weight,
                "score": as_far / len(order),
            }
        )
        .take(order)
        .reset_index(drop=True)
    )


def final_loss(found: OutOfFold, loss: Loss) -> PointwiseLoss:
    """Adapt a loss to out-of-fold residuals, as in the last round of a training."""
    counts = row_counts(
        found.weight, len(found.target), "mean 1" if found.weight_rule == "mean 1" else None
    )
    return loss.adapt(
        Residuals(
            found.residual,
            counts,
            start=partial(distances, found.target, counts),
            # Nothing is left to learn: losses of two stages are in their second one.
            progress=Progress(left=0.0),
        )
    )


def measure_distance(
    residual: FloatArray, prediction: FloatArray, spread: FloatArray
) -> FloatArray:
    """Measure how far each residual is from those of rows with a similar prediction, without a unit.

    It is |residual - their median|, divided by the median of such distances of theirs, to which half of that
    of all rows and half of the row's own spread are added. By |residual| alone right labels would come
    first where wrong ones have pulled the predictions of their neighbours, where a part of the table has
    more noise, and where boosters do not agree.

    Parameters
    ----------
    residual, prediction, spread : float64 arrays of shape (n,), n >= 1
        In target units; the spread is that of several predictions of a row.

    Examples
    --------
    >>> residual = np.append(np.tile([-1.0, 0.0, 1.0], 50), 6.0)
    >>> measure_distance(residual, np.arange(151.0), np.zeros(151))[-1]
    np.float64(4.0)
    """
    order = np.argsort(prediction, kind="stable")
    ordered = residual[order]
    # An odd number of rows, so that its middle is one of them.
    nearby = min(max(int(_SHARE_NEARBY * order.size), _FEWEST_NEARBY), order.size) // 2 * 2 + 1
    away = np.abs(ordered - median_filter(ordered, nearby, mode="reflect"))
    # Where more than half of all residuals are equal, their mean distance; where all are, any number.
    overall = float(np.median(away)) or float(away.mean()) or 1.0
    scale = median_filter(away, nearby, mode="reflect") + _SHARE_OF_ALL * overall
    distance = np.empty(order.size)
    distance[order] = away / (scale + _SHARE_OF_OWN * spread[order])
    return distance
