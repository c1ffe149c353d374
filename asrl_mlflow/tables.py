"""Files of any kind, read into columns of numbers and categories or refused in one line."""

from __future__ import annotations

from collections.abc import Collection
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
# Whole files are not held in memory beside what is read from them.
_FRUGAL = pa.dataset.ParquetFileFormat(
    default_fragment_scan_options=pa.dataset.ParquetFragmentScanOptions(
        use_buffered_stream=True, pre_buffer=False
    )
)


def read(path: Path, *, drop: Collection[str] = (), free: Collection[str] = ()) -> pd.DataFrame:
    """A .csv file, a .parquet file, or a folder of .parquet files with the same columns.

    Parameters
    ----------
    path : Path
        What to read.
    drop : collection of str
        Columns that are not read.
    free : collection of str
        Columns that may hold text, dates and times.

    Returns
    -------
    DataFrame
        Numbers, booleans and categories (NaN is a missing value), and the free columns as they are.

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
    try:
        if suffix == ".csv":
            table = delimited.read(path, drop=drop, free=free)
        else:
            table = _read_parquet(path, drop)
        table = _usable(table, path, free)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        msg = f"{path}: must be a readable {suffix[1:]} file; got: {str(error).splitlines()[0]}"
        raise InputError(msg) from error
    except OSError as error:
        reason = error.strerror or str(error).splitlines()[0]
        msg = f"{path}: must be a readable file; got: {reason}; check its permissions or copy it anew."
        raise InputError(msg) from error
    # Column by column, each freed once it is converted. A frame's index was a column all the same.
    frame: pd.DataFrame = table.to_pandas(
        ignore_metadata=True, split_blocks=True, self_destruct=True
    )
    del table
    pa.default_memory_pool().release_unused()
    # Booleans with gaps come as objects.
    for name in frame.columns.difference(list(free)):
        if frame[name].dtype == object:
            frame[name] = frame[name].astype(np.float64)
    return frame


def _read_parquet(path: Path, drop: Collection[str]) -> pa.Table:
    files = [path]
    if path.is_dir():
        # As Spark and Hive have it, names that begin so are not data.
        files = sorted(
            file
            for file in path.rglob("*.parquet")
            if not any(part.startswith(("_", ".")) for part in file.relative_to(path).parts)
        )
    if not files:
        msg = f"{path}: a folder needs .parquet files; got none; check the path."
        raise InputError(msg)
    schemas = [pa.parquet.read_schema(file) for file in files]
    check_names(schemas[0].names, path)
    for file, schema in zip(files, schemas, strict=True):
        odd = sorted(set(schema.names) ^ set(schemas[0].names))
        if odd:
            msg = (
                f"{file}: files of a folder need the same columns; got {listed(odd)} in only one of "
                f"it and {files[0].name}; write them anew, or read one file."
            )
            raise InputError(msg)
    merged = pa.unify_schemas(
        [schema.remove_metadata() for schema in schemas], promote_options="permissive"
    )
    hive = {
        "partitioning": pa.dataset.HivePartitioning.discover(),
        "partition_base_dir": str(path),
    }
    found = pa.dataset.dataset(files, format=_FRUGAL, **hive).schema
    partitions = [field for field in found if field.name not in merged.names]
    source = pa.dataset.dataset(files, pa.schema([*merged, *partitions]), format=_FRUGAL, **hive)
    names = source.schema.names
    check_known(drop, names, path)
    kept = [name for name in names if name not in drop]
    index = [name for name in kept if name.startswith("__index_level_")]
    if index:
        msg = (
            f"{path}: every column needs a name; got {index[0]!r}, a pandas index that was written "
            f"along; leave it out with --drop={index[0]}, or give it a name."
        )
        raise InputError(msg)
    table = source.to_table(
        columns=kept, use_threads=False, batch_readahead=1, fragment_readahead=1
    )
    # Parquet itself has no categories but of text: pandas notes which columns were some.
    noted = (schemas[0].pandas_metadata or {"columns": []})["columns"]
    categories = [column["name"] for column in noted if column["pandas_type"] == "categorical"]
    categories += [field.name for field in partitions if pa.types.is_string(field.type)]
    for name in categories:
        if name in kept and not pa.types.is_dictionary(table.schema.field(name).type):
            place = table.column_names.index(name)
            table = table.set_column(place, name, table.column(place).dictionary_encode())
    return table


def _usable(table: pa.Table, path: Path, free: Collection[str]) -> pa.Table:
    """Columns that XGBoost can learn from, decimals as floats; others are refused."""
    for place, field in enumerate(table.schema):
        kind = field.type
        if field.name in free:
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
            example = next((str(cell) for cell in table.column(place) if cell.is_valid), "")
            what = "text" if _is_text(kind) else str(kind)
            msg = (
                f"{path}: column {field.name!r} must hold numbers or categories; got {what} "
                f"({example!r:.40}); encode it as numbers, save it in Parquet as a pandas category "
                "column, or leave it out with --drop."
            )
            raise InputError(msg)
    return table


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )
