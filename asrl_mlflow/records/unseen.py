"""Measure errors on rows that training did not see, to calibrate intervals or sets, and to compare models."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost

from asrl_mlflow.boosting.prediction import predict
from asrl_mlflow.boosting.training import recorded_loss, train
from asrl_mlflow.datasets.matrices import make_matrix
from asrl_mlflow.datasets.splits import FloatArray, IntArray, Label, Rows, folds
from asrl_mlflow.errors import InputError
from asrl_mlflow.intervals import learn_spread
from asrl_mlflow.losses import BaseLoss
from asrl_mlflow.residuals.conformal import Calibration, sample_rows
from asrl_mlflow.residuals.sample_weights import WeightRule

# A small table gets more folds, so that each booster learns from nearly all of its rows.
_FEW_ROWS, _FOLDS_OF_FEW, _FOLDS = 5_000, 20, 5


@dataclass(frozen=True)
class OutOfFold:
    """Rows that were learned from, each with the prediction of boosters that did not learn from it.

    Rows of weight 0 are not among them; of rows with a time also not those of the first fold, which has
    no past to learn from; and not those of a class that some of these boosters have not seen.

    Parameters
    ----------
    numbers : int64 array of shape (n,)
        The position of each row in its table, from 0; ascending.
    target : float64 array of shape (n,)
        In target units; of classes their codes.
    prediction : float64 array of shape (n,) or (n, K)
        In target units, or probabilities of classes; the mean where there are several.
    spread : float64 array of the prediction's shape
        The standard deviation of several predictions; 0 where there is one.
    weight : float64 array of shape (n,), optional
        Sample weights above 0.
    weight_rule : {"none", "counts", "mean 1"}
        How the weights of the whole table are read.
    left_out : int
        How many rows with a weight above 0 have no such prediction.
    classes : tuple of str, int, bool or float
        Labels of the classes; empty where the target is a number.
    """

    numbers: IntArray
    target: FloatArray
    prediction: FloatArray
    spread: FloatArray
    weight: FloatArray | None = None
    weight_rule: WeightRule = "none"
    left_out: int = 0
    classes: tuple[Label, ...] = ()

    @property
    def residual(self) -> FloatArray:
        """Target minus prediction, in target units."""
        return self.target - self.prediction


@dataclass(frozen=True)
class UnseenResiduals:
    """Errors on rows that a booster did not learn from.

    An error is an absolute residual, in target units; of classes it is minus the logarithm of the
    probability that the row's class was given.

    Parameters
    ----------
    calibration : Calibration
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

    calibration: Calibration
    test: FloatArray
    weight: FloatArray
    test_rows: str

    def to_bytes(self) -> bytes:
        """Write the arrays in numpy's .npz format, without pickles."""
        file = io.BytesIO()
        np.savez(
            file,
            calibration=self.calibration.errors,
            **self.calibration.companions,
            test=self.test,
            weight=self.weight,
            test_rows=np.array(self.test_rows),
        )
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> UnseenResiduals:
        """Read what `to_bytes` wrote."""
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            calibration = Calibration.with_companions(file["calibration"], file)
            return cls(calibration, file["test"], file["weight"], str(file["test_rows"]))


def measure_unseen(
    calibration: Calibration, booster: xgboost.Booster, test: Rows, *, is_fresh: bool
) -> UnseenResiduals:
    """Measure a trained booster on the test rows, and keep that beside what calibrates it.

    Parameters
    ----------
    calibration : Calibration
        The result of `calibrate_held_out`, or of `calibrate_out_of_fold`.
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
        calibration=calibration,
        test=_errors(booster, rows),
        weight=np.ones(len(rows)) if rows.weight is None else rows.weight,
        # A digest of the targets only: boosters with different features can share test rows.
        test_rows=hashlib.sha256(rows.target.tobytes()).hexdigest()[:16] if is_fresh else "",
    )


def calibrate_held_out(booster: xgboost.Booster, rows: Rows) -> Calibration:
    """Keep the errors of rows that the booster did not learn from, without those of weight 0, and learn their spread."""
    loss, prediction = _predict(booster, rows)
    counted = np.arange(len(rows)) if rows.weight is None else np.flatnonzero(rows.weight > 0)
    return _calibrate(loss, rows.take(counted), prediction[counted])


def calibrate_out_of_fold(loss: BaseLoss, found: OutOfFold, rows: Rows) -> Calibration:
    """Keep the errors of out-of-fold predictions, and learn their spread.

    Parameters
    ----------
    loss : BaseLoss
        Of the boosters that predicted.
    found : OutOfFold
        Their predictions.
    rows : Rows
        The rows that were predicted, in any order, with their numbers.
    """
    numbers = np.arange(len(rows)) if rows.numbers is None else rows.numbers
    order = np.argsort(numbers)
    return _calibrate(
        loss,
        rows.take(order[np.searchsorted(numbers, found.numbers, sorter=order)]),
        found.prediction,
    )


def _calibrate(loss: BaseLoss, rows: Rows, prediction: npt.NDArray[np.floating]) -> Calibration:
    calibration = loss.calibrate(rows.target, prediction)
    features = rows.features.iloc[sample_rows(len(rows))]
    return learn_spread(calibration, xgboost.DMatrix(features, enable_categorical=True))


def predict_out_of_fold(
    loss: BaseLoss,
    params: Mapping[str, Any],
    rounds: int,
    rows: Rows,
    seed: int,
    *,
    count: int | None = None,
    repeats: int = 1,
) -> OutOfFold:
    """Predict each row by boosters that learned from the other folds only.

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
    count : int, >= 2, optional
        The number of folds; by default 20 of a small table and 5 of others.
    repeats : int, >= 1
        How often rows are shuffled into folds anew; their predictions are averaged. Rows with a time,
        which are not shuffled, are predicted once.
    """
    if count is None:
        count = _FOLDS_OF_FEW if len(rows) < _FEW_ROWS else _FOLDS
    in_time = rows.blocks is not None and rows.blocks.in_time
    # One group, or one moment in time, cannot be divided.
    shuffles = [] if rows.blocks is not None and rows.blocks.count == 1 else range(repeats)
    numbers = np.arange(len(rows)) if rows.numbers is None else rows.numbers
    places = replace(rows, numbers=np.arange(len(rows)))
    predictions = []
    for shuffle in shuffles[:1] if in_time else shuffles:
        predictions.append(np.full((len(rows), *[len(rows.classes)] * bool(rows.classes)), np.nan))
        pairs = folds(places, min(count, len(rows)), seed + shuffle)
        for learned, judged, prediction in _predict_folds(loss, params, rounds, pairs):
            # Of a class that a booster has never seen it knows nothing, least of all that it is wrong.
            is_known = np.flatnonzero(judged.find_classes_of(learned))
            predictions[-1][judged.take(is_known).numbers] = prediction[is_known]
    mean, spread = average(predictions or [np.full(len(rows), np.nan)])
    is_known = ~np.isnan(mean if mean.ndim == 1 else mean[:, 0])
    counts = np.ones(len(rows), np.bool_) if rows.weight is None else rows.weight > 0
    kept = np.flatnonzero(counts & is_known)
    kept = kept[np.argsort(numbers[kept])]
    return OutOfFold(
        numbers=numbers[kept],
        target=rows.target[kept],
        prediction=mean[kept],
        spread=spread[kept],
        weight=None if rows.weight is None else rows.weight[kept],
        weight_rule=rows.weight_rule,
        left_out=int(np.count_nonzero(counts)) - len(kept),
        classes=rows.classes,
    )


def average(predictions: Sequence[FloatArray]) -> tuple[FloatArray, FloatArray]:
    """Compute each row's mean over predictions, and their standard deviation, 0 of a single one.

    Examples
    --------
    >>> average([np.array([1.0, 5.0]), np.array([3.0, 5.0])])
    (array([2., 5.]), array([1.41421356, 0.        ]))
    """
    if len(predictions) == 1:
        return predictions[0], np.zeros(predictions[0].shape)
    return np.mean(predictions, axis=0), np.std(predictions, axis=0, ddof=1)


def fold_residuals(
    loss: BaseLoss, params: Mapping[str, Any], rounds: int, pairs: Iterable[tuple[Rows, Rows]]
) -> tuple[FloatArray, FloatArray]:
    """Compute the absolute residuals of the second rows of each pair by a booster of the first.

    Parameters
    ----------
    loss, params, rounds
        As for `predict_out_of_fold`.
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
    for _, judged, prediction in _predict_folds(loss, params, rounds, pairs):
        residuals.append(loss.row_errors(judged.target, prediction))
        weights.append(np.ones(len(judged)) if judged.weight is None else judged.weight)
    return np.concatenate(residuals), np.concatenate(weights)


def _predict_folds(
    loss: BaseLoss, params: Mapping[str, Any], rounds: int, pairs: Iterable[tuple[Rows, Rows]]
) -> Iterator[tuple[Rows, Rows, FloatArray]]:
    """Predict the second rows of each pair by a booster of the first, unless those all have weight 0."""
    for learned, judged in pairs:
        if learned.weight is not None and not learned.weight.any():
            continue
        booster = train(
            params, make_matrix(learned), rounds, loss=loss, weight_rule=learned.weight_rule
        )
        yield learned, judged, predict(booster, judged.features, loss=loss).astype(np.float64)


def _errors(booster: xgboost.Booster, rows: Rows) -> FloatArray:
    """Compute how wrong the booster is on each row, as its loss measures it."""
    loss, prediction = _predict(booster, rows)
    return loss.row_errors(rows.target, prediction)


def _predict(booster: xgboost.Booster, rows: Rows) -> tuple[BaseLoss, npt.NDArray[np.floating]]:
    """Give the loss that a booster recorded, and what it predicts."""
    loss = recorded_loss(booster)
    if loss is None:
        msg = "Errors need a booster of asrl_mlflow.train, which records its loss; got one without."
        raise InputError(msg)
    return loss, predict(booster, rows.features, loss=loss)
