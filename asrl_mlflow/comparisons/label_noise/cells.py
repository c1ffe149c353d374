"""Tune one loss on rows of which a share has wrong labels, and judge it once on test rows with right ones."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from asrl_mlflow.boosting.training import train
from asrl_mlflow.datasets import Contamination, Dataset, Split, folds, join
from asrl_mlflow.datasets.contamination import ContaminationKind
from asrl_mlflow.datasets.matrices import make_matrix
from asrl_mlflow.experiments.experiment import prepare_split
from asrl_mlflow.experiments.trials import Contest, Judge
from asrl_mlflow.losses import ClassificationLoss, LogLoss
from asrl_mlflow.losses.search_space import Interval, Point, SearchSpace
from asrl_mlflow.metrics import TASKS
from asrl_mlflow.residuals.statistics import distances
from asrl_mlflow.studies.in_memory import Found, search
from asrl_mlflow.system.pool import work_on_all

# What is searched of the booster, for every loss. Trees of one split too: with wrong labels little is best.
BOOSTER_SPACE: SearchSpace = {
    "learning_rate": Interval(0.03, 0.5, log=True),
    "max_depth": Interval(1, 6, whole=True),
}
# Where the search begins, for every loss.
BOOSTER_START: Point = {"learning_rate": 0.1, "max_depth": 3}
FOLDS = 5
EARLY_STOPPING_ROUNDS = 10

Probabilities = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """What all cells have in common.

    Parameters
    ----------
    table : Dataset
        With a target that names classes.
    kind : {"flip", "flip_next"}
        How labels are flipped, as in `datasets.contaminate`.
    trials : int, >= 1
        Points of its search space that each loss is tried at.
    rounds : int, >= 1
        Boosting rounds, at most.
    """

    table: Dataset
    kind: ContaminationKind
    trials: int
    rounds: int

    def contamination(self, share: float) -> Contamination:
        """How the training and validation labels are flipped, at a share of them."""
        return Contamination(self.kind, share) if share else Contamination()


@dataclass(frozen=True)
class Cell:
    """One loss at one share of wrong labels with one seed.

    Parameters
    ----------
    loss : ClassificationLoss
        What is tuned, with the parameters that it has before.
    share : float, in [0, 1)
        Of the training and validation labels that are flipped.
    seed : int, >= 0
        Of split, flips, folds, search and trees: the same rows for every loss.
    """

    loss: ClassificationLoss
    share: float
    seed: int

    @property
    def name(self) -> str:
        """What its run is called."""
        return f"{self.loss.name}, {self.share:.0%} flipped, seed {self.seed}"


@dataclass(frozen=True)
class Judged:
    """A cell, and what came out.

    Parameters
    ----------
    cell : Cell
        Which one.
    loss : ClassificationLoss
        The loss that was chosen.
    booster : mapping of str to number
        XGBoost's parameters that were chosen with it.
    rounds : int
        Boosting rounds that were chosen with it.
    chosen_by : float
        The cross-validated log loss by which it was chosen, of rows with wrong labels.
    target : array of shape (n,)
        Classes of the test rows, as codes; none is wrong.
    plain, corrected : arrays of shape (n, K)
        Probabilities of the test rows: sigmoid or softmax of the margins, and as the loss corrects them.
    weight : array of shape (n,), optional
        Sample weights of the test rows.
    split : str
        Rows to train, to validate and to test.
    seconds : float
        How long the search and the training after it took.
    """

    cell: Cell
    loss: ClassificationLoss
    booster: Mapping[str, float]
    rounds: int
    chosen_by: float
    target: npt.NDArray[np.float64]
    plain: Probabilities
    corrected: Probabilities
    weight: npt.NDArray[np.float64] | None
    split: str
    seconds: float

    def metrics(self, *, corrected: bool = True) -> dict[str, float]:
        """Every metric of classes on the test rows, of corrected probabilities or of plain ones."""
        probabilities = self.corrected if corrected else self.plain
        return {
            name: metric(self.target, probabilities, self.weight)
            for name, metric in TASKS["classification"].metrics.items()
        }


def judge(comparison: Comparison, cell: Cell) -> Judged:
    """Tune a cell's loss by cross-validation on rows with wrong labels, refit it, predict the test rows.

    Notes
    -----
    Nothing is chosen by right labels, as nobody would have them: the folds to choose by are as wrong as
    those to learn from. The metric to choose by is log loss of the corrected probabilities, the same for
    every loss. Test rows are in no fold.

    Examples
    --------
    >>> from asrl_mlflow.datasets import load
    >>> from asrl_mlflow.losses import FullM
    >>> comparison = Comparison(load("wine"), "flip", trials=1, rounds=5)
    >>> judged = judge(comparison, Cell(FullM(), share=0.2, seed=0))
    >>> judged.corrected.shape, judged.rounds
    ((35, 3), 5)
    """
    started = time.perf_counter()
    parts = prepare_split(comparison.table, cell.seed, comparison.contamination(cell.share))
    best, loss, booster = _tune(comparison, cell, parts)
    known, rounds = join(parts.train, parts.valid), best.rounds
    model = train(
        {**_params(comparison, cell.seed), **booster},
        make_matrix(known),
        rounds,
        loss=loss,
        weight_rule=known.weight_rule,
    )
    seconds = time.perf_counter() - started
    margin = model.inplace_predict(parts.test.features, predict_type="margin")
    return Judged(
        cell,
        loss,
        booster,
        rounds,
        best.value,
        parts.test.target,
        LogLoss().predict(margin),
        loss.predict(margin),
        parts.test.weight,
        parts.describe(),
        seconds,
    )


def judge_all(
    comparison: Comparison, cells: Sequence[Cell], jobs: int | None = None
) -> Iterator[Judged]:
    """Judge cells; yield each result as soon as it is there, in whatever order.

    Parameters
    ----------
    comparison : Comparison
        What they have in common.
    cells : sequence of Cell
        What to judge.
    jobs : int, >= 1, optional
        As for `work_on_all`.
    """
    return work_on_all(partial(judge, comparison), cells, jobs)


def _tune(
    comparison: Comparison, cell: Cell, parts: Split
) -> tuple[Found, ClassificationLoss, dict[str, float]]:
    """Search the loss's own parameters and the booster's; give what was found, its loss and its booster."""
    kind, statistics = type(cell.loss), distances(parts.train.target)
    own = kind.search_space(statistics)
    contest = Contest(
        folds=tuple(folds(join(parts.train, parts.valid), FOLDS, cell.seed)),
        params=_params(comparison, cell.seed),
        rounds=comparison.rounds,
        early_stopping_rounds=EARLY_STOPPING_ROUNDS,
        metric="logloss",
    )
    judge_trial = Judge(contest).judge

    def candidate(point: Point) -> tuple[ClassificationLoss, dict[str, float]]:
        loss = kind.at({name: point[name] for name in own}) if own else cell.loss
        return loss, {name: point[name] for name in BOOSTER_SPACE}

    def value(point: Point) -> tuple[float, int]:
        verdict = judge_trial(*candidate(point), None, lambda *_: True)
        return verdict.value, verdict.rounds

    found = search(
        value,
        {**own, **BOOSTER_SPACE},
        [{**start, **BOOSTER_START} for start in kind.starts(statistics) or ({},)],
        trials=comparison.trials,
        seed=cell.seed,
    )
    return (found, *candidate(found.point))


def _params(comparison: Comparison, seed: int) -> dict[str, Any]:
    """XGBoost's parameters that no loss chooses; one thread, as there is a process for every core."""
    return {**comparison.table.rows.booster_params, "seed": seed, "nthread": 1}
