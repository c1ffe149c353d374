"""Tune one loss on one table: find or begin the study, work on it, judge its best once on test rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import joblib
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError
from tqdm import tqdm

from asrl_mlflow import reports, tracking
from asrl_mlflow.datasets.splits import Split
from asrl_mlflow.errors import InputError, StorageError
from asrl_mlflow.experiments.experiment import prepare_split, refit
from asrl_mlflow.experiments.trials.pool import Pool
from asrl_mlflow.experiments.trials.processes import ProcessPool
from asrl_mlflow.figures.style import png
from asrl_mlflow.losses import BaseLoss, from_config, import_path, is_built_in, register
from asrl_mlflow.losses.search_space import Interval, SearchSpace
from asrl_mlflow.studies.sampler import SAMPLER, UNDER_WAY
from asrl_mlflow.studies.storages import open_storage
from asrl_mlflow.studies.study import FEWEST_TO_PRUNE_BY, JUDGED, Best, Study
from asrl_mlflow.tracking.keys import BEST_TAG, booster_params, data_params
from asrl_mlflow.tracking.run_log import RunLog
from asrl_mlflow.tracking.spool import one_line
from asrl_mlflow.tuning import figures
from asrl_mlflow.tuning.coordinator import Coordinator
from asrl_mlflow.tuning.plan import Plan
from asrl_mlflow.tuning.study_runs import parent_run

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Outcome", "Plan", "run_study", "tune_plan"]


@dataclass(frozen=True)
class Outcome:
    """Result of a study.

    Parameters
    ----------
    study : str
        Name of the study.
    log : RunLog
        Of its parent run.
    loss : BaseLoss
        The best loss.
    best : Best
        The trial of the best loss.
    untuned : float, optional
        Objective of the loss with its defaults; None where that trial is not complete.
    complete, pruned : int, >= 0
        How many trials are complete, and how many were pruned.
    metrics : mapping of str to float
        Of the best loss on the test rows, trained anew on training and validation rows.
    seconds : float
        How long that training took.
    """

    study: str
    log: RunLog
    loss: BaseLoss
    best: Best
    untuned: float | None
    complete: int
    pruned: int
    metrics: Mapping[str, float]
    seconds: float


def run_study(
    plan: Plan,
    storage: BaseStorage,
    *,
    name: str,
    trials: int,
    jobs: int,
    seconds: float | None,
    on_change: Callable[[Study], object],
    pool: Pool | None = None,
) -> Outcome:
    """Work on a study until it has its trials, then judge its best once on the test rows.

    Parameters
    ----------
    plan : Plan
        What the study is about.
    storage : optuna.storages.BaseStorage
        Where the study is kept.
    name : str
        Name of the study, by which it is found again.
    trials : int, >= 1
        How many complete and pruned trials the study should have, earlier ones included.
    jobs : int, >= 1
        How many trials to judge at once.
    seconds : float, optional
        Begin no trial after so many seconds.
    on_change : callable
        Called with the study when a trial may have ended, in this process or in another.
    pool : Pool, optional
        Where trials are judged; by default in processes of this host, of one thread each.

    Raises
    ------
    InputError
        The study was begun with another plan, nothing can be searched, ten trials failed in a row,
        or none was complete in the time given; or the loss is a user's own, and worker processes
        could not import its class.
    """
    if not is_built_in(plan.loss):
        import_path(register(plan.loss))
    parts = prepare_split(plan.table, plan.seed, plan.contamination)
    space = plan.space(parts)
    contest = plan.contest(parts)
    under_way = max(UNDER_WAY, jobs)
    study = Study(name, storage, space, plan.seed, under_way)
    study.define(plan.definition())
    with parent_run(study, plan.starts(parts), flow="tune") as parent:
        parent.params(_parent_params(plan, space, len(contest.folds), under_way))
        parent.dataset(plan.table)
        coordinator = Coordinator(
            study=study,
            contest=contest,
            pool=pool or ProcessPool(),
            candidate=plan.candidate,
            parent=parent,
            params=_common_params(plan),
            on_change=on_change,
        )
        coordinator.run(trials=trials, jobs=jobs, seconds=seconds)
        best = study.best()
        if best is None:
            msg = (
                f"Study {name!r} has no complete trial; the same command goes on with it; allow it "
                "more time or more trials."
            )
            raise InputError(msg)
        outcome = _finish(plan, study, best, parts, parent)
        reports.publish(parent)
        return outcome


def tune_plan(
    plan: Plan,
    *,
    study: str,
    storage: str,
    trials: int,
    jobs: int | None = None,
    seconds: float | None = None,
    client: Client | None = None,
) -> Outcome:
    """Work on a plan's study under a progress bar; start it again to go on with it.

    Parameters
    ----------
    plan : Plan
        What the study is about.
    study : str
        Its name, by which it is found again.
    storage : str
        Address of the storage that it is kept in.
    trials : int, >= 1
        How many complete and pruned trials it should have, earlier ones included.
    jobs : int, optional
        How many trials to judge at once, at least 1; None and -1 mean one for each core, of a cluster one for
        each thread of its workers.
    seconds : float, optional
        Begin no trial after so many seconds.
    client : distributed.Client, optional
        Of a Dask cluster whose workers judge the trials; without it, processes of this host do.

    Raises
    ------
    InputError
        As for `run_study`.
    ClusterError
        The cluster does not answer, or its workers die again and again.
    StorageError
        The storage cannot be opened, or failed while it was worked on.
    """
    if trials < 1:
        msg = f"tune needs at least 1 trial; got trials={trials}; pass 100, say."
        raise InputError(msg)
    pool, cores = _pool(client)
    with tqdm(total=trials, unit="trial", desc=study, disable=None) as bar:

        def show(study: Study) -> None:
            judged = study.trials(*JUDGED)
            bar.n = min(len(judged), trials)
            best = study.best(judged)
            if best is not None:
                bar.set_postfix_str(f"best {plan.metric} {best.value:.4g}", refresh=False)
            bar.refresh()

        try:
            with open_storage(storage) as opened:
                return run_study(
                    plan,
                    opened,
                    name=study,
                    trials=trials,
                    jobs=_at_once(jobs, cores),
                    seconds=seconds,
                    on_change=show,
                    pool=pool,
                )
        except (StorageInternalError, SQLAlchemyError) as error:
            msg = (
                f"The storage of study {study!r} failed: {one_line(error)}; what it holds is kept, the "
                "same command goes on with it."
            )
            raise StorageError(msg) from error


def _pool(client: Client | None) -> tuple[Pool, int]:
    """Where trials are judged, and how many cores there are for them."""
    if client is None:
        return ProcessPool(), int(joblib.cpu_count())
    from asrl_mlflow.experiments.trials.cluster import ClusterPool, count_threads  # noqa: PLC0415 - an extra

    return ClusterPool(client), count_threads(client)


def _at_once(jobs: int | None, cores: int) -> int:
    """How many trials to judge at once."""
    if jobs is None or jobs == -1:
        return cores
    if jobs < 1:
        msg = f"tune needs at least 1 job, or -1 for one on each core; got jobs={jobs}."
        raise InputError(msg)
    return jobs


def _finish(plan: Plan, study: Study, best: Best, parts: Split, parent: RunLog) -> Outcome:
    """Judge the best loss, draw the study's figures, and sum the study up."""
    metrics, seconds = _judge_once(plan, best, parts, parent)
    judged = study.trials(*JUDGED)
    complete = [trial for trial in judged if trial.state == TrialState.COMPLETE]
    if plan.settings.figures:
        _draw(plan, study, parent)
    return Outcome(
        study=study.name,
        log=parent,
        loss=from_config(best.loss),
        best=best,
        untuned=_untuned_value(plan, parts, complete),
        complete=len(complete),
        pruned=len(judged) - len(complete),
        metrics=metrics,
        seconds=seconds,
    )


def _judge_once(
    plan: Plan, best: Best, parts: Split, parent: RunLog
) -> tuple[Mapping[str, float], float]:
    """Judge the best loss on the test rows, unless the parent run has the result from before.

    Returns
    -------
    metrics : mapping of str to float
        On the test rows.
    seconds : float
        How long the training took.
    """
    _, booster = plan.candidate(best.point)
    tag = json.dumps({"loss": best.loss, "booster": booster})
    recorded = tracking.read_run(parent.run_id)
    if recorded is not None and recorded.tags.get(BEST_TAG) == tag:
        metrics = {name: recorded.metrics[f"test.{name}"] for name in plan.task.metrics}
        return metrics, recorded.metrics["fit_seconds"]
    result = refit(
        from_config(best.loss),
        {**plan.settings.booster_params(plan.seed), **booster},
        best.rounds,
        plan.table,
        parts,
        parent,
        seed=plan.seed,
        contamination=plan.contamination,
        title=_title(plan) if plan.settings.figures else None,
    )
    params = {**best.loss["params"], **booster}
    numbers = {key: value for key, value in params.items() if isinstance(value, int | float)}
    parent.metrics({"best.objective": best.value, "best.trial": best.number})
    parent.metrics({f"best.{key}": float(value) for key, value in numbers.items()})
    parent.flush()
    # After the metrics: where the tag is, the result is.
    parent.tags({BEST_TAG: tag})
    return dict(result.metrics), result.seconds


def _draw(plan: Plan, study: Study, parent: RunLog) -> None:
    """Draw the figures of the study into its parent run."""
    name, title = plan.loss.name, _title(plan)
    complete = study.trials(TrialState.COMPLETE)
    drawn = {
        "history": figures.draw_history(study.trials(*JUDGED), plan.metric, name, title),
        "levels": figures.draw_levels(complete, plan.metric, title),
        "importance": figures.draw_importance(study.importance(), name, title),
    }
    for file, figure in drawn.items():
        if figure is not None:
            parent.artifact(f"figures/{file}.png", png(figure))


def _title(plan: Plan) -> str:
    spoiled = plan.contamination.describe()
    return f"{plan.loss.name} tuned on {plan.table.name}, seed {plan.seed}{spoiled}"


def _untuned_value(plan: Plan, parts: Split, complete: Sequence[FrozenTrial]) -> float | None:
    """Objective of the loss with its defaults, where they are the first point to start with."""
    default = plan.starts(parts)[0]
    if plan.candidate(default)[0] != plan.loss():
        return None
    return next((trial.values[0] for trial in complete if trial.params == default), None)


def _parent_params(
    plan: Plan, space: SearchSpace, fold_count: int, under_way: int
) -> Mapping[str, object]:
    sampler = " ".join(f"{key}={value}" for key, value in SAMPLER.items())
    return {
        "loss.name": plan.loss.name,
        **_common_params(plan),
        "tune.metric": plan.metric,
        "tune.folds": fold_count,
        "tune.sampler": f"TPE {sampler} seed=({plan.seed}, trial) under_way={under_way}",
        "tune.pruner": f"median of at least {FEWEST_TO_PRUNE_BY} trials",
        **{f"tune.space.{key}": _describe(interval) for key, interval in space.items()},
    }


def _common_params(plan: Plan) -> dict[str, object]:
    """Params that the parent run and all trials' runs have in common."""
    settings = plan.settings
    return {
        **booster_params(
            settings.booster_params(plan.seed), settings.rounds, settings.early_stopping_rounds
        ),
        **data_params(plan.table, plan.contamination),
        "seed": plan.seed,
    }


def _describe(interval: Interval) -> str:
    kind = " log" if interval.log else ""
    return f"[{interval.low:g}, {interval.high:g}]{kind}{' whole' if interval.whole else ''}"
