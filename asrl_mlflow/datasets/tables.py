"""Read a table file of any kind into columns of numbers and categories, or refuse it in one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet

from asrl_mlflow.datasets import csv_files
from asrl_mlflow.datasets.parquet import open_parquet, read_parquet
from asrl_mlflow.datasets.roles import Roles
from asrl_mlflow.errors import InputError, listed

SUFFIXES = (".csv", ".parquet")
_LOOKED_AT = 10_000


def list_columns(path: Path) -> list[str]:
    """List the names of a table's columns without reading its rows.

    Parameters
    ----------
    path : Path
        A .csv file, a .parquet file, or a folder of .parquet files.

    Raises
    ------
    InputError
        The file is not there, or cannot be read.
    """
    suffix = _suffix_of(path)
    with explain_read_errors(path, suffix[1:]):
        if suffix == ".csv":
            return csv_files.read_header(path)
        names: list[str] = open_parquet(path, drop=()).schema.names
        return names


def _suffix_of(path: Path) -> str:
    suffix = ".parquet" if path.is_dir() else path.suffix.lower()
    if suffix not in SUFFIXES:
        msg = f"Data needs a .csv or .parquet file; got {path}; rename or convert it."
        raise InputError(msg)
    if not path.exists():
        msg = f"Data needs a .csv or .parquet file; got no such file: {path}; check the path."
        raise InputError(msg)
    return suffix


def read_table(path: Path, roles: Roles, *, labels: bool = False) -> pd.DataFrame:
    """Read a .csv file, a .parquet file, or a folder of .parquet files with the same columns.

    Parameters
    ----------
    path : Path
        The file or folder.
    roles : Roles
        The columns for group and time may have any type but lists and structures; the target may be
        text; columns to drop are not read.
    labels : bool
        Whether the target names classes, so that some of its text may look like numbers.

    Returns
    -------
    DataFrame
        Columns of numbers, booleans and categories (NaN is a missing value); group, time and a target
        of text as they are in the file.

    Raises
    ------
    InputError
        The file cannot be read, a column has no name or the name of another one, a row has more or
        fewer fields than the header, a column holds text or dates, or files of a folder differ.
    """
    suffix = _suffix_of(path)
    group, time = roles.group, roles.time
    with explain_read_errors(path, suffix[1:]):
        if suffix == ".csv":
            table = csv_files.read_csv(path, roles, labels=labels)
        else:
            table = read_parquet(path, roles.drop)
        target = roles.target_among(table.column_names, str(path))
        table = convert_columns(table, path, group, time, target)
    booleans = [field.name for field in table.schema if pa.types.is_boolean(field.type)]
    # Each column is freed once it is converted. pandas' metadata would turn a column into the index.
    frame: pd.DataFrame = table.to_pandas(
        ignore_metadata=True, split_blocks=True, self_destruct=True
    )
    del table
    pa.default_memory_pool().release_unused()
    # pyarrow gives booleans with missing values as objects.
    for name in booleans:
        if name not in (group, time) and frame[name].dtype == object:
            frame[name] = frame[name].astype(np.float64)
    return frame


@contextmanager
def explain_read_errors(path: Path, kind: str) -> Iterator[None]:
    """Turn the errors of reading a file into one line that names the file."""
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        msg = f"{path}: must be a readable {kind} file; got: {str(error).splitlines()[0]}"
        raise InputError(msg) from error
    except OSError as error:
        reason = error.strerror or str(error).splitlines()[0]
        msg = f"{path}: must be a readable file; got: {reason}; check its permissions or copy it anew."
        raise InputError(msg) from error


def convert_columns(
    table: pa.Table,
    path: Path,
    group: str | None = None,
    time: str | None = None,
    target: str | None = None,
) -> pa.Table:
    """Convert decimals to float64, and refuse columns of a type that XGBoost cannot learn from.

    Parameters
    ----------
    table : pyarrow Table
        The table as it was read.
    path : Path
        The file, for the error.
    group, time : str, optional
        Columns that may have any type but lists and structures.
    target : str, optional
        A column that may be text, or categories of any type.

    Raises
    ------
    InputError
        Columns hold text, dates or anything else that is no number; the message names them.
    """
    features = [
        field
        for field in table.schema
        if field.name not in (group, time) or pa.types.is_nested(field.type)
        if field.name != target or not _is_label(field.type)
    ]
    _refuse_types(table, features, path)
    for field in features:
        if pa.types.is_decimal(field.type):
            place = table.schema.get_field_index(field.name)
            table = table.set_column(place, field.name, table.column(place).cast(pa.float64()))
    return table


def _refuse_types(table: pa.Table, fields: Sequence[pa.Field], path: Path) -> None:
    """Refuse columns that hold neither numbers nor categories, all of them in one line."""
    dates = [field.name for field in fields if pa.types.is_temporal(field.type)]
    odd = [field for field in fields if not _is_learnable(field.type) and field.name not in dates]
    categories = [field for field in odd if pa.types.is_dictionary(field.type)]
    names = [field.name for field in odd]
    if dates and odd:
        msg = (
            f"{path}: {_columns(dates + names)} must hold numbers or categories; got dates or times in "
            f"{listed(dates)} and other types in {listed(names)}; turn them into numbers, save text in "
            "Parquet as pandas category columns, split by a date with --time, or leave them out with "
            "--drop."
        )
    elif dates:
        msg = (
            f"{path}: {_columns(dates)} must hold numbers; got dates or times; turn them into "
            "numbers (days since a date, month, hour), split by them with --time, or leave them "
            "out with --drop."
        )
    elif categories:
        msg = (
            f"{path}: categories must be text or whole numbers; got {categories[0].type.value_type} in "
            f"{_columns([field.name for field in categories])}; convert them, or leave the column out "
            "with --drop."
        )
    elif odd:
        first, it = odd[0], "them" if len(odd) > 1 else "it"
        what = "text" if _is_text(first.type) else str(first.type)
        msg = (
            f"{path}: {_columns(names)} must hold numbers or categories; got {what} "
            f"({_first_text_cell(table.column(first.name))!r:.40}); encode {it} as numbers, save {it} "
            f"in Parquet as a pandas category column, or leave {it} out with --drop."
        )
    else:
        return
    raise InputError(msg)


def _is_learnable(kind: pa.DataType) -> bool:
    """Check whether XGBoost can learn from a column of this type, once decimals are converted."""
    if pa.types.is_dictionary(kind):
        return bool(_is_text(kind.value_type) or pa.types.is_integer(kind.value_type))
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_null(kind)
    )


def _is_label(kind: pa.DataType) -> bool:
    """Check whether a type is one that only labels of classes have."""
    return _is_text(kind) or bool(pa.types.is_dictionary(kind))


def _columns(names: Sequence[str]) -> str:
    """Name one column or several, for an error's one line."""
    return f"column{'s' if len(names) > 1 else ''} {listed(names)}"


def _first_text_cell(column: pa.ChunkedArray) -> str:
    """Find the first cell that is no number, to show it in an error."""
    cells = pd.Series([str(cell) for cell in column.slice(0, _LOOKED_AT) if cell.is_valid])
    odd = cells[pd.to_numeric(cells, errors="coerce").isna()]
    return str(odd.iloc[0]) if len(odd) else next(iter(cells), "")


def _is_text(kind: pa.DataType) -> bool:
    """Check whether a type is one of pyarrow's types of text."""
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )
