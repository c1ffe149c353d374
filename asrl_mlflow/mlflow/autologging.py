"""Record trainings that a user starts, by MLflow's conventions for `autolog`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import xgboost
from mlflow.utils.autologging_utils import autologging_integration
from mlflow.utils.autologging_utils.safety import safe_patch
from sklearn.model_selection._search import BaseSearchCV

from asrl_mlflow import boosting, tracking
from asrl_mlflow.estimators.model import RobustXGBModel
from asrl_mlflow.losses import BaseLoss
from asrl_mlflow.mlflow import plain_training
from asrl_mlflow.mlflow.searching import record_search
from asrl_mlflow.mlflow.training_log import (
    TrainingLog,
    around,
    first_rows,
    heard_by,
    is_recorded,
    name_of,
    open_run,
    option,
    safely,
)
from asrl_mlflow.registry.packing import FLAVOR_NAME
from asrl_mlflow.registry.registration import log_run, register
from asrl_mlflow.rounds import Round
from asrl_mlflow.system.listening import is_unheard, unheard
from asrl_mlflow.tuning import search

Original = Callable[..., Any]


def autolog(
    *,
    log_models: bool = True,
    log_datasets: bool = True,
    log_figures: bool = True,
    disable: bool = False,
    exclusive: bool = False,
    disable_for_unsupported_versions: bool = False,
    silent: bool = False,
    max_tuning_runs: int | None = 5,
    registered_model_name: str | None = None,
    extra_tags: Mapping[str, str] | None = None,
) -> None:
    """Record what is trained from now on: `train`, `fit` of the estimators, `tune`, and searches of scikit-learn.

    Each becomes an MLflow run, or fills the active one, under the keys of the flows' runs: the loss, thresholds,
    weights and metrics of each round, table, figures and model. So does `xgboost.train` with
    `obj=loss.objective`, with its metrics. A run can be registered by `registry.register`.

    Parameters
    ----------
    log_models : bool
        Whether to keep the model.
    log_datasets : bool
        Whether to log the table: its size, names, and a digest of its targets.
    log_figures : bool
        Whether to draw thresholds and learning curves.
    disable : bool
        Record nothing any more.
    exclusive : bool
        Whether to leave runs alone that the user has opened.
    disable_for_unsupported_versions : bool
        As MLflow has it; here every version that can be installed is supported.
    silent : bool
        Whether to hide warnings, MLflow's and ours.
    max_tuning_runs : int, optional
        How many candidates of a search become child runs, the best ones; None for all.
    registered_model_name : str, optional
        Register each model under this name.
    extra_tags : mapping of str to str, optional
        More tags for each run.

    Notes
    -----
    A store that fails never ends a training: there is a warning, and what the store did not take is kept in
    `asrl-spool/`, for `python -m asrl_mlflow.tracking.resend`. A second training in the same active run
    becomes its child run. What is trained inside `tracking.run` is not recorded again.

    Examples
    --------
    >>> import mlflow, numpy as np
    >>> from asrl_mlflow import RobustXGBRegressor
    >>> x = np.linspace(0, 1, 100)[:, None]
    >>> autolog(log_models=False, log_figures=False)
    >>> with mlflow.start_run() as run:
    ...     _ = RobustXGBRegressor(loss="huber", n_estimators=5).fit(x, x[:, 0])
    >>> autolog(disable=True)
    >>> mlflow.get_run(run.info.run_id).data.params["loss.name"]
    'huber'
    """
    _integrate(
        log_models=log_models,
        log_datasets=log_datasets,
        log_figures=log_figures,
        disable=disable,
        exclusive=exclusive,
        disable_for_unsupported_versions=disable_for_unsupported_versions,
        silent=silent,
        max_tuning_runs=max_tuning_runs,
        registered_model_name=registered_model_name,
        extra_tags=extra_tags,
    )
    plain_training.restore_xgboost()


@autologging_integration(FLAVOR_NAME)  # type: ignore[untyped-decorator]  # MLflow's
def _integrate(*, disable: bool = False, silent: bool = False, **_options: object) -> None:  # noqa: ARG001 - MLflow reads them
    """Put what records in the places of what trains; MLflow has taken it out before."""
    for home, name, patch in (
        (boosting, "_train", _train),
        (RobustXGBModel, "fit", _fit),
        (BaseSearchCV, "fit", _search),
        (search, "_tune", _tune),
        (xgboost.Booster, "update", plain_training.update),
    ):
        safe_patch(FLAVOR_NAME, home, name, patch)
    if not plain_training.is_xgboost_logged():
        safe_patch(FLAVOR_NAME, xgboost, "train", plain_training.train)


def _train(
    original: Original,
    params: Mapping[str, Any] | None,
    dtrain: xgboost.DMatrix,
    num_boost_round: int = 100,
    **given: Any,  # noqa: ANN401 - those of `train`
) -> Any:  # noqa: ANN401 - a booster
    """Stand in for `train`."""
    fit = around.get()
    if fit is not None and not is_unheard():
        return _hear(original, fit, params, dtrain, num_boost_round, **given)
    loss = given.get("loss")
    if is_recorded() or not isinstance(loss, BaseLoss):
        return original(params, dtrain, num_boost_round, **given)
    with open_run(f"train {loss.name}") as log:
        training = TrainingLog(log)
        booster = _hear(original, training, params, dtrain, num_boost_round, **given)
        safely(training.end)(booster)
    return booster


def _hear(
    original: Original,
    training: TrainingLog,
    params: Mapping[str, Any] | None,
    dtrain: xgboost.DMatrix,
    rounds: int,
    *,
    on_round: Callable[[Round], None] | None = None,
    **given: Any,  # noqa: ANN401 - those of `train`
) -> Any:  # noqa: ANN401 - a booster
    """Train, and hear of each round; the user's own listener is told too."""
    hear = safely(training.hear)

    def tell(round_: Round) -> None:
        hear(round_)
        if on_round is not None:
            on_round(round_)

    stopping = given.get("early_stopping_rounds")
    safely(training.begin)(given["loss"], params, dtrain, rounds, stopping)
    with unheard():
        return original(params, dtrain, rounds, on_round=tell, **given)


def _fit(original: Original, model: RobustXGBModel, *args: Any, **given: Any) -> Any:  # noqa: ANN401 - as `fit` has it
    """Stand in for `fit` of the estimators."""
    if is_recorded():
        return original(model, *args, **given)
    values = dict(zip(("X", "y"), args, strict=False)) | given
    rows, target = values.get("X"), values.get("y")
    with open_run(f"fit {type(model).__name__}") as log:
        training = TrainingLog(log, name_of(target), first_rows(rows))
        with heard_by(training):
            result = original(model, *args, **given)
        safely(training.end)(model)
    return result


def _search(original: Original, searching: BaseSearchCV, *args: Any, **given: Any) -> Any:  # noqa: ANN401 - as `fit` has it
    """Stand in for `fit` of scikit-learn's searches."""
    if is_recorded():
        return original(searching, *args, **given)
    return record_search(original, searching, *args, **given)


def _tune(original: Original, *args: Any, **given: Any) -> Any:  # noqa: ANN401 - as `tune` has it
    """Stand in for `tune`, which records its runs itself: add the model."""
    with unheard():
        tuned = original(*args, **given)
    safely(_log_tuned)(tuned.outcome.log)
    return tuned


def _log_tuned(log: tracking.RunLog) -> None:
    if option("extra_tags"):
        tracking.RunLog(log.run_id).tags(option("extra_tags"))
    name = option("registered_model_name")
    if not log.complete or not option("log_models"):
        return
    if name is None:
        log_run(log.run_id)
    else:
        register(log.run_id, name)
