"""Column names: which are legal, which is meant, and how many are worth listing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from asrl_mlflow.errors import InputError, did_you_mean, listed


def check_column_names(names: Sequence[str], path: Path) -> None:
    """Refuse a file in which a column has no name, or a name stands twice.

    Raises
    ------
    InputError
        The line names the column.
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

    Raises
    ------
    InputError
        The line has the name that was probably meant, or those that there are.
    """
    for name in wanted:
        if name not in names:
            hint = did_you_mean(name, names) or f"it has {listed(names)}."
            msg = f"{path}: needs the names of its columns; got {name!r}; {hint}"
            raise InputError(msg)


def check_model_columns(learned: Collection[str], names: Sequence[str], path: Path | str) -> None:
    """Refuse a table without a column that a model learned from.

    Raises
    ------
    InputError
        The line has the columns that are missing.
    """
    missing = [name for name in learned if name not in names]
    if missing:
        msg = (
            f"{path}: needs the columns that the model learned from; {listed(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing; it has {listed(names)}."
        )
        raise InputError(msg)
