"""Log loss, the logarithm of the probability that was given: XGBoost's own, and the proper one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from asrl_mlflow.losses.classification.loss import Array
from asrl_mlflow.losses.classification.probability_loss import Phi, ProbabilityLoss
from asrl_mlflow.losses.loss import Formulas


@dataclass(frozen=True)
class LogLoss(ProbabilityLoss):
    """Log loss, or cross-entropy: -log p, trained by XGBoost's own objective.

    The only one of these losses whose margins are log odds: sigma(z) and softmax(z) are probabilities as
    they are. Labels in (0, 1), as shares of class 1, are allowed for two classes; the Kullback-Leibler
    divergence from them differs by a constant, so it is no other loss.

    Notes
    -----
    Not robust: a row with a wrong label pulls the harder the surer the model is of the right one, up to
    the whole gradient of 1.

    Examples
    --------
    >>> LogLoss().value([1, 1, 0], [0.0, 10.0, 10.0]).round(4)
    array([ 0.6931,  0.    , 10.    ])
    """

    name: ClassVar[str] = "log_loss"
    FORMULAS: ClassVar[Formulas] = Formulas(everywhere="−log p")
    XGBOOST_OBJECTIVE: ClassVar[str | None] = "binary:logistic"
    IS_PROPER: ClassVar[bool] = True

    def phi(self, u: Array, p: Array, q: Array) -> Phi:  # noqa: ARG002, D102 - ProbabilityLoss says it
        return Phi(u, np.ones_like(u), np.zeros_like(u))


@dataclass(frozen=True)
class SoftmaxCrossEntropy(LogLoss):
    """Cross-entropy of the softmax of one output a class, also for two classes; else as `LogLoss`.

    Examples
    --------
    >>> SoftmaxCrossEntropy().value([0], [[0.0, 0.0, 0.0]]).round(4)
    array([1.0986])
    """

    name: ClassVar[str] = "softmax_cross_entropy"
    XGBOOST_OBJECTIVE: ClassVar[str | None] = "multi:softprob"

    def outputs(self, classes: int) -> int:
        """One for each class."""
        return classes
