"""What a booster predicts for a matrix that it trains on, without a copy.

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


def margin(booster: xgboost.Booster, matrix: xgboost.DMatrix) -> npt.NDArray[np.float32]:
    """Predictions of all trees, in target units, shape (n,).

    Parameters
    ----------
    booster : Booster
        With one output.
    matrix : DMatrix
        Any that XGBoost predicts for; for those it trains on it keeps the sum of all trees.

    Returns
    -------
    float32 array of shape (n,), read-only
        XGBoost's own memory: it is valid until it predicts again.

    Raises
    ------
    xgboost.core.XGBoostError
        As `Booster.predict` does.

    Examples
    --------
    >>> import numpy as np, xgboost
    >>> matrix = xgboost.DMatrix(np.arange(6.0)[:, None], label=np.arange(6.0))
    >>> booster = xgboost.train({}, matrix, 3)
    >>> bool(np.array_equal(margin(booster, matrix), booster.predict(matrix, output_margin=True)))
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
    view = np.ctypeslib.as_array(values, shape=(shape[0],))
    view.flags.writeable = False
    return view
