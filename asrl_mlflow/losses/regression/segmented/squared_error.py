"""Squared error: the least-squares loss that XGBoost trains by default."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from asrl_mlflow.losses.loss import Formulas
from asrl_mlflow.losses.regression.loss import Loss
from asrl_mlflow.losses.regression.pointwise import Array, PointwiseLoss
from asrl_mlflow.losses.regression.segments import Segments
from asrl_mlflow.losses.statistics import Statistics


@dataclass(frozen=True)
class PointwiseSquaredError(PointwiseLoss):
    """rho = r^2 / 2, w = 1."""

    def value(self, r: npt.ArrayLike) -> Array:  # noqa: D102 - PointwiseLoss says it
        return np.asarray(r, dtype=np.float64) ** 2 / 2

    @property
    def segments(self) -> Segments:  # noqa: D102 - PointwiseLoss says it
        return Segments(low=math.inf)

    @property
    def regions(self) -> Mapping[str, float]:  # noqa: D102 - PointwiseLoss says it
        return {"core": math.inf}


@dataclass(frozen=True)
class SquaredError(Loss):
    """rho(r) = r^2 / 2: efficient on Gaussian noise, at the mercy of outliers.

    `asrl_mlflow.train` trains it through XGBoost's own `reg:squarederror`.

    Examples
    --------
    >>> from asrl_mlflow.residuals import Residuals
    >>> SquaredError().adapt(Residuals([1.0, -3.0])).value([1.0, -3.0])
    array([0.5, 4.5])
    """

    name: ClassVar[str] = "squared_error"
    FORMULAS: ClassVar[Formulas] = Formulas(core="r²/2")
    XGBOOST_OBJECTIVE: ClassVar[str | None] = "reg:squarederror"

    def adapt(self, stats: Statistics) -> PointwiseSquaredError:  # noqa: ARG002 - it adapts to nothing
        """The same in every round."""
        return PointwiseSquaredError()
