"""Check the names of columns: legal, unique, and present where they are asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from asrl_mlflow.errors import InputError, did_you_mean, listed


def check_column_names(names: Sequence[str], path: Path) -> None:
    """Refuse a file in which a column has no name, or two columns have the same.

    Parameters
    ----------
    names : sequence of str
        The names in the order of the columns.
    path : Path
        The file, for the error.

    Raises
    ------
    InputError
        The message names the columns.
    """
    nameless = [place for place, name in enumerate(names, 1) if not name.strip()]
    if nameless:
        msg = (
            f"{path}: every column needs a name; got none for column {nameless[0]}; name it, or save "
            "without an index (index=False) and without delimiters at the ends of lines."
        )
        raise InputError(msg)
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        msg = f"{path}: column names must differ; got {listed(twice)} more than once; rename them."
        raise InputError(msg)


def check_columns_exist(wanted: Collection[str], names: Sequence[str], path: Path | str) -> None:
    """Refuse a name that no column has.

    Parameters
    ----------
    wanted : collection of str
        The names to look for.
    names : sequence of str
        The names of the table's columns.
    path : Path or str
        The table, for the error.

    Raises
    ------
    InputError
        The message has the name that was probably meant, and names that exist.
    """
    for name in wanted:
        if name not in names:
            guess = did_you_mean(name, names)
            hint = f"{guess} It has" if guess else "it has"
            msg = f"{path}: needs the names of its columns; got {name!r}; {hint} {listed(names)}."
            raise InputError(msg)


def check_model_columns(learned: Collection[str], names: Sequence[str], path: Path | str) -> None:
    """Refuse a table that lacks a column that a model learned from.

    Parameters
    ----------
    learned : collection of str
        The columns that the model learned from.
    names : sequence of str
        The names of the table's columns.
    path : Path or str
        The table, for the error.

    Raises
    ------
    InputError
        The message names the missing columns, and columns that the table has.
    """
    missing = [name for name in learned if name not in names]
    if missing:
        msg = (
            f"{path}: needs the columns that the model learned from; {listed(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing; it has {listed(names)}."
        )
        raise InputError(msg)
