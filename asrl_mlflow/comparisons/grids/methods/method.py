"""Define what all methods of a grid have in common: a search space, and how they are fitted to rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asrl_mlflow.datasets import Rows
from asrl_mlflow.losses import Loss, Statistics
from asrl_mlflow.losses.search_space import Interval, Point, SearchSpace

Prediction = npt.NDArray[np.floating]

# What is searched for every method beside its own parameters, so that all have something to choose; all
# three libraries have both.
DEPTH, LAMBDA = "max_depth", "lambda"
BOOSTER_SPACE: SearchSpace = {
    DEPTH: Interval(2, 8, whole=True),
    LAMBDA: Interval(0.1, 30.0, log=True),
}
# Where the search begins, for every method.
BOOSTER_START: Point = {DEPTH: 6, LAMBDA: 1.0}


@dataclass(frozen=True)
class Boosting:
    """How to boost, whatever the method.

    Parameters
    ----------
    rounds : int, >= 1
        Boosting rounds, at most.
    learning_rate : float, in (0, 1]
        Shrinkage of each tree.
    early_stopping_rounds : int, optional
        Stop when the MAE of the rows to judge by has not improved for so many rounds.
    seed : int, >= 0
        Of the trees.
    """

    rounds: int
    learning_rate: float
    early_stopping_rounds: int | None
    seed: int


@dataclass(frozen=True)
class Fitted:
    """A model that was fitted.

    Parameters
    ----------
    predict : callable
        Gives the prediction of rows, in target units.
    rounds : int
        How many boosting rounds it has.
    curve : sequence of float
        MAE of the rows to judge by, after each round; empty where there were none.
    """

    predict: Callable[[Rows], Prediction]
    rounds: int
    curve: Sequence[float] = ()


def weighted_median(rows: Rows) -> float:
    """The median of the target by sample weights, where all methods begin as our losses do."""
    return Loss.base_score(rows.target, rows.weight)


class Method(ABC):
    """A loss in a library: what it searches, and how it is fitted. One thread, as cells run side by side."""

    @property
    @abstractmethod
    def library(self) -> str:
        """The library that builds the trees, with its version.

        Raises
        ------
        InputError
            It is not installed.
        """

    def space(self, target: Statistics) -> SearchSpace:  # noqa: ARG002 - few methods have units
        """Where the method's own parameters are searched; empty where it has none.

        Parameters
        ----------
        target : Statistics
            Of the training target's distances from its median.
        """
        return {}

    def starts(self, target: Statistics) -> Sequence[Point]:  # noqa: ARG002 - as above
        """Points of that space to try first, the most promising first."""
        return ({},)

    def params(self, point: Point) -> Mapping[str, object]:
        """What a run records of the method's own parameters at a point, by MLflow's keys."""
        return {
            f"method.{name}": value for name, value in point.items() if name not in BOOSTER_SPACE
        }

    @abstractmethod
    def fit(self, point: Point, learned: Rows, judged: Rows | None, boosting: Boosting) -> Fitted:
        """Fit it to rows.

        Parameters
        ----------
        point : mapping of str to number
            Own parameters and those of `BOOSTER_SPACE`.
        learned : Rows
            To learn from.
        judged : Rows, optional
            To judge each round by, and to stop by where `boosting` says so.
        boosting : Boosting
            How to boost.
        """
