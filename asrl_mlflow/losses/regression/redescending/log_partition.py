"""The logarithm of what Barron's density must be divided by, for every shape."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from asrl_mlflow.losses.regression.pointwise import Array
from asrl_mlflow.losses.regression.redescending.barron import barron_value

# The integrand is smooth in log x, so that equal steps of it (the trapezoid rule) are exact to the last
# digits; beyond the ends it is below them.
_STEP, _END = 0.1, 40.0


def log_partition(alpha: float) -> float:
    """Log Z(alpha), where exp(-rho(x)) / Z(alpha) is a density; rho is Barron's with scale 1.

    Parameters
    ----------
    alpha : float, in [0, 2]
        Shape. Below 0 the integral is infinite.

    References
    ----------
    J. T. Barron, arXiv 1701.03077, equations 16 and 17.

    Examples
    --------
    >>> round(log_partition(2.0), 6)  # log(2 pi) / 2, of the normal density
    0.918939
    """
    logs = np.arange(-_END, _END, _STEP)
    x = np.exp(logs)
    return float(np.log(2 * _STEP * np.sum(np.exp(logs - barron_value(x, alpha)))))


def shape_at(place: npt.ArrayLike) -> Array:
    """The shape alpha in [0, 2] at a place in [0, 1], so that places near the ends are dense in alpha.

    Examples
    --------
    >>> shape_at([0.0, 0.5, 1.0])
    array([0., 1., 2.])
    """
    return 1 - np.cos(np.pi * np.asarray(place, dtype=np.float64))
