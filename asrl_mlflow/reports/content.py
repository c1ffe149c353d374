"""Describe a page: what it says, its tables and figures, as plain values that any template can show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Parameters
    ----------
    text : str
        What it shows.
    value : float or str
        What its column is sorted by.
    """

    text: str
    value: float | str


@dataclass(frozen=True)
class Table:
    """A table whose first column names its rows.

    Parameters
    ----------
    caption : str
        What the rows are; the page adds what they are sorted by, now and after each click.
    headings : sequence of str
        One a column.
    rows : sequence of sequence of Cell
        As many cells as headings each.
    sorted_by : int
        The column that the rows ascend by at first.
    note : str
        What a reader must know of the columns.
    """

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    sorted_by: int
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """A figure that the page draws by its script.

    Parameters
    ----------
    kind : {"bars", "lines", "points"}
        How the script draws it.
    title : str
        What it shows.
    alternative : str
        What it shows to those who cannot see it, in sentences with numbers.
    data : mapping
        What the script draws, in JSON types.
    numbers : Table, optional
        The same numbers, where no other table of the page has them.
    """

    kind: Literal["bars", "lines", "points"]
    title: str
    alternative: str
    data: Mapping[str, Any]
    numbers: Table | None = None


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Parameters
    ----------
    heading : str
        Its heading.
    text : str
        What its figures and tables say, in a sentence; may be empty.
    figures : sequence of Figure
        Drawn first.
    tables : sequence of Table
        Below the figures.
    """

    heading: str
    text: str = ""
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()


@dataclass(frozen=True)
class Recipe:
    """A command to copy.

    Parameters
    ----------
    heading : str
        What it is for.
    command : str
        One line for a shell.
    note : str
        What to know before it is run.
    """

    heading: str
    command: str
    note: str = ""


@dataclass(frozen=True)
class Page:
    """A page about one run.

    Parameters
    ----------
    title : str
        Which flow ran on what.
    verdict : sequence of str
        What came out: a sentence, or several.
    facts : mapping of str to str
        What it is about: table, seeds, versions.
    sections : sequence of Section
        Figures and tables.
    recipes : sequence of Recipe
        Commands to reproduce it and to register its model.
    settings : mapping of str to str
        The params of the run.
    """

    title: str
    verdict: Sequence[str]
    facts: Mapping[str, str]
    sections: Sequence[Section]
    recipes: Sequence[Recipe]
    settings: Mapping[str, str] = field(default_factory=dict)
