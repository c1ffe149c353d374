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

# All trees, before any link function: what `predict(output_margin=True)` asks for.
_CONFIG = (
    b'{"type": 1, "training": false, "iteration_begin": 0, "iteration_end": 0,'
    b' "strict_shape": false}'
)


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
    out: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.float32]:
    """Target minus the predictions of all trees, shape (n,), in target units.

    Parameters
    ----------
    booster : Booster
        With one output.
    matrix : DMatrix
        Any that XGBoost predicts for; for those it trains on it keeps the sum of all trees.
    target : float32 array of shape (n,)
        Of its rows.
    out : float32 array of shape (n,), optional
        Where to put them.

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
    >>> off = target - booster.predict(matrix, output_margin=True)
    >>> bool(np.array_equal(residuals(booster, matrix, target), off))
    True
    """
    shape = ctypes.POINTER(ctypes.c_uint64)()
    dimensions = ctypes.c_uint64()
    values = ctypes.POINTER(ctypes.c_float)()
    failed = _library().XGBoosterPredictFromDMatrix(
        booster.handle,
        matrix.handle,
        _CONFIG,
        ctypes.byref(shape),
        ctypes.byref(dimensions),
        ctypes.byref(values),
    )
    if failed:
        raise xgboost.core.XGBoostError(_library().XGBGetLastError().decode())
    # XGBoost's own memory, which it writes to or frees when it likes: it does not leave this function.
    margin = np.ctypeslib.as_array(values, shape=(shape[0],))
    off: npt.NDArray[np.float32] = np.subtract(target, margin, out=out)
    return off
