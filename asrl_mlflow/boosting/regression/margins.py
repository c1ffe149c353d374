"""Targets minus what a booster predicts for a matrix that it trains on, without a copy between.

`Booster.predict` takes a tenth of a millisecond a call, which is a tenth of a round of squared error
on a thousand rows, and copies what it returns. This asks XGBoost's C interface, which is public, for
the same numbers.
"""

from __future__ import annotations

import ctypes
from functools import cache

import numpy as np
import numpy.typing as npt
import xgboost
import xgboost.libpath

from asrl_mlflow.residuals.forecast import Forecast
from asrl_mlflow.residuals.statistics import Subtracted, subtract

_CONFIG = (
    # All trees, before any link function: what `predict(output_margin=True)` asks for.
    b'{"type": 1, "training": %s, "iteration_begin": 0, "iteration_end": 0, "strict_shape": false}'
)
_NO_BRACKETS = np.empty((0, 2), np.float32)


@cache
def _library() -> ctypes.CDLL:
    """The library that xgboost has loaded: the same path gives the same one."""
    library = ctypes.CDLL(xgboost.libpath.find_lib_path()[0])
    library.XGBGetLastError.restype = ctypes.c_char_p
    return library


def residuals(
    booster: xgboost.Booster,
    matrix: xgboost.DMatrix,
    target: npt.NDArray[np.float32],
    *,
    out: npt.NDArray[np.float32],
    scratch: npt.NDArray[np.float32],
    forecast: Forecast | None = None,
    dropout: bool = False,
) -> Subtracted:
    """Fill target minus the predictions of all trees, in target units.

    Parameters
    ----------
    booster : Booster
        With one output.
    matrix : DMatrix
        Any that XGBoost predicts for; for those it trains on it keeps the sum of all trees.
    target : float32 array of shape (n,)
        Of its rows.
    out : float32 array of shape (n,)
        Filled with the residuals.
    scratch : float32 array of shape (n,)
        Overwritten.
    forecast : Forecast, optional
        Says into which intervals of |r| to look on the way, as `asrl_mlflow.residuals.subtract` does.
    dropout : bool
        Whether DART leaves some trees out, as it does to build the next one.

    Raises
    ------
    xgboost.core.XGBoostError
        As `Booster.predict` does.

    Examples
    --------
    >>> import numpy as np, xgboost
    >>> target = np.arange(6, dtype=np.float32)
    >>> matrix = xgboost.DMatrix(target[:, None], label=target)
    >>> booster = xgboost.train({}, matrix, 3)
    >>> out, scratch = np.empty(6, np.float32), np.empty(6, np.float32)
    >>> residuals(booster, matrix, target, out=out, scratch=scratch).largest < 5
    True
    >>> bool(np.array_equal(out, target - booster.predict(matrix, output_margin=True)))
    True
    """
    shape = ctypes.POINTER(ctypes.c_uint64)()
    dimensions = ctypes.c_uint64()
    values = ctypes.POINTER(ctypes.c_float)()
    failed = _library().XGBoosterPredictFromDMatrix(
        booster.handle,
        matrix.handle,
        _CONFIG % (b"true" if dropout else b"false"),
        ctypes.byref(shape),
        ctypes.byref(dimensions),
        ctypes.byref(values),
    )
    if failed:
        raise xgboost.core.XGBoostError(_library().XGBGetLastError().decode())
    if not target.size:  # a worker without rows
        return Subtracted(0.0)
    # XGBoost's own memory, which it writes to or frees when it likes: it does not leave this function.
    margin = np.ctypeslib.as_array(values, shape=(shape[0],))
    brackets = _NO_BRACKETS if forecast is None else forecast.brackets(target, margin)
    return subtract(target, margin, out, brackets, scratch)
