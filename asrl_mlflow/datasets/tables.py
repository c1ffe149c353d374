"""Files of any kind, read into columns of numbers and categories or refused in one line."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet

from asrl_mlflow.datasets import csv_files
from asrl_mlflow.datasets.parquet import (
    read_parquet,
)
from asrl_mlflow.errors import InputError

SUFFIXES = (".csv", ".parquet")
_LOOKED_AT = 10_000


def read_table(
    path: Path,
    *,
    drop: Collection[str] = (),
    group: str | None = None,
    time: str | None = None,
) -> pd.DataFrame:
    """A .csv file, a .parquet file, or a folder of .parquet files with the same columns.

    Parameters
    ----------
    path : Path
        What to read.
    drop : collection of str
        Columns that are not read.
    group : str, optional
        A column that may hold anything that can be told apart.
    time : str, optional
        A column that may hold dates and times.

    Returns
    -------
    DataFrame
        Numbers, booleans and categories (NaN is a missing value), and those two columns as they are.

    Raises
    ------
    InputError
        In one line: the file cannot be read, names are missing or stand twice, a row has more or
        fewer fields than the header, a column is text or dates, files of a folder differ.
    """
    suffix = ".parquet" if path.is_dir() else path.suffix.lower()
    if suffix not in SUFFIXES:
        msg = f"Data needs a .csv or .parquet file; got {path}; rename or convert it."
        raise InputError(msg)
    with explain_read_errors(path, suffix[1:]):
        if suffix == ".csv":
            table = csv_files.read_csv(path, drop=drop, group=group, time=time)
        else:
            table = read_parquet(path, drop)
        table = convert_columns(table, path, group, time)
    # Column by column, each freed once it is converted. A frame's index was a column all the same.
    frame: pd.DataFrame = table.to_pandas(
        ignore_metadata=True, split_blocks=True, self_destruct=True
    )
    del table
    pa.default_memory_pool().release_unused()
    # Booleans with gaps come as objects.
    for name in frame:
        if name not in (group, time) and frame[name].dtype == object:
            frame[name] = frame[name].astype(np.float64)
    return frame


@contextmanager
def explain_read_errors(path: Path, kind: str) -> Iterator[None]:
    """What goes wrong while a file is read, in one line that names it."""
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        msg = f"{path}: must be a readable {kind} file; got: {str(error).splitlines()[0]}"
        raise InputError(msg) from error
    except OSError as error:
        reason = error.strerror or str(error).splitlines()[0]
        msg = f"{path}: must be a readable file; got: {reason}; check its permissions or copy it anew."
        raise InputError(msg) from error


def convert_columns(table: pa.Table, path: Path, group: str | None, time: str | None) -> pa.Table:
    """Columns that XGBoost can learn from, decimals as floats; others are refused."""
    for place, field in enumerate(table.schema):
        kind = field.type
        if field.name in (group, time) and not pa.types.is_nested(kind):
            continue
        if pa.types.is_decimal(kind):
            table = table.set_column(place, field.name, table.column(place).cast(pa.float64()))
        elif pa.types.is_temporal(kind):
            msg = (
                f"{path}: column {field.name!r} must hold numbers; got dates or times; turn them into "
                "numbers (days since a date, month, hour), split by them with --time, or leave them "
                "out with --drop."
            )
            raise InputError(msg)
        elif pa.types.is_dictionary(kind):
            values = kind.value_type
            if not (_is_text(values) or pa.types.is_integer(values)):
                msg = (
                    f"{path}: categories must be text or whole numbers; got {values} in column "
                    f"{field.name!r}; convert them, or leave the column out with --drop."
                )
                raise InputError(msg)
        elif not (
            pa.types.is_integer(kind)
            or pa.types.is_floating(kind)
            or pa.types.is_boolean(kind)
            or pa.types.is_null(kind)
        ):
            what, example = (
                "text" if _is_text(kind) else str(kind),
                _first_text_cell(table.column(place)),
            )
            msg = (
                f"{path}: column {field.name!r} must hold numbers or categories; got {what} "
                f"({example!r:.40}); encode it as numbers, save it in Parquet as a pandas category "
                "column, or leave it out with --drop."
            )
            raise InputError(msg)
    return table


def _first_text_cell(column: pa.ChunkedArray) -> str:
    """The first cell that could not be read as a number."""
    cells = pd.Series([str(cell) for cell in column.slice(0, _LOOKED_AT) if cell.is_valid])
    odd = cells[pd.to_numeric(cells, errors="coerce").isna()]
    return str(odd.iloc[0]) if len(odd) else next(iter(cells), "")


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )
