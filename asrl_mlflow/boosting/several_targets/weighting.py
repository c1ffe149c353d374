"""What each target counts when the splits of shared trees are chosen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import xgboost

from asrl_mlflow.boosting.several_targets.rows import MatrixTargets, TrainingTargets
from asrl_mlflow.errors import InputError
from asrl_mlflow.losses import PointwiseLoss

FloatArray = npt.NDArray[np.float64]

TargetWeights = Sequence[float] | Literal["uncertainty", "gradient_norm"]

# How much of the weights stays from one round to the next.
_KEPT = 0.9
# Residuals smaller than this share of a target's robust scale count as this: those of rows that were
# learned by heart come close to 0, and their target would be all that counts.
_LEAST = 1e-3
# GradNorm's: how much more targets count that are behind.
_ALPHA = 1.5


class Weighting(Protocol):
    """Interface for what says what each target counts."""

    @property
    def rule(self) -> str:
        """How it was decided, as the booster records it."""

    @property
    def values(self) -> FloatArray:
        """The weights of the targets, of shape (k,) and mean 1."""

    def learn(
        self, model: xgboost.Booster, rows: TrainingTargets, pointwise: Sequence[PointwiseLoss]
    ) -> None:
        """Look at the model before the round's trees are built."""


class FixedWeights:
    """Weights that stay as they are; attributes are as `Weighting` says.

    Parameters
    ----------
    weights : sequence of k float, optional
        Positive; without, all are equal.
    targets : int
        How many there must be.

    Raises
    ------
    InputError
        Another number of weights, or weights that are not positive and finite.

    Examples
    --------
    >>> FixedWeights([1.0, 3.0], 2).values
    array([0.5, 1.5])
    """

    def __init__(self, weights: TargetWeights | None, targets: int) -> None:
        self.rule = "equal" if weights is None else "given"
        values = np.ones(targets) if weights is None else _numbers(weights)
        if values.shape != (targets,) or not (np.isfinite(values) & (values > 0)).all():
            msg = (
                f"target_weights needs {targets} positive numbers, 'uncertainty' or 'gradient_norm'; got "
                f"{weights!r}; pass one number a target."
            )
            raise InputError(msg)
        self.values: FloatArray = _normalised(values)

    def learn(
        self, model: xgboost.Booster, rows: TrainingTargets, pointwise: Sequence[PointwiseLoss]
    ) -> None:
        """Nothing."""


class UncertaintyWeights:
    """Weights by uncertainty; attributes are as `Weighting` says.

    With residuals' scales sigma_k as parameters, the sum over the targets of mean rho_k / sigma_k**2 + log
    sigma_k is smallest at sigma_k**2 = 2 mean rho_k (for squared error the mean square), and target k counts
    1 / sigma_k**2 (Kendall, Gal and Cipolla 2018, arXiv 1705.07115).

    Parameters
    ----------
    start : array of shape (k,)
        Weights before the first round.
    scales, units : sequences of k float
        The targets' robust scales, and the units in which they count equally.
    held_out : MatrixTargets, optional
        Rows that are not learned from; without, the training rows.
    """

    rule = "uncertainty"

    def __init__(
        self,
        start: FloatArray,
        scales: Sequence[float],
        units: Sequence[float],
        held_out: MatrixTargets | None,
    ) -> None:
        self.values = _normalised(start)
        self._least, self._units, self._held_out = _LEAST * np.array(scales), units, held_out

    def learn(
        self, model: xgboost.Booster, rows: TrainingTargets, pointwise: Sequence[PointwiseLoss]
    ) -> None:
        """Go a tenth of the way to the weights that the residuals say now."""
        held_out = self._held_out
        each = rows.r if held_out is None else held_out.residuals(model)
        counts = (rows.rows if held_out is None else held_out).counts.values

        def mean_loss(loss: PointwiseLoss, r: FloatArray) -> float:
            return float(np.average(loss.value(r), weights=counts)) / loss.row_weight

        sigma = np.sqrt([2 * mean_loss(*pair) for pair in zip(pointwise, each, strict=True)])
        self.values = _nearer(self.values, (self._units / np.maximum(sigma, self._least)) ** 2)


class GradientNormWeights:
    """Weights that grow where a target is behind and gradients are small; attributes are as `Weighting` says.

    An analogue of GradNorm (Chen et al. 2018, arXiv 1711.02257) for trees, which have no shared weights
    whose gradients could be measured: a target's mean absolute residual relative to where it started, over
    the mean of this over the targets, to the power of 1.5, divided by the root mean square of its gradients.

    Parameters
    ----------
    start : array of shape (k,)
        Weights before the first round.
    scales, units : sequences of k float
        The targets' robust scales, and the units in which they count equally.
    """

    rule = "gradient_norm"

    def __init__(self, start: FloatArray, scales: Sequence[float], units: Sequence[float]) -> None:
        self.values = _normalised(start)
        self._least, self._units = _LEAST * np.array(scales), units

    def learn(
        self, model: xgboost.Booster, rows: TrainingTargets, pointwise: Sequence[PointwiseLoss]
    ) -> None:
        """Go a tenth of the way to the weights that the residuals say now."""
        counts = rows.rows.counts.values

        def gradient_norm(loss: PointwiseLoss, r: FloatArray) -> float:
            squares = (loss.influence(r) / loss.row_weight) ** 2
            return math.sqrt(np.average(squares, weights=counts))

        sizes = [gradient_norm(*pair) for pair in zip(pointwise, rows.r, strict=True)]
        firsts = [start().mean_abs() for start in rows.starts]
        left = np.array(
            [
                stats.mean_abs() / first if first else 1.0
                for stats, first in zip(rows.look(model), firsts, strict=True)
            ]
        )
        behind = (left / (left.mean() or 1.0)) ** _ALPHA
        self.values = _nearer(self.values, behind * self._units / np.maximum(sizes, self._least))


LEARNED: tuple[object, ...] = (UncertaintyWeights.rule, GradientNormWeights.rule)


def _nearer(values: FloatArray, aim: FloatArray) -> FloatArray:
    """Move weights to others, both of mean 1; not where those are all 0."""
    return _KEPT * values + (1 - _KEPT) * _normalised(aim) if aim.any() else values


def _normalised(values: FloatArray) -> FloatArray:
    # The largest first: sums of extreme weights would overflow or vanish.
    values = values / values.max()
    mean: FloatArray = values / values.mean()
    return mean


def _numbers(weights: object) -> FloatArray:
    """Weights as an array; empty where they are no numbers."""
    try:
        return np.asarray(weights, np.float64)
    except (TypeError, ValueError):
        return np.empty(0)
