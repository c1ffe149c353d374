"""How far off a booster is on rows that its training did not see: to calibrate and to compare by."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xgboost

from asrl_mlflow.boosting.training import train
from asrl_mlflow.datasets.matrices import make_matrix
from asrl_mlflow.datasets.splits import FloatArray, IntArray, Rows, folds
from asrl_mlflow.losses import Loss

# A random part of exchangeable rows is as good as all of them, and a model stays small.
MOST_ROWS = 20_000
# Of few rows more are learned from, so that out-of-fold boosters are nearly the real one.
_FEW_ROWS, _FOLDS_OF_FEW, _FOLDS = 5_000, 20, 5


@dataclass(frozen=True)
class UnseenResiduals:
    """Absolute residuals on rows that a booster did not learn from.

    Parameters
    ----------
    calibration : float64 array of shape (n,), n <= MOST_ROWS
        Of rows to calibrate intervals by, each by a booster that did not learn from it.
    test : float64 array of shape (m,), m <= MOST_ROWS
        Of test rows, in their order.
    weight : float64 array of shape (m,)
        Of the same rows; 1 where the table has none.
    test_rows : str
        Equal for two boosters where `test` is of the same rows; empty where the booster goes on from
        another one, which may have learned from them.
    """

    calibration: FloatArray
    test: FloatArray
    weight: FloatArray
    test_rows: str

    def to_bytes(self) -> bytes:
        """As numpy's .npz, without pickles."""
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
        """What `to_bytes` wrote."""
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return cls(file["calibration"], file["test"], file["weight"], str(file["test_rows"]))


def measure_unseen(
    calibration: FloatArray, booster: xgboost.Booster, test: Rows, *, is_fresh: bool
) -> UnseenResiduals:
    """Of a booster that is ready, with residuals to calibrate by.

    Parameters
    ----------
    calibration : float64 array
        As `held_out` or `out_of_fold` gives it.
    booster : xgboost.Booster
        Predicts in target units.
    test : Part
        Test rows.
    is_fresh : bool
        Whether it learned from the rows of its own split only.
    """
    kept = _sample_rows(len(test))
    rows = test.take(kept)
    return UnseenResiduals(
        calibration=calibration[_sample_rows(len(calibration))],
        test=_residuals(booster, rows),
        weight=np.ones(len(rows)) if rows.weight is None else rows.weight,
        # Rows are known by their targets: boosters with other features may be judged by the same.
        test_rows=hashlib.sha256(rows.target.tobytes()).hexdigest()[:16] if is_fresh else "",
    )


def held_out_residuals(booster: xgboost.Booster, rows: Rows) -> FloatArray:
    """The absolute residuals of rows that the booster did not learn from; not of those of weight 0."""
    residuals = _residuals(booster, rows)
    return residuals if rows.weight is None else residuals[rows.weight > 0]


def out_of_fold_residuals(
    loss: Loss, params: Mapping[str, Any], rounds: int, rows: Rows, seed: int
) -> FloatArray:
    """The absolute residual of each row by a booster that learned from the other folds only.

    Parameters
    ----------
    loss, params, rounds
        Those of the booster that learned from all rows.
    rows : Part
        Its rows. Of those in time the first fold has no past, and no residuals; rows of weight 0
        have none either.
    seed : int
        Of the folds.
    """
    count = _FOLDS_OF_FEW if len(rows) < _FEW_ROWS else _FOLDS
    found = [np.empty(0)]
    for learned, judged in folds(rows, count, seed):
        if learned.weight is not None and not learned.weight.any():
            continue
        booster = train(
            params, make_matrix(learned), rounds, loss=loss, weight_rule=learned.weight_rule
        )
        found.append(held_out_residuals(booster, judged))
    return np.concatenate(found)


def _residuals(booster: xgboost.Booster, rows: Rows) -> FloatArray:
    predicted: FloatArray = booster.inplace_predict(rows.features).astype(np.float64)
    return np.abs(rows.target - predicted)


def _sample_rows(count: int) -> IntArray:
    """Up to `MOST_ROWS` of so many places, the same whenever asked."""
    order = np.random.default_rng(0).permutation(count)[:MOST_ROWS]
    return np.sort(order)
