"""Define the record of one boosting round, which training passes to its listener."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from asrl_mlflow.losses import PointwiseLoss


@dataclass(frozen=True)
class TargetRound:
    """One target's part of a round, where there are several targets.

    Parameters
    ----------
    pointwise : PointwiseLoss
        The loss that its part of the tree was built by, with thresholds in the target's unit.
    mean_weight : float
        As of `Round`.
    target_weight : float
        What the target counted when splits were chosen; 1 on average over the targets.
    """

    pointwise: PointwiseLoss
    mean_weight: float
    target_weight: float = 1.0

    def metrics(self) -> dict[str, float]:
        """All of it, under the keys that MLflow shows, without the target's number."""
        return {
            **_numbers(self.pointwise),
            "weight.mean": self.mean_weight,
            "target_weight": self.target_weight,
        }


@dataclass(frozen=True)
class Round:
    """Record of one boosting round, as `train` passes it to `on_round`.

    Parameters
    ----------
    number : int
        Trees in the model before this one; counts from 0, on through a continued training.
    pointwise : PointwiseLoss, optional
        The loss that built this tree: its thresholds come from the predictions of the trees
        before. None for classes, whose losses do not change, and for several targets.
    mean_weight : float
        Mean weight of a training row relative to a full one, before sample weights; for classes
        relative to log loss. Of several targets, the mean over them.
    floored : int
        Training rows whose weight was held up by the floor of 2**-120.
    train, valid : mapping of metric name to value
        With this tree, in target units, or of classes; `valid` is of the last entry of `evals`, empty without.
        (DART rescales earlier trees, so there a later model cut at this round differs.)
    valid_shares : mapping of region name to share
        How the rows of the last entry of `evals` fall into this round's regions; sums to 1.
        Training shares are constant by construction.
    targets : tuple of TargetRound
        One a target, where there are several. Names in `train`, `valid` and `valid_shares` that end in
        ".0", ".1", ... are of one target.
    """

    number: int
    pointwise: PointwiseLoss | None
    mean_weight: float
    floored: int
    train: Mapping[str, float]
    valid: Mapping[str, float]
    valid_shares: Mapping[str, float]
    targets: tuple[TargetRound, ...] = ()

    def metrics(self) -> dict[str, float]:
        """All of it but the number, under the keys that MLflow shows."""
        return {
            **({} if self.pointwise is None else _numbers(self.pointwise)),
            **{
                f"{key}.{number}": value
                for number, target in enumerate(self.targets)
                for key, value in target.metrics().items()
            },
            "weight.mean": self.mean_weight,
            "weight.floored": self.floored,
            **{f"train.{name}": value for name, value in self.train.items()},
            **{f"valid.{name}": value for name, value in self.valid.items()},
            **{f"share.valid.{name}": value for name, value in self.valid_shares.items()},
        }


def _numbers(pointwise: PointwiseLoss) -> dict[str, float]:
    """A round's thresholds, weights and shapes, by their keys."""
    return {
        f"{field.metadata['group']}.{field.name}": getattr(pointwise, field.name)
        for field in dataclasses.fields(pointwise)
        if "group" in field.metadata
    }
