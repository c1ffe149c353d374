"""Choose among losses: the simplest one that the best does not beat by more than noise.

The best of many candidates is partly the luckiest. So a candidate is taken for as good as the best
where its errors on the same rows are larger by no more than one standard error of the difference, and
of all that are as good as the best the simplest is chosen: untuned before tuned, fewer parameters
before more.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

import numpy as np

from asrl_mlflow.datasets import Rows, Split, folds, join
from asrl_mlflow.experiments.trials import Judge
from asrl_mlflow.losses import BaseLoss
from asrl_mlflow.metrics import TASKS
from asrl_mlflow.records.unseen import fold_residuals
from asrl_mlflow.residuals import FloatArray
from asrl_mlflow.tuning.plan import FOLDS, Plan


@dataclass(frozen=True)
class Errors:
    """Errors on rows that the booster did not learn from, as `BaseLoss.row_errors` gives them.

    Parameters
    ----------
    size : float64 array of shape (n,)
        Error of each row; candidates to compare have the same rows.
    weight : float64 array of shape (n,)
        Sample weight of each row; 1 where the table has none.
    """

    size: FloatArray
    weight: FloatArray

    @property
    def mean(self) -> float:
        """The weighted mean, in target units."""
        return float(np.average(self.size, weights=self.weight))

    def excess(self, other: Errors) -> tuple[float, float]:
        """Give the mean of these errors minus those of the other, and its standard error.

        Examples
        --------
        >>> ones = np.ones(4)
        >>> Errors(np.array([1.0, 2.0, 3.0, 4.0]), ones).excess(Errors(ones, ones))
        (1.5, 0.5590169943749475)
        """
        difference = self.size - other.size
        excess = float(np.average(difference, weights=self.weight))
        spread = self.weight * (difference - excess)
        return excess, float(np.sqrt(np.square(spread).sum()) / self.weight.sum())


@dataclass(frozen=True)
class Candidate:
    """A loss with its parameters, as it did on rows that it did not learn from.

    Parameters
    ----------
    name : str
        As tables show it.
    loss : BaseLoss
        The loss.
    is_tuned : bool
        Whether its parameters were searched.
    rounds : int
        Boosting rounds to train it with.
    errors : Errors
        Of the rows to choose by.
    curve : sequence of float
        Mean error after each round, on the same kind of rows.
    """

    name: str
    loss: BaseLoss
    is_tuned: bool
    rounds: int
    errors: Errors
    curve: Sequence[float]

    @property
    def complexity(self) -> tuple[bool, int]:
        """What the simplest candidate has least of: tuning, then parameters."""
        return self.is_tuned, len(dataclasses.fields(self.loss))


@dataclass(frozen=True)
class Choice:
    """The candidate that was chosen, beside the one with the smallest error.

    Parameters
    ----------
    chosen, best : Candidate
        The simplest of those that are as good as the best, and the best.
    excess : float
        By how much the chosen one's mean error is larger.
    standard_error : float
        Of that difference.
    """

    chosen: Candidate
    best: Candidate
    excess: float
    standard_error: float

    @property
    def title(self) -> str:
        """What the mean of the errors is called."""
        return TASKS[self.chosen.loss.task].default_title

    def describe(self) -> str:
        """Say what was chosen, and why."""
        chosen, best = self.chosen, self.best
        chosen_text = f"chosen: {chosen.name}; its {self.title} on held-out training rows is {chosen.errors.mean:.4g}"
        if chosen is best:
            return f"{chosen_text}, and simpler losses are worse by more than one standard error"
        return (
            f"{chosen_text}; that of {best.name} is {best.errors.mean:.4g}, smaller by {self.excess:.2g} "
            f"or less than one standard error ({self.standard_error:.2g}), but {chosen.name} is simpler"
        )


def choose(candidates: Sequence[Candidate]) -> Choice:
    """Choose the simplest candidate whose error exceeds the best one's by one standard error or less.

    Parameters
    ----------
    candidates : sequence of Candidate
        At least one; their errors are of the same rows.
    """
    best = min(candidates, key=lambda each: each.errors.mean)
    for each in sorted(candidates, key=lambda each: (*each.complexity, each.errors.mean)):
        excess, standard_error = each.errors.excess(best.errors)
        if excess <= standard_error:
            return Choice(each, best, excess, standard_error)
    raise AssertionError  # the best exceeds itself by nothing


def candidates_of(
    plan: Plan, parts: Split, losses: Mapping[str, tuple[BaseLoss, int | None]]
) -> list[Candidate]:
    """Judge losses by rows of training and validation that they do not learn from.

    By cross-validation over other folds than a study's, whose best trial was chosen by its folds; where
    the table is large, by the validation rows.

    Parameters
    ----------
    plan : Plan
        Table, metric and boosting.
    parts : Split
        Of the plan's table.
    losses : mapping of name to (loss, rounds)
        What to judge. Rounds are those of a tuned loss; None where early stopping shall find them.
    """
    contest = plan.contest(parts)
    judge = Judge(contest)
    pairs: Sequence[tuple[Rows, Rows]] = contest.folds
    if plan.folds > 1:
        pairs = folds(join(parts.train, parts.valid), FOLDS, plan.seed + 1)
    found = []
    for name, (loss, rounds) in losses.items():
        curves: dict[int, list[float]] = defaultdict(list)

        def listen(
            number: int, metrics: Mapping[str, float], curves: dict[int, list[float]] = curves
        ) -> None:
            curves[number].append(metrics[f"valid.{plan.task.default}"])

        verdict = judge.judge(loss, {}, listen, lambda *_: True)
        kept = rounds or verdict.rounds
        # Folds that stopped early do not speak for later rounds.
        curve = [mean(each) for each in curves.values() if len(each) == len(contest.folds)]
        errors = Errors(*fold_residuals(loss, contest.params, kept, pairs))
        found.append(Candidate(name, loss, rounds is not None, kept, errors, curve))
    return found
