"""Poly-1: log loss with a term more or less of its series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from asrl_mlflow.losses.checks import check_between
from asrl_mlflow.losses.classification.loss import Array
from asrl_mlflow.losses.classification.probability_loss import Phi, ProbabilityLoss
from asrl_mlflow.losses.loss import Formulas
from asrl_mlflow.losses.search_space import Interval, Point, SearchSpace
from asrl_mlflow.losses.statistics import Statistics


@dataclass(frozen=True)
class Poly1(ProbabilityLoss):
    """Poly-1 loss: -log p + epsilon (1 - p).

    Parameters
    ----------
    epsilon : float, in [-1, 100]
        What is added to the first coefficient of log loss in powers of 1 - p; 0 is log loss.

    Raises
    ------
    InputError
        epsilon outside its interval: below -1 rows would be pushed away from their class.

    References
    ----------
    Z. Leng et al., PolyLoss, ICLR 2022, arXiv 2204.12511, eq. 6.

    Examples
    --------
    >>> Poly1(epsilon=1.0).value([1, 1], [0.0, 2.0]).round(4)
    array([1.1931, 0.2461])
    """

    name: ClassVar[str] = "poly1"
    FORMULAS: ClassVar[Formulas] = Formulas(everywhere="−log p + ε(1 − p)")
    epsilon: float = 1.0

    def __post_init__(self) -> None:
        check_between(self, "epsilon", -1, 100, "1.0")

    @classmethod
    def search_space(cls, target: Statistics) -> SearchSpace:  # noqa: ARG003, D102 - BaseLoss says it
        return {"epsilon": Interval(-1, 6)}

    @classmethod
    def starts(cls, target: Statistics) -> tuple[Point, ...]:  # noqa: ARG003, D102 - BaseLoss says it
        return ({"epsilon": 1.0}, {"epsilon": -0.9})

    def phi(self, u: Array, p: Array, q: Array) -> Phi:  # noqa: D102 - ProbabilityLoss says it
        return Phi(u + self.epsilon * q, 1 + self.epsilon * p, -self.epsilon * p)
