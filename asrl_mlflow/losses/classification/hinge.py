"""Hinges: nothing is asked of rows beyond a margin of 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from asrl_mlflow.errors import InputError
from asrl_mlflow.losses.checks import check_between
from asrl_mlflow.losses.classification.loss import Array, ClassificationLoss, Terms
from asrl_mlflow.losses.loss import Formulas
from asrl_mlflow.losses.search_space import Interval, Point, SearchSpace
from asrl_mlflow.losses.statistics import Statistics


@dataclass(frozen=True)
class Hinge(ClassificationLoss):
    """Base class of hinges, which are for two classes."""

    # Rows beyond the margin have no curvature: a tree counts them by this.
    FLOOR: ClassVar[float] = 1e-6

    def check_outputs(self, outputs: int) -> None:  # noqa: D102 - ClassificationLoss says it
        if outputs > 1:
            msg = (
                f"{type(self).__name__} is for two classes; got {outputs}; use LogLoss or "
                "GeneralizedCrossEntropy."
            )
            raise InputError(msg)

    def softmax_terms(self, own: npt.NDArray[np.bool_], margin: Array) -> Terms:  # noqa: ARG002, D102 - ClassificationLoss says it
        self.check_outputs(margin.shape[1])
        raise AssertionError  # several outputs are refused


@dataclass(frozen=True)
class SquaredHinge(Hinge):
    """Squared hinge: max(0, 1 - s)^2.

    Notes
    -----
    Rows with wrong labels pull without bound. (1 + z) / 2 within [0, 1] is the probability.

    Examples
    --------
    >>> SquaredHinge().value([1, 1, 0], [0.0, 2.0, 2.0])
    array([1., 0., 9.])
    """

    name: ClassVar[str] = "squared_hinge"
    FORMULAS: ClassVar[Formulas] = Formulas(everywhere="max(0, 1 − s)²")

    def margin_terms(self, s: Array) -> Terms:  # noqa: D102 - ClassificationLoss says it
        lack = np.maximum(1 - s, 0)
        return Terms(lack**2, -2 * lack, np.where(lack > 0, 2.0, 0.0))


@dataclass(frozen=True)
class SmoothHinge(Hinge):
    """Smooth hinge, as Huber's loss: m^2 / (2 gamma) up to gamma and m - gamma/2 beyond, m = max(0, 1 - s).

    Parameters
    ----------
    gamma : float, in [0.01, 100]
        Where quadratic turns into linear.

    Raises
    ------
    InputError
        gamma outside its interval.

    Notes
    -----
    Rows with wrong labels pull no harder than rows at s = 1 - gamma.

    References
    ----------
    J. Rennie, N. Srebro, Loss functions for preference levels, IJCAI workshop 2005 (gamma = 1).

    Examples
    --------
    >>> SmoothHinge().value([1, 1, 0], [0.0, 2.0, 2.0])
    array([0.5, 0. , 2.5])
    """

    name: ClassVar[str] = "smooth_hinge"
    FORMULAS: ClassVar[Formulas] = Formulas(
        everywhere="m²/(2γ) up to γ, then m − γ/2; m = max(0, 1 − s)"
    )
    gamma: float = 1.0

    def __post_init__(self) -> None:
        check_between(self, "gamma", 0.01, 100, "1.0")

    @classmethod
    def search_space(cls, target: Statistics) -> SearchSpace:  # noqa: ARG003, D102 - BaseLoss says it
        return {"gamma": Interval(0.1, 4, log=True)}

    @classmethod
    def starts(cls, target: Statistics) -> tuple[Point, ...]:  # noqa: ARG003, D102 - BaseLoss says it
        return ({"gamma": 1.0}, {"gamma": 2.0})

    def margin_terms(self, s: Array) -> Terms:  # noqa: D102 - ClassificationLoss says it
        lack = np.maximum(1 - s, 0)
        value = np.where(lack <= self.gamma, lack**2 / (2 * self.gamma), lack - self.gamma / 2)
        hessian = np.where(lack > 0, 1 / np.maximum(lack, self.gamma), 0.0)
        return Terms(value, -np.minimum(lack / self.gamma, 1), hessian)
