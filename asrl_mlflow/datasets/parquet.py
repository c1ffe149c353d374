"""Read a Parquet file, or a folder of Parquet files."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet

from asrl_mlflow.datasets.names import check_column_names, check_columns_exist
from asrl_mlflow.errors import InputError, listed

_CATEGORIES_KEY = "asrl.categories"


# Reads files in pieces, so that no whole file is in memory beside its table.
_BUFFERED_FORMAT = pa.dataset.ParquetFileFormat(
    default_fragment_scan_options=pa.dataset.ParquetFragmentScanOptions(
        use_buffered_stream=True, pre_buffer=False
    )
)


def list_parquet_files(path: Path) -> list[Path]:
    """List the file itself, or the files of a folder in the order of their names.

    Raises
    ------
    InputError
        The folder has no Parquet file, or other files too.
    """
    if not path.is_dir():
        return [path]
    # By the convention of Spark and Hive, such names are not data.
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


def _merge_schemas(
    files: Sequence[Path], schemas: Sequence[pa.Schema], drop: Collection[str]
) -> pa.Schema:
    """Find for each column a type that can hold the values of every file."""
    check_column_names(schemas[0].names, files[0])
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


def open_parquet(path: Path, drop: Collection[str]) -> pa.dataset.Dataset:
    """Open a .parquet file, or a folder of them with the same columns, without reading the rows.

    Raises
    ------
    InputError
        As for `read_parquet`.
    """
    files = list_parquet_files(path)
    schemas = [pa.parquet.read_schema(file) for file in files]
    merged = _merge_schemas(files, schemas, drop)
    hive = {
        "partitioning": pa.dataset.HivePartitioning.discover(),
        "partition_base_dir": str(path),
    }
    found = pa.dataset.dataset(files, format=_BUFFERED_FORMAT, **hive).schema
    partitions = [field for field in found if field.name not in schemas[0].names]
    check_columns_exist(drop, [*(field.name for field in partitions), *schemas[0].names], path)
    # Partition columns come first, as the last column is the default target. pandas' metadata of all
    # files is joined.
    noted = {
        column["name"]: column
        for schema in schemas
        for column in (schema.pandas_metadata or {"columns": []})["columns"]
    }
    categories = [name for name, each in noted.items() if each["pandas_type"] == "categorical"]
    categories += [field.name for field in partitions if pa.types.is_string(field.type)]
    schema = pa.schema([*partitions, *merged], {_CATEGORIES_KEY: json.dumps(categories)})
    return pa.dataset.dataset(files, schema, format=_BUFFERED_FORMAT, **hive)


def kept_columns(source: pa.dataset.Dataset, path: Path, drop: Collection[str]) -> list[str]:
    """List the columns of `open_parquet` without those to leave out; refuse a pandas index."""
    kept = [name for name in source.schema.names if name not in drop]
    index = [name for name in kept if name.startswith("__index_level_")]
    if index:
        msg = (
            f"{path}: every column needs a name; got {index[0]!r}, a pandas index that was written "
            f"along; leave it out with --drop={index[0]}, or give it a name."
        )
        raise InputError(msg)
    return kept


def category_columns(source: pa.dataset.Dataset) -> list[str]:
    """List the columns of `open_parquet` that were pandas categories when they were written.

    Parquet itself has only categories of text.
    """
    names: list[str] = json.loads((source.schema.metadata or {})[_CATEGORIES_KEY.encode()])
    return names


def read_parquet(path: Path, drop: Collection[str]) -> pa.Table:
    """Read a Parquet file, or a folder of them, without the columns in `drop`.

    Raises
    ------
    InputError
        It is no Parquet file, or two columns have the same name.
    """
    source = open_parquet(path, drop)
    kept = kept_columns(source, path, drop)
    table = source.to_table(
        columns=kept, use_threads=False, batch_readahead=1, fragment_readahead=1
    )
    for name in category_columns(source):
        if name in kept and not pa.types.is_dictionary(table.schema.field(name).type):
            place = table.column_names.index(name)
            table = table.set_column(place, name, table.column(place).dictionary_encode())
    return table
