"""Measure a model on the rows of `evals` after each round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import xgboost

from asrl_mlflow.boosting.arguments import Arguments
from asrl_mlflow.boosting.learner import Built, JudgedRows, LearnedRows, Seen

# By entry of `evals` and metric, one value a round; of XGBoost's type, which allows for more.
History = dict[str, dict[str, Any]]


class Evaluation:
    """Measure a model on the rows of `evals` after each round.

    Parameters
    ----------
    learned : JudgedRows
        Those of the training matrix.
    rows : LearnedRows
        The same, between two trees.
    evals : sequence of (name, JudgedRows)
        Where metrics are computed; the last is the one that is told as `valid`.
    asked : Arguments
        Which metrics are computed, and which of them comes last and so selects.
    """

    def __init__(
        self,
        *,
        learned: JudgedRows,
        rows: LearnedRows,
        evals: Sequence[tuple[str, JudgedRows]],
        asked: Arguments,
    ) -> None:
        self._learned, self._rows, self._evals, self._asked = learned, rows, evals, asked
        # XGBoost's own container asks for its metrics and the user's, and files the answers.
        self._container = xgboost.callback.CallbackContainer([], metric=asked.custom_metric)
        self.history: History = cast("History", self._container.history)

    @property
    def includes_training_rows(self) -> bool:
        """Whether the training rows are measured for `evals`."""
        return any(rows is self._learned for _, rows in self._evals)

    def measure(self, seen: Seen) -> dict[str, float]:
        """Our metrics of some rows."""
        return seen.measure(self._asked.metrics)

    def evaluate(
        self,
        model: xgboost.Booster,
        epoch: int,
        train: dict[str, float],
        heard: Built | None,
    ) -> tuple[dict[str, float], Mapping[str, float]]:
        """Record the metrics of a round; return those of the last entry of `evals` and its region shares."""
        if self._asked.measures_natively:
            matrices = [(rows.matrix, name) for name, rows in self._evals]
            self._container.after_iteration(model, epoch, self._learned.matrix, matrices)
        valid: dict[str, float] = {}
        found: Mapping[str, float] = {}
        for name, rows in self._evals:
            own = rows is self._learned
            seen = self._rows.see(model) if own else rows.look(model)
            valid = train if own else self.measure(seen)
            log = self.history.setdefault(name, {})
            natives = [metric for metric in log if metric not in valid]
            for metric, value in valid.items():
                log.setdefault(metric, []).append(value)
            # The last metric selects, as XGBoost has it: XGBoost's behind ours, in front of `metric`.
            for metric in [*natives, *filter(None, [self._asked.selecting])]:
                log[metric] = log.pop(metric)
            if heard is not None and rows is self._evals[-1][1]:
                found = seen.shares(heard)
        return valid, found
