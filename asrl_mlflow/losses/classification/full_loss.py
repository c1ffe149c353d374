"""Losses that also count the classes that a row does not have: the full M-loss and the full L-loss.

With g(p) the loss of the own class's probability, a row costs g(p_y) + sum over the others of g(1 - p_k).
With one output for two classes both terms are the same, and one is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asrl_mlflow.losses.classification.loss import Array, Terms, reduce_rows
from asrl_mlflow.losses.classification.probability_loss import ProbabilityLoss, own_probabilities


@dataclass(frozen=True)
class FullLoss(ProbabilityLoss):
    """Base class of losses over all classes, of which `phi` says what one costs.

    Notes
    -----
    With softmax the hessian handed to XGBoost is the sum of the sizes in each row of the true one: a
    diagonal that is nowhere below it (Gershgorin). It takes K squared numbers a row.
    """

    def softmax_terms(self, own: npt.NDArray[np.bool_], margin: Array) -> Terms:  # noqa: D102 - ClassificationLoss says it
        step = max(1, _MOST_CELLS // margin.shape[1] ** 2)
        parts = [
            self._terms_of(own[start : start + step], margin[start : start + step])
            for start in range(0, len(margin), step)
        ]
        return (
            Terms(*map(np.concatenate, zip(*parts, strict=True))) if len(parts) != 1 else parts[0]
        )

    def _terms_of(self, own: npt.NDArray[np.bool_], margin: Array) -> Terms:
        """The terms of a few rows, as each takes K squared numbers."""
        p, u, others = own_probabilities(own, margin)
        # In place of p stands what each class should have: p of the own class, 1 - p of all others.
        good = np.where(own, p, 1 - p)
        bad = np.where(own, others[:, None], p)
        value, first, second = self.phi_of(
            np.where(own, u[:, None], -np.log1p(-_below_one(bad))), good, bad
        )
        held = np.maximum(good, _SMALLEST)
        # By p, from the derivatives by u = -log(good).
        slope = np.where(own, -1, 1) * first / held
        bend = (first + second) / held**2
        mean = reduce_rows(np.add, slope * p)[:, None]
        gradient = p * (slope - mean)
        # d gradient_j / d z_k = [j = k] gradient_j - p_k gradient_j + p_j (change of slope_j - mean by z_k).
        curved = bend * p
        change = gradient + curved * p - p * reduce_rows(np.add, curved * p)[:, None]
        classes = np.eye(p.shape[1])
        hessian = gradient[:, :, None] * (classes - p[:, None, :]) + p[:, :, None] * (
            curved[:, :, None] * (classes - p[:, None, :]) - change[:, None, :]
        )
        return Terms(reduce_rows(np.add, value), gradient, reduce_rows(np.add, np.abs(hessian)))

    def softmax_probabilities(self, p: Array) -> Array:
        """Shares at which the expected loss is smallest: a linear equation for each row."""
        p = np.clip(p, _SMALLEST, 1 - _SMALLEST)
        rising = self._slope(1 - p, p)
        both = rising + self._slope(p, 1 - p)
        # pi g'(p) - (1 - pi) g'(1 - p) is the same for every class, and the shares sum to 1.
        level = ((rising / both).sum(axis=1, keepdims=True) - 1) / (1 / both).sum(
            axis=1, keepdims=True
        )
        share = np.clip((rising - level) / both, 0, 1)
        total: Array = share / share.sum(axis=1, keepdims=True)
        return total

    def _slope(self, p: Array, q: Array) -> Array:
        """-g'(p), above 0."""
        return self.phi(-np.log(p), p, q).first / p


_SMALLEST = 1e-13
# So many numbers, 32 MB of them, are held at once.
_MOST_CELLS = 2**22


def _below_one(p: Array) -> Array:
    return np.minimum(p, 1 - np.finfo(np.float64).eps)
