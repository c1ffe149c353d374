"""Search a space in memory: a study that one process works on, and that nobody goes on with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import optuna
from optuna.samplers import TPESampler

from asrl_mlflow.losses.search_space import Interval, Point, SearchSpace
from asrl_mlflow.studies.sampler import SAMPLER

# Trials before those that follow from others; studies of hundreds of trials have more.
_DRAWN_AT_RANDOM = 5
_ROUNDS = "rounds"


@dataclass(frozen=True)
class Found:
    """The best point of a search.

    Parameters
    ----------
    point : mapping of str to number
        Where it is.
    value : float
        What it was chosen by; smaller is better.
    rounds : int
        Boosting rounds to train it with.
    failed : int
        Trials that were passed over.
    """

    point: Point
    value: float
    rounds: int
    failed: int = 0


def search(
    judge: Callable[[Point], tuple[float, int]],
    space: SearchSpace,
    starts: Sequence[Point],
    *,
    trials: int,
    seed: int,
    pass_over: tuple[type[Exception], ...] = (),
) -> Found:
    """Search a space with TPE, by points to start with and then by what came out.

    Parameters
    ----------
    judge : callable
        Gives a point's value, of which the smallest is best, and its boosting rounds.
    space : mapping of str to Interval
        Where to search.
    starts : sequence of points
        Tried first, the most promising first.
    trials : int, >= 1
        Points to try.
    seed : int, >= 0
        Of the sampler.
    pass_over : tuple of exception types
        A trial that raises one of them counts as failed, and the search goes on. Where all do, the first one's is
        raised.

    Examples
    --------
    >>> found = search(
    ...     lambda point: (abs(point["x"] - 3), 10),
    ...     {"x": Interval(0, 10)},
    ...     [{"x": 5.0}],
    ...     trials=1,
    ...     seed=0,
    ... )
    >>> found.point, found.value, found.rounds
    ({'x': 5.0}, 2.0, 10)
    """
    # Optuna would tell of every trial, and of one that failed at length.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    failures: list[Exception] = []

    def value(trial: optuna.Trial) -> float:
        point = {name: _suggest(trial, name, where) for name, where in space.items()}
        try:
            judged, rounds = judge(point)
        except pass_over as error:
            failures.append(error)
            raise
        trial.set_user_attr(_ROUNDS, rounds)
        return judged

    sampler = TPESampler(seed=seed, **{**SAMPLER, "n_startup_trials": _DRAWN_AT_RANDOM})
    study = optuna.create_study(sampler=sampler)
    for start in starts:
        study.enqueue_trial(dict(start))
    study.optimize(value, n_trials=trials, catch=pass_over)
    if len(failures) == trials:
        raise failures[0]
    best = study.best_trial
    return Found(best.params, best.values[0], best.user_attrs[_ROUNDS], len(failures))


def _suggest(trial: optuna.Trial, name: str, where: Interval) -> float:
    if where.whole:
        return trial.suggest_int(name, int(where.low), int(where.high), log=where.log)
    return trial.suggest_float(name, where.low, where.high, log=where.log)
