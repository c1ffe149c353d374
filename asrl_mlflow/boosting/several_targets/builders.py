"""Add the trees of a round to a model, from what a loss says that rows weigh for each target.

Gradients and hessians are computed here and handed to XGBoost, but for the losses whose own objective it
has for several targets. There is no way by weights of the matrix, as a row has one for all targets.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import xgboost

from asrl_mlflow.boosting.learner import Built
from asrl_mlflow.boosting.several_targets.rows import TrainingTargets, name_target
from asrl_mlflow.boosting.several_targets.weighting import Weighting
from asrl_mlflow.losses import Loss, PointwiseLoss
from asrl_mlflow.losses.regression.weighing import Weighed, weigh
from asrl_mlflow.rounds import TargetRound

# An attribute of the booster, as JSON: how targets were weighed against each other.
TARGETS_ATTRIBUTE = "asrl_targets"


class SeparateTreesBuilder:
    """Hand gradients and hessians to XGBoost, which builds a tree a target.

    Parameters
    ----------
    loss : Loss
        What to minimise.
    rows : TrainingTargets
        To learn from.
    factor : float
        By which gradients and hessians are multiplied.
    dropout : bool
        Whether trees are left out to build the next ones, as DART does.
    """

    def __init__(
        self, loss: Loss, rows: TrainingTargets, factor: float, *, dropout: bool = False
    ) -> None:
        self._loss, self._rows, self._factor, self._dropout = loss, rows, factor, dropout

    def build(self, model: xgboost.Booster, epoch: int) -> Built:
        """Look at the residuals, weigh them, add the trees."""
        rows = self._rows
        if self._dropout:
            rows.forget()
        pointwise = adapt(self._loss, rows, model, dropout=self._dropout)
        weights = self._weigh_targets(model, pointwise)
        rows.forget()
        weighed = _weigh(pointwise, rows, self._factor)
        self._add(model, epoch)
        return _built(pointwise, weighed, weights)

    def _weigh_targets(
        self,
        model: xgboost.Booster,  # noqa: ARG002 - for subclasses
        pointwise: Sequence[PointwiseLoss],
    ) -> Sequence[float]:
        """Say what each target counts; separate trees do not compete."""
        return [1.0] * len(pointwise)

    def _add(self, model: xgboost.Booster, epoch: int) -> None:
        """Add the trees."""
        rows = self._rows
        model.boost(rows.rows.matrix, epoch, grad=rows.r.T, hess=rows.scratch.T)


class SharedTreesBuilder(SeparateTreesBuilder):
    """Hand gradients and hessians to XGBoost, which builds one tree for all targets.

    Parameters
    ----------
    loss, rows, factor
        As of `SeparateTreesBuilder`.
    weighting : Weighting
        What each target counts when splits are chosen.
    units : sequence of float
        In which it counts, in target units.
    """

    def __init__(
        self,
        loss: Loss,
        rows: TrainingTargets,
        factor: float,
        weighting: Weighting,
        units: Sequence[float],
    ) -> None:
        super().__init__(loss, rows, factor)
        self._weighting, self._units = weighting, units

    def _weigh_targets(
        self, model: xgboost.Booster, pointwise: Sequence[PointwiseLoss]
    ) -> Sequence[float]:
        before = self._weighting.values
        self._weighting.learn(model, self._rows, pointwise)
        if self._weighting.values is not before:
            record_weighting(model, self._weighting, self._units)
        values: list[float] = self._weighting.values.tolist()
        return values

    def _add(self, model: xgboost.Booster, epoch: int) -> None:
        times = (np.sqrt(self._weighting.values) / self._units).astype(np.float32)
        if (times == 1).all():
            super()._add(model, epoch)
            return
        # Not every version has it.
        from asrl_mlflow.boosting.several_targets.splits import SplitGradients  # noqa: PLC0415 - as above

        rows = self._rows
        gradients = SplitGradients(rows.r.T, rows.scratch.T, times)
        model.update(rows.rows.matrix, epoch, fobj=gradients)


class ObjectiveTreesBuilder:
    """Build a tree a target by XGBoost's own objective.

    Parameters
    ----------
    loss : Loss
        Which has one.
    rows : TrainingTargets
        To learn from.
    factor : float
        By which its weights are multiplied.
    is_heard : bool
        Whether somebody is told the pointwise losses of each round.
    """

    def __init__(self, loss: Loss, rows: TrainingTargets, factor: float, *, is_heard: bool) -> None:
        self._loss, self._rows, self._factor, self._is_heard = loss, rows, factor, is_heard
        self._built: Built | None = None

    def build(self, model: xgboost.Booster, epoch: int) -> Built:
        """Check the first gradients, as XGBoost does not; boost."""
        rows = self._rows
        if self._built is None or self._is_heard:
            pointwise = adapt(self._loss, rows, model)
            if self._built is None:
                rows.forget()
                _weigh(pointwise, rows, self._factor)
            each = tuple(TargetRound(point, 1.0) for point in pointwise)
            self._built = Built(None, targets=each)
        rows.forget()
        model.update(rows.rows.matrix, epoch)
        return self._built


def record_weighting(model: xgboost.Booster, weighting: Weighting, units: Sequence[float]) -> None:
    """Write into a booster how its targets are weighed against each other."""
    record = {
        "rule": weighting.rule,
        "weights": weighting.values.tolist(),
        "units": [float(unit) for unit in units],
    }
    model.set_attr(**{TARGETS_ATTRIBUTE: json.dumps(record)})


def adapt(
    loss: Loss, rows: TrainingTargets, model: xgboost.Booster, *, dropout: bool = False
) -> list[PointwiseLoss]:
    """Each target's pointwise loss of this round."""
    found = []
    for number, stats in enumerate(rows.look(model, dropout=dropout)):
        with name_target(number):
            found.append(loss.adapt(stats))
    return found


def _weigh(
    pointwise: Sequence[PointwiseLoss], rows: TrainingTargets, factor: float
) -> list[Weighed]:
    """Each target's gradients and hessians, in the place of residuals and scratch."""
    found = []
    for number, (point, r, scratch) in enumerate(zip(pointwise, rows.r, rows.scratch, strict=True)):
        with name_target(number):
            counts = rows.rows.counts.values
            found.append(weigh(point, r, counts, factor, hessian=scratch, gradient=r))
    return found


def _built(
    pointwise: Sequence[PointwiseLoss], weighed: Sequence[Weighed], weights: Sequence[float]
) -> Built:
    targets = tuple(
        TargetRound(point, each.mean, weight)
        for point, each, weight in zip(pointwise, weighed, weights, strict=True)
    )
    mean = sum(each.mean for each in weighed) / len(weighed)
    return Built(None, mean, sum(each.floored for each in weighed), targets)
