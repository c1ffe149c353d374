"""Tukey's bisquare: rows beyond a limit do not count at all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from asrl_mlflow.losses.checks import check_positive
from asrl_mlflow.losses.loss import Formulas
from asrl_mlflow.losses.regression.pointwise import THRESHOLD, Array, PointwiseLoss
from asrl_mlflow.losses.regression.scale import Automatic, ScaledLoss

# 95% as efficient as the mean on normal noise, whose standard deviation is the scale.
EFFICIENT = 4.685


@dataclass(frozen=True)
class PointwiseBisquare(PointwiseLoss):
    """rho = (c^2/6) (1 - (1 - x^2)^3) and w = (1 - x^2)^2 for x = |r|/c <= 1, beyond c^2/6 and 0.

    Parameters
    ----------
    scale : float, in (0, inf)
        In target units.
    limit : float, in (0, inf)
        c in units of the scale.
    fallback : {0, 1}
        1 where the scale was negligible and a wider one took its place.
    """

    scale: float = field(metadata=THRESHOLD)
    limit: float = EFFICIENT
    fallback: int = field(default=0, metadata=THRESHOLD)

    def value(self, r: npt.ArrayLike) -> Array:  # noqa: D102 - PointwiseLoss says it
        u = self._square(r)
        end = self.limit * self.scale
        return end * (end * (u * (3 - u * (3 - u)) / 6))

    def weight(self, r: npt.ArrayLike) -> Array:  # noqa: D102 - PointwiseLoss says it
        weight: Array = np.square(1 - self._square(r))
        return weight

    def _square(self, r: npt.ArrayLike) -> Array:
        """x^2, at most 1."""
        x = np.minimum(np.abs(np.asarray(r, dtype=np.float64)) / (self.limit * self.scale), 1.0)
        return x * x

    @property
    def regions(self) -> Mapping[str, float]:  # noqa: D102 - PointwiseLoss says it
        return {"counted": self.limit * self.scale, "rejected": math.inf}


@dataclass(frozen=True)
class Bisquare(ScaledLoss):
    """Tukey's bisquare (biweight): nearly squared error inside, nothing beyond limit times scale.

    Parameters
    ----------
    scale : float in [1e-100, 1e100], or "auto"
        The standard deviation of the noise, **in target units**; "auto" is the robust scale of each
        round's residuals, 1.4826 times the median of |r|.
    limit : float, in [1e-100, 1e100]
        In units of the scale: rows with a larger |r| weigh 0. With 4.685 the loss is 95% as efficient as
        squared error on normal noise.

    Raises
    ------
    InputError
        A parameter outside its interval.

    Notes
    -----
    XGBoost takes no hessian of 0: rejected rows get 2**-120 of a full row, and are counted as
    `weight.floored`. The weight is a majoriser. See `GemanMcClure` for what far rows mean to the first
    rounds: `MM` is this loss with a start that leaves no row alone.

    References
    ----------
    A. E. Beaton, J. W. Tukey, The fitting of power series, Technometrics 16, 1974,
    doi:10.1080/00401706.1974.10489171.

    Examples
    --------
    >>> from asrl_mlflow.residuals import Residuals
    >>> point = Bisquare(scale=1.0, limit=4.0).adapt(Residuals([1.0]))
    >>> point.weight([0.0, 2.0, 4.0, 9.0])
    array([1.    , 0.5625, 0.    , 0.    ])
    """

    name: ClassVar[str] = "bisquare"
    FORMULAS: ClassVar[Formulas] = Formulas(
        core="(c²/6) (1 − (1 − r²/c²)³), c = limit scale",
        tail="c²/6: rows beyond c do not count",
        thresholds="scale adaptive, or fixed in target units",
    )
    scale: Automatic = "auto"
    limit: float = EFFICIENT

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "limit", str(EFFICIENT))

    def _pointwise(self, scale: float, fallback: int) -> PointwiseBisquare:
        return PointwiseBisquare(scale, self.limit, fallback)
