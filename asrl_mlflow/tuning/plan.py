"""Plan a study: its loss, table, objective and boosting, and what follows from them."""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import dataclass
from typing import Any

from asrl_mlflow.datasets.contamination import Contamination
from asrl_mlflow.datasets.dataset import Dataset
from asrl_mlflow.datasets.splits import Split, folds, join
from asrl_mlflow.errors import InputError, did_you_mean
from asrl_mlflow.experiments.settings import Settings
from asrl_mlflow.experiments.trials.judging import Contest
from asrl_mlflow.losses import BaseLoss
from asrl_mlflow.losses.search_space import Interval, Point, SearchSpace
from asrl_mlflow.metrics import TASKS, Task
from asrl_mlflow.residuals.statistics import distances
from asrl_mlflow.tracking.keys import data_params

# On fewer rows the result of one split is too noisy, and five folds take only seconds a trial.
ROWS_FOR_ONE_SPLIT = 20_000
FOLDS = 5
# Trials stop early unless told otherwise: a study has many of them.
EARLY_STOPPING_ROUNDS = 20

# XGBoost's seeds are 32-bit numbers.
_LARGEST_SEED = 2**31 - 1

# Where XGBoost's parameters are searched, if they are.
BOOSTER_SPACE: SearchSpace = {
    "max_depth": Interval(3, 10, whole=True),
    "learning_rate": Interval(0.02, 0.3, log=True),
    "min_child_weight": Interval(0.5, 50, log=True),
    "subsample": Interval(0.5, 1),
    "lambda": Interval(0.1, 30, log=True),
}


@dataclass(frozen=True)
class Plan:
    """Everything that defines a study.

    Parameters
    ----------
    loss : type of loss
        Class of the loss whose parameters are searched.
    table : Dataset
        The table to learn from.
    metric : str
        The objective, one of the loss's task's `selecting`; measured on validation rows.
    seed : int, >= 0
        Of split, folds, sampler and trees.
    settings : Settings
        How to boost.
    contamination : Contamination
        How training and validation targets are spoiled.
    tune_booster : bool
        Whether XGBoost's parameters are searched too.

    Raises
    ------
    InputError
        An unknown metric, or a seed outside its interval.
    """

    loss: type[BaseLoss]
    table: Dataset
    metric: str
    seed: int
    settings: Settings
    contamination: Contamination
    tune_booster: bool

    def __post_init__(self) -> None:
        selecting = self.task.selecting
        if self.metric not in selecting:
            hint = did_you_mean(self.metric, selecting)
            msg = (
                f"tune needs a metric out of {', '.join(selecting)}; got {self.metric!r}"
                f"{f'; {hint}' if hint else '.'}"
            )
            raise InputError(msg)
        if not 0 <= self.seed <= _LARGEST_SEED:
            msg = f"tune needs a seed from 0 to {_LARGEST_SEED}; got {self.seed}; pass 0, say."
            raise InputError(msg)

    @property
    def task(self) -> Task:
        """What the loss learns, and its metrics."""
        return TASKS[self.loss.task]

    @property
    def folds(self) -> int:
        """How many folds a trial is judged by; 1 means the training and validation rows of the split."""
        return FOLDS if len(self.table.rows) < ROWS_FOR_ONE_SPLIT else 1

    @property
    def judged(self) -> str:
        """How a trial is judged, in words."""
        return "cross-validated" if self.folds > 1 else "on the validation rows"

    def definition(self) -> dict[str, object]:
        """Values that may not change while the study lasts, as JSON types."""
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
        """Name for the study, the same for equal plans and another for any other plan."""
        digest = hashlib.sha256(json.dumps(self.definition(), sort_keys=True).encode())
        return f"{self.loss.name}-{self.table.name}-{digest.hexdigest()[:6]}"

    def contest(self, parts: Split) -> Contest:
        """Folds and rules by which trials are judged; test rows are in none of the folds.

        Raises
        ------
        InputError
            All rows of a fold have weight 0.
        """
        if self.folds > 1:
            pairs = tuple(folds(join(parts.train, parts.valid), self.folds, self.seed))
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
            # One thread each: there is a worker process for every core.
            params={
                **self.settings.booster_params(self.seed),
                **self.table.rows.booster_params,
                "nthread": 1,
            },
            rounds=self.settings.rounds,
            early_stopping_rounds=self.settings.early_stopping_rounds,
            metric=self.metric,
        )

    def space(self, parts: Split) -> SearchSpace:
        """Intervals to search, by name of the parameter.

        Raises
        ------
        InputError
            The loss has no parameters, and XGBoost's are not searched.
        """
        space = {**self.loss.search_space(distances(parts.train.target))}
        if self.tune_booster:
            space |= BOOSTER_SPACE
        if not space:
            msg = (
                f"tune needs something to search; {self.loss.name!r} has no parameters to tune; search "
                "XGBoost's (tune_booster), or choose another loss."
            )
            raise InputError(msg)
        return space

    def starts(self, parts: Split) -> list[Point]:
        """Points to try first: those that the loss recommends, with XGBoost's usual parameters."""
        points = self.loss.starts(distances(parts.train.target)) or ({},)
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

    def candidate(self, point: Point) -> tuple[BaseLoss, dict[str, Any]]:
        """Loss and XGBoost parameters that a point of the search space stands for."""
        booster = {key: value for key, value in point.items() if key in BOOSTER_SPACE}
        own = {key: value for key, value in point.items() if key not in BOOSTER_SPACE}
        return self.loss.at(own), booster


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, int | float | bool) else str(value)
