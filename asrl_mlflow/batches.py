"""Parquet files as batches, for tables that do not fit in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import xgboost

from asrl_mlflow.errors import InputError
from asrl_mlflow.tables import parquet_source, usable


class ParquetBatches(xgboost.DataIter):
    """Rows of Parquet files, some at a time, as XGBoost's matrices take them.

    Parameters
    ----------
    path : path
        A Parquet file, or a folder of files with the same columns, read in the order of their names.
    target : str
        The column to predict.
    weight : str, optional
        A column of sample weights.
    drop : collection of str
        Columns to leave out.
    cache : path, optional
        How the names of XGBoost's cache files begin, on a disk that has room for about a byte a
        cell: for `ExtMemQuantileDMatrix`, which keeps its pages there. Without it, for
        `QuantileDMatrix`.
    batch_rows : int, >= 1
        Rows of a batch: few enough that several batches fit in memory as float32.

    Attributes
    ----------
    features : tuple of str
        The columns to learn from, in the order of the files.

    Raises
    ------
    InputError
        A file that is not Parquet, unknown columns, or columns that do not hold numbers (categories
        among them). Later, as batches are read: targets that are missing or infinite.

    Notes
    -----
    Training on such a matrix takes some 40 bytes of memory a row for targets, residuals, weights and
    gradients, however many features there are. With sample weights, XGBoost 3.2 refits the leaves of
    its own absolute error otherwise on disk than in memory; every other loss gives the same model.

    Examples
    --------
    >>> import tempfile, numpy as np, pandas as pd, xgboost
    >>> from asrl_mlflow import losses, train
    >>> folder = tempfile.TemporaryDirectory()
    >>> x = np.linspace(0, 1, 300)
    >>> for part in range(3):
    ...     rows = pd.DataFrame({"x": x, "y": part + 5 * x})
    ...     rows.to_parquet(f"{folder.name}/{part}.parquet")
    >>> batches = ParquetBatches(folder.name, "y", cache=f"{folder.name}/cache", batch_rows=300)
    >>> dtrain = xgboost.ExtMemQuantileDMatrix(batches)
    >>> train({"max_depth": 3}, dtrain, 10, loss=losses.ContinuousASRL()).num_boosted_rounds()
    10
    >>> del dtrain  # XGBoost removes its cache files with the matrix
    >>> folder.cleanup()
    """

    def __init__(
        self,
        path: str | PathLike[str],
        target: str,
        *,
        weight: str | None = None,
        drop: Collection[str] = (),
        cache: str | PathLike[str] | None = None,
        batch_rows: int = 2**18,
    ) -> None:
        # First: its destructor wants what this sets, also where a column is refused.
        super().__init__(cache_prefix=None if cache is None else str(cache))
        self._path = Path(path)
        self._source = parquet_source(self._path, drop)
        names = self._source.schema.names
        for name in (target, *([weight] if weight else [])):
            if name not in names or name in drop:
                msg = (
                    f"{path}: target and weight must be columns that are kept; got {name!r}; choose "
                    f"from {', '.join(names)}."
                )
                raise InputError(msg)
        if batch_rows < 1:
            msg = f"A batch needs at least 1 row; got batch_rows={batch_rows}; try 100000."
            raise InputError(msg)
        self.features = tuple(
            name for name in names if name not in (target, weight) and name not in drop
        )
        self._columns = [*self.features, target, *([weight] if weight else [])]
        empty = self._source.schema.empty_table().select(self._columns)
        for field in usable(empty, self._path, None, None).schema:
            if pa.types.is_dictionary(field.type):
                msg = (
                    f"{path}: batches take numbers only, as categories may differ from file to file; "
                    f"got categories in column {field.name!r}; encode it as numbers, or drop it."
                )
                raise InputError(msg)
        self._target, self._weight, self._batch_rows = target, weight, batch_rows
        self.reset()

    def reset(self) -> None:
        """Begin anew: XGBoost goes over the rows more than once."""
        self._batches = self._read()

    def next(self, input_data: Callable[..., Any]) -> bool:
        """Hand XGBoost the next batch; False after the last."""
        batch = next(self._batches, None)
        if batch is None:
            return False
        label = _numbers(batch, [self._target], np.float64)[:, 0]
        bad = int(np.count_nonzero(~np.isfinite(label)))
        if bad:
            msg = (
                f"{self._path}: targets must be finite numbers; got {bad} in column "
                f"{self._target!r} that are missing or infinite; leave those rows out."
            )
            raise InputError(msg)
        input_data(
            data=_numbers(batch, self.features, np.float32),
            label=label,
            weight=None
            if self._weight is None
            else _numbers(batch, [self._weight], np.float64)[:, 0],
            feature_names=list(self.features),
        )
        return True

    def _read(self) -> Iterator[pa.Table]:
        """Tables of `batch_rows` rows, the last of what is left."""
        waiting: list[pa.RecordBatch] = []
        rows = 0
        # Row groups may be any size: what is read ahead is kept small, and cut here.
        for batch in self._source.to_batches(
            columns=self._columns,
            batch_size=self._batch_rows,
            batch_readahead=1,
            fragment_readahead=1,
            use_threads=False,
        ):
            left = batch
            while rows + left.num_rows >= self._batch_rows:
                taken = self._batch_rows - rows
                yield pa.Table.from_batches([*waiting, left.slice(0, taken)])
                waiting, rows, left = [], 0, left.slice(taken)
            if left.num_rows:
                waiting.append(left)
                rows += left.num_rows
            # What was read is given back to the system, not kept for later.
            pa.default_memory_pool().release_unused()
        if waiting:
            yield pa.Table.from_batches(waiting)


def _numbers(table: pa.Table, names: Collection[str], dtype: type) -> Any:  # noqa: ANN401 - an array of that dtype
    """Columns as one array of shape (rows, columns), missing cells as NaN."""
    values = np.empty((table.num_rows, len(names)), dtype)
    for place, name in enumerate(names):
        column = table.column(name).cast(pa.from_numpy_dtype(dtype), safe=False)
        values[:, place] = column.to_numpy(zero_copy_only=False)
    return values
