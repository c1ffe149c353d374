"""One loss tuned on one table: the study is found or begun, worked on, and its best is judged once."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from asrl_mlflow import study_figures, tracking
from asrl_mlflow.datasets import Dataset
from asrl_mlflow.drawing import png
from asrl_mlflow.errors import InputError
from asrl_mlflow.judging import Contest
from asrl_mlflow.lab import Contamination, Settings, data_params, divide, refit
from asrl_mlflow.losses import Loss, from_config
from asrl_mlflow.losses.space import Interval, Point, SearchSpace
from asrl_mlflow.metrics import METRICS
from asrl_mlflow.residuals import Residuals
from asrl_mlflow.run_log import RunLog
from asrl_mlflow.sampler import SAMPLER
from asrl_mlflow.splits import Split, folds, joined
from asrl_mlflow.studies import FEWEST_TO_PRUNE_BY, JUDGED, Best, Study
from asrl_mlflow.study_runs import parent_run
from asrl_mlflow.tuner import Tuner

# Below so many rows one split is too noisy a judge.
ROWS_FOR_ONE_SPLIT = 5_000
FOLDS = 5

_BEST = "asrl.best"

# XGBoost's parameters, where they are searched too.
BOOSTER_SPACE: SearchSpace = {
    "max_depth": Interval(3, 10, whole=True),
    "learning_rate": Interval(0.02, 0.3, log=True),
    "min_child_weight": Interval(0.5, 50, log=True),
    "subsample": Interval(0.5, 1),
    "lambda": Interval(0.1, 30, log=True),
}


@dataclass(frozen=True)
class Plan:
    """What a study is about.

    Parameters
    ----------
    loss : type of Loss
        Whose parameters are searched.
    table : Dataset
        What is learned from.
    metric : str
        One of `metrics.SELECTING`, on validation rows.
    seed : int
        Of split, folds, sampler and trees.
    settings : Settings
        How to boost.
    contamination : Contamination
        How training and validation targets are spoiled.
    tune_booster : bool
        Whether XGBoost's parameters are searched too.
    """

    loss: type[Loss]
    table: Dataset
    metric: str
    seed: int
    settings: Settings
    contamination: Contamination
    tune_booster: bool

    @property
    def folds(self) -> int:
        """How many pairs of rows judge a trial; 1 is the split's own."""
        return FOLDS if len(self.table.rows) < ROWS_FOR_ONE_SPLIT else 1

    def definition(self) -> dict[str, object]:
        """All that a study may not change while it lasts, as JSON types."""
        settings = {key: value for key, value in vars(self.settings).items() if key != "figures"}
        return {
            "loss": self.loss.name,
            "metric": self.metric,
            "folds": self.folds,
            "tune_booster": self.tune_booster,
            "seed": self.seed,
            **settings,
            **{
                key: _plain(value)
                for key, value in data_params(self.table, self.contamination).items()
            },
        }

    def name(self) -> str:
        """A name for the study: that of equal plans is equal, of others different."""
        digest = hashlib.sha256(json.dumps(self.definition(), sort_keys=True).encode())
        return f"{self.loss.name}-{self.table.name}-{digest.hexdigest()[:6]}"

    def contest(self, parts: Split) -> Contest:
        """Rows, rules and measure: of the test rows nothing."""
        if self.folds > 1:
            pairs = tuple(folds(joined(parts.train, parts.valid), self.folds, self.seed))
        else:
            pairs = ((parts.train, parts.valid),)
        for part in itertools.chain.from_iterable(pairs):
            if part.weight is not None and not part.weight.any():
                msg = (
                    f"{self.table.name}: every fold needs a row that counts; got weight "
                    f"{self.table.roles.weight!r} 0 in all {len(part)} rows of one; split otherwise."
                )
                raise InputError(msg)
        return Contest(
            folds=pairs,
            # One thread: processes, not threads, share the cores.
            params={**self.settings.booster_params(self.seed), "nthread": 1},
            rounds=self.settings.rounds,
            early_stopping_rounds=self.settings.early_stopping_rounds,
            metric=self.metric,
        )

    def space(self, parts: Split) -> SearchSpace:
        """Where to search.

        Raises
        ------
        InputError
            There is nothing to search.
        """
        space = {**self.loss.search_space(_distances(parts))}
        if self.tune_booster:
            space |= BOOSTER_SPACE
        if not space:
            msg = (
                f"tune needs something to search; {self.loss.name!r} has no parameters; pass "
                "--tune-booster=true, or another --loss."
            )
            raise InputError(msg)
        return space

    def starts(self, parts: Split) -> list[Point]:
        """The points to start with."""
        points = self.loss.starts(_distances(parts)) or ({},)
        booster: Point = {}
        if self.tune_booster:
            usual = {"min_child_weight": 1.0, "subsample": 1.0, "lambda": 1.0}
            given = self.settings.booster_params(self.seed)
            booster = {
                key: value
                for key, value in {**usual, **given}.items()
                if key in BOOSTER_SPACE and value in BOOSTER_SPACE[key]
            }
        return [{**point, **booster} for point in points]

    def candidate(self, point: Point) -> tuple[Loss, dict[str, Any]]:
        """The loss and the XGBoost parameters that a point means."""
        booster = {key: value for key, value in point.items() if key in BOOSTER_SPACE}
        own = {key: value for key, value in point.items() if key not in BOOSTER_SPACE}
        return self.loss.at(own), booster


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
        or none was complete in the time given.
    """
    parts = divide(plan.table, plan.seed, plan.contamination)
    space = plan.space(parts)
    contest = plan.contest(parts)
    study = Study(name, storage, space, plan.seed)
    study.define(plan.definition())
    with parent_run(study, plan.starts(parts), flow="tune") as parent:
        logs.append(parent)
        parent.params(_parent_params(plan, space, len(contest.folds)))
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
    title = (
        f"{plan.loss.name} tuned on {plan.table.name}, seed {plan.seed}{plan.contamination.told()}"
    )
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
            parts,
            parent,
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
            "history": study_figures.history(judged, plan.metric, loss.name, title),
            "levels": study_figures.levels_map(complete, plan.metric, title),
            "importance": study_figures.importance(study.importance(), loss.name, title),
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


def _parent_params(plan: Plan, space: SearchSpace, folds_: int) -> Mapping[str, object]:
    return {
        "loss.name": plan.loss.name,
        **_booster(plan),
        **data_params(plan.table, plan.contamination),
        "seed": plan.seed,
        "tune.metric": plan.metric,
        "tune.folds": folds_,
        "tune.sampler": f"TPE {_told(SAMPLER)} seed=({plan.seed}, trial)",
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


def _told(arguments: Mapping[str, object]) -> str:
    return " ".join(f"{key}={value}" for key, value in arguments.items())


def _interval(interval: Interval) -> str:
    kind = " log" if interval.log else ""
    return f"[{interval.low:g}, {interval.high:g}]{kind}{' whole' if interval.whole else ''}"


def _distances(parts: Split) -> Residuals:
    target = parts.train.target
    return Residuals(target - np.median(target))


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, int | float | bool) else str(value)
