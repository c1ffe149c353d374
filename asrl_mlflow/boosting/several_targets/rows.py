"""Rows with several targets: the ones that a training learns from, and the ones that it is measured on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import numpy.typing as npt
import xgboost

from asrl_mlflow.boosting.learner import Built
from asrl_mlflow.boosting.lending import user_info
from asrl_mlflow.boosting.pace import Pace
from asrl_mlflow.boosting.regression.rows import region_shares
from asrl_mlflow.errors import InputError
from asrl_mlflow.metrics import BY_RESIDUALS
from asrl_mlflow.residuals.forecast import Forecast
from asrl_mlflow.residuals.progress import Progress
from asrl_mlflow.residuals.sample_weights import RowCounts, WeightRule, row_counts
from asrl_mlflow.residuals.statistics import Residuals, Subtracted, distances, subtract

Float32Array = npt.NDArray[np.float32]

# Metrics in target units squared; all others are in target units.
_SQUARED = ("mse",)


def count_targets(matrix: xgboost.DMatrix) -> int:
    """How many columns the labels of a matrix have.

    Examples
    --------
    >>> count_targets(xgboost.DMatrix(np.ones((3, 1)), label=np.ones((3, 2))))
    2
    """
    labels = user_info(matrix, "label")
    return 1 if labels.ndim == 1 else labels.shape[1]


@dataclass(frozen=True)
class SeenTargets:
    """Residuals after a round, for metrics.

    Parameters
    ----------
    stats : sequence of Residuals
        One a target.
    units : sequence of float
        In which each target's metrics are averaged, in target units.
    """

    stats: Sequence[Residuals]
    units: Sequence[float]

    def measure(self, names: Sequence[str]) -> dict[str, float]:
        """Compute the metrics of these names: the mean over the targets in their units, then each target's."""
        each = {name: [BY_RESIDUALS[name](stats) for stats in self.stats] for name in names}
        means = {
            name: float(np.mean(values / np.power(self.units, 2 if name in _SQUARED else 1)))
            for name, values in each.items()
        }
        return means | {
            f"{name}.{number}": value
            for name, values in each.items()
            for number, value in enumerate(values)
        }

    def shares(self, built: Built) -> Mapping[str, float]:
        """Compute the share of rows in each region of each target's pointwise loss."""
        return {
            f"{region}.{number}": share
            for number, (stats, target) in enumerate(zip(self.stats, built.targets, strict=True))
            for region, share in region_shares(stats, target.pointwise).items()
        }


@dataclass(frozen=True)
class MatrixTargets:
    """Targets, weights and counts of the rows of a matrix, read once per training.

    Parameters
    ----------
    matrix : DMatrix
        The user's.
    targets : float32 array of shape (k, n)
        Its labels, in target units, a row a target.
    counts : RowCounts
        Its sample weights as numbers of rows.
    units : sequence of float
        In which each target's metrics are averaged, in target units.
    """

    matrix: xgboost.DMatrix
    targets: Float32Array
    counts: RowCounts
    units: Sequence[float]

    @classmethod
    def of(
        cls,
        matrix: xgboost.DMatrix,
        name: str,
        targets: int,
        units: Sequence[float],
        rule: WeightRule | None = None,
    ) -> MatrixTargets:
        """The rows of a matrix; `name` is what an error calls it, `targets` how many there must be.

        Raises
        ------
        InputError
            No rows, another number of label columns, or bad sample weights.
        """
        rows = matrix.num_row()
        if rows == 0:
            msg = f"train needs at least one row in {name}; got a matrix without rows."
            raise InputError(msg)
        labels = user_info(matrix, "label")
        if labels.shape != (rows, targets):
            msg = (
                f"train needs {targets} label columns in {name}, as many as in dtrain; got labels of shape "
                f"{labels.shape} for {rows} rows; pass label= of shape ({rows}, {targets})."
            )
            raise InputError(msg)
        counts = row_counts(user_info(matrix, "weight"), rows, rule)
        return cls(matrix, np.ascontiguousarray(labels.T), counts, units)

    def residuals(self, model: xgboost.Booster) -> Float32Array:
        """Targets minus the predictions of all trees so far, of shape (k, n)."""
        margin = model.predict(self.matrix, output_margin=True)
        found: Float32Array = np.subtract(self.targets, margin.T, out=np.empty_like(self.targets))
        return found

    def look(self, model: xgboost.Booster) -> SeenTargets:
        """The residuals of all trees so far."""
        return SeenTargets([Residuals(r, self.counts) for r in self.residuals(model)], self.units)


class TrainingTargets:
    """The rows that trees are built from: their residuals, looked at once between two rounds.

    Parameters
    ----------
    rows : MatrixTargets
        Of the training matrix.
    centres : sequence of float
        What each target's margins lack while the matrix is lent to the training, in target units.
    pace : Pace
        What counts its rounds.

    Attributes
    ----------
    targets : float32 array of shape (k, n)
        The labels less the centres.
    r, scratch : float32 arrays of shape (k, n)
        The residuals, and what they are sorted in. Once they were asked all, they make room for the
        gradients and hessians of the round.
    """

    def __init__(self, rows: MatrixTargets, centres: Sequence[float], pace: Pace) -> None:
        self.rows, self.centres, self.pace = rows, centres, pace
        # From float64: far from zero a float32 difference would lose digits.
        columns = np.array(centres, np.float64)[:, None]
        self.targets = (rows.targets - columns).astype(np.float32, copy=False)
        self.r, self.scratch = np.empty_like(rows.targets), np.empty_like(rows.targets)
        count, size = rows.targets.shape
        self._forecasts = [
            Forecast(size if rows.counts.values is None else 0) for _ in range(count)
        ]
        self._stats: list[Residuals] | None = None
        # Computed once, and only for a loss that asks.
        self.starts = [cache(partial(distances, target, rows.counts)) for target in self.targets]

    def look(self, model: xgboost.Booster, *, dropout: bool = False) -> list[Residuals]:
        """Each target's residuals of all trees so far; the same objects until `forget`."""
        if self._stats is None:
            margin = model.predict(self.rows.matrix, output_margin=True, training=dropout)
            columns = np.ascontiguousarray(margin.T)
            self._stats = [self._stats_of(number, column) for number, column in enumerate(columns)]
        return self._stats

    def _stats_of(self, number: int, margin: Float32Array) -> Residuals:
        out, scratch = self.r[number], self.scratch[number]
        target = self.targets[number]
        brackets = self._forecasts[number].brackets(target, margin)
        seen: Subtracted = subtract(target, margin, out, brackets, scratch)

        def progress() -> Progress:
            return self.pace.progress().of_target(number)

        with name_target(number):
            return Residuals(
                out,
                self.rows.counts,
                scratch=scratch,
                subtracted=seen,
                start=self.starts[number],
                progress=progress,
            )

    def see(self, model: xgboost.Booster) -> SeenTargets:
        """The residuals of all trees so far, for metrics."""
        return SeenTargets(self.look(model), self.rows.units)

    def forget(self) -> None:
        """Let later questions to this round's statistics fail, as their arrays are used again."""
        if self._stats is not None:
            for forecast, stats in zip(self._forecasts, self._stats, strict=True):
                forecast.learn(stats.release().levels)
            self._stats = None


@contextmanager
def name_target(number: int) -> Iterator[None]:
    """Name the target in an InputError that is raised in the block."""
    try:
        yield
    except InputError as error:
        msg = f"Target {number}: {error}"
        raise InputError(msg) from error
