"""Expectile loss: squared error that weighs one side more than the other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from asrl_mlflow.losses.checks import check_level
from asrl_mlflow.losses.loss import Formulas
from asrl_mlflow.losses.regression.loss import Loss
from asrl_mlflow.losses.regression.pointwise import Array, PointwiseLoss
from asrl_mlflow.losses.statistics import Statistics


@dataclass(frozen=True)
class PointwiseExpectile(PointwiseLoss):
    """rho = level r^2 for r > 0, (1 - level) r^2 for r < 0; w = 2 level, 2 (1 - level).

    Parameters
    ----------
    level : float, in (0, 1)
        Of the expectile.
    """

    level: float
    is_even: ClassVar[bool] = False

    def value(self, r: npt.ArrayLike) -> Array:  # noqa: D102 - PointwiseLoss says it
        return self.weight(r) * np.square(np.asarray(r, dtype=np.float64)) / 2

    def weight(self, r: npt.ArrayLike) -> Array:
        """The weight of a side; at 0, where the two sides have no common limit, that of targets above."""
        above = np.asarray(r, dtype=np.float64) >= 0
        return np.where(above, 2 * self.level, 2 * (1 - self.level))

    @property
    def regions(self) -> Mapping[str, float]:  # noqa: D102 - PointwiseLoss says it
        return {"core": math.inf}

    @property
    def row_weight(self) -> float:
        """1, the mean of both sides, whatever the level."""
        return 1.0


@dataclass(frozen=True)
class Expectile(Loss):
    """Expectile loss: level r^2 for targets above the prediction, (1 - level) r^2 for those below.

    Parameters
    ----------
    level : float, in (0, 1)
        With 0.5 it is squared error, and the mean; above, predictions are higher.

    Raises
    ------
    InputError
        level is not a number inside (0, 1).

    Notes
    -----
    Not symmetric, and **not robust**: as in squared error, far rows pull in proportion to r. Gradient and
    hessian are the true derivatives (asymmetric least squares); they are no majoriser: where a step
    takes a row to the heavier side, the loss may rise, which smaller steps (`learning_rate`) avoid. A
    row counts as one in the mean of both sides. `tune` does not choose the level: it is what is asked
    for.

    References
    ----------
    W. K. Newey, J. L. Powell, Asymmetric least squares estimation and testing, Econometrica 55, 1987,
    doi:10.2307/1911031.

    Examples
    --------
    >>> from asrl_mlflow.residuals import Residuals
    >>> Expectile(level=0.75).adapt(Residuals([1.0])).value([2.0, -2.0])
    array([3., 1.])
    """

    name: ClassVar[str] = "expectile"
    FORMULAS: ClassVar[Formulas] = Formulas(core="level r² for r > 0, (1 − level) r² for r < 0")
    level: float = 0.5

    def __post_init__(self) -> None:
        check_level(self, "level", "0.5")

    def adapt(self, stats: Statistics) -> PointwiseExpectile:  # noqa: ARG002 - the level is fixed
        """The same in every round."""
        return PointwiseExpectile(self.level)
