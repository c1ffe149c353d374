"""A grid: everything that is compared with everything, as cells."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from asrl_mlflow.comparisons.grids.cells import Cell, Rules, Task
from asrl_mlflow.comparisons.grids.methods import find_method
from asrl_mlflow.datasets import Contamination, Dataset


@dataclass(frozen=True)
class Grid:
    """Losses and rivals on tables, spoiled in several ways, with several seeds.

    Parameters
    ----------
    losses : tuple of str
        Names of what is asked about.
    rivals : tuple of str
        Names of what they are compared with; at least one.
    contaminations : tuple of Contamination
        How training and validation targets are spoiled.
    seeds : tuple of int
        Of splits and all else.
    learning_rates : tuple of float
        Shrinkages of trees.
    rows : tuple of (int or None)
        Rows of each table that are used, at most; None for all.
    shifts : tuple of str
        Where test rows lie, as in `Cell`.
    rules : Rules
        What all cells have in common.
    """

    losses: tuple[str, ...]
    rivals: tuple[str, ...]
    contaminations: tuple[Contamination, ...]
    seeds: tuple[int, ...]
    learning_rates: tuple[float, ...]
    rows: tuple[int | None, ...]
    shifts: tuple[str, ...]
    rules: Rules

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of losses and rivals, each once."""
        return tuple(dict.fromkeys((*self.losses, *self.rivals)))

    def tasks(self, tables: Mapping[str, Dataset]) -> Iterator[Task]:
        """All cells, seed after seed, so that a grid that is cut short has whole comparisons.

        Parameters
        ----------
        tables : mapping of str to Dataset
            By name.
        """
        for seed, table, spoiled, rate, rows, shift, method in itertools.product(
            self.seeds,
            tables,
            self.contaminations,
            self.learning_rates,
            self.rows,
            self.shifts,
            self.methods,
        ):
            cell = Cell(table, method, spoiled.kind, spoiled.share, seed, rate, rows, shift)
            yield Task(cell, tables[table], self.rules)

    def digest(self, tables: Mapping[str, Dataset], minutes: float | None) -> str:
        """Give what tells the grid, as it was asked for, from all others.

        Parameters
        ----------
        tables : mapping of str to Dataset
            By name.
        minutes : float, optional
            That it was planned to fit into.
        """
        described = {
            **dataclasses.asdict(self),
            "minutes": minutes,
            "tables": [
                (name, each.digest, dataclasses.asdict(each.roles)) for name, each in tables.items()
            ],
            "libraries": [find_method(name).library for name in self.methods],
        }
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:32]
