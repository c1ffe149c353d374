"""Fit a straight line with any loss, by weighted least squares that is repeated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asrl_mlflow.losses import AbsoluteError, Loss, SquaredError
from asrl_mlflow.residuals import Residuals

FloatArray = npt.NDArray[np.float64]

_MOST_STEPS = 2000
# Steps end where the line moves by less than this share of the target's spread.
_STILL = 1e-12


@dataclass(frozen=True)
class Line:
    """A straight line, slope x + intercept.

    Parameters
    ----------
    slope, intercept : float
        In units of y by x, and of y.

    Examples
    --------
    >>> Line(2.0, 1.0).at(np.array([0.0, 3.0]))
    array([1., 7.])
    """

    slope: float
    intercept: float

    def at(self, x: FloatArray) -> FloatArray:
        """Give the line's y for each x."""
        return self.slope * x + self.intercept


def fit_line(loss: Loss, x: FloatArray, y: FloatArray) -> Line:
    """Fit a line by iteratively reweighted least squares.

    Parameters
    ----------
    loss : Loss
        What to minimise. Thresholds that follow the residuals do so in each step.
    x, y : float64 arrays of shape (n,)
        The points.

    Returns
    -------
    Line
        Where the steps come to rest. Of a loss that is not convex that is a local minimum: the steps
        begin at the line of the smallest absolute error.

    Notes
    -----
    Each step minimises the majoriser that boosting minimises by a tree: sum w(r) (y - line)^2.

    References
    ----------
    P. W. Holland, R. E. Welsch, Robust regression using iteratively reweighted least-squares, 1977,
    doi:10.1080/03610927708827533.

    Examples
    --------
    >>> from asrl_mlflow.losses import Huber
    >>> x = np.arange(10.0)
    >>> y = 2 * x + 1
    >>> y[9] = 100.0
    >>> line = fit_line(Huber(delta=0.1), x, y)
    >>> bool(abs(line.slope - 2) < 0.05)
    True
    """
    line = _weighted(x, y, np.ones_like(x))
    if isinstance(loss, SquaredError):
        return line
    if not isinstance(loss, AbsoluteError):
        line = fit_line(AbsoluteError(), x, y)
    start = Residuals(y - np.median(y))
    still = _STILL * float(np.std(y))
    for _ in range(_MOST_STEPS):
        r = y - line.at(x)
        weight = loss.adapt(Residuals(r, start=lambda: start)).weight(r)
        before, line = line, _weighted(x, y, weight)
        if np.abs(line.at(x) - before.at(x)).max() <= still:
            break
    return line


def _weighted(x: FloatArray, y: FloatArray, weight: FloatArray) -> Line:
    """Fit a line by weighted least squares."""
    slope, intercept = np.polyfit(x, y, 1, w=np.sqrt(weight))
    return Line(float(slope), float(intercept))
