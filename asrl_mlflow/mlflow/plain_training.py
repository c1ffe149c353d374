"""Record `xgboost.train` where its objective is that of one of our losses."""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

import mlflow
import xgboost
from mlflow.utils import gorilla
from mlflow.utils.autologging_utils import AUTOLOGGING_INTEGRATIONS, autologging_is_disabled

from asrl_mlflow import tracking
from asrl_mlflow.boosting import LOSS_ATTRIBUTE
from asrl_mlflow.losses import BaseLoss, to_config
from asrl_mlflow.mlflow.training_log import (
    TrainingLog,
    heard_by,
    is_recorded,
    open_run,
    safely,
    tags_of_runs,
)

Original = Callable[..., Any]

_logger = logging.getLogger(__name__)
_OTHER = "xgboost"


def is_xgboost_logged() -> bool:
    """Check whether `mlflow.xgboost.autolog` is on: then its run is the one to fill."""
    return not autologging_is_disabled(_OTHER)


def restore_xgboost() -> None:
    """Turn `mlflow.xgboost.autolog` on again where it is on and our turning off or on has taken it out.

    MLflow puts back what stood in a place at the very first, whoever stands there now.
    """
    is_plain = gorilla.get_original_attribute(xgboost, "train") is xgboost.train
    if is_xgboost_logged() and is_plain:
        given = dict(AUTOLOGGING_INTEGRATIONS[_OTHER])
        known = inspect.signature(mlflow.xgboost.autolog).parameters
        mlflow.xgboost.autolog(**{key: value for key, value in given.items() if key in known})
        AUTOLOGGING_INTEGRATIONS[_OTHER] = given  # and whether `mlflow.autolog` has turned it on


def train(
    original: Original,
    params: Mapping[str, Any] | None,
    dtrain: xgboost.DMatrix,
    num_boost_round: int = 10,
    **given: Any,  # noqa: ANN401 - those of `xgboost.train`
) -> Any:  # noqa: ANN401 - a booster
    """Stand in for `xgboost.train`.

    Parameters
    ----------
    original : callable
        `xgboost.train` itself.
    params, dtrain, num_boost_round, **given
        Its arguments.
    """
    loss = _loss(given.get("obj"))
    if loss is None or is_recorded():
        return original(params, dtrain, num_boost_round, **given)
    with open_run(f"train {loss.name}") as log:
        training = TrainingLog(log)
        stopping = given.get("early_stopping_rounds")
        safely(training.begin)(loss, params, dtrain, num_boost_round, stopping)
        callbacks = [*(given.pop("callbacks", None) or ()), _Rounds(training)]
        with heard_by(training):
            booster = original(params, dtrain, num_boost_round, callbacks=callbacks, **given)
        safely(training.end)(booster)
    return booster


def update(
    original: Original,
    booster: xgboost.Booster,
    dtrain: xgboost.DMatrix,
    iteration: int,
    fobj: Any = None,  # noqa: ANN401 - XGBoost's
) -> Any:  # noqa: ANN401 - XGBoost's
    """Stand in for `Booster.update`: record in the booster, once, the loss that its file would not name.

    MLflow lets one integration only stand in for a function, the last one. So where `mlflow.xgboost.autolog`
    stands in for `xgboost.train`, this is where its run learns the loss.

    Parameters
    ----------
    original : callable
        `Booster.update` itself.
    booster, dtrain, iteration, fobj
        Its arguments.
    """
    loss = _loss(fobj)
    if loss is not None and booster.attr(LOSS_ATTRIBUTE) is None:
        safely(_record)(loss, booster, dtrain)
    return original(booster, dtrain, iteration, fobj)


def _record(loss: BaseLoss, booster: xgboost.Booster, dtrain: xgboost.DMatrix) -> None:
    booster.set_attr(**{LOSS_ATTRIBUTE: json.dumps(to_config(loss))})
    if is_recorded():
        return
    active = mlflow.active_run()
    if active is None or not is_xgboost_logged():
        _logger.warning(
            "autolog does not record this training: another integration of MLflow stood in for "
            "xgboost.train and was turned off; call asrl_mlflow.mlflow.autolog() again."
        )
        return
    with tracking.fill(active) as log:
        log.tags(tags_of_runs())
        TrainingLog(log).name(loss, dtrain)


def _loss(objective: Any) -> BaseLoss | None:  # noqa: ANN401 - XGBoost's
    """Find the loss whose method an objective is."""
    owner = getattr(objective, "__self__", None)
    return owner if isinstance(owner, BaseLoss) else None


class _Rounds(xgboost.callback.TrainingCallback):
    """Log the metrics of rounds.

    Parameters
    ----------
    training : TrainingLog
        Where they go.
    """

    def __init__(self, training: TrainingLog) -> None:
        super().__init__()
        self._training = training

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ANN401, ARG002 - XGBoost's
        """Log the metrics of a round."""
        safely(self._log)(epoch, evals_log)
        return False

    def _log(self, epoch: int, evals_log: Mapping[str, Mapping[str, list[Any]]]) -> None:
        found = {
            f"{name}.{metric}": values[-1][0] if isinstance(values[-1], tuple) else values[-1]
            for name, metrics in evals_log.items()
            for metric, values in metrics.items()
        }
        self._training.log.step(epoch, found)
