"""The M-loss of Noel et al., stricter than log loss: of the own class, and of all classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from asrl_mlflow.losses.classification.full_loss import FullLoss
from asrl_mlflow.losses.classification.loss import Array
from asrl_mlflow.losses.classification.probability_loss import Phi, ProbabilityLoss
from asrl_mlflow.losses.classification.softmax_only import SoftmaxOnly
from asrl_mlflow.losses.loss import Formulas


def _phi(p: Array, q: Array) -> Phi:
    return Phi(q / p, 1 / p, 1 / p)


@dataclass(frozen=True)
class MLoss(SoftmaxOnly, ProbabilityLoss):
    """M-loss: 1/p - 1 of the own class, with one output a class.

    Notes
    -----
    The stricter one: a row whose label the model does not believe pulls 1/p times as hard as under log
    loss, so wrong labels rule. softmax(z) is no probability, softmax(2 z) is. With a single output it is 0
    for every row of class 0, and p = 1 for all rows would be best: refused, `FullM` is the form for that.

    References
    ----------
    M. Noel et al., Alternate loss functions for classification and robust regression can improve the
    accuracy of artificial neural networks, 2023, arXiv 2303.09935 (from the authors' code).

    Examples
    --------
    >>> MLoss().value([0, 1], [[0.0, 0.0, 0.0], [3.0, 0.0, 0.0]]).round(4)
    array([ 2.    , 21.0855])
    """

    name: ClassVar[str] = "m_loss"
    FULL: ClassVar[str] = "FullM"
    FORMULAS: ClassVar[Formulas] = Formulas(everywhere="1/p − 1")

    def phi(self, u: Array, p: Array, q: Array) -> Phi:  # noqa: ARG002, D102 - ProbabilityLoss says it
        return _phi(p, q)


@dataclass(frozen=True)
class FullM(FullLoss):
    """Full M-loss: 1/p - 1 of the own class, and 1/(1 - p) - 1 of each other one.

    For two classes it is exp(-s), the exponential loss of AdaBoost: sigma(2 z) is the probability.

    Notes
    -----
    Not robust, rather the contrary, as `MLoss`.

    References
    ----------
    As for `MLoss`. J. Friedman, T. Hastie, R. Tibshirani, Additive logistic regression, Annals of
    Statistics 28, 2000, on the exponential loss.

    Examples
    --------
    >>> FullM().value([1, 0], [1.0, 1.0]).round(4)
    array([0.3679, 2.7183])
    """

    name: ClassVar[str] = "full_m"
    FORMULAS: ClassVar[Formulas] = Formulas(everywhere="1/p − 1, and 1/(1 − p) − 1 of the others")

    def phi(self, u: Array, p: Array, q: Array) -> Phi:  # noqa: ARG002, D102 - ProbabilityLoss says it
        return _phi(p, q)
