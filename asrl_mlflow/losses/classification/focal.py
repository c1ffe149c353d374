"""Focal loss: rows that the model is sure of count less."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from asrl_mlflow.errors import InputError
from asrl_mlflow.losses.checks import check_between
from asrl_mlflow.losses.classification.loss import Array
from asrl_mlflow.losses.classification.probability_loss import Phi, ProbabilityLoss
from asrl_mlflow.losses.loss import Formulas
from asrl_mlflow.losses.search_space import Interval, Point, SearchSpace
from asrl_mlflow.losses.statistics import Statistics


@dataclass(frozen=True)
class Focal(ProbabilityLoss):
    """Focal loss: -(1 - p)^gamma log p.

    Parameters
    ----------
    gamma : float, in [0, 20]
        How much less rows count that the model is sure of; 0 is log loss.
    alpha : float, in (0, 1), optional
        Weight of rows of class 1, while those of class 0 have 1 - alpha; without it both have 1. For two
        classes only.

    Raises
    ------
    InputError
        A parameter outside its interval.

    Notes
    -----
    Made for rare classes, not for wrong labels: a wrong label is what the model is surest against. sigma(z)
    is no probability (at a share of 0.02 it is 0.19 for gamma = 2): `predict` corrects that.

    References
    ----------
    T.-Y. Lin et al., Focal loss for dense object detection, ICCV 2017, arXiv 1708.02002, eq. 4 and 5.

    Examples
    --------
    >>> Focal(gamma=2.0).value([1, 1], [0.0, 2.0]).round(4)
    array([0.1733, 0.0018])
    """

    name: ClassVar[str] = "focal"
    FORMULAS: ClassVar[Formulas] = Formulas(everywhere="−(1 − p)^γ log p")
    gamma: float = 2.0
    alpha: float | None = None

    def __post_init__(self) -> None:
        check_between(self, "gamma", 0, 20, "2.0")
        if self.alpha is not None:
            check_between(self, "alpha", 0, 1, "0.25, or None", is_open=True)

    @property
    def balance(self) -> tuple[float, float]:  # noqa: D102 - ClassificationLoss says it
        return (1.0, 1.0) if self.alpha is None else (1 - self.alpha, self.alpha)

    @classmethod
    def search_space(cls, target: Statistics) -> SearchSpace:  # noqa: ARG003, D102 - BaseLoss says it
        return {"gamma": Interval(0, 5)}

    @classmethod
    def starts(cls, target: Statistics) -> tuple[Point, ...]:  # noqa: ARG003, D102 - BaseLoss says it
        return ({"gamma": 2.0}, {"gamma": 0.5})

    def check_outputs(self, outputs: int) -> None:  # noqa: D102 - ClassificationLoss says it
        if outputs > 1 and self.alpha is not None:
            msg = (
                f"Focal takes alpha for two classes only; got alpha={self.alpha} and {outputs} classes; "
                "leave it out, and weigh classes by sample weights."
            )
            raise InputError(msg)

    def phi(self, u: Array, p: Array, q: Array) -> Phi:  # noqa: D102 - ProbabilityLoss says it
        g = self.gamma
        near = np.where(q < 1e-8, 1 + q / 2, u / q)  # noqa: PLR2004 - u / q, of which rounding leaves nothing there
        first = q**g * (1 + g * p * near)
        second = g * p * q ** (g - 1) * (2 - u + (g - 1) * p * near)
        return Phi(q**g * u, first, second)
