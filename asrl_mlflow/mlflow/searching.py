"""Record a search of scikit-learn over one of our estimators: a parent run, and a child run a candidate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Number
from typing import Any

import numpy as np
import pandas as pd
from mlflow.utils.mlflow_tags import MLFLOW_AUTOLOGGING
from sklearn.base import clone
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline

from asrl_mlflow import tracking
from asrl_mlflow.estimators.model import RobustXGBModel
from asrl_mlflow.mlflow.searches import searching
from asrl_mlflow.mlflow.training_log import (
    FLOW,
    TrainingLog,
    first_rows,
    name_of,
    open_run,
    option,
    safely,
)
from asrl_mlflow.registry.packing import FLAVOR_NAME
from asrl_mlflow.system.listening import unheard
from asrl_mlflow.tracking.run_log import RunLog

# Of scikit-learn's table of results: what is a param, and the scores of single folds.
_NO_METRICS = ("param", "split", "rank")


def record_search(
    original: Callable[..., Any],
    search: BaseSearchCV,
    *args: Any,  # noqa: ANN401 - as `fit` has it
    **given: Any,  # noqa: ANN401 - as `fit` has it
) -> Any:  # noqa: ANN401 - as `fit` has it
    """Search, and record it where the estimator is one of ours.

    Parameters
    ----------
    original : callable
        The search's own `fit`.
    search : BaseSearchCV
        The search.
    *args, **given
        Arguments of `fit`.
    """
    if _ours(search.estimator) is None:
        return original(search, *args, **given)
    values = dict(zip(("X", "y"), args, strict=False)) | given
    with open_run(f"search {type(_ours(search.estimator)).__name__}") as log:
        with searching(), unheard():
            result = original(search, *args, **given)
        safely(_log)(search, log, values.get("X"), values.get("y"))
    return result


def _ours(estimator: Any) -> RobustXGBModel | None:  # noqa: ANN401 - an estimator
    """Find the estimator of ours that is searched, which may be a pipeline's last step."""
    if isinstance(estimator, Pipeline):
        estimator = estimator.steps[-1][1]
    return estimator if isinstance(estimator, RobustXGBModel) else None


def _params(estimator: Any) -> dict[str, Any]:  # noqa: ANN401 - an estimator
    """Name what is trained under the keys of runs."""
    model = _ours(estimator)
    if model is None:
        return {}
    own = {key: value for key, value in model.get_xgb_params().items() if value is not None}
    own.pop("n_estimators", None)
    return {
        **tracking.loss_params(model.get_loss()),
        **tracking.booster_params(own, model.get_num_boosting_rounds()),
    }


def _log(search: BaseSearchCV, log: RunLog, rows: Any, target: Any) -> None:  # noqa: ANN401 - tables of any kind
    """Log the search's result into its run, and a child run for each of the best candidates."""
    candidates = pd.DataFrame({"params": search.cv_results_["params"]})
    log.params({"search": type(search).__name__, "search.candidates": len(candidates)})
    if hasattr(search, "best_params_"):
        log.params({f"best_{key}": value for key, value in search.best_params_.items()})
    if isinstance(getattr(search, "best_score_", None), Number):
        log.metrics({"best_cv_score": float(search.best_score_)})
    for place in _best_places(search):
        safely(_log_candidate)(search, place, log)
    best = getattr(search, "best_estimator_", None)
    if best is None:
        return
    log.params(_params(best))
    if isinstance(best, RobustXGBModel):
        training = TrainingLog(log, name_of(target), first_rows(rows))
        training.end_unheard(best, getattr(search, "refit_time_", np.nan), rows=len(target))


def _best_places(search: BaseSearchCV) -> list[int]:
    """List the places of the candidates that become runs, the best ones first."""
    ranks = next(
        values for key, values in search.cv_results_.items() if key.startswith("rank_test_")
    )
    most = option("max_tuning_runs")
    return [int(place) for place in np.argsort(ranks, kind="stable")[:most]]


def _log_candidate(search: BaseSearchCV, place: int, parent: RunLog) -> None:
    results: Mapping[str, Any] = search.cv_results_
    given = results["params"][place]
    name = ", ".join(f"{key.split('__')[-1]}={value}" for key, value in given.items())
    child = tracking.open_child(
        name or "defaults", flow=FLOW, parent=parent, tags={MLFLOW_AUTOLOGGING: FLAVOR_NAME}
    )
    child.params({**given, **_params(clone(search.estimator).set_params(**given))})
    child.metrics(
        {
            key: float(values[place])
            for key, values in results.items()
            if not key.startswith(_NO_METRICS) and isinstance(values[place], Number)
        }
    )
    child.close("FINISHED")
