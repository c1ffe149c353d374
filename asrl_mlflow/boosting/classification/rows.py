"""Rows of a matrix with their labels: as a training learns from them, and as metrics see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost

from asrl_mlflow.boosting.learner import Built
from asrl_mlflow.boosting.lending import user_info
from asrl_mlflow.boosting.pace import Pace
from asrl_mlflow.errors import InputError
from asrl_mlflow.losses import ClassificationLoss
from asrl_mlflow.metrics import TASKS
from asrl_mlflow.residuals.sample_weights import RowCounts, WeightRule, row_counts

_HALF = 0.5


@dataclass(frozen=True)
class SeenLabels:
    """Labels and margins after a round, for metrics.

    Parameters
    ----------
    rows : LabelledRows
        Whose they are.
    margin : float32 array of shape (n,) or (n, K)
        Sums of the leaves of all trees so far.
    """

    rows: LabelledRows
    margin: npt.NDArray[np.float32]

    def measure(self, names: Sequence[str]) -> dict[str, float]:
        """Compute the metrics of these names from corrected probabilities."""
        rows, metrics = self.rows, TASKS["classification"].metrics
        probabilities = rows.loss.predict(self.margin)
        target, weight = rows.target, rows.counts.values
        nearest = (target > _HALF) if rows.is_soft else target
        return {
            # Only these two know what a share of a class is.
            name: metrics[name](
                target if name in ("logloss", "brier") else nearest, probabilities, weight
            )
            for name in names
        }

    def shares(self, built: Built) -> Mapping[str, float]:  # noqa: ARG002 - the interface
        """None: losses for classes have no regions."""
        return {}


@dataclass(frozen=True)
class LabelledRows:
    """Labels, weights and counts of the rows of a matrix, read once per training.

    Parameters
    ----------
    matrix : DMatrix
        The user's.
    target : float32 array of shape (n,)
        The class of each row, 0, 1, ... K - 1; for two classes also shares of class 1.
    counts : RowCounts
        Its sample weights as numbers of rows.
    loss : ClassificationLoss
        What says how margins become probabilities.
    is_soft : bool
        Whether some labels are shares.
    """

    matrix: xgboost.DMatrix
    target: npt.NDArray[np.float32]
    counts: RowCounts
    loss: ClassificationLoss
    is_soft: bool

    @classmethod
    def of(
        cls,
        matrix: xgboost.DMatrix,
        name: str,
        loss: ClassificationLoss,
        rule: WeightRule | None = None,
    ) -> LabelledRows:
        """The rows of a matrix; `name` is what an error calls it.

        Raises
        ------
        InputError
            No rows, no labels or several columns of them, labels that are neither classes nor shares, or
            bad sample weights.
        """
        if matrix.num_row() == 0:
            msg = f"train needs at least one row in {name}; got a matrix without rows."
            raise InputError(msg)
        target = user_info(matrix, "label")
        if target.shape != (matrix.num_row(),):
            msg = (
                f"train needs one label a row in {name}; got labels of shape {target.shape} for "
                f"{matrix.num_row()} rows; pass the classes 0, 1, ... as label=."
            )
            raise InputError(msg)
        is_soft = bool((target != np.floor(target)).any())
        if target.min() < 0 or (is_soft and target.max() > 1):
            bad = target[(target < 0) | (target != np.floor(target))][0]
            msg = (
                f"A loss for classes needs labels 0, 1, ..., or shares of class 1 in [0, 1], in {name}; got "
                f"{bad:g}; number the classes."
            )
            raise InputError(msg)
        counts = row_counts(user_info(matrix, "weight"), target.size, rule)
        return cls(matrix, target, counts, loss, is_soft)

    def look(self, model: xgboost.Booster) -> SeenLabels:
        """The rows with the margins of all trees so far."""
        return SeenLabels(self, margins(model, self.matrix))


class TrainingLabels:
    """The rows that trees are built from: their margins, looked at once between two trees.

    Parameters
    ----------
    rows : LabelledRows
        Of the training matrix.
    pace : Pace
        What counts its rounds.
    """

    def __init__(self, rows: LabelledRows, pace: Pace) -> None:
        self.rows, self.pace = rows, pace
        self._seen: SeenLabels | None = None

    def see(self, model: xgboost.Booster) -> SeenLabels:
        """The margins of all trees so far; the same object until `forget`.

        Raises
        ------
        InputError
            Margins that are not finite.
        """
        if self._seen is None:
            seen = self.rows.look(model)
            finite = np.isfinite(seen.margin)
            bad = int(np.count_nonzero(~(finite if finite.ndim == 1 else finite.all(axis=1))))
            if bad:
                msg = (
                    f"Margins must be finite; got {bad} of {len(seen.margin)} rows where they are not; lower "
                    "the learning rate, or pass max_delta_step=1."
                )
                raise InputError(msg)
            self._seen = seen
        return self._seen

    def forget(self) -> None:
        """Look again next time."""
        self._seen = None


def margins(
    model: xgboost.Booster, matrix: xgboost.DMatrix, *, dropout: bool = False
) -> npt.NDArray[np.float32]:
    """Sums of the leaves, before any link function, of shape (n,) or (n, K)."""
    found: npt.NDArray[Any] = model.predict(matrix, output_margin=True, training=dropout)
    return found
