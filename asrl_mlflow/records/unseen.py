"""Measure errors on rows that training did not see, to calibrate intervals or sets, and to compare models."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xgboost

from asrl_mlflow.boosting.prediction import predict
from asrl_mlflow.boosting.training import recorded_loss, train
from asrl_mlflow.datasets.matrices import make_matrix
from asrl_mlflow.datasets.splits import FloatArray, Rows, folds
from asrl_mlflow.errors import InputError
from asrl_mlflow.losses import BaseLoss
from asrl_mlflow.residuals.conformal import sample_rows

# A small table gets more folds, so that each booster learns from nearly all of its rows.
_FEW_ROWS, _FOLDS_OF_FEW, _FOLDS = 5_000, 20, 5


@dataclass(frozen=True)
class UnseenResiduals:
    """Errors on rows that a booster did not learn from.

    An error is an absolute residual, in target units; of classes it is minus the logarithm of the
    probability that the row's class was given.

    Parameters
    ----------
    calibration : float64 array of shape (n,), n <= MOST_ROWS
        Errors to calibrate intervals or prediction sets by; each row was predicted by a booster that did
        not learn from it. Empty where there are no such rows.
    test : float64 array of shape (m,), m <= MOST_ROWS
        Errors of the test rows in their order.
    weight : float64 array of shape (m,)
        Weights of the same test rows; 1 where the table has none.
    test_rows : str
        A digest of the test targets: two boosters with the same digest were tested on the same rows.
        Empty where the booster continues another one, which may have learned from the test rows.
    """

    calibration: FloatArray
    test: FloatArray
    weight: FloatArray
    test_rows: str

    def to_bytes(self) -> bytes:
        """Write the arrays in numpy's .npz format, without pickles."""
        file = io.BytesIO()
        np.savez(
            file,
            calibration=self.calibration,
            test=self.test,
            weight=self.weight,
            test_rows=np.array(self.test_rows),
        )
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> UnseenResiduals:
        """Read what `to_bytes` wrote."""
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return cls(file["calibration"], file["test"], file["weight"], str(file["test_rows"]))


def measure_unseen(
    calibration: FloatArray, booster: xgboost.Booster, test: Rows, *, is_fresh: bool
) -> UnseenResiduals:
    """Measure a trained booster on the test rows, and keep that beside its calibration residuals.

    Parameters
    ----------
    calibration : float64 array of shape (n,)
        The result of `held_out_residuals` or `out_of_fold_residuals`.
    booster : xgboost.Booster
        A booster that predicts in target units.
    test : Rows
        The test rows.
    is_fresh : bool
        Whether the booster learned from the rows of its own split only.
    """
    kept = sample_rows(len(test))
    rows = test.take(kept)
    return UnseenResiduals(
        calibration=calibration[sample_rows(len(calibration))],
        test=_errors(booster, rows),
        weight=np.ones(len(rows)) if rows.weight is None else rows.weight,
        # A digest of the targets only: boosters with different features can share test rows.
        test_rows=hashlib.sha256(rows.target.tobytes()).hexdigest()[:16] if is_fresh else "",
    )


def held_out_residuals(booster: xgboost.Booster, rows: Rows) -> FloatArray:
    """Compute the absolute residuals of rows that the booster did not learn from, without weight 0."""
    residuals = _errors(booster, rows)
    return residuals if rows.weight is None else residuals[rows.weight > 0]


def out_of_fold_residuals(
    loss: BaseLoss, params: Mapping[str, Any], rounds: int, rows: Rows, seed: int
) -> FloatArray:
    """Compute each row's absolute residual by a booster that learned from the other folds only.

    Parameters
    ----------
    loss : BaseLoss
        The loss of the booster that learned from all rows.
    params : mapping
        Its XGBoost parameters.
    rounds : int, >= 1
        Its number of rounds.
    rows : Rows
        The rows that it learned from.
    seed : int
        The seed that shuffles rows into folds.

    Returns
    -------
    float64 array of shape (n,)
        In target units. Rows of weight 0 are left out; of rows with a time also those of the first
        fold, which has no past to learn from.
    """
    count = _FOLDS_OF_FEW if len(rows) < _FEW_ROWS else _FOLDS
    residuals, weight = fold_residuals(loss, params, rounds, folds(rows, count, seed))
    return residuals[weight > 0]


def fold_residuals(
    loss: BaseLoss, params: Mapping[str, Any], rounds: int, pairs: Iterable[tuple[Rows, Rows]]
) -> tuple[FloatArray, FloatArray]:
    """Compute the absolute residuals of the second rows of each pair by a booster of the first.

    Parameters
    ----------
    loss, params, rounds
        As for `out_of_fold_residuals`.
    pairs : iterable of (Rows, Rows)
        Rows to learn from and rows to measure; a pair whose first rows all have weight 0 is left out.

    Returns
    -------
    residuals : float64 array of shape (n,)
        In target units, pair by pair.
    weight : float64 array of shape (n,)
        Sample weights of the same rows; 1 where the table has none.
    """
    residuals, weights = [np.empty(0)], [np.empty(0)]
    for learned, judged in pairs:
        if learned.weight is not None and not learned.weight.any():
            continue
        booster = train(
            params, make_matrix(learned), rounds, loss=loss, weight_rule=learned.weight_rule
        )
        residuals.append(_errors(booster, judged))
        weights.append(np.ones(len(judged)) if judged.weight is None else judged.weight)
    return np.concatenate(residuals), np.concatenate(weights)


def _errors(booster: xgboost.Booster, rows: Rows) -> FloatArray:
    """Compute how wrong the booster is on each row, as its loss measures it."""
    loss = recorded_loss(booster)
    if loss is None:
        msg = "Errors need a booster of asrl_mlflow.train, which records its loss; got one without."
        raise InputError(msg)
    return loss.row_errors(rows.target, predict(booster, rows.features, loss=loss))
