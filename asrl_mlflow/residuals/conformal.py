"""Calibrate prediction intervals by absolute residuals of rows that a model did not learn from."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from asrl_mlflow.errors import InputError

# With more rows a random sample of them is kept, so that a model stays small.
MOST_ROWS = 20_000


def sample_rows(count: int) -> npt.NDArray[np.int64]:
    """Choose up to `MOST_ROWS` of `count` row numbers, in order; the same ones at every call.

    Examples
    --------
    >>> sample_rows(3)
    array([0, 1, 2])
    """
    order = np.random.default_rng(0).permutation(count)[:MOST_ROWS]
    return np.sort(order)


def half_width(calibration: npt.NDArray[np.float64], level: float) -> float:
    """Find half the width of split-conformal intervals, in the unit of the residuals.

    It is the absolute residual of rank ceil((n + 1) level) among n; infinite where that rank exceeds n.

    Parameters
    ----------
    calibration : float64 array of shape (n,)
        Absolute residuals in ascending order, each of a row that the model did not learn from.
    level : float, in (0, 1)
        Share of new targets that should lie inside.

    Raises
    ------
    InputError
        The level is outside (0, 1).

    References
    ----------
    J. Lei et al., Distribution-Free Predictive Inference for Regression, 2018, algorithm 2,
    arXiv 1604.04173.

    Examples
    --------
    >>> half_width(np.array([0.1, 0.2, 0.4, 0.8]), 0.6), half_width(np.array([0.1]), 0.9)
    (0.4, inf)
    """
    if not 0 < level < 1:
        msg = f"An interval or a set needs a level in (0, 1); got {level}; pass 0.9, say."
        raise InputError(msg)
    # The model that MLflow serves has a copy of this rule, as it imports nothing of ours.
    # A rounding error in the level must not raise a whole rank by one.
    rank = max(1, math.ceil(round((calibration.size + 1) * level, 9)))
    return float(calibration[rank - 1]) if rank <= calibration.size else math.inf
