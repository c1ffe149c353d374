"""What a training of a loss for classification learns from, and how."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost

from asrl_mlflow.boosting.arguments import Arguments, is_quantised
from asrl_mlflow.boosting.classification.builders import ClassGradientBuilder, ClassObjectiveBuilder
from asrl_mlflow.boosting.classification.rows import LabelledRows, TrainingLabels
from asrl_mlflow.boosting.lending import INFO, lend
from asrl_mlflow.boosting.pace import Pace
from asrl_mlflow.errors import InputError
from asrl_mlflow.losses import ClassificationLoss
from asrl_mlflow.losses.classification.loss import class_shares, sigmoid
from asrl_mlflow.residuals.sample_weights import WeightRule

_TWO = 2


class ClassLearner:
    """Learn classes from labels; attributes are as `Learner` says.

    Parameters
    ----------
    loss : ClassificationLoss
        What to minimise.
    dtrain : DMatrix
        Rows to learn from.
    evals : sequence of (DMatrix, name)
        Rows to measure on.
    asked : Arguments
        What the user asked for.
    weight_rule : {"none", "counts", "mean 1"}, optional
        How the weights of the whole table are read.
    going_on : Booster, optional
        The model that is continued, whose classes and constants stay.

    Raises
    ------
    InputError
        Labels or weights that cannot be learned from, or a number of classes that the loss has no form
        for.
    """

    # Classes have no unit.
    factor = 1.0

    def __init__(
        self,
        loss: ClassificationLoss,
        dtrain: xgboost.DMatrix,
        evals: Sequence[tuple[xgboost.DMatrix, str]],
        asked: Arguments,
        weight_rule: WeightRule | None,
        going_on: xgboost.Booster | None,
    ) -> None:
        self._loss, self._asked = loss, asked
        self.rows = LabelledRows.of(dtrain, "dtrain", loss, weight_rule)
        self.judged = [
            (
                name,
                self.rows if matrix is dtrain else LabelledRows.of(matrix, name, loss, weight_rule),
            )
            for matrix, name in evals
        ]
        self.weight_rule = self.rows.counts.rule
        settings = dict(asked.settings)
        outputs_so_far = 0 if going_on is None else _outputs(going_on)
        classes = _count_classes(
            settings.pop("num_class", 0) or max(_TWO, outputs_so_far) * bool(outputs_so_far),
            [self.rows, *dict(self.judged).values()],
        )
        outputs = loss.outputs(classes)
        if outputs_so_far not in (0, outputs):
            msg = (
                f"A model goes on with the classes that it has; it has {outputs_so_far} outputs, got {outputs} "
                f"for {classes} classes and {type(loss).__name__}; train a model anew."
            )
            raise InputError(msg)
        loss.check_outputs(outputs)
        if self.rows.is_soft and outputs > 1:
            msg = (
                f"{type(loss).__name__} needs classes for labels; got shares of class 1; use LogLoss, or "
                "another loss of one output."
            )
            raise InputError(msg)
        objective = loss.xgboost_objective(classes)
        start: dict[str, Any] = {}
        if going_on is None:
            shares = class_shares(self.rows.target, self.rows.counts.values, classes)
            if loss.XGBOOST_OBJECTIVE is None:
                best = loss.start(shares)
                if loss.IS_PROPER and outputs == 1:
                    best = sigmoid(best)  # which XGBoost's objective takes instead of a margin
                start["base_score"] = float(best[0]) if outputs == 1 else best.tolist()
            elif outputs == 1 and _is_of_one_class(self.rows):
                # XGBoost's own objectives find the constant themselves, but XGBoost 3.1 no infinite one.
                start["base_score"] = float(shares[1])
            elif outputs > 1 and not np.isin(np.arange(classes), self.rows.target).all():
                # Of a class without a row XGBoost would say that it is impossible.
                start["base_score"] = loss.start(shares).tolist()
        several: dict[str, Any] = {} if outputs == 1 else {"num_class": outputs}
        self.settings: Mapping[str, Any] = {
            **start,
            **settings,
            **several,
            "objective": objective,
        }

    def begin(
        self,
        stack: ExitStack,
        model: xgboost.Booster,  # noqa: ARG002 - its constant does not matter
        pace: Pace,
        *,
        measures_itself: bool,  # noqa: ARG002 - the matrix stays as it is but for weights
        is_heard: bool,  # noqa: ARG002 - there is nothing more to tell
    ) -> tuple[TrainingLabels, ClassGradientBuilder | ClassObjectiveBuilder]:
        """As `Learner` says."""
        rows, matrix = TrainingLabels(self.rows, pace), self.rows.matrix
        if self._loss.XGBOOST_OBJECTIVE is not None:
            changed: dict[str, npt.NDArray[np.float32]] = {}
            if self.rows.counts.rule == "mean 1" and self.rows.counts.values is not None:
                changed["weight"] = self.rows.counts.values.astype(np.float32)
            stack.enter_context(lend(matrix, changed=changed))
            return rows, ClassObjectiveBuilder(rows)
        reads = frozenset({"base_margin"}) if is_quantised(matrix) else INFO
        stack.enter_context(lend(matrix, relied_on=reads))
        return rows, ClassGradientBuilder(self._loss, rows, dropout=self._asked.drops_trees)


def _count_classes(given: Any, rows: Sequence[LabelledRows]) -> int:  # noqa: ANN401 - the user's
    """How many classes there are: as many as the user says, or as the labels need."""
    largest = int(max(each.target.max() for each in rows))
    if not given:
        return max(_TWO, largest + 1)
    classes = int(given)
    if classes < _TWO or largest >= classes:
        msg = (
            f"num_class, or the model that is continued, needs at least 2 classes and more than every label; got "
            f"{given} classes and a label {largest}; leave it out, or number the classes from 0."
        )
        raise InputError(msg)
    return classes


def _outputs(model: xgboost.Booster) -> int:
    """How many margins a row has under a model."""
    learner = json.loads(model.save_config())["learner"]["learner_model_param"]
    return max(1, int(learner["num_class"]))


def _is_of_one_class(rows: LabelledRows) -> bool:
    """Check whether all rows that count have the same of two classes, as float32 sees it."""
    mean = np.average(rows.target, weights=rows.counts.values)
    return float(np.float32(mean)) in (0.0, 1.0)
