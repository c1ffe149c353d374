"""Check the arguments of `train` before training starts."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost

from asrl_mlflow.errors import InputError
from asrl_mlflow.losses import BaseLoss, ClassificationLoss, Loss
from asrl_mlflow.losses.regression.loss import check_one_process
from asrl_mlflow.metrics import TASKS, Task

# A metric of the user's: from predictions and their matrix to a name and a value, or several of them.
CustomMetric = Callable[
    [npt.NDArray[np.float32], xgboost.DMatrix], tuple[str, float] | list[tuple[str, float]]
]

# What has trees left out while others are built; since XGBoost 3.4 without booster=dart too.
_DROPOUT = ("rate_drop", "one_drop")
# What XGBoost computes from margins as well as from probabilities.
_OF_MARGINS = ("auc", "aucpr")


@dataclass(frozen=True)
class Arguments:
    """The parameters that XGBoost gets, and what follows from them.

    Parameters
    ----------
    settings : mapping
        Parameters that are set, without `eval_metric`.
    named : sequence of str
        Metrics of ours that `eval_metric` names.
    natives : sequence of str
        Metrics that XGBoost computes.
    custom_metric : callable, optional
        The user's, which XGBoost calls.
    task : Task
        Of the loss.
    selecting : str, optional
        The metric of ours that stops and selects; without it the last one of XGBoost's does.
    boosts_trees : bool
        Whether the booster is made of trees.
    drops_trees : bool
        Whether trees are left out while others are built, and rescaled.
    """

    settings: Mapping[str, Any]
    named: Sequence[str]
    natives: Sequence[str]
    custom_metric: CustomMetric | None
    task: Task
    selecting: str | None
    boosts_trees: bool
    drops_trees: bool

    @property
    def metrics(self) -> Sequence[str]:
        """The metrics that are computed by us."""
        return tuple(
            dict.fromkeys([*self.task.reported, *self.named, *filter(None, [self.selecting])])
        )

    @property
    def measures_natively(self) -> bool:
        """Whether XGBoost measures the rows of `evals` too, by its metrics or the user's."""
        return bool(self.natives) or self.custom_metric is not None

    @property
    def is_plain(self) -> bool:
        """Whether trees are added and never changed again."""
        return self.boosts_trees and not self.drops_trees

    @classmethod
    def checked(
        cls,
        params: Mapping[str, Any] | None,
        dtrain: xgboost.DMatrix,
        num_boost_round: int,
        evals: Sequence[Any],
        early_stopping_rounds: int | None,
        metric: str | None,
        callbacks: Sequence[Any],
        custom_metric: CustomMetric | None,
        loss: BaseLoss,
    ) -> Arguments:
        """Refuse in one line what XGBoost would refuse later, worse or not at all.

        Raises
        ------
        InputError
            An argument that `train` does not take.
        """
        # To XGBoost None means unset.
        if custom_metric is not None:
            check_one_process("custom_metric", "leave it out, and name one of ours as metric")
        settings = {name: value for name, value in dict(params or {}).items() if value is not None}
        _check(settings, dtrain, num_boost_round, evals, callbacks, loss)
        _check_device(settings)
        task = TASKS[loss.task]
        named = _names(settings.pop("eval_metric", None))
        ours = task.reported if isinstance(loss, Loss) else task.selecting
        natives = [name for name in named if name not in ours]
        if isinstance(loss, ClassificationLoss):
            _check_natives(loss, natives)
        kind = settings.get("booster", "gbtree")
        asked = cls(
            settings,
            [name for name in named if name in ours],
            natives,
            None if custom_metric is None else _with_own_names(custom_metric, task),
            task,
            _selecting(metric, named, natives, task, is_custom=custom_metric is not None),
            boosts_trees=kind != "gblinear",
            drops_trees=kind == "dart" or any(float(settings.get(n, 0)) > 0 for n in _DROPOUT),
        )
        _check_stopping(early_stopping_rounds, evals, is_cuttable=asked.is_plain)
        return asked


def builds_on_gpu(params: Mapping[str, Any]) -> bool:
    """Whether XGBoost is asked to build trees on a GPU.

    Examples
    --------
    >>> builds_on_gpu({"device": "cuda:0"}), builds_on_gpu({"device": "cpu"}), builds_on_gpu({})
    (True, False, False)
    """
    return str(params.get("device")).startswith(("cuda", "gpu"))


@cache
def _device_of(device: str) -> str:
    """What XGBoost takes for a device: the processor, with a warning, where there is none."""
    matrix = xgboost.DMatrix(np.zeros((1, 1), np.float32), label=np.zeros(1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = json.loads(xgboost.Booster({"device": device}, [matrix]).save_config())
    return str(config["learner"]["generic_param"]["device"])


def is_quantised(matrix: xgboost.DMatrix) -> bool:
    """Whether a matrix holds the bins that its features fall into."""
    return isinstance(matrix, xgboost.QuantileDMatrix | xgboost.ExtMemQuantileDMatrix)


def _check_device(params: Mapping[str, Any]) -> None:
    """Refuse a GPU that is not there."""
    if builds_on_gpu(params) and _device_of(str(params["device"])) == "cpu":
        msg = (
            f"device={params['device']!r} needs a GPU that XGBoost can use; got none here, where XGBoost would "
            "go on with the processor; leave device out, or look at the driver and xgboost.build_info()."
        )
        raise InputError(msg)


def _names(eval_metric: str | Sequence[str] | None) -> list[str]:
    if eval_metric is None:
        return []
    return [eval_metric] if isinstance(eval_metric, str) else list(eval_metric)


def _check_natives(loss: ClassificationLoss, natives: Sequence[str]) -> None:
    """Refuse metrics that XGBoost would compute from what are no probabilities."""
    for name in natives:
        ours = {"mlogloss": "logloss", "merror": "error"}.get(name)
        if ours or not (loss.IS_PROPER or name in _OF_MARGINS):
            msg = (
                f"eval_metric takes {', '.join(TASKS[loss.task].selecting)} for any number of classes, from "
                f"the probabilities that {type(loss).__name__} gives, and XGBoost's {', '.join(_OF_MARGINS)}; "
                f"got {name!r}; name {ours or 'logloss'!r}."
            )
            raise InputError(msg)


def _with_own_names(custom_metric: CustomMetric, task: Task) -> CustomMetric:
    """A metric of the user's that refuses the names of ours: both would be one list of values."""
    if not callable(custom_metric):
        msg = (
            "train needs a custom_metric that takes predictions and a matrix, and returns a name and a "
            f"value; got {custom_metric!r}; pass a function."
        )
        raise InputError(msg)

    def named(
        prediction: npt.NDArray[np.float32], matrix: xgboost.DMatrix
    ) -> tuple[str, float] | list[tuple[str, float]]:
        found = custom_metric(prediction, matrix)
        for name, _ in found if isinstance(found, list) else [found]:
            if name in task.selecting:
                msg = (
                    f"custom_metric needs a name of its own; got {name!r}, which train computes itself; "
                    "rename it."
                )
                raise InputError(msg)
        return found

    return named


def _selecting(
    metric: str | None,
    named: Sequence[str],
    natives: Sequence[str],
    task: Task,
    *,
    is_custom: bool,
) -> str | None:
    """The metric of ours that stops and selects; None where XGBoost's own last one does."""
    if metric is None and is_custom:
        return None  # XGBoost computes it last
    if metric is None:
        last = named[-1] if named else task.default
        return None if last in natives else last
    if metric not in task.selecting:
        msg = f"train needs a metric out of {', '.join(task.selecting)}; got {metric!r}."
        raise InputError(msg)
    if metric in natives:
        msg = (
            f"A metric may be named once; got metric={metric!r}, which is ours, and "
            f"params['eval_metric'] with XGBoost's of the same name; leave one out."
        )
        raise InputError(msg)
    return metric


def _check(
    params: Mapping[str, Any],
    dtrain: xgboost.DMatrix,
    num_boost_round: int,
    evals: Sequence[Any],
    callbacks: Sequence[Any],
    loss: BaseLoss,
) -> None:
    if not isinstance(dtrain, xgboost.DMatrix):
        msg = (
            f"train needs a DMatrix or QuantileDMatrix; got {type(dtrain).__name__}; pass "
            "xgboost.QuantileDMatrix(x, label=y), or use RobustXGBRegressor(...).fit(x, y)."
        )
        raise InputError(msg)
    if "objective" in params:
        msg = (
            "train takes the objective from loss; got "
            f"params['objective']={params['objective']!r}; remove it."
        )
        raise InputError(msg)
    if params.get("scale_pos_weight", 1) != 1:
        msg = (
            "train weighs classes by sample weights, which every loss heeds; got scale_pos_weight="
            f"{params['scale_pos_weight']}; set the weights of the matrix instead."
        )
        raise InputError(msg)
    if "num_class" in params and isinstance(loss, Loss):
        msg = (
            f"num_class is for losses of classes; got {params['num_class']} and {loss}; remove it, or pass "
            "losses.LogLoss(), say."
        )
        raise InputError(msg)
    if isinstance(num_boost_round, bool) or not (
        isinstance(num_boost_round, int | np.integer) and num_boost_round >= 0
    ):
        msg = f"train needs a whole number of rounds, at least 0; got {num_boost_round!r}."
        raise InputError(msg)
    for entry in evals:
        _check_entry(entry, dtrain)
    names = [name for _, name in evals]
    if len(set(names)) < len(names):
        msg = (
            f"train needs a name for each entry of evals; got {', '.join(names)}; tell them apart."
        )
        raise InputError(msg)
    for callback in callbacks:
        if not isinstance(callback, xgboost.callback.TrainingCallback):
            msg = (
                "train needs callbacks of type xgboost.callback.TrainingCallback; got "
                f"{callback!r}; pass an instance of a subclass."
            )
            raise InputError(msg)


def _check_entry(entry: Any, dtrain: xgboost.DMatrix) -> None:  # noqa: ANN401 - whatever was passed
    if not (
        isinstance(entry, tuple | list)
        and len(entry) == 2  # noqa: PLR2004 - a pair
        and isinstance(entry[0], xgboost.DMatrix)
        and isinstance(entry[1], str)
        and "-" not in entry[1]
    ):
        msg = (
            f"train needs evals of the form [(matrix, name), ...], names without '-'; got "
            f"{str(entry)[:100]}; pass evals=[(dvalid, 'valid')]."
        )
        raise InputError(msg)
    matrix, name = entry
    if (
        is_quantised(matrix)
        and matrix is not dtrain
        and (matrix.ref is None or matrix.ref() is not dtrain)
    ):
        msg = (
            f"A QuantileDMatrix of evals must be cut where the training matrix is; got {name!r} "
            "without that; pass ref=dtrain when it is made."
        )
        raise InputError(msg)


def _check_stopping(
    early_stopping_rounds: int | None, evals: Sequence[Any], *, is_cuttable: bool
) -> None:
    if early_stopping_rounds is None:
        return
    if early_stopping_rounds < 1:
        msg = (
            f"Early stopping needs at least 1 round; got early_stopping_rounds="
            f"{early_stopping_rounds}; pass None for no early stopping."
        )
        raise InputError(msg)
    if not evals:
        msg = (
            f"Early stopping needs rows to judge by; got early_stopping_rounds="
            f"{early_stopping_rounds} and no evals; pass evals=[(dvalid, 'valid')]."
        )
        raise InputError(msg)
    if not is_cuttable:
        msg = (
            f"Early stopping cuts the booster behind its best round, which is another model for "
            f"gblinear and where dropout rescales earlier trees; got early_stopping_rounds="
            f"{early_stopping_rounds}; leave it out."
        )
        raise InputError(msg)
