"""Tune a loss on a table in memory: what the flow `tune` does, for notebooks and scripts."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mlflow
import numpy.typing as npt
import optuna

from asrl_mlflow import tracking
from asrl_mlflow.cards import Card
from asrl_mlflow.datasets.contamination import Contamination
from asrl_mlflow.datasets.dataset import from_arrays
from asrl_mlflow.errors import InputError
from asrl_mlflow.estimators import RobustXGBClassifier, RobustXGBRegressor
from asrl_mlflow.experiments.settings import Settings
from asrl_mlflow.losses import BaseLoss, loss_class
from asrl_mlflow.metrics import TASKS
from asrl_mlflow.studies.showing import trials_table
from asrl_mlflow.studies.storages import default_storage, open_storage
from asrl_mlflow.system.listening import replaceable
from asrl_mlflow.tuning.api import Outcome, tune_plan
from asrl_mlflow.tuning.plan import EARLY_STOPPING_ROUNDS, Plan

if TYPE_CHECKING:
    from distributed import Client

_ESTIMATORS: Mapping[str, Any] = {
    "regression": RobustXGBRegressor,
    "classification": RobustXGBClassifier,
}
# Names of scikit-learn's interface for XGBoost's own.
_ESTIMATOR_NAMES = {"lambda": "reg_lambda", "seed": "random_state"}


@dataclass(frozen=True)
class TunedLoss:
    """Result of `tune`.

    Parameters
    ----------
    outcome : Outcome
        Of the study: its best trial, how many trials it has, and what the best loss has on test rows.
    metric : str
        What it was tuned by.
    best_estimator_ : RobustXGBRegressor or RobustXGBClassifier
        The best loss with its rounds, fitted to all rows.
    study : optuna.Study
        A copy of the study's finished trials in memory, for Optuna's plots.
    """

    outcome: Outcome
    metric: str
    best_estimator_: RobustXGBRegressor | RobustXGBClassifier
    study: optuna.Study

    @property
    def best_loss_(self) -> BaseLoss:
        """The best loss."""
        return self.outcome.loss

    @property
    def best_params_(self) -> dict[str, Any]:
        """Its parameters by their own names, where the study's points have q_high as a gap above q_low."""
        return dict(self.outcome.best.loss["params"])

    @property
    def run_id(self) -> str:
        """Id of the study's parent run; its booster was judged on test rows and can be registered."""
        return self.outcome.log.run_id

    def _repr_html_(self) -> str:
        """Show the result in a notebook: the best loss, how good it is, the best trials."""
        outcome, task = self.outcome, TASKS[self.outcome.loss.task]
        untuned = "" if outcome.untuned is None else f" (with its defaults {outcome.untuned:.4g})"
        facts = {
            "loss": str(outcome.loss),
            "rounds": str(outcome.best.rounds),
            f"{self.metric} on rows not learned from": f"{outcome.best.value:.4g}{untuned}",
            f"test {task.default_title}": f"{outcome.metrics[task.default]:.4g}",
            "trials": f"{outcome.complete} complete, {outcome.pruned} pruned",
            "study": outcome.study,
            "run": outcome.log.run_id,
            "to see every run": tracking.ui_command(),
        }
        return Card(
            title=f"{outcome.loss.label} tuned",
            facts=facts,
            tables=[trials_table(self.study.trials, self.metric)],
        ).html()


def _tune(
    X: Any,  # noqa: ANN401, N803 - a table of any kind, under scikit-learn's name
    y: npt.ArrayLike,
    *,
    loss: str | type[BaseLoss] = "asrl_c",
    trials: int = 100,
    study: str | None = None,
    storage: str | None = None,
    metric: str | None = None,
    sample_weight: npt.ArrayLike | None = None,
    groups: npt.ArrayLike | None = None,
    times: npt.ArrayLike | None = None,
    tune_booster: bool = False,
    rounds: int = Settings.rounds,
    learning_rate: float = Settings.learning_rate,
    max_depth: int = Settings.max_depth,
    early_stopping_rounds: int | None = EARLY_STOPPING_ROUNDS,
    jobs: int | None = None,
    timeout: float | None = None,
    seed: int = 0,
    figures: bool = True,
    name: str = "table",
    client: Client | None = None,
) -> TunedLoss:
    """Tune a loss on features and targets in memory; each trial is a nested MLflow run.

    The same call goes on with its study, wherever it was stopped.

    Parameters
    ----------
    X, y, sample_weight, groups, times, name
        As for `datasets.from_arrays`. A fifth of the rows are test rows: no trial sees them. For a loss for
        classes y has their labels.
    loss : str or type of loss
        The loss whose parameters are searched.
    trials : int, >= 1
        How many complete and pruned trials the study should have, earlier ones included.
    study : str, optional
        Its name; by default made from what it is about, so that the same call finds it.
    storage : str, optional
        Address of the storage that it is kept in; by default a journal beside the tracking store.
    metric : {"mae", "rmse", "mse", "medae", "trimmed_mae", "quantile"}, optional
        The objective, on rows that were not learned from; by default "mae". For classes one of "logloss", the
        default, "error", "brier" and "calibration_error".
    tune_booster : bool
        Whether max_depth, learning_rate, min_child_weight, subsample and lambda are searched too.
    rounds, learning_rate, max_depth, early_stopping_rounds
        How to boost.
    jobs : int, optional
        How many trials to judge at once, at least 1; None and -1 mean one for each core, of a cluster one for
        each thread of its workers.
    timeout : float, optional
        Begin no trial after so many seconds.
    seed : int, >= 0
        Of split, folds, sampler and trees.
    figures : bool
        Whether to draw figures into the runs.
    client : distributed.Client, optional
        Of a Dask cluster whose workers judge the trials; without it, processes of this host do.

    Returns
    -------
    TunedLoss
        With the best loss, an estimator that it was fitted with, the study, and the id of the run.

    Raises
    ------
    InputError
        An argument is not as described, or another study has the name.
    StoreError
        The tracking store does not answer.
    StorageError
        The storage cannot be opened, or failed while it was worked on.
    ClusterError
        The cluster does not answer, or its workers die again and again.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> y = 5 + 3 * x[:, 0]
    >>> y[::5] += 100  # one target in five is wrong
    >>> tuned = tune(x, y, trials=2, rounds=20, jobs=1, figures=False)
    >>> tuned.best_loss_.name, tuned.best_estimator_.predict(x).shape
    ('asrl_c', (200,))
    """
    kind = _class_of(loss)
    task = TASKS[kind.task]
    metric = metric or task.default
    table = from_arrays(
        X,
        y,
        sample_weight=sample_weight,
        groups=groups,
        times=times,
        name=name,
        classes=kind.task == "classification",
    )
    for line in table.warnings:
        warnings.warn(f"{table.name}: {line}", UserWarning, stacklevel=2)
    plan = Plan(
        loss=kind,
        table=table,
        metric=metric,
        seed=seed,
        settings=Settings(
            rounds=rounds,
            learning_rate=learning_rate,
            max_depth=max_depth,
            early_stopping_rounds=early_stopping_rounds,
            figures=figures,
        ),
        contamination=Contamination(),
        tune_booster=tune_booster,
    )
    tracking.connect()
    where = storage or default_storage(mlflow.get_tracking_uri())
    outcome = tune_plan(
        plan,
        study=study or plan.name(),
        storage=where,
        trials=trials,
        jobs=jobs,
        seconds=timeout,
        client=client,
    )
    params = {**plan.settings.booster_params(seed), **plan.candidate(outcome.best.point)[1]}
    estimator = _ESTIMATORS[kind.task](
        loss=outcome.loss,
        n_estimators=outcome.best.rounds,
        **{_ESTIMATOR_NAMES.get(key, key): value for key, value in params.items()},
    )
    estimator.fit(X, y, sample_weight=sample_weight)
    return TunedLoss(outcome, metric, estimator, _copy_study(where, outcome.study))


# Looked up at each call, so that `autolog` can stand in for it.
tune = replaceable(_tune, __name__, "_tune")
tune.__name__ = tune.__qualname__ = "tune"


def _class_of(loss: object) -> type[BaseLoss]:
    if isinstance(loss, str):
        return loss_class(loss)
    if isinstance(loss, type) and issubclass(loss, BaseLoss):
        return loss
    msg = f"tune searches the parameters of a loss; got {loss!r}; pass its name or its class."
    raise InputError(msg)


def _copy_study(storage: str, name: str) -> optuna.Study:
    """Copy a study into memory, where it can be read when its storage is closed."""
    with open_storage(storage) as opened:
        found = optuna.load_study(study_name=name, storage=opened)
        copy = optuna.create_study(study_name=name, direction=found.direction)
        for key, value in found.user_attrs.items():
            copy.set_user_attr(key, value)
        # One that is still under way would stay so in a copy for ever.
        copy.add_trials(trial for trial in found.trials if trial.state.is_finished())
        return copy
