"""Files as they come, read into columns of numbers or refused in one line."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from asrl_mlflow.errors import InputError

SUFFIXES = (".csv", ".parquet")
_DELIMITERS = (",", ";", "\t")


def read(path: Path) -> pd.DataFrame:
    """A .csv (comma, semicolon or tab) or .parquet file of numbers and booleans.

    Raises
    ------
    InputError
        In one line: the file cannot be read, names stand twice, a row has more or fewer fields than
        the header, or a column is text or a date.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        msg = f"Data needs a .csv or .parquet file; got {path}; rename or convert it."
        raise InputError(msg)
    try:
        table = _read_csv(path) if suffix == ".csv" else pa.parquet.read_table(path)
        _check_columns(table, path)
    except pa.ArrowInvalid as error:
        msg = f"{path}: must be a readable {suffix[1:]} file; got: {str(error).splitlines()[0]}"
        raise InputError(msg) from error
    except UnicodeDecodeError as error:
        msg = f"{path}: must be UTF-8; got bytes that are not in its header; save it as UTF-8."
        raise InputError(msg) from error
    except OSError as error:
        reason = error.strerror or str(error).splitlines()[0]
        msg = f"{path}: must be a readable file; got: {reason}; check its permissions or copy it anew."
        raise InputError(msg) from error
    # A frame's index was a column of the file all the same.
    frame: pd.DataFrame = table.to_pandas(ignore_metadata=True)
    return frame


def _read_csv(path: Path) -> pa.Table:
    # pyarrow, not pandas: pandas would take the surplus field of a row for an index and shift all
    # columns without a word.
    surplus: list[pyarrow.csv.InvalidRow] = []

    def refuse(row: pyarrow.csv.InvalidRow) -> str:
        surplus.append(row)
        return "error"

    try:
        return pyarrow.csv.read_csv(
            path,
            # One thread: only then does the parser know the number of a bad row.
            read_options=pyarrow.csv.ReadOptions(use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=_delimiter(path), newlines_in_values=True, invalid_row_handler=refuse
            ),
        )
    except pa.ArrowInvalid as error:
        if not surplus:
            raise
        row = surplus[0]
        msg = (
            f"{path}: every row needs the header's {row.expected_columns} fields; got "
            f"{row.actual_columns} in line {row.number}; quote a value that holds the delimiter."
        )
        raise InputError(msg) from error


def _delimiter(path: Path) -> str:
    """The delimiter that cuts the header into the most columns."""

    def columns(delimiter: str) -> int:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            try:
                return len(next(csv.reader(file, delimiter=delimiter), []))
            except csv.Error:  # a header beyond all bounds: pyarrow says what is wrong with it
                return 0

    return max(_DELIMITERS, key=columns)


def _check_columns(table: pa.Table, path: Path) -> None:
    names = table.column_names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        msg = f"{path}: column names must differ; got {listed(twice)} more than once; rename them."
        raise InputError(msg)
    unusable = [
        field.name
        for field in table.schema
        if not (
            pa.types.is_integer(field.type)
            or pa.types.is_floating(field.type)
            or pa.types.is_boolean(field.type)
            or pa.types.is_null(field.type)
        )
    ]
    if unusable:
        first = table.column(unusable[0])
        example = next((str(value) for value in first if value.is_valid), "")[:40]
        msg = (
            f"{path}: columns must hold numbers; got text or dates in {listed(unusable)} "
            f"({example!r}); encode as numbers, or remove the column."
        )
        raise InputError(msg)


def listed(names: Sequence[str], most: int = 5) -> str:
    """Names for an error's one line: quoted, and no more than `most` of them.

    Examples
    --------
    >>> listed(["a", "b", "c"], most=2)
    "'a', 'b' and 1 more"
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more
