"""Plan a grid so that it fits into the time there is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from asrl_mlflow.comparisons.grids.cells import Task, fits, probe
from asrl_mlflow.comparisons.grids.grid import Grid
from asrl_mlflow.datasets import Dataset
from asrl_mlflow.errors import InputError

# A fit of so many rows is long enough to be timed; on a large table planning shall not take the budget itself.
_ROWS_TO_TIME = 20_000
# As few as a grid is cut down to: seeds and trials that still say something, rows that can be split.
_FEW_SEEDS, _FEW_TRIALS, _FEW_ROWS = 5, 5, 500
_MINUTE = 60.0
# Of the minutes there are so many are planned: processes have to start, and runs to be recorded.
_PLANNED = 0.8

# Seconds of one fit of a method on a table.
Pace = Mapping[tuple[str, str], float]


@dataclass(frozen=True)
class Plan:
    """A grid that fits, and how long it will take.

    Parameters
    ----------
    grid : Grid
        With fewer seeds, trials or rows than were asked for, where those did not fit.
    minutes : float
        That all of it takes, estimated.
    """

    grid: Grid
    minutes: float


def measure_pace(
    grid: Grid, tables: Mapping[str, Dataset], done: Callable[[], object] = lambda: None
) -> Pace:
    """Measure the seconds that a fit of each method takes on each table, one fit each.

    It is of at most 20,000 rows, and taken to be as much longer as the table has more.

    Parameters
    ----------
    grid : Grid
        What is asked for.
    tables : mapping of str to Dataset
        By name.
    done : callable
        Called after each, for a progress bar.
    """
    pace: dict[tuple[str, str], float] = {}
    for task in grid.tasks(tables):
        key = (task.cell.table, task.cell.method)
        if key not in pace:
            rows = len(task.table.rows)
            timed = min(rows, _ROWS_TO_TIME)
            cell = dataclasses.replace(task.cell, rows=timed)
            try:
                pace[key] = probe(dataclasses.replace(task, cell=cell)) * rows / timed
            except Exception:  # noqa: BLE001 - every library fails in its own way
                # Its cells may fail as soon; they will say why.
                pace[key] = 0.0
            done()
    return pace


def plan(grid: Grid, tables: Mapping[str, Dataset], pace: Pace, minutes: float, jobs: int) -> Plan:
    """Cut a grid down until it fits: first seeds, then trials, then rows, then seeds and trials to one.

    Parameters
    ----------
    grid : Grid
        What is asked for.
    tables : mapping of str to Dataset
        By name.
    pace : mapping of (table, method) to float
        Seconds of a fit on all rows of the table; on fewer rows it takes as much less.
    minutes : float, > 0
        There are.
    jobs : int, >= 1
        Cells at a time.

    Raises
    ------
    InputError
        Even the smallest grid takes longer.
    """
    for smaller in _smaller(grid, max(len(table.rows) for table in tables.values())):
        takes = _seconds(smaller, tables, pace) / jobs / _MINUTE
        if takes <= _PLANNED * minutes:
            return Plan(smaller, takes)
    msg = (
        f"A budget needs room for one seed of every cell, which takes about {takes / _PLANNED:.2g} minutes; got "
        f"{max(minutes, 0):.2g} after planning; allow more, or leave out losses, rivals, tables or contaminations."
    )
    raise InputError(msg)


def _smaller(grid: Grid, most_rows: int) -> Iterator[Grid]:
    """The grid, and then ever smaller ones."""
    yield grid
    while len(grid.seeds) > _FEW_SEEDS:
        grid = dataclasses.replace(grid, seeds=grid.seeds[:-1])
        yield grid
    while grid.rules.trials > _FEW_TRIALS:
        grid = _with_trials(grid, max(_FEW_TRIALS, grid.rules.trials // 2))
        yield grid
    rows = most_rows
    while rows > _FEW_ROWS:
        rows = max(_FEW_ROWS, rows // 2)
        fewer = tuple(dict.fromkeys(min(each or rows, rows) for each in grid.rows))
        if fewer != grid.rows:
            grid = dataclasses.replace(grid, rows=fewer)
            yield grid
    while len(grid.seeds) > 1:
        grid = dataclasses.replace(grid, seeds=grid.seeds[:-1])
        yield grid
    while grid.rules.trials > 1:
        grid = _with_trials(grid, grid.rules.trials // 2)
        yield grid


def _with_trials(grid: Grid, trials: int) -> Grid:
    return dataclasses.replace(grid, rules=dataclasses.replace(grid.rules, trials=trials))


def _seconds(grid: Grid, tables: Mapping[str, Dataset], pace: Pace) -> float:
    """Seconds of all cells, one after another."""
    return sum(_seconds_of(task, pace) for task in grid.tasks(tables))


def _seconds_of(task: Task, pace: Pace) -> float:
    whole = len(task.table.rows)
    share = min(task.cell.rows or whole, whole) / whole
    return pace[task.cell.table, task.cell.method] * share * fits(task)
