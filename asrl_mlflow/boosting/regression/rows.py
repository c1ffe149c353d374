"""Rows of a matrix: the ones that a training learns from, and the ones that it is evaluated on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost

from asrl_mlflow.boosting.learner import Built
from asrl_mlflow.boosting.lending import user_info
from asrl_mlflow.boosting.pace import Pace
from asrl_mlflow.boosting.regression.collective import workers
from asrl_mlflow.boosting.regression.margins import residuals
from asrl_mlflow.errors import InputError
from asrl_mlflow.losses import PointwiseLoss
from asrl_mlflow.metrics import BY_RESIDUALS
from asrl_mlflow.residuals.device import DeviceResiduals
from asrl_mlflow.residuals.forecast import Forecast
from asrl_mlflow.residuals.sample_weights import RowCounts, WeightRule, row_counts
from asrl_mlflow.residuals.shared.statistics import SharedResiduals, Sharing
from asrl_mlflow.residuals.statistics import Asked, Residuals

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SeenResiduals:
    """Residuals after a round, for metrics.

    Parameters
    ----------
    stats : Residuals
        Of some rows.
    """

    stats: Residuals

    def measure(self, names: Sequence[str]) -> dict[str, float]:
        """Compute the metrics of these names."""
        return {name: BY_RESIDUALS[name](self.stats) for name in names}

    def shares(self, built: Built) -> Mapping[str, float]:
        """Compute the share of rows in each region of a round's pointwise loss; they sum to 1."""
        return {} if built.pointwise is None else region_shares(self.stats, built.pointwise)


def region_shares(stats: Residuals, pointwise: PointwiseLoss) -> dict[str, float]:
    """Compute the share of rows in each region of a pointwise loss; they sum to 1."""
    within = [stats.share_within(limit) for limit in pointwise.regions.values()]
    return dict(zip(pointwise.regions, np.diff(within, prepend=0.0).tolist(), strict=True))


@dataclass(frozen=True)
class MatrixRows:
    """Target, weights and counts of the rows of a matrix, read once per training.

    Parameters
    ----------
    matrix : DMatrix
        The user's.
    target : float32 array of shape (n,)
        Its labels, in target units.
    counts : RowCounts
        Its sample weights as numbers of rows.
    sharing : Sharing
        How many more rows other workers have.
    xp : module, optional
        Of arrays on a GPU, where statistics are computed there.
    """

    matrix: xgboost.DMatrix
    target: Float32Array
    counts: RowCounts
    sharing: Sharing
    xp: ModuleType | None = None

    @classmethod
    def of(
        cls,
        matrix: xgboost.DMatrix,
        name: str,
        rule: WeightRule | None = None,
        xp: ModuleType | None = None,
    ) -> MatrixRows:
        """The rows of a matrix; `name` is what an error calls it.

        Raises
        ------
        InputError
            No rows, no labels or several columns of them, or bad sample weights.
        """
        target, others = user_info(matrix, "label"), workers()
        found = np.array([matrix.num_row(), target.shape != (matrix.num_row(),)], np.int64)
        rows, misplaced = others.sum(found).tolist()
        if rows == 0:
            msg = f"train needs at least one row in {name}; got a matrix without rows."
            raise InputError(msg)
        if misplaced:
            msg = (
                f"train needs one label a row in {name}; got labels of shape {target.shape} for "
                f"{matrix.num_row()} rows; pass one target column as label=."
            )
            raise InputError(msg)
        counts = row_counts(user_info(matrix, "weight"), target.size, rule, others)
        return cls(matrix, target, counts, Sharing.of(counts, target.size, others), xp)

    @cached_property
    def _device_counts(self) -> Any:  # noqa: ANN401 - of a module that is optional
        """The counts in the GPU's memory."""
        return None if self.counts.values is None else self.xp.asarray(self.counts.values)  # type: ignore[union-attr]  # asked where there is one

    def statistics(
        self,
        r: Float32Array,
        *,
        scratch: Float32Array | None = None,
        expected: Asked = Asked(),  # noqa: B008 - a tuple, which nobody changes
        **known: Any,  # noqa: ANN401 - passed on
    ) -> Residuals:
        """Statistics of residuals of these rows, together with those that other workers have."""
        if self.sharing.workers.count > 1:
            return SharedResiduals(r, self.counts, self.sharing, expected=expected, **known)
        if self.xp is not None:
            known.pop("subtracted", None)
            rule = self.counts.rule
            return DeviceResiduals(self.xp.asarray(r), self._device_counts, rule, self.xp, **known)
        return Residuals(r, self.counts, scratch=scratch, **known)

    def distances(self, target: Float32Array) -> Residuals:
        """Statistics of a target's distances from its median, where boosting starts."""
        return self.statistics(target - self.statistics(target).median())

    def look(self, model: xgboost.Booster) -> SeenResiduals:
        """The residuals of all trees so far."""
        out, scratch = np.empty_like(self.target), np.empty_like(self.target)
        seen = residuals(model, self.matrix, self.target, out=out, scratch=scratch)
        return SeenResiduals(self.statistics(out, scratch=scratch, subtracted=seen))


class TrainingRows:
    """The rows that trees are built from: their residuals, looked at once between two trees.

    Parameters
    ----------
    rows : MatrixRows
        Of the training matrix.
    centre : float
        What its margins lack while it is lent to the training, in target units.
    pace : Pace
        What counts its rounds.

    Attributes
    ----------
    target : float32 array of shape (n,)
        The labels less the centre.
    r, scratch : float32 arrays of shape (n,)
        The residuals, and what they are sorted in. Once they were asked all, they make room for the
        gradients and hessians of the round.
    """

    def __init__(self, rows: MatrixRows, centre: float, pace: Pace) -> None:
        self.rows, self.centre, self.pace = rows, centre, pace
        # From float64: far from zero a float32 difference would lose digits.
        self.target = (rows.target - np.float64(centre)).astype(np.float32, copy=False)
        self.r = np.empty_like(rows.target)
        self.scratch = np.empty_like(rows.target)
        foresees = rows.counts.values is None and rows.xp is None
        self._forecast = Forecast(rows.target.size if foresees else 0)
        self._stats: Residuals | None = None
        # Computed once, and only for a loss that asks.
        self._start: Callable[[], Residuals] = cache(partial(rows.distances, self.target))
        # What the loss asked for in the last round.
        self._expected = Asked()

    def look(self, model: xgboost.Booster, *, dropout: bool = False) -> Residuals:
        """The residuals of all trees so far; the same object until `forget`."""
        if self._stats is None:
            seen = residuals(
                model,
                self.rows.matrix,
                self.target,
                out=self.r,
                scratch=self.scratch,
                forecast=self._forecast,
                dropout=dropout,
            )
            self._stats = self.rows.statistics(
                self.r,
                scratch=self.scratch,
                expected=self._expected,
                subtracted=seen,
                start=self._start,
                progress=self.pace.progress,
            )
        return self._stats

    def see(self, model: xgboost.Booster) -> SeenResiduals:
        """The residuals of all trees so far, for metrics."""
        return SeenResiduals(self.look(model))

    def forget(self) -> None:
        """Let later questions to this round's statistics fail, as their arrays are used again."""
        if self._stats is not None:
            self._expected = self._stats.release()
            self._forecast.learn(self._expected.levels)
            self._stats = None
