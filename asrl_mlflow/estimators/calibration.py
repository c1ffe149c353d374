"""Keep how wrong a booster is about rows that it did not learn from, for conformal prediction."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xgboost

from asrl_mlflow.boosting import CALIBRATION_ATTRIBUTE, predict
from asrl_mlflow.losses import BaseLoss
from asrl_mlflow.residuals.conformal import sample_rows

Errors = npt.NDArray[np.float64]


def errors_of(booster: xgboost.Booster, matrix: xgboost.DMatrix, loss: BaseLoss) -> Errors:
    """Compute how wrong each prediction is, by `loss.row_errors`, without rows of weight 0.

    Examples
    --------
    >>> from asrl_mlflow import losses, train
    >>> matrix = xgboost.DMatrix(np.zeros((3, 1)), label=[1.0, 2.0, 4.0])
    >>> booster = train({}, matrix, 1, loss=losses.Huber())
    >>> errors_of(booster, matrix, losses.Huber())
    array([1., 0., 2.])
    """
    prediction = predict(booster, matrix, loss=loss)
    errors: Errors = loss.row_errors(matrix.get_label().astype(np.float64), prediction)
    weight = matrix.get_weight()
    return errors[weight > 0] if weight.size else errors


def held_out_errors(
    booster: xgboost.Booster,
    learned: xgboost.DMatrix,
    evals: Sequence[tuple[xgboost.DMatrix, str]],
    loss: BaseLoss,
) -> Errors | None:
    """Compute the errors of the last rows to judge by, unless training or stopping has used them.

    Examples
    --------
    >>> from asrl_mlflow import losses, train
    >>> matrix = xgboost.DMatrix(np.zeros((3, 1)), label=[1.0, 2.0, 4.0])
    >>> booster = train({}, matrix, 1, loss=losses.Huber())
    >>> held_out_errors(booster, matrix, [(matrix, "train")], losses.Huber()) is None
    True
    """
    if not evals or booster.attr("best_iteration") is not None:
        return None
    judged = evals[-1][0]
    if judged is learned or _are_equal(booster, judged, learned):
        return None
    return errors_of(booster, judged, loss)


def keep(booster: xgboost.Booster, errors: Errors | None) -> None:
    """Write errors into a booster, or a sample where they are many; None forgets what is there.

    Examples
    --------
    >>> booster = xgboost.Booster()
    >>> keep(booster, np.array([0.5, 0.25]))
    >>> kept(booster)
    array([0.25, 0.5 ])
    """
    text = None
    if errors is not None:
        ordered = np.sort(errors[sample_rows(errors.size)])
        text = base64.b64encode(ordered.tobytes()).decode()
    booster.set_attr(**{CALIBRATION_ATTRIBUTE: text})


def kept(booster: xgboost.Booster) -> Errors | None:
    """Read the errors that a booster keeps, in ascending order; None where there are none.

    Examples
    --------
    >>> kept(xgboost.Booster()) is None
    True
    """
    text = booster.attr(CALIBRATION_ATTRIBUTE)
    return None if text is None else np.frombuffer(base64.b64decode(text))


def _are_equal(booster: xgboost.Booster, one: xgboost.DMatrix, other: xgboost.DMatrix) -> bool:
    """Check whether two matrices look like the same rows: by their labels, then by predictions."""
    if not np.array_equal(one.get_label(), other.get_label()):
        return False
    first, second = (booster.predict(each, output_margin=True) for each in (one, other))
    return np.array_equal(first, second)
