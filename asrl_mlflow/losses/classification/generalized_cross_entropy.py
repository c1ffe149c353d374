"""Generalised cross-entropy: between log loss and the probability of being wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from asrl_mlflow.losses.checks import check_between
from asrl_mlflow.losses.classification.log_loss import LogLoss
from asrl_mlflow.losses.classification.loss import Array
from asrl_mlflow.losses.classification.probability_loss import Phi, ProbabilityLoss
from asrl_mlflow.losses.loss import Formulas
from asrl_mlflow.losses.search_space import Interval, Point, SearchSpace
from asrl_mlflow.losses.statistics import Statistics


@dataclass(frozen=True)
class GeneralizedCrossEntropy(ProbabilityLoss):
    """Generalised cross-entropy: (1 - p^q) / q.

    Parameters
    ----------
    q : float, in [1e-3, 0.95]
        Towards 0 it is log loss, towards 1 the probability that the row is wrong, of which no probability
        of a class could be read any more. The larger, the less a row pulls whose label the model does not
        believe: p^q times as hard as under log loss.

    Raises
    ------
    InputError
        q outside its interval.

    Notes
    -----
    The one made for wrong labels: it is bounded. Its price are slow first rounds for many classes, as a
    row pulls little while its class has little probability; so boosting starts where log loss does: its own
    best constant is so far on the side of the largest class that the others would hardly pull.

    References
    ----------
    Z. Zhang, M. Sabuncu, Generalized cross entropy loss for training deep neural networks with noisy
    labels, NeurIPS 2018, arXiv 1805.07836, eq. 6.

    Examples
    --------
    >>> GeneralizedCrossEntropy(q=0.7).value([1, 1], [0.0, -20.0]).round(4)
    array([0.5492, 1.4286])
    """

    name: ClassVar[str] = "generalized_cross_entropy"
    FORMULAS: ClassVar[Formulas] = Formulas(everywhere="(1 − p^q)/q")
    q: float = 0.7

    def __post_init__(self) -> None:
        check_between(self, "q", 1e-3, 0.95, "0.7")

    @classmethod
    def search_space(cls, target: Statistics) -> SearchSpace:  # noqa: ARG003, D102 - BaseLoss says it
        return {"q": Interval(0.05, 0.95)}

    @classmethod
    def starts(cls, target: Statistics) -> tuple[Point, ...]:  # noqa: ARG003, D102 - BaseLoss says it
        return ({"q": 0.7}, {"q": 0.3})

    def start(self, shares: npt.ArrayLike) -> Array:
        """The best constant margins of log loss; see the notes of the class."""
        return LogLoss().start(shares)

    def phi(self, u: Array, p: Array, q: Array) -> Phi:  # noqa: ARG002, D102 - ProbabilityLoss says it
        raised = p**self.q
        return Phi(-np.expm1(-self.q * u) / self.q, raised, -self.q * raised)
