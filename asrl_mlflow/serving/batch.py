"""Predict a table of any length in chunks, into a file that is complete or does not exist."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset
import pyarrow.parquet
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel

from asrl_mlflow.datasets import csv_files
from asrl_mlflow.datasets.names import check_columns_exist, check_model_columns
from asrl_mlflow.datasets.parquet import open_parquet
from asrl_mlflow.datasets.tables import SUFFIXES
from asrl_mlflow.errors import InputError
from asrl_mlflow.system.files import write_atomically

_ROWS_A_CHUNK = 65_536


def predict_file(
    model: PyFuncModel,
    data: Path,
    out: Path,
    *,
    level: float | None = None,
    clean: bool = False,
    adaptive: bool = False,
    keep: Collection[str] = (),
    part: pa.dataset.Dataset | None = None,
    notes: Mapping[str, str] | None = None,
    on_progress: Callable[[int, int], object] = lambda *_: None,
) -> int:
    """Predict every row of a table file, in its order.

    Parameters
    ----------
    model : PyFuncModel
        A model from `registry.load`.
    data : Path
        A .csv file, a .parquet file, or a folder of .parquet files.
    out : Path
        A .csv or .parquet file: the columns to keep, then prediction, and lower and upper with a
        level; for classes the probability of each, and with a level whether it is in the set. It is
        written under another name beside it and renamed at the end.
    level : float, in (0, 1), optional
        The level of prediction intervals, or for classes of prediction sets; without it there are none.
    clean : bool
        Whether intervals are to hold right targets: residuals of gross outliers do not count.
    adaptive : bool
        Whether intervals are to be wider for rows whose residuals are spread wider.
    keep : collection of str
        Columns of the table to copy into the result unchanged.
    part : pyarrow.dataset.Dataset, optional
        The file as a part of a folder: with the types that its columns have there, and possibly without rows.
        Without it the file is opened on its own.
    notes : mapping of str to str, optional
        Metadata of a result in Parquet.
    on_progress : callable
        Called with what is done and with the total: bytes of a CSV file, rows of a Parquet file.

    Returns
    -------
    int
        The number of rows predicted.

    Raises
    ------
    InputError
        A column is missing, or a cell is no number; the message names row and column.
    OSError
        The result cannot be written.
    """
    _check_paths(data, out)
    known = model.metadata.metadata or {}
    columns, classes = known["asrl.columns"], known["asrl"]["data"].get("classes", [])
    results = _result_columns(classes, with_level=level is not None)
    twice = sorted(set(keep) & set(results))
    if twice:
        msg = f"{data}: the result has a column {twice[0]!r} of its own; got it to keep; rename it."
        raise InputError(msg)
    text = [each["name"] for each in columns if "categories" in each]
    numbers = [each["name"] for each in columns if "categories" not in each]
    served: Any = model.unwrap_python_model()
    params: dict[str, Any] = {} if level is None else {"set" if classes else "interval": level}
    for name, asked in (("clean", clean), ("adaptive", adaptive)):
        if asked and (level is None or classes):
            got = "classes" if classes else "no level"
            msg = (
                f"{name.capitalize()} intervals need a level and a model of numbers; got {got}; give a level, 0.9 say, "
                f"or leave {name} out."
            )
            raise InputError(msg)
        if asked:
            params[name] = True
    rows = 0
    try:
        with (
            _open_chunks(data, part, numbers, text, keep, on_progress) as chunks,
            _write_table(out, notes) as write,
        ):
            for chunk in chunks:
                frame = _to_frame(chunk.select([*numbers, *text]), rows, columns)
                predicted = _predict(served, frame, params)
                write(_to_result(chunk.select(list(dict.fromkeys(keep))), predicted, results))
                rows += len(chunk)
    except MlflowException as error:
        msg = f"{data}: {error.message}"
        raise InputError(msg) from error
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        msg = (
            f"{data}: must be readable, and what is kept of it be writable to {out}; got: "
            f"{str(error).splitlines()[0]}"
        )
        raise InputError(msg) from error
    return rows


def _check_paths(data: Path, out: Path) -> None:
    if not data.exists() or not (data.is_dir() or data.suffix.lower() in SUFFIXES):
        msg = (
            f"Data needs a .csv or .parquet file, or a folder, that is there; got {data}; check it."
        )
        raise InputError(msg)
    if data.is_dir() and out.resolve().is_relative_to(data.resolve()):
        msg = f"The result needs a place outside of the data; got {out} in {data}; name another."
        raise InputError(msg)
    if out.suffix.lower() not in SUFFIXES:
        msg = f"The result needs a name that ends in {' or '.join(SUFFIXES)}; got {out}; rename it."
        raise InputError(msg)
    if out.exists() and (out.is_dir() or out.samefile(data)):
        msg = f"The result needs a file of its own; got {out}; name another."
        raise InputError(msg)
    if not out.absolute().parent.is_dir():
        msg = f"The result needs a folder that is there; got {out}; make it first."
        raise InputError(msg)


@contextmanager
def _open_chunks(
    data: Path,
    part: pa.dataset.Dataset | None,
    numbers: Collection[str],
    text: Collection[str],
    keep: Collection[str],
    on_progress: Callable[[int, int], object],
) -> Iterator[Iterator[pa.Table]]:
    learned = [*numbers, *text]
    names = list(dict.fromkeys([*learned, *keep]))
    if data.suffix.lower() == ".csv":
        size = data.stat().st_size
        with data.open("rb") as file:
            as_it_stands = [name for name in names if name not in numbers]
            batches = csv_files.stream_csv(data, numbers, as_it_stands, learned, file)
            yield _with_progress(batches, lambda _: on_progress(file.tell(), size))
        return
    source = open_parquet(data, drop=()) if part is None else part
    check_model_columns(learned, source.schema.names, data)
    check_columns_exist(names, source.schema.names, data)
    total, done = source.count_rows(), 0

    def count(batch: pa.RecordBatch) -> None:
        nonlocal done
        done += len(batch)
        on_progress(done, total)

    if part is not None and not total:
        # Each file of a folder has its result.
        yield iter([source.head(0, columns=names)])
        return
    # By default pyarrow would read ahead until memory is full.
    batches = source.to_batches(
        columns=names, batch_size=_ROWS_A_CHUNK, batch_readahead=2, fragment_readahead=1
    )
    yield _with_progress(batches, count)


def _with_progress(
    batches: Iterator[pa.RecordBatch], tell: Callable[[pa.RecordBatch], object]
) -> Iterator[pa.Table]:
    for batch in batches:
        if len(batch):
            yield pa.Table.from_batches([batch])
        tell(batch)


def _to_frame(chunk: pa.Table, first: int, columns: list[dict[str, Any]]) -> pd.DataFrame:
    """Convert a chunk to a frame for the model, whose index counts from the table's first row."""
    frame: pd.DataFrame = chunk.to_pandas(ignore_metadata=True)
    frame.index = pd.RangeIndex(first, first + len(frame))
    for each in columns:
        known, cells = each.get("categories"), frame[each["name"]]
        if not known or cells.isna().all():
            continue
        # Categories get the type that they had in training; a CSV file may give another.
        plain = cells.astype(object)
        if isinstance(known[0], str) and not isinstance(plain.dropna().iloc[0], str):
            frame[each["name"]] = plain.map(str, na_action="ignore")
        elif isinstance(known[0], int):
            numbers = pd.to_numeric(plain, errors="coerce")
            frame[each["name"]] = numbers.where(numbers.notna(), plain)
    return frame


def _predict(model: Any, frame: pd.DataFrame, params: dict[str, Any]) -> pd.DataFrame:  # noqa: ANN401 - of any version
    """Predict around MLflow's schema, which is narrower than the model's own checks."""
    # Of no rows a booster has no column either.
    asked = frame if len(frame) else frame.reindex([0])
    return pd.DataFrame(model.predict(None, asked, params)).head(len(frame))


def _result_columns(classes: Collection[Any], *, with_level: bool) -> list[str]:
    """The names of the columns that a model adds."""
    if not classes:
        return ["prediction", "lower", "upper"] if with_level else ["prediction"]
    sets = [f"in_set_{each}" for each in classes] if with_level else []
    return ["prediction", *(f"probability_{each}" for each in classes), *sets]


def _to_result(kept: pa.Table, predicted: pd.DataFrame, names: Collection[str]) -> pa.Table:
    for name, (_, values) in zip(names, predicted.items(), strict=True):
        # Single numbers come as float32.
        column = values.astype(np.float64) if values.dtype == np.float32 else values
        kept = kept.append_column(name, pa.array(column.to_numpy()))
    return kept


@contextmanager
def _write_table(
    out: Path, notes: Mapping[str, str] | None
) -> Iterator[Callable[[pa.Table], None]]:
    """Open a writer whose file gets its name only once it is complete."""
    parquet = out.suffix.lower() == ".parquet"
    make = pa.parquet.ParquetWriter if parquet else pyarrow.csv.CSVWriter
    with write_atomically(out) as unfinished, ExitStack() as stack:
        opened: list[Any] = []

        def write(table: pa.Table) -> None:
            if not opened:
                schema = table.schema if notes is None else table.schema.with_metadata(notes)
                opened.append(stack.enter_context(make(unfinished, schema)))
            opened[0].write_table(table)

        yield write
        if not opened:
            msg = f"{out}: a result needs rows; got a table without any; nothing was written."
            raise InputError(msg)
