"""What a training needs to know of its kind of target: numbers, or classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple, Protocol

import xgboost

from asrl_mlflow.boosting.pace import Pace
from asrl_mlflow.losses import PointwiseLoss
from asrl_mlflow.rounds import TargetRound


class Built(NamedTuple):
    """What the newest tree was built from.

    Parameters
    ----------
    pointwise : PointwiseLoss, optional
        Of this round; losses for classes have none, as they do not change, and several targets one each.
    mean_weight : float
        Mean weight of a row, relative to a full one.
    floored : int
        Rows whose weight was held up.
    targets : sequence of TargetRound
        The same of each target, where there are several.
    """

    pointwise: PointwiseLoss | None
    mean_weight: float = 1.0
    floored: int = 0
    targets: tuple[TargetRound, ...] = ()


class Builder(Protocol):
    """Interface for what adds one tree, or one a target, to a model."""

    def build(self, model: xgboost.Booster, epoch: int) -> Built:
        """Add the tree of this round, which counts from 0 in each training."""


class Seen(Protocol):
    """Interface for rows as the model sees them after a round: what metrics are computed from."""

    def measure(self, names: Sequence[str]) -> dict[str, float]:
        """The metrics of these names."""

    def shares(self, built: Built) -> Mapping[str, float]:
        """The share of rows in each region of a round's pointwise loss; they sum to 1 for each target."""


class JudgedRows(Protocol):
    """Interface for the rows of a matrix that a model is measured on."""

    @property
    def matrix(self) -> xgboost.DMatrix:
        """The user's."""

    def look(self, model: xgboost.Booster) -> Seen:
        """The rows with the predictions of all trees so far."""


class LearnedRows(Protocol):
    """Interface for the rows that trees are built from, looked at once between two trees."""

    @property
    def pace(self) -> Pace:
        """What counts the rounds."""

    def see(self, model: xgboost.Booster) -> Seen:
        """The rows with the predictions of all trees so far; the same until `forget`.

        Raises
        ------
        InputError
            Predictions that are not finite.
        """

    def forget(self) -> None:
        """Look again next time."""


class Learner(Protocol):
    """Interface for what a training learns from, and how."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """XGBoost's parameters."""

    @property
    def factor(self) -> float:
        """By which objective and regularisation are multiplied."""

    @property
    def weight_rule(self) -> str:
        """How sample weights were read."""

    @property
    def rows(self) -> JudgedRows:
        """Those of the training matrix."""

    @property
    def judged(self) -> Sequence[tuple[str, JudgedRows]]:
        """Those of `evals`, by name."""

    def begin(
        self,
        stack: ExitStack,
        model: xgboost.Booster,
        pace: Pace,
        *,
        measures_itself: bool,
        is_heard: bool,
    ) -> tuple[LearnedRows, Builder]:
        """Lend the training matrix to this training until the stack ends; give rows and builder."""
