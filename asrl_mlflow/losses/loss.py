"""Define what all losses have in common: a name, parameters, and where to search for good ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt

import asrl_mlflow
from asrl_mlflow.losses.search_space import Point, SearchSpace
from asrl_mlflow.losses.statistics import Statistics
from asrl_mlflow.residuals.conformal import Calibration

Task = Literal["regression", "classification"]


class Formulas(NamedTuple):
    """The formulas of a loss as text for people, one a region; empty where it has no such region.

    Parameters
    ----------
    core, middle, tail : str
        rho(r) for small, larger and large |r|.
    thresholds : str
        Where the ends of the regions, or scales, come from.
    everywhere : str
        The loss of a row, where one formula serves all rows.
    """

    core: str = ""
    middle: str = ""
    tail: str = ""
    thresholds: str = ""
    everywhere: str = ""


@dataclass(frozen=True)
class BaseLoss(ABC):
    """A loss and its parameters: frozen, comparable, hashable, the same in every round.

    Subclasses are frozen dataclasses whose fields, all numbers or "auto", are the parameters, with a
    `name` of their own: `asrl_mlflow.losses.to_config` refuses others. `task` says what kind of target
    they are for. `XGBOOST_OBJECTIVE` names XGBoost's own objective for the losses that have one;
    `asrl_mlflow.train` uses it. `FORMULAS` are for the tables of losses in the documentation.
    """

    name: ClassVar[str]
    task: ClassVar[Task]
    FORMULAS: ClassVar[Formulas] = Formulas()
    XGBOOST_OBJECTIVE: ClassVar[str | None] = None

    def _repr_html_(self) -> str:
        """Show the loss in a notebook, with a picture."""
        # Asked of the package's face, which knows all rooms: pictures are drawn above this floor.
        card: Any = asrl_mlflow.loss_card(self)
        return str(card.html())

    @property
    def label(self) -> str:
        """The name that tables and figures show."""
        return self.name

    @property
    def xgboost_parameters(self) -> Mapping[str, float]:
        """What `XGBOOST_OBJECTIVE` takes, by XGBoost's names."""
        return {}

    @classmethod
    def search_space(cls, target: Statistics) -> SearchSpace:  # noqa: ARG003 - few losses have units
        """Where good parameters lie, by name; empty where there are none to choose.

        Parameters
        ----------
        target : Statistics
            Of the training target's distances from its median, for what is in target units.
        """
        return {}

    @classmethod
    def at(cls, point: Point) -> Self:
        """The loss at a point of its search space."""
        return cls(**point)

    @classmethod
    def starts(cls, target: Statistics) -> Sequence[Point]:  # noqa: ARG003 - few losses have units
        """Points of the search space that have often been good, the most promising first."""
        return ()

    @abstractmethod
    def predict(self, margin: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """What to predict from the sums of the leaves: targets, or probabilities of the classes."""

    @abstractmethod
    def row_errors(
        self, target: npt.NDArray[Any], prediction: npt.NDArray[Any]
    ) -> npt.NDArray[np.float64]:
        """How wrong each prediction is, by a measure that is the same for every loss of the task."""

    @abstractmethod
    def calibrate(self, target: npt.NDArray[Any], prediction: npt.NDArray[Any]) -> Calibration:
        """Keep how wrong predictions of rows are that the model did not learn from, for intervals or sets."""
