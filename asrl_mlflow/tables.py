"""Files of any kind, read into columns of numbers and categories or refused in one line."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet

from asrl_mlflow import delimited
from asrl_mlflow.errors import InputError
from asrl_mlflow.names import check_known, check_names, listed

SUFFIXES = (".csv", ".parquet")
_LOOKED_AT = 10_000
_CATEGORIES = "asrl.categories"
# Whole files are not held in memory beside what is read from them.
_FRUGAL = pa.dataset.ParquetFileFormat(
    default_fragment_scan_options=pa.dataset.ParquetFragmentScanOptions(
        use_buffered_stream=True, pre_buffer=False
    )
)


def read(
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
    with readable(path, suffix[1:]):
        if suffix == ".csv":
            table = delimited.read(path, drop=drop, group=group, time=time)
        else:
            table = _read_parquet(path, drop)
        table = usable(table, path, group, time)
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
def readable(path: Path, kind: str) -> Iterator[None]:
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


def _parquet_files(path: Path) -> list[Path]:
    """The file, or those of a folder, in order of their names.

    Raises
    ------
    InputError
        The folder has none, or others besides.
    """
    if not path.is_dir():
        return [path]
    # As Spark and Hive have it, names that begin so are not data.
    files = sorted(
        file
        for file in path.rglob("*")
        if file.is_file()
        and not any(part.startswith(("_", ".")) for part in file.relative_to(path).parts)
    )
    others = [str(file.relative_to(path)) for file in files if file.suffix.lower() != ".parquet"]
    if others:
        msg = (
            f"{path}: a folder needs .parquet files and no others; got {listed(others)}; rename or "
            "move them."
        )
        raise InputError(msg)
    if not files:
        msg = f"{path}: a folder needs .parquet files; got none; check the path."
        raise InputError(msg)
    return files


def _merged(
    files: Sequence[Path], schemas: Sequence[pa.Schema], drop: Collection[str]
) -> pa.Schema:
    """The columns of all files, each of a type that holds what is in every file."""
    check_names(schemas[0].names, files[0])
    for file, schema in zip(files, schemas, strict=True):
        odd = sorted(set(schema.names) ^ set(schemas[0].names))
        if odd:
            msg = (
                f"{file}: files of a folder need the same columns; got {listed(odd)} in only one of "
                f"it and {files[0].name}; write them anew, or read one file."
            )
            raise InputError(msg)
    read = [pa.schema([field for field in schema if field.name not in drop]) for schema in schemas]
    merged = read[0]
    for file, schema in zip(files, read, strict=True):
        try:
            merged = pa.unify_schemas([merged, schema], promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            msg = (
                f"{file}: files of a folder need columns of one kind; got: "
                f"{str(error).splitlines()[0]}; write them anew, or leave the column out with --drop."
            )
            raise InputError(msg) from error
    return merged


def parquet_source(path: Path, drop: Collection[str]) -> pa.dataset.Dataset:
    """A .parquet file, or a folder of them with the same columns, not yet read.

    Raises
    ------
    InputError
        As `read`.
    """
    files = _parquet_files(path)
    schemas = [pa.parquet.read_schema(file) for file in files]
    merged = _merged(files, schemas, drop)
    hive = {
        "partitioning": pa.dataset.HivePartitioning.discover(),
        "partition_base_dir": str(path),
    }
    found = pa.dataset.dataset(files, format=_FRUGAL, **hive).schema
    partitions = [field for field in found if field.name not in schemas[0].names]
    check_known(drop, [*(field.name for field in partitions), *schemas[0].names], path)
    # Partitions first: the last column is the target where none is named. What pandas noted of any
    # file goes along.
    noted = {
        column["name"]: column
        for schema in schemas
        for column in (schema.pandas_metadata or {"columns": []})["columns"]
    }
    categories = [name for name, each in noted.items() if each["pandas_type"] == "categorical"]
    categories += [field.name for field in partitions if pa.types.is_string(field.type)]
    schema = pa.schema([*partitions, *merged], {_CATEGORIES: json.dumps(categories)})
    return pa.dataset.dataset(files, schema, format=_FRUGAL, **hive)


def kept_columns(source: pa.dataset.Dataset, path: Path, drop: Collection[str]) -> list[str]:
    """The columns of a `parquet_source` but for those to leave out; a pandas index is refused."""
    kept = [name for name in source.schema.names if name not in drop]
    index = [name for name in kept if name.startswith("__index_level_")]
    if index:
        msg = (
            f"{path}: every column needs a name; got {index[0]!r}, a pandas index that was written "
            f"along; leave it out with --drop={index[0]}, or give it a name."
        )
        raise InputError(msg)
    return kept


def noted_categories(source: pa.dataset.Dataset) -> list[str]:
    """The columns of a `parquet_source` that were categories when pandas wrote them.

    Parquet itself has no categories but of text.
    """
    names: list[str] = json.loads((source.schema.metadata or {})[_CATEGORIES.encode()])
    return names


def _read_parquet(path: Path, drop: Collection[str]) -> pa.Table:
    source = parquet_source(path, drop)
    kept = kept_columns(source, path, drop)
    table = source.to_table(
        columns=kept, use_threads=False, batch_readahead=1, fragment_readahead=1
    )
    for name in noted_categories(source):
        if name in kept and not pa.types.is_dictionary(table.schema.field(name).type):
            place = table.column_names.index(name)
            table = table.set_column(place, name, table.column(place).dictionary_encode())
    return table


def usable(table: pa.Table, path: Path, group: str | None, time: str | None) -> pa.Table:
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
            what, example = "text" if _is_text(kind) else str(kind), _odd_one(table.column(place))
            msg = (
                f"{path}: column {field.name!r} must hold numbers or categories; got {what} "
                f"({example!r:.40}); encode it as numbers, save it in Parquet as a pandas category "
                "column, or leave it out with --drop."
            )
            raise InputError(msg)
    return table


def _odd_one(column: pa.ChunkedArray) -> str:
    """The first cell that could not be read as a number."""
    cells = pd.Series([str(cell) for cell in column.slice(0, _LOOKED_AT) if cell.is_valid])
    odd = cells[pd.to_numeric(cells, errors="coerce").isna()]
    return str(odd.iloc[0]) if len(odd) else next(iter(cells), "")


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )
