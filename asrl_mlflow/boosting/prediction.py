"""Predict with a booster as its loss means it: targets, or probabilities of classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost

from asrl_mlflow.boosting.training import recorded_loss
from asrl_mlflow.errors import InputError
from asrl_mlflow.losses import BaseLoss


def predict(
    booster: xgboost.Booster,
    data: Any,  # noqa: ANN401 - whatever XGBoost takes
    *,
    loss: BaseLoss | None = None,
) -> npt.NDArray[np.floating]:
    """Predict targets, or probabilities that are corrected for what the loss makes of margins.

    Parameters
    ----------
    booster : Booster
        Of `asrl_mlflow.train`.
    data : DMatrix, array, frame or sparse matrix of shape (n, features)
        What `Booster.predict` or `Booster.inplace_predict` takes.
    loss : BaseLoss, optional
        That which trained the booster; by default the one that it records.

    Returns
    -------
    float32 array of shape (n,) or (n, targets), or float64 array of shape (n, K)
        In target units; for classes the probability of each.

    Raises
    ------
    InputError
        The booster records no loss.

    Notes
    -----
    `Booster.predict` knows of no loss: for most losses of classes it gives margins (two classes) or classes
    (more). See `ClassificationLoss.predict` for the corrections.

    Examples
    --------
    >>> from asrl_mlflow import losses, train
    >>> x = np.linspace(0, 1, 200)[:, None]
    >>> dtrain = xgboost.QuantileDMatrix(x, label=x[:, 0] > 0.5)
    >>> booster = train({"max_depth": 2}, dtrain, 20, loss=losses.FullL())
    >>> predict(booster, [[0.1], [0.9]]).argmax(axis=1)
    array([0, 1])
    """
    loss = loss or recorded_loss(booster)
    if loss is None:
        msg = (
            "predict needs a booster of asrl_mlflow.train, which records its loss; got one without; pass "
            "loss=, or use Booster.predict."
        )
        raise InputError(msg)
    if isinstance(data, xgboost.DMatrix):
        return loss.predict(booster.predict(data, output_margin=True))
    return loss.predict(booster.inplace_predict(data, predict_type="margin"))
