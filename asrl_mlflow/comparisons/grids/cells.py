"""Tune one method on rows whose targets are spoiled, and judge it once on test rows whose targets are clean."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

import numpy as np

from asrl_mlflow.comparisons.grids.methods import (
    BOOSTER_SPACE,
    BOOSTER_START,
    Boosting,
    Method,
    find_method,
)
from asrl_mlflow.comparisons.grids.shift import split_apart
from asrl_mlflow.datasets import Contamination, Dataset, Rows, Split, contaminate, folds, join
from asrl_mlflow.datasets.contamination import ContaminationKind
from asrl_mlflow.experiments.experiment import prepare_split
from asrl_mlflow.losses.search_space import Point
from asrl_mlflow.metrics import TASKS, mae
from asrl_mlflow.residuals import Residuals, distances
from asrl_mlflow.studies.in_memory import Found, search
from asrl_mlflow.tracking import booster_params, data_params
from asrl_mlflow.tracking.spool import one_line

# On fewer rows the result of one split is too noisy to choose by.
ROWS_FOR_ONE_SPLIT = 2_000
FOLDS = 5
EARLY_STOPPING_ROUNDS = 20
# The metric that has how many trials of a cell were passed over.
FAILED_TRIALS = "trials.failed"
# Cells of another version of this module are done again.
_VERSION = 2


@dataclass(frozen=True)
class Rules:
    """What all cells of a grid have in common.

    Parameters
    ----------
    trials : int, >= 1
        Points of its search space that each method is tried at; with 1 it is not tuned.
    rounds : int, >= 1
        Boosting rounds, at most.
    curves : bool
        Whether the test MAE is measured after each of so many rounds too; nothing is chosen by it.
    """

    trials: int
    rounds: int
    curves: bool = False


@dataclass(frozen=True)
class Cell:
    """One method on one table, spoiled in one way, with one seed.

    Parameters
    ----------
    table : str
        Name of the table.
    method : str
        Name of the method, as `find_method` takes it.
    kind : str
        How training and validation targets are spoiled, as in `datasets.contaminate`.
    share : float, in [0, 1)
        Of them that are spoiled; 0 for kinds that take none.
    seed : int, >= 0
        Of rows, split, contamination, folds, search and trees: the same for every method.
    learning_rate : float, in (0, 1]
        Shrinkage of each tree.
    rows : int, optional
        Rows of the table that are used, at most, drawn at random; all by default.
    shift : {"none", "features"}
        Whether test rows lie in another part of the feature space.
    """

    table: str
    method: str
    kind: ContaminationKind
    share: float
    seed: int
    learning_rate: float
    rows: int | None
    shift: str = "none"

    @property
    def name(self) -> str:
        """What its run is called."""
        spoiled = self.kind if not self.share else f"{self.kind} {100 * self.share:g}%"
        shifted = "" if self.shift == "none" else ", shifted"
        rows = "" if self.rows is None else f", {self.rows} rows"
        rate = f", learning rate {self.learning_rate:g}"
        return f"{self.method} on {self.table}{rows}, {spoiled}{shifted}{rate}, seed {self.seed}"

    @property
    def contamination(self) -> Contamination:
        """How the training and validation targets are spoiled."""
        return Contamination(self.kind, self.share)

    def key(self, table: Dataset, rules: Rules) -> str:
        """What tells the cell from all others: with another table, library or rule it is another cell."""
        described = {
            **dataclasses.asdict(self),
            **dataclasses.asdict(rules),
            "digest": table.digest,
            "roles": dataclasses.asdict(table.roles),
            "library": find_method(self.method).library,
            "package": importlib.metadata.version("asrl-mlflow"),
            "version": _VERSION,
        }
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Task:
    """A cell with what it takes to judge it, which another process can be sent.

    Parameters
    ----------
    cell : Cell
        Which one.
    table : Dataset
        Its table.
    rules : Rules
        Those of the grid.
    """

    cell: Cell
    table: Dataset
    rules: Rules

    @property
    def boosting(self) -> Boosting:
        """How to boost while it is chosen."""
        cell, rules = self.cell, self.rules
        return Boosting(rules.rounds, cell.learning_rate, EARLY_STOPPING_ROUNDS, cell.seed)

    def split(self) -> Split:
        """The rows of the cell, split and spoiled."""
        rows = self.table.rows
        if self.cell.rows is not None and self.cell.rows < len(rows):
            drawn = np.random.default_rng(self.cell.seed).permutation(len(rows))[: self.cell.rows]
            rows = rows.take(np.sort(drawn))
        spoiled = self.cell.contamination
        if self.cell.shift == "none":
            table = dataclasses.replace(self.table, rows=rows)
            return prepare_split(table, self.cell.seed, spoiled)
        parts = split_apart(rows, self.cell.seed)
        return contaminate(parts, spoiled.kind, spoiled.share, self.cell.seed)


@dataclass(frozen=True)
class Judged:
    """A cell, and what came out, as its run records it.

    Parameters
    ----------
    cell : Cell
        Which one.
    metrics : mapping of str to float
        "test.<metric>" on test rows, "best.objective" (what it was chosen by, on spoiled rows), "best.rounds",
        "trials.failed", "fit_seconds" (of the search and the fit after it), with a curve "round_seconds" (of the
        fit that it is of).
    params : mapping of str to object
        Of method, boosting, table and split, by their keys.
    curve : sequence of float
        Test MAE after each round, where the rules ask for it.
    """

    cell: Cell
    metrics: Mapping[str, float]
    params: Mapping[str, object]
    curve: Sequence[float] = ()


@dataclass(frozen=True)
class Failed:
    """A cell that could not be judged.

    Parameters
    ----------
    cell : Cell
        Which one.
    reason : str
        In one line.
    """

    cell: Cell
    reason: str


def attempt(task: Task) -> Judged | Failed:
    """Judge a cell; where that fails, for whatever reason, say so: the other cells shall go on.

    Examples
    --------
    >>> from asrl_mlflow.datasets import load
    >>> cell = Cell("wine", "asrl_c", "asym", 0.2, seed=0, learning_rate=0.3, rows=None)
    >>> attempt(Task(cell, load("wine"), Rules(trials=1, rounds=5))).reason.split(";")[0]
    "InputError: Targets that are classes are spoiled by 'flip' or 'flip_next'"
    """
    try:
        judged = judge(task)
    except Exception as error:  # noqa: BLE001 - every library fails in its own way
        return Failed(task.cell, one_line(error))
    found = judged.metrics["test.mae"]
    return judged if math.isfinite(found) else Failed(task.cell, f"its test MAE is {found}")


def give_up(task: Task) -> Failed:
    """Say of a cell that the process which judged it has died."""
    return Failed(task.cell, "its process died; give it more memory, or fewer --rows or --jobs")


def judge(task: Task) -> Judged:
    """Tune a cell's method on rows with spoiled targets, refit it, and measure it on the test rows.

    Notes
    -----
    Nothing is chosen by clean targets, as nobody would have them: the rows to choose by are as spoiled as
    those to learn from. Tables under 2,000 rows are chosen on by 5-fold cross-validation, others by the
    validation rows; always by MAE. Test rows are in no fold.

    Examples
    --------
    >>> from asrl_mlflow.datasets import load
    >>> cell = Cell("diabetes", "asrl_c", "asym", 0.2, seed=0, learning_rate=0.3, rows=100)
    >>> judged = judge(Task(cell, load("diabetes"), Rules(trials=1, rounds=5)))
    >>> judged.params["split.rows"], judged.params["loss.name"]
    ('60/20/20', 'asrl_c')
    """
    started = time.perf_counter()
    cell, parts = task.cell, task.split()
    method = find_method(cell.method)
    found = _tune(task, method, parts)
    known = join(parts.train, parts.valid)
    boosting = dataclasses.replace(task.boosting, rounds=found.rounds, early_stopping_rounds=None)
    fitted = method.fit(found.point, known, None, boosting)
    seconds = time.perf_counter() - started
    test = parts.test
    prediction = fitted.predict(test)
    measured = TASKS["regression"].metrics.items()
    metrics = {
        **{
            f"test.{name}": metric(test.target, prediction, test.weight)
            for name, metric in measured
        },
        "best.objective": found.value,
        "best.rounds": float(found.rounds),
        FAILED_TRIALS: float(found.failed),
        "fit_seconds": seconds,
    }
    booster = {name: found.point[name] for name in BOOSTER_SPACE}
    params = {
        "method.name": cell.method,
        "method.library": method.library,
        **method.params(found.point),
        **booster_params({**booster, "learning_rate": cell.learning_rate}, found.rounds),
        **data_params(task.table, cell.contamination),
        "split.rows": parts.describe(),
        "shift": cell.shift,
        "seed": cell.seed,
        "trials": task.rules.trials,
    }
    curve: Sequence[float] = ()
    if task.rules.curves:
        whole = dataclasses.replace(boosting, rounds=task.rules.rounds)
        started = time.perf_counter()
        curve = method.fit(found.point, known, test, whole).curve
        metrics["round_seconds"] = (time.perf_counter() - started) / whole.rounds
    return Judged(cell, metrics, params, tuple(curve))


def fits(task: Task) -> int:
    """How many fits judging a cell takes."""
    rows = min(len(task.table.rows), task.cell.rows or len(task.table.rows))
    folds_ = FOLDS if rows < ROWS_FOR_ONE_SPLIT else 1
    return task.rules.trials * folds_ + 1 + int(task.rules.curves)


def _pairs(task: Task, parts: Split) -> Sequence[tuple[Rows, Rows]]:
    """Rows to learn from and rows to choose by."""
    known = join(parts.train, parts.valid)
    if len(known) + len(parts.test) < ROWS_FOR_ONE_SPLIT:
        return folds(known, FOLDS, task.cell.seed)
    return [(parts.train, parts.valid)]


def _scales(rows: Rows) -> Residuals:
    """The target's distances from its median, in which methods search what is in target units."""
    return distances(rows.target, rows.weight)


def _tune(task: Task, method: Method, parts: Split) -> Found:
    """Search the method's own parameters and the booster's."""
    target = _scales(parts.train)
    pairs, boosting = _pairs(task, parts), task.boosting

    def value(point: Point) -> tuple[float, int]:
        fitted = [(method.fit(point, *pair, boosting), pair[1]) for pair in pairs]
        errors = [
            mae(judged.target, each.predict(judged), judged.weight) for each, judged in fitted
        ]
        error = mean(errors)
        # What diverges is the worst there is, and no reason to end the search.
        value = error if math.isfinite(error) else math.inf
        return value, round(mean(each.rounds for each, _ in fitted))

    return search(
        value,
        {**method.space(target), **BOOSTER_SPACE},
        [{**start, **BOOSTER_START} for start in method.starts(target)],
        trials=task.rules.trials,
        seed=task.cell.seed,
        # Every library fails in its own way, and at other points it may not.
        pass_over=(Exception,),
    )


def probe(task: Task) -> float:
    """Measure the seconds of one fit of a cell's method, at the point where its search begins."""
    method, parts = find_method(task.cell.method), task.split()
    start = {**method.starts(_scales(parts.train))[0], **BOOSTER_START}
    started = time.perf_counter()
    method.fit(start, parts.train, parts.valid, task.boosting)
    return time.perf_counter() - started
