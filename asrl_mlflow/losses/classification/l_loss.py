"""The L-loss of Noel et al., more lenient than log loss near the label: of the own class, and of all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from asrl_mlflow.losses.classification.full_loss import FullLoss
from asrl_mlflow.losses.classification.loss import Array
from asrl_mlflow.losses.classification.probability_loss import Phi, ProbabilityLoss
from asrl_mlflow.losses.classification.softmax_only import SoftmaxOnly
from asrl_mlflow.losses.loss import Formulas


def _phi(u: Array, p: Array, q: Array) -> Phi:
    # -log(1 - q^2) / 2, by the form that keeps its digits.
    half = np.where(q < 0.5, -np.log1p(-(np.minimum(q, 0.5) ** 2)), u - np.log1p(q)) / 2  # noqa: PLR2004 - see above
    first = q * p**-0.5 * (1 + q) ** -1.5
    second = first / 2 + p**0.5 * (1 + q) ** -1.5 - 1.5 * first * p / (1 + q)
    return Phi(np.expm1(half), first, second)


@dataclass(frozen=True)
class LLoss(SoftmaxOnly, ProbabilityLoss):
    """L-loss: 1/sqrt(1 - (1 - p)^2) - 1 of the own class, with one output a class.

    Notes
    -----
    More lenient than log loss for p above 0.117, stricter below: it grows as exp(u/2), so that rows whose
    label the model does not believe rule here too. softmax(z) is no probability: `predict` corrects it.
    With a single output it is degenerate as `MLoss` is: refused, `FullL` is the form for that.

    References
    ----------
    As for `MLoss`; the authors' code lacks the "- 1", which changes no gradient.

    Examples
    --------
    >>> LLoss().value([0, 1], [[0.0, 0.0, 0.0], [3.0, 0.0, 0.0]]).round(4)
    array([0.3416, 2.3613])
    """

    name: ClassVar[str] = "l_loss"
    FULL: ClassVar[str] = "FullL"
    FORMULAS: ClassVar[Formulas] = Formulas(everywhere="1/√(1 − (1 − p)²) − 1")

    def phi(self, u: Array, p: Array, q: Array) -> Phi:  # noqa: D102 - ProbabilityLoss says it
        return _phi(u, p, q)


@dataclass(frozen=True)
class FullL(FullLoss):
    """Full L-loss: that of the own class's probability, and that of 1 - p of each other class.

    Notes
    -----
    As `LLoss`; convex in the margin for two classes, where it vanishes as (1 - p)^2 near the label.

    References
    ----------
    As for `MLoss`.

    Examples
    --------
    >>> FullL().value([1, 0], [1.0, 1.0]).round(4)
    array([0.0383, 0.4656])
    """

    name: ClassVar[str] = "full_l"
    FORMULAS: ClassVar[Formulas] = Formulas(
        everywhere="1/√(1 − (1 − p)²) − 1, and 1/√(1 − p²) − 1 of the others"
    )

    def phi(self, u: Array, p: Array, q: Array) -> Phi:  # noqa: D102 - ProbabilityLoss says it
        return _phi(u, p, q)
