"""Keep how wrong a booster is about rows that it did not learn from, for conformal prediction."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xgboost

from asrl_mlflow.boosting import CALIBRATION_ATTRIBUTE, predict
from asrl_mlflow.losses import BaseLoss
from asrl_mlflow.residuals.conformal import Calibration


class Judged(NamedTuple):
    """Rows that a booster did not learn from, without those of weight 0.

    Parameters
    ----------
    target : float64 array of shape (n,)
        Labels of the matrix.
    prediction : float array of shape (n,) or (n, K)
        What the booster says of them.
    """

    target: npt.NDArray[np.float64]
    prediction: npt.NDArray[np.floating]


def judge(booster: xgboost.Booster, matrix: xgboost.DMatrix, loss: BaseLoss) -> Judged:
    """Predict rows, and keep those that have a weight.

    Examples
    --------
    >>> from asrl_mlflow import losses, train
    >>> matrix = xgboost.DMatrix(np.zeros((3, 1)), label=[1.0, 2.0, 4.0])
    >>> booster = train({}, matrix, 1, loss=losses.Huber())
    >>> judge(booster, matrix, losses.Huber()).prediction
    array([2., 2., 2.], dtype=float32)
    """
    prediction = predict(booster, matrix, loss=loss)
    target, weight = matrix.get_label().astype(np.float64), matrix.get_weight()
    if not weight.size:
        return Judged(target, prediction)
    return Judged(target[weight > 0], prediction[weight > 0])


def calibrate_by_evals(
    booster: xgboost.Booster,
    learned: xgboost.DMatrix,
    evals: Sequence[tuple[xgboost.DMatrix, str]],
    loss: BaseLoss,
) -> Calibration | None:
    """Keep the errors of the last rows to judge by, unless training or stopping has used them.

    Examples
    --------
    >>> from asrl_mlflow import losses, train
    >>> matrix = xgboost.DMatrix(np.zeros((3, 1)), label=[1.0, 2.0, 4.0])
    >>> booster = train({}, matrix, 1, loss=losses.Huber())
    >>> calibrate_by_evals(booster, matrix, [(matrix, "train")], losses.Huber()) is None
    True
    """
    if not evals or booster.attr("best_iteration") is not None:
        return None
    judged = evals[-1][0]
    if judged is learned or _are_equal(booster, judged, learned):
        return None
    return loss.calibrate(*judge(booster, judged, loss))


def keep(booster: xgboost.Booster, calibration: Calibration | None) -> None:
    """Write what calibrates a booster into it; None forgets what is there.

    Examples
    --------
    >>> booster = xgboost.Booster()
    >>> keep(booster, Calibration.of_errors(np.array([0.5, 0.25])))
    >>> kept(booster).errors
    array([0.5 , 0.25])
    """
    text = None
    if calibration is not None:
        text = base64.b64encode(calibration.to_bytes()).decode()
    booster.set_attr(**{CALIBRATION_ATTRIBUTE: text})


def kept(booster: xgboost.Booster) -> Calibration | None:
    """Read what calibrates a booster; None where there is nothing.

    Examples
    --------
    >>> kept(xgboost.Booster()) is None
    True
    """
    text = booster.attr(CALIBRATION_ATTRIBUTE)
    return None if text is None else Calibration.from_bytes(base64.b64decode(text))


def _are_equal(booster: xgboost.Booster, one: xgboost.DMatrix, other: xgboost.DMatrix) -> bool:
    """Check whether two matrices look like the same rows: by their labels, then by predictions."""
    if not np.array_equal(one.get_label(), other.get_label()):
        return False
    first, second = (booster.predict(each, output_margin=True) for each in (one, other))
    return np.array_equal(first, second)
