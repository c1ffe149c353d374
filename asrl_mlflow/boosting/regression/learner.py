"""What a training of a loss for regression learns from, and how."""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost
from packaging.version import Version

from asrl_mlflow.boosting.arguments import Arguments, builds_on_gpu, is_quantised
from asrl_mlflow.boosting.lending import INFO, lend, user_info
from asrl_mlflow.boosting.loop import name_round
from asrl_mlflow.boosting.pace import Pace
from asrl_mlflow.boosting.regression.builders import (
    GradientBuilder,
    ObjectiveBuilder,
    WeightBuilder,
)
from asrl_mlflow.boosting.regression.rows import MatrixRows, TrainingRows
from asrl_mlflow.boosting.regression.scaling import Scaling
from asrl_mlflow.errors import InputError
from asrl_mlflow.losses import Loss
from asrl_mlflow.losses.regression.weighing import STEEPEST, weigh
from asrl_mlflow.residuals.sample_weights import WeightRule

_logger = logging.getLogger(__name__)

# Objectives whose gains do not depend on the target's unit: before XGBoost 3.4, absolute and quantile
# error had gradients of size 1 and refitted leaves to quantiles; since, its gains are those of squared error.
WITHOUT_UNIT = (
    {"reg:absoluteerror", "reg:quantileerror"}
    if Version(xgboost.__version__) < Version("3.4")
    else set()
)

# How much larger gradients may grow in later rounds than they are in the first.
_ROOM = 64


class RegressionLearner:
    """Learn numbers from residuals; attributes are as `Learner` says.

    Parameters
    ----------
    loss : Loss
        What to minimise.
    dtrain : DMatrix
        Rows to learn from.
    evals : sequence of (DMatrix, name)
        Rows to measure on.
    asked : Arguments
        What the user asked for.
    weight_rule : {"none", "counts", "mean 1"}, optional
        How the weights of the whole table are read.
    continues : bool
        Whether another model is continued, whose constant stays.

    Raises
    ------
    InputError
        Labels or weights that cannot be learned from.
    """

    def __init__(
        self,
        loss: Loss,
        dtrain: xgboost.DMatrix,
        evals: Sequence[tuple[xgboost.DMatrix, str]],
        asked: Arguments,
        weight_rule: WeightRule | None,
        *,
        continues: bool,
    ) -> None:
        self._loss, self._asked = loss, asked
        xp = array_module() if builds_on_gpu(asked.settings) else None
        self.rows = MatrixRows.of(dtrain, "dtrain", weight_rule, xp)
        self.judged = [
            (name, self.rows if matrix is dtrain else MatrixRows.of(matrix, name, weight_rule, xp))
            for matrix, name in evals
        ]
        self.weight_rule = self.rows.counts.rule
        target = self.rows.statistics(self.rows.target)
        scaling = Scaling.of(target)
        self._centre = scaling.centre
        start: dict[str, Any] = {} if continues else {"base_score": target.median()}
        del target  # and its sorted rows
        self.settings: Mapping[str, Any] = {
            **start,
            **asked.settings,
            **loss.xgboost_parameters,
            "objective": loss.XGBOOST_OBJECTIVE or "reg:squarederror",
        }
        has_unit = asked.boosts_trees and loss.XGBOOST_OBJECTIVE not in WITHOUT_UNIT
        self.factor = within_float32(scaling.factor, loss, self.rows) if has_unit else 1.0

    def begin(
        self,
        stack: ExitStack,
        model: xgboost.Booster,
        pace: Pace,
        *,
        measures_itself: bool,
        is_heard: bool,
    ) -> tuple[TrainingRows, ObjectiveBuilder | WeightBuilder | GradientBuilder]:
        """As `Learner` says; the rows' labels, weights and margins may be changed meanwhile."""
        rows = TrainingRows(self.rows, 0.0 if measures_itself else self._centre, pace)
        loss, factor, matrix = self._loss, self.factor, self.rows.matrix
        changed = _changed(rows, loss, factor, model)
        if loss.XGBOOST_OBJECTIVE is not None:
            _check_no_worker_is_empty(loss, self.rows)
            stack.enter_context(lend(matrix, changed=changed))
            return rows, ObjectiveBuilder(loss, rows, factor, is_heard=is_heard)
        if self._asked.is_plain and is_quantised(matrix) and not measures_itself:
            try:
                weighed = {**changed, "weight": user_info(matrix, "weight")}
                stack.enter_context(lend(matrix, changed=weighed))
            except InputError:
                pass  # another training relies on its weights: gradients do without
            else:
                return rows, WeightBuilder(loss, rows, factor)
        # A plain matrix is cut by its weights in the first round.
        reads = INFO if measures_itself or not is_quantised(matrix) else frozenset({"base_margin"})
        stack.enter_context(lend(matrix, relied_on=reads, changed=changed))
        return rows, GradientBuilder(loss, rows, factor, dropout=self._asked.drops_trees)


def array_module() -> ModuleType | None:
    """CuPy, where it is installed and sees a GPU."""
    try:
        cupy = importlib.import_module("cupy")
    except ImportError:
        _logger.info(
            "Statistics of residuals are computed by the processor: CuPy is not installed."
        )
        return None
    return cupy if cupy.cuda.is_available() else None


def within_float32(factor: float, loss: Loss, rows: MatrixRows) -> float:
    """Limit the factor for tiny targets so that gradients times it stay within float32."""
    if factor == 1:
        return factor
    r = (rows.target - np.float64(rows.statistics(rows.target).median())).astype(np.float32)
    with name_round(0):
        weighed = weigh(
            loss.adapt(rows.distances(rows.target)),
            r,
            rows.counts.values,
            workers=rows.sharing.workers,
        )
    while factor > 1 and factor * weighed.steepness > STEEPEST / _ROOM:
        factor /= 4
    return factor


def _check_no_worker_is_empty(loss: Loss, rows: MatrixRows) -> None:
    """Refuse workers without rows, of which XGBoost 3.4's absolute and quantile errors die."""
    empty = int(rows.sharing.workers.sum(np.array([not rows.target.size], np.int64))[0])
    if empty and loss.XGBOOST_OBJECTIVE != "reg:squarederror":
        msg = (
            f"XGBoost's {loss.XGBOOST_OBJECTIVE} needs rows on every worker; got {empty} without; spread them "
            "otherwise, or choose losses.Charbonnier(), say."
        )
        raise InputError(msg)


def _changed(
    rows: TrainingRows, loss: Loss, factor: float, model: xgboost.Booster
) -> dict[str, npt.NDArray[np.float32]]:
    """Compute the labels, weights and margins that XGBoost must see instead of the user's."""
    changed: dict[str, npt.NDArray[np.float32]] = {}
    target, counts = rows.target, rows.rows.counts
    if loss.XGBOOST_OBJECTIVE is not None and (factor != 1 or counts.rule == "mean 1"):
        weight = np.ones(target.size) if counts.values is None else counts.values
        changed["weight"] = (weight * factor).astype(np.float32)
    if rows.centre:
        margin = user_info(rows.rows.matrix, "base_margin")
        margin = margin if margin.size else np.full(target.shape, _base_score(model))
        changed["base_margin"] = (margin - np.float64(rows.centre)).astype(np.float32)
        changed["label"] = target
    return changed


def _base_score(model: xgboost.Booster) -> float:
    """Read the constant from which a model's predictions start."""
    learner = json.loads(model.save_config())["learner"]
    return float(learner["learner_model_param"]["base_score"].strip("[]"))
