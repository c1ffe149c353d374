"""Learn how widely residuals are spread in which rows, for intervals that are wider where a model is less sure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import xgboost

from asrl_mlflow.boosting.training import train
from asrl_mlflow.losses import AbsoluteError
from asrl_mlflow.residuals.conformal import FEWEST_FOR_SPREAD, Calibration, missing_spread
from asrl_mlflow.system.threads import thread_count

# Small trees of many rows: what is left of a target when its model is done is mostly noise.
_PARAMS = {"max_depth": 3, "learning_rate": 0.2, "min_child_weight": 20}
_ROUNDS, _FOLDS = 50, 5
# Added to each error, in medians of all errors: one that is 0 by chance has a logarithm then, and no spread is
# far below those of other rows (Papadopoulos et al., 2008).
_AT_LEAST = 0.1


def learn_spread(calibration: Calibration, rows: xgboost.DMatrix) -> Calibration:
    """Learn the spread of a row's residual from its features, and each error's ratio to it.

    The spread is the median of absolute residuals that is expected of a row, by a booster of absolute error for
    their logarithms: half of them may be gross outliers. Ratios are by boosters of the other folds, so that
    intervals of new rows hold as many targets.

    Parameters
    ----------
    calibration : Calibration
        Errors in target units.
    rows : DMatrix of n rows
        The features of the same rows, in their order. Its labels, weights and base margins are replaced.

    Returns
    -------
    Calibration
        With `relative` and `spread`; as it was with fewer than 100 rows, of classes, and where at least half of the
        errors are 0.

    References
    ----------
    J. Lei et al., Distribution-Free Predictive Inference for Regression, 2018, section 5.2, arXiv 1604.04173.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.uniform(size=(500, 1))
    >>> learned = learn_spread(
    ...     Calibration.of_residuals(rng.normal(size=500) * (1 + 9 * (x[:, 0] > 0.5))), xgboost.DMatrix(x)
    ... )
    >>> narrow, wide = predict_spread(learned, xgboost.DMatrix([[0.2], [0.8]]))
    >>> bool(5 < wide / narrow < 15)
    True
    """
    errors = calibration.errors
    middle = float(np.median(errors)) if errors.size else 0.0
    if calibration.is_above is None or errors.size < FEWEST_FOR_SPREAD or middle == 0:
        return calibration
    sizes = errors + _AT_LEAST * middle
    fold = np.random.default_rng(0).permutation(errors.size) % _FOLDS
    spread = np.empty(errors.size)
    for number in range(_FOLDS):
        learned, judged = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        booster = _learn(rows.slice(learned), sizes[learned])
        spread[judged] = _predict(booster, rows.slice(judged))
    raw = np.frombuffer(bytes(_learn(rows, sizes).save_raw("ubj")), np.uint8)
    return replace(calibration, relative=errors / spread, spread=raw)


def predict_spread(calibration: Calibration, rows: xgboost.DMatrix) -> npt.NDArray[np.float64]:
    """Predict the spread of rows, in target units.

    Parameters
    ----------
    calibration : Calibration
        The result of `learn_spread`, with a spread.
    rows : DMatrix of m rows
        Their features.

    Returns
    -------
    float64 array of shape (m,)
        Above 0.

    Raises
    ------
    InputError
        No spread was learned.
    """
    if calibration.spread is None:
        raise missing_spread()
    return _predict(xgboost.Booster(model_file=bytearray(calibration.spread.tobytes())), rows)


def _learn(rows: xgboost.DMatrix, sizes: npt.NDArray[np.float64]) -> xgboost.Booster:
    rows.set_info(label=np.log(sizes), weight=np.ones(sizes.size), base_margin=[])
    params = {**_PARAMS, "nthread": thread_count(rows.num_row(), rows.num_col())}
    return train(params, rows, _ROUNDS, loss=AbsoluteError())


def _predict(booster: xgboost.Booster, rows: xgboost.DMatrix) -> npt.NDArray[np.float64]:
    rows.set_base_margin([])
    return np.exp(booster.predict(rows).astype(np.float64))
