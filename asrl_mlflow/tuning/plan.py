"""What a study is about: loss, table, measure and boosting; and what follows from that."""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import dataclass
from typing import Any

from asrl_mlflow.datasets.contamination import Contamination
from asrl_mlflow.datasets.dataset import Dataset
from asrl_mlflow.datasets.splits import Split, folds, join
from asrl_mlflow.errors import InputError
from asrl_mlflow.experiments.settings import Settings
from asrl_mlflow.losses import Loss
from asrl_mlflow.losses.search_space import Interval, Point, SearchSpace
from asrl_mlflow.residuals.statistics import distances
from asrl_mlflow.tracking.keys import data_params
from asrl_mlflow.trials.judging import Contest

# Below so many rows one split is too noisy a judge, and five folds cost no more than seconds a trial.
ROWS_FOR_ONE_SPLIT = 20_000
FOLDS = 5

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

    @property
    def judged(self) -> str:
        """On what rows a trial's value is, in words."""
        return "cross-validated" if self.folds > 1 else "on the validation rows"

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
        space = {**self.loss.search_space(distances(parts.train.target))}
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

    def candidate(self, point: Point) -> tuple[Loss, dict[str, Any]]:
        """The loss and the XGBoost parameters that a point means."""
        booster = {key: value for key, value in point.items() if key in BOOSTER_SPACE}
        own = {key: value for key, value in point.items() if key not in BOOSTER_SPACE}
        return self.loss.at(own), booster


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, int | float | bool) else str(value)
