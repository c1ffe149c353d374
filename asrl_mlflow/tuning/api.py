"""One loss tuned on one table: the study is found or begun, worked on, and its best is judged once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from optuna.storages import BaseStorage
from optuna.trial import TrialState

from asrl_mlflow import tracking
from asrl_mlflow.datasets.splits import Split
from asrl_mlflow.errors import InputError
from asrl_mlflow.experiments.experiment import prepare_split, refit
from asrl_mlflow.figures.style import png
from asrl_mlflow.losses import LOSSES, Loss, from_config, import_path, register
from asrl_mlflow.losses.search_space import Interval, SearchSpace
from asrl_mlflow.metrics import METRICS
from asrl_mlflow.studies.sampler import SAMPLER, UNDER_WAY
from asrl_mlflow.studies.study import FEWEST_TO_PRUNE_BY, JUDGED, Best, Study
from asrl_mlflow.tracking.keys import data_params
from asrl_mlflow.tracking.run_log import RunLog
from asrl_mlflow.tuning import figures
from asrl_mlflow.tuning.coordinator import Tuner
from asrl_mlflow.tuning.plan import Plan
from asrl_mlflow.tuning.study_runs import parent_run

__all__ = ["Outcome", "Plan", "tune"]

_BEST = "asrl.best"


@dataclass(frozen=True)
class Outcome:
    """What came out of a study.

    Parameters
    ----------
    study : str
        Its name.
    run_id : str
        Of its parent run.
    loss : Loss
        The best.
    best : Best
        Its trial.
    untuned : float, optional
        The objective of the loss's defaults, where they were tried and complete.
    complete, pruned : int
        Trials.
    metrics : mapping of metric name to value
        On the test rows, trained anew on train and valid.
    seconds : float
        Of that training.
    """

    study: str
    run_id: str
    loss: Loss
    best: Best
    untuned: float | None
    complete: int
    pruned: int
    metrics: Mapping[str, float]
    seconds: float


def tune(
    plan: Plan,
    storage: BaseStorage,
    *,
    name: str,
    trials: int,
    jobs: int,
    seconds: float | None,
    logs: list[RunLog],
    on_change: Callable[[Study], object],
) -> Outcome:
    """Work on a study until it has its trials; then judge the best once on the test rows.

    Parameters
    ----------
    plan : Plan
        What the study is about.
    storage : optuna.storages.BaseStorage
        Where it is kept.
    name : str
        Under which it is found again.
    trials : int
        Complete and pruned ones that it shall have, earlier ones included.
    jobs : int
        Worker processes.
    seconds : float, optional
        Begin no trial later.
    logs : list of RunLog
        The log of each run is appended as it opens.
    on_change : callable
        Told when something may have changed.

    Raises
    ------
    InputError
        The study was begun with another plan, nothing can be searched, ten trials failed in a row,
        or none was complete in the time given; or the loss is a user's own, and worker processes
        could not import its class.
    """
    if plan.loss not in LOSSES.values():
        import_path(register(plan.loss))
    parts = prepare_split(plan.table, plan.seed, plan.contamination)
    space = plan.space(parts)
    contest = plan.contest(parts)
    under_way = max(UNDER_WAY, jobs)
    study = Study(name, storage, space, plan.seed, under_way)
    study.define(plan.definition())
    with parent_run(study, plan.starts(parts), flow="tune") as parent:
        logs.append(parent)
        parent.params(_parent_params(plan, space, len(contest.folds), under_way))
        parent.dataset(plan.table)
        tuner = Tuner(
            study,
            contest,
            plan.candidate,
            parent,
            {**_booster(plan), **data_params(plan.table, plan.contamination), "seed": plan.seed},
            logs,
        )
        tuner.run(trials=trials, jobs=jobs, seconds=seconds, on_change=on_change)
        best = study.best()
        if best is None:
            msg = (
                f"Study {name!r} has no complete trial; the same command goes on with it; allow it "
                "more time or more trials."
            )
            raise InputError(msg)
        return _finished(plan, study, best, parts, parent)


def _finished(plan: Plan, study: Study, best: Best, parts: Split, parent: RunLog) -> Outcome:
    loss = from_config(best.loss)
    _, booster = plan.candidate(best.point)
    title = f"{plan.loss.name} tuned on {plan.table.name}, seed {plan.seed}{plan.contamination.describe()}"
    told = json.dumps({"loss": best.loss, "booster": booster})
    known = tracking.recorded(parent.run_id)
    if known is not None and known.tags.get(_BEST) == told:
        # It was judged before, and shall be once.
        metrics = {name: known.metrics[f"test.{name}"] for name in METRICS}
        seconds = known.metrics["fit_seconds"]
    else:
        result = refit(
            loss,
            {**plan.settings.booster_params(plan.seed), **booster},
            best.rounds,
            plan.table,
            parts,
            parent,
            seed=plan.seed,
            contamination=plan.contamination,
            title=title if plan.settings.figures else None,
        )
        metrics, seconds = dict(result.metrics), result.seconds
        numbers = {**best.loss["params"], **booster}
        parent.metrics({"best.objective": best.value, "best.trial": best.number})
        parent.metrics({f"best.{key}": float(value) for key, value in numbers.items()})
        parent.flush()
        parent.tags({_BEST: told})
    judged = study.trials(*JUDGED)
    complete = [trial for trial in judged if trial.state == TrialState.COMPLETE]
    if plan.settings.figures:
        pictures = {
            "history": figures.draw_history(judged, plan.metric, loss.name, title),
            "levels": figures.draw_levels(complete, plan.metric, title),
            "importance": figures.draw_importance(study.importance(), loss.name, title),
        }
        for file, figure in pictures.items():
            if figure is not None:
                parent.artifact(f"figures/{file}.png", png(figure))
    default = plan.starts(parts)[0]
    untuned = None
    if plan.candidate(default)[0] == plan.loss():
        tried = [trial.values[0] for trial in complete if trial.params == default]
        untuned = next(iter(tried), None)
    return Outcome(
        study=study.name,
        run_id=parent.run_id,
        loss=loss,
        best=best,
        untuned=untuned,
        complete=len(complete),
        pruned=len(judged) - len(complete),
        metrics=metrics,
        seconds=seconds,
    )


def _parent_params(
    plan: Plan, space: SearchSpace, folds_: int, under_way: int
) -> Mapping[str, object]:
    return {
        "loss.name": plan.loss.name,
        **_booster(plan),
        **data_params(plan.table, plan.contamination),
        "seed": plan.seed,
        "tune.metric": plan.metric,
        "tune.folds": folds_,
        "tune.sampler": f"TPE {_in_words(SAMPLER)} seed=({plan.seed}, trial) under_way={under_way}",
        "tune.pruner": f"median of at least {FEWEST_TO_PRUNE_BY} trials",
        **{f"tune.space.{key}": _interval(interval) for key, interval in space.items()},
    }


def _booster(plan: Plan) -> dict[str, object]:
    settings = plan.settings
    return {
        **{f"booster.{key}": value for key, value in settings.booster_params(plan.seed).items()},
        "booster.num_boost_round": settings.rounds,
        "booster.early_stopping_rounds": settings.early_stopping_rounds,
    }


def _in_words(arguments: Mapping[str, object]) -> str:
    return " ".join(f"{key}={value}" for key, value in arguments.items())


def _interval(interval: Interval) -> str:
    kind = " log" if interval.log else ""
    return f"[{interval.low:g}, {interval.high:g}]{kind}{' whole' if interval.whole else ''}"
