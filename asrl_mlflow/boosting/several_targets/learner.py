"""What a training with several targets learns from, and how."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import xgboost
from packaging.version import Version

from asrl_mlflow.boosting.arguments import Arguments, is_quantised
from asrl_mlflow.boosting.lending import INFO, lend, user_info
from asrl_mlflow.boosting.pace import Pace
from asrl_mlflow.boosting.regression.learner import WITHOUT_UNIT, within_float32
from asrl_mlflow.boosting.regression.rows import MatrixRows
from asrl_mlflow.boosting.regression.scaling import Scaling
from asrl_mlflow.boosting.several_targets.builders import (
    TARGETS_ATTRIBUTE,
    ObjectiveTreesBuilder,
    SeparateTreesBuilder,
    SharedTreesBuilder,
    record_weighting,
)
from asrl_mlflow.boosting.several_targets.rows import (
    MatrixTargets,
    TrainingTargets,
    count_targets,
    name_target,
)
from asrl_mlflow.boosting.several_targets.weighting import (
    LEARNED,
    FixedWeights,
    GradientNormWeights,
    TargetWeights,
    UncertaintyWeights,
    Weighting,
)
from asrl_mlflow.errors import InputError
from asrl_mlflow.losses import Loss
from asrl_mlflow.residuals.sample_weights import WeightRule
from asrl_mlflow.residuals.shared.statistics import Sharing
from asrl_mlflow.residuals.shared.workers import ALONE
from asrl_mlflow.residuals.statistics import Residuals

TargetScale = Literal["robust", "none"]

_SHARED = "multi_output_tree"
# Since when splits can be chosen by other gradients than leaves are computed from.
_SHARED_SINCE = "3.2"
# Since when trees that targets share can have constraints.
_CONSTRAINTS_SINCE = "3.4"
# Of several targets XGBoost's quantile error takes one only.
_NATIVE = ("reg:squarederror", "reg:absoluteerror")
# Parameters in target units, which targets of several units do not share.
_WITH_UNIT = ("alpha", "reg_alpha", "max_delta_step")


class Targets(NamedTuple):
    """How the user weighs targets against each other; the arguments of `train` of these names.

    Parameters
    ----------
    weights : sequence of float, str or None
    scale : {"robust", "none"}
    """

    weights: TargetWeights | None = None
    scale: TargetScale = "robust"

    def check_absent(self) -> None:
        """Refuse them where there is one target, or classes."""
        for name, given, is_default in (
            ("target_weights", self.weights, self.weights is None),
            ("target_scale", self.scale, self.scale == "robust"),
        ):
            if not is_default:
                msg = (
                    f"{name} weighs several targets against each other; got {given!r} and labels of one "
                    "column; leave it out."
                )
                raise InputError(msg)


class SeveralTargetsLearner:
    """Learn several numbers a row from residuals; attributes are as `Learner` says.

    Parameters
    ----------
    loss : Loss
        What to minimise for each target.
    dtrain : DMatrix
        Rows to learn from.
    evals : sequence of (DMatrix, name)
        Rows to measure on.
    asked : Arguments
        What the user asked for.
    weight_rule : {"none", "counts", "mean 1"}, optional
        How the weights of the whole table are read.
    targets : Targets
        How targets are weighed against each other.
    continues : bool
        Whether another model is continued, whose constants stay.

    Raises
    ------
    InputError
        Labels or weights that cannot be learned from, or settings that do nothing or cannot work.
    """

    def __init__(
        self,
        loss: Loss,
        dtrain: xgboost.DMatrix,
        evals: Sequence[tuple[xgboost.DMatrix, str]],
        asked: Arguments,
        weight_rule: WeightRule | None,
        targets: Targets,
        *,
        continues: bool,
    ) -> None:
        self._loss, self._asked, self._given = loss, asked, targets
        self._is_shared = asked.settings.get("multi_strategy") == _SHARED
        count = count_targets(dtrain)
        _check(asked, targets, is_shared=self._is_shared)
        rows = MatrixTargets.of(dtrain, "dtrain", count, [1.0] * count, weight_rule)
        medians, self._scalings = _look_at(rows)
        self._scales = [scaling.scale or 1.0 for scaling in self._scalings]
        self._units = self._scales if targets.scale == "robust" else [1.0] * count
        self.rows = MatrixTargets(dtrain, rows.targets, rows.counts, self._units)
        self.judged = [
            (
                name,
                self.rows
                if matrix is dtrain
                else MatrixTargets.of(matrix, name, count, self._units, weight_rule),
            )
            for matrix, name in evals
        ]
        self.weight_rule = self.rows.counts.rule
        self._weighting = self._choose_weighting(None)
        has_objective = loss.XGBOOST_OBJECTIVE in _NATIVE and not self._is_shared
        self._objective = loss.XGBOOST_OBJECTIVE if has_objective else None
        start: dict[str, Any] = {} if continues else {"base_score": medians}
        self.settings: Mapping[str, Any] = {
            **start,
            **asked.settings,
            **(loss.xgboost_parameters if has_objective else {}),
            "objective": self._objective or "reg:squarederror",
        }
        # Splits of shared trees are chosen in robust scales, unless the user wants none.
        is_free = (self._is_shared and targets.scale == "robust") or self._objective in WITHOUT_UNIT
        self.factor = 1.0 if is_free else self._common_factor()

    def begin(
        self,
        stack: ExitStack,
        model: xgboost.Booster,
        pace: Pace,
        *,
        measures_itself: bool,
        is_heard: bool,
    ) -> tuple[TrainingTargets, ObjectiveTreesBuilder | SeparateTreesBuilder | SharedTreesBuilder]:
        """As `Learner` says; the rows' labels, weights and margins may be changed meanwhile."""
        near = measures_itself or not any(scaling.centre for scaling in self._scalings)
        centres = [0.0 if near else scaling.centre for scaling in self._scalings]
        rows = TrainingTargets(self.rows, centres, pace)
        matrix = self.rows.matrix
        changed = _changed(rows, model)
        self._weighting = self._choose_weighting(model.attr(TARGETS_ATTRIBUTE))
        record_weighting(model, self._weighting, self._units)
        if self._objective is not None:
            changed |= _changed_weight(self.rows, self.factor)
            stack.enter_context(lend(matrix, changed=changed))
            builder = ObjectiveTreesBuilder(self._loss, rows, self.factor, is_heard=is_heard)
            return rows, builder
        # A plain matrix is cut by its weights in the first round.
        reads = INFO if measures_itself or not is_quantised(matrix) else frozenset({"base_margin"})
        stack.enter_context(lend(matrix, relied_on=reads, changed=changed))
        if self._is_shared:
            shared = SharedTreesBuilder(self._loss, rows, self.factor, self._weighting, self._units)
            return rows, shared
        dropout = self._asked.drops_trees
        return rows, SeparateTreesBuilder(self._loss, rows, self.factor, dropout=dropout)

    def _choose_weighting(self, recorded: str | None) -> Weighting:
        """What the user asked for; weights that are learned go on from those that a model records."""
        weights, count = self._given.weights, len(self._units)
        if not (isinstance(weights, str) and weights in LEARNED):
            return FixedWeights(weights, count)
        record = json.loads(recorded or "{}")
        goes_on = record.get("rule") == weights and len(record["weights"]) == count
        start = np.array(record["weights"]) if goes_on else np.ones(count)
        if weights == GradientNormWeights.rule:
            return GradientNormWeights(start, self._scales, self._units)
        last = self.judged[-1][1] if self.judged else self.rows
        return UncertaintyWeights(
            start, self._scales, self._units, None if last is self.rows else last
        )

    def _common_factor(self) -> float:
        """The factor that the tiniest target needs, for all: they share XGBoost's parameters."""
        counts = self.rows.counts
        each = [
            MatrixRows(self.rows.matrix, r, counts, Sharing.of(counts, r.size, ALONE))
            for r in self.rows.targets
        ]
        pairs = list(zip(each, self._scalings, strict=True))
        wanted = max(within_float32(scaling.factor, self._loss, one) for one, scaling in pairs)
        for one, scaling in pairs:
            if scaling.most < wanted or within_float32(wanted, self._loss, one) < wanted:
                scales = ", ".join(f"{scaling.scale:.3g}" for scaling in self._scalings)
                msg = (
                    "train needs targets that float32 holds with one factor for all, as they share XGBoost's "
                    f"parameters; got robust scales {scales}; change a unit, or train them one by one."
                )
                raise InputError(msg)
        return wanted


def _look_at(rows: MatrixTargets) -> tuple[list[float], list[Scaling]]:
    """The medians of the targets, and what float32 asks for."""
    medians, scalings = [], []
    for number, target in enumerate(rows.targets):
        with name_target(number):
            stats = Residuals(target, rows.counts)
            scalings.append(Scaling.of(stats))
            medians.append(stats.median())
    return medians, scalings


def _check(asked: Arguments, targets: Targets, *, is_shared: bool) -> None:
    """Refuse in one line what XGBoost would refuse later, worse or not at all."""
    if targets.scale not in ("robust", "none"):
        msg = f"target_scale is 'robust' or 'none'; got {targets.scale!r}."
        raise InputError(msg)
    if not asked.boosts_trees:
        msg = "Several targets need trees; got booster='gblinear'; leave it out."
        raise InputError(msg)
    if not is_shared:
        if targets.weights is not None:
            msg = (
                "target_weights choose the splits of trees that targets share, and each target has trees of "
                f"its own; got target_weights={targets.weights!r} and no multi_strategy="
                f"{_SHARED!r}; leave them out, or pass that in params."
            )
            raise InputError(msg)
        return
    _check_shared(asked)
    _check_parameters(asked, targets)


def _check_shared(asked: Arguments) -> None:
    """Refuse what cannot build trees that targets share."""
    if Version(xgboost.__version__) < Version(_SHARED_SINCE):
        msg = (
            f"multi_strategy={_SHARED!r} needs XGBoost {_SHARED_SINCE} or newer here, where units of targets do "
            f"not matter; got {xgboost.__version__}; leave it out."
        )
        raise InputError(msg)
    if asked.drops_trees:
        msg = f"multi_strategy={_SHARED!r} keeps all trees; got dropout; leave one of them out."
        raise InputError(msg)
    method = asked.settings.get("tree_method", "hist")
    if method not in ("hist", "auto"):
        msg = f"multi_strategy={_SHARED!r} needs tree_method='hist'; got {method!r}; leave it out."
        raise InputError(msg)


def _check_parameters(asked: Arguments, targets: Targets) -> None:
    """Refuse parameters that trees cannot heed which targets share."""
    is_plain = targets.scale == "none" and targets.weights is None
    has_constraints = Version(xgboost.__version__) >= Version(_CONSTRAINTS_SINCE)
    for name, can in (
        ("monotone_constraints", has_constraints and is_plain),
        ("interaction_constraints", has_constraints),
    ):
        if asked.settings.get(name) and not can:
            msg = (
                f"{name} of trees that targets share needs XGBoost {_CONSTRAINTS_SINCE}, and to be monotone "
                f"target_scale='none' and no target_weights; got XGBoost {xgboost.__version__}, "
                f"{targets.scale!r} and {targets.weights!r}; leave it out."
            )
            raise InputError(msg)
    for name in _WITH_UNIT:
        if targets.scale == "robust" and float(asked.settings.get(name, 0)) != 0:
            msg = (
                f"{name} is in target units, of which there are several; got {asked.settings[name]} with "
                f"multi_strategy={_SHARED!r}; leave it out, or pass target_scale='none'."
            )
            raise InputError(msg)


def _changed(rows: TrainingTargets, model: xgboost.Booster) -> dict[str, npt.NDArray[np.float32]]:
    """Compute the labels and margins that XGBoost must see instead of the user's."""
    if not any(rows.centres):
        return {}
    margin = user_info(rows.rows.matrix, "base_margin")
    shape = rows.targets.T.shape
    margin = margin if margin.size else np.broadcast_to(_base_scores(model), shape)
    return {
        "label": np.ascontiguousarray(rows.targets.T),
        "base_margin": (margin - np.array(rows.centres, np.float64)).astype(np.float32),
    }


def _changed_weight(rows: MatrixTargets, factor: float) -> dict[str, npt.NDArray[np.float32]]:
    """Compute the weights that XGBoost's own objective must see instead of the user's."""
    if factor == 1 and rows.counts.rule != "mean 1":
        return {}
    size = rows.targets.shape[1]
    weight = np.ones(size) if rows.counts.values is None else rows.counts.values
    return {"weight": (weight * factor).astype(np.float32)}


def _base_scores(model: xgboost.Booster) -> npt.NDArray[np.float64]:
    """Read the constants from which a model's predictions start."""
    learner = json.loads(model.save_config())["learner"]
    return np.array(json.loads(learner["learner_model_param"]["base_score"]), np.float64)
