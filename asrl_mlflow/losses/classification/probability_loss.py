"""Losses of the probability that a row's own class is given: all but the hinges are of this kind.

With p that probability, q = 1 - p and u = -log p, such a loss is phi(u). With one output, where p is
sigma(s), the gradient by s is -phi'(u) q, and the hessian phi'(u) p q + phi''(u) q^2, whose second part
counts where it is positive. With softmax the gradient is phi'(u) (p_k - [k is the own class]), and the
hessian is held up by the diagonal 2 phi' p_k (1 - p_k) + 2 max(phi'', 0) q |p_k - [k is the own class]|
(Gershgorin). Where the own class has the share pi_k, the expected loss is smallest where pi_k is
proportional to p_k / phi'(-log p_k): that is how probabilities are corrected.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from asrl_mlflow.losses.classification.loss import (
    TINY,
    Array,
    ClassificationLoss,
    Terms,
    reduce_rows,
)

# Beyond u = 30, a probability of 1e-13 for the own class, a loss goes on as a straight line in u: the
# gradient of the M-loss, e^u, would leave float32 there.
MOST_U = 30.0
_LEAST_P = float(np.exp(-MOST_U))


class Phi(NamedTuple):
    """A function of u, and its first two derivatives."""

    value: Array
    first: Array
    second: Array


@dataclass(frozen=True)
class ProbabilityLoss(ClassificationLoss):
    """Base class of losses phi(u) of u = -log p, with p the probability of a row's own class."""

    @abstractmethod
    def phi(self, u: Array, p: Array, q: Array) -> Phi:
        """phi(u) and its derivatives, by u.

        Parameters
        ----------
        u, p, q : float64 arrays of one shape
            -log p in [0, 30], p in [1e-13, 1], and 1 - p without rounding errors, in (0, 1].
        """

    def phi_of(self, u: Array, p: Array, q: Array) -> Phi:
        """Phi within u = 30, and beyond as a straight line."""
        held = np.minimum(u, MOST_U)
        found = self.phi(held, np.maximum(p, _LEAST_P), np.maximum(q, TINY))
        return found._replace(value=found.value + found.first * (u - held))

    def margin_terms(self, s: Array) -> Terms:  # noqa: D102 - ClassificationLoss says it
        # sigmoid(s) and sigmoid(-s), by one exponential.
        small = np.exp(-np.abs(s))
        p, q = (np.where(side, 1.0, small) / (1 + small) for side in (s >= 0, s <= 0))
        u = np.log1p(small) + np.maximum(-s, 0)
        value, first, second = self.phi_of(u, p, q)
        p = np.maximum(p, _LEAST_P)
        return Terms(value, -first * q, first * p * q + np.maximum(second, 0) * q * q)

    def softmax_terms(self, own: npt.NDArray[np.bool_], margin: Array) -> Terms:  # noqa: D102 - ClassificationLoss says it
        p, u, q = own_probabilities(own, margin)
        value, first, second = self.phi_of(u, p[own], q)
        first, second, q = (each[:, None] for each in (first, np.maximum(second, 0), q))
        off = np.where(own, -q, p)  # p_k - [k is the own class], accurate where that is small
        hessian = 2 * first * p * np.where(own, q, 1 - p) + 2 * second * q * np.abs(off)
        return Terms(value, first * off, hessian)

    def softmax_probabilities(self, p: Array) -> Array:  # noqa: D102 - ClassificationLoss says it
        held = np.maximum(p, _LEAST_P)
        q = np.maximum(1 - held, np.finfo(np.float64).eps)
        pull = np.maximum(self.phi(-np.log(held), held, q).first, TINY)
        # Divided by the least of the row's, as 1 / pull itself may be too large a number.
        raised = held * (reduce_rows(np.minimum, pull)[:, None] / pull)
        total: Array = raised / reduce_rows(np.add, raised)[:, None]
        return total


def own_probabilities(own: npt.NDArray[np.bool_], margin: Array) -> tuple[Array, Array, Array]:
    """The softmax of margins, with u = -log p and q = 1 - p of each row's own class.

    Parameters
    ----------
    own : bool array of shape (n, K)
        True at each row's class.
    margin : float64 array of shape (n, K)
        The margins.

    Returns
    -------
    p : float64 array of shape (n, K)
        Probabilities.
    u, q : float64 arrays of shape (n,)
        q is a sum over the other classes, so that it has all its digits.
    """
    shifted = margin - reduce_rows(np.maximum, margin)[:, None]
    raised = np.exp(shifted)
    total = reduce_rows(np.add, raised)
    p: Array = raised / total[:, None]
    others = reduce_rows(np.add, np.where(own, 0.0, p))
    far = np.log(total) - shifted[own]
    u = np.where(others < 0.5, -np.log1p(-np.minimum(others, 0.5)), far)  # noqa: PLR2004 - each where it is accurate
    return p, u, others
