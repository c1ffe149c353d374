"""Make XGBoost's matrices: from rows in memory, or from Parquet files in batches."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.dataset
import xgboost

from asrl_mlflow.datasets.parquet import category_columns, kept_columns, open_parquet
from asrl_mlflow.datasets.splits import Rows
from asrl_mlflow.datasets.tables import convert_columns, explain_read_errors
from asrl_mlflow.errors import InputError
from asrl_mlflow.system.threads import thread_count


class ParquetBatches(xgboost.DataIter):
    """An iterator that gives XGBoost's matrices the rows of Parquet files in batches.

    Parameters
    ----------
    path : path
        A Parquet file, or a folder of files with the same columns, read in the order of their names;
        folders in it are read too, and those named column=value give a column more.
    target : str
        The column to predict.
    weight : str, optional
        A column of sample weights.
    drop : collection of str
        Columns to leave out.
    cache : path, optional
        How the names of XGBoost's cache files begin, on a disk that has room for two to four bytes a
        cell: for `ExtMemQuantileDMatrix`, which keeps its pages there. Each matrix needs its own.
        Without it, for `QuantileDMatrix`.
    batch_rows : int, >= 1
        Rows of a batch: few enough that several batches fit in memory as float32.

    Attributes
    ----------
    features : tuple of str
        The columns to learn from, in the order of the files.

    Raises
    ------
    InputError
        Files that cannot be read, have no rows or a pandas index without a name, unknown columns, or
        columns that do not hold numbers (categories among them). Later, as batches are read: targets or
        weights that are missing or not finite as float32, negative weights, infinite features.

    Notes
    -----
    Training on such a matrix takes some 60 bytes of memory a row for targets, residuals, weights and
    gradients, however many features there are. With sample weights, XGBoost 3.2 refits the leaves of
    its own absolute and quantile errors otherwise on disk than in memory; every other loss gives the
    same model.

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
        # First, because the destructor needs what this sets, even if a column is refused below.
        super().__init__(cache_prefix=None if cache is None else str(cache))
        self._path, self._batch_rows = Path(path), batch_rows
        if isinstance(drop, str):
            msg = f"drop needs a collection of names; got {drop!r}; pass [{drop!r}]."
            raise InputError(msg)
        with explain_read_errors(self._path, "parquet"):
            self._source = open_parquet(self._path, drop)
            names = kept_columns(self._source, self._path, drop)
            empty = convert_columns(self._source.schema.empty_table().select(names), self._path)
        if cache is not None and not Path(cache).parent.is_dir():
            msg = f"A cache needs a folder that exists; got {cache}; make {Path(cache).parent}."
            raise InputError(msg)
        if batch_rows < 1:
            msg = f"A batch needs at least 1 row; got batch_rows={batch_rows}; try 100000."
            raise InputError(msg)
        for name in (target, *([weight] if weight else [])):
            if name not in names:
                msg = (
                    f"{path}: target and weight must be columns that are kept; got {name!r}; choose "
                    f"from {', '.join(names)}."
                )
                raise InputError(msg)
        self._target, self._weight = target, weight
        self.features = tuple(name for name in names if name not in (target, weight))
        if weight == target or not self.features:
            msg = (
                f"{path}: target, weight and at least one feature must be columns of their own; got "
                f"target {target!r}, weight {weight!r} and {len(self.features)} features."
            )
            raise InputError(msg)
        categories = [field.name for field in empty.schema if pa.types.is_dictionary(field.type)]
        categories += [name for name in category_columns(self._source) if name in names]
        if categories:
            msg = (
                f"{path}: batches take numbers only, as categories may differ from file to file; got "
                f"categories in column {categories[0]!r}; encode it as numbers, or drop it."
            )
            raise InputError(msg)
        if self._source.count_rows() == 0:
            msg = f"{path}: at least one row is needed; got none."
            raise InputError(msg)
        self.reset()

    def reset(self) -> None:
        """Begin again at the first row; XGBoost reads the rows more than once."""
        self._batches = self._read_batches()

    def next(self, input_data: Callable[..., Any]) -> bool:
        """Give XGBoost the next batch; return False after the last."""
        with explain_read_errors(self._path, "parquet"):
            batch = next(self._batches, None)
        if batch is None:
            return False
        data = _to_float32(batch, self.features)
        infinite = np.isinf(data).any(axis=0)
        if infinite.any():
            name = self.features[int(infinite.argmax())]
            msg = (
                f"{self._path}: features must be numbers below 3e38, or missing; got infinite or larger "
                f"ones in column {name!r}; leave those rows or that column out."
            )
            raise InputError(msg)
        weight = (
            None if self._weight is None else self._finite_column(batch, self._weight, "weights")
        )
        if weight is not None and weight.min() < 0:
            msg = (
                f"{self._path}: weights must not be negative; got {weight.min():g} in column "
                f"{self._weight!r}; weight 0 leaves a row out."
            )
            raise InputError(msg)
        input_data(
            data=data,
            label=self._finite_column(batch, self._target, "targets"),
            weight=weight,
            feature_names=list(self.features),
        )
        return True

    def _finite_column(self, batch: pa.Table, name: str, what: str) -> npt.NDArray[np.float32]:
        """Convert a column to float32, and refuse missing or infinite values."""
        values = _to_float32(batch, [name])[:, 0]
        bad = int(np.count_nonzero(~np.isfinite(values)))
        if bad:
            msg = (
                f"{self._path}: {what} must be finite numbers below 3e38; got {bad} in column "
                f"{name!r} that are missing, infinite or larger; leave those rows out."
            )
            raise InputError(msg)
        return values

    def _read_batches(self) -> Iterator[pa.Table]:
        """Read tables of `batch_rows` rows; the last one has the rest."""
        waiting: list[pa.RecordBatch] = []
        rows = 0
        # Row groups of files can have any size, so they are cut and joined here.
        for batch in self._source.to_batches(
            columns=[*self.features, self._target, *([self._weight] if self._weight else [])],
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
            # Return free memory to the system.
            pa.default_memory_pool().release_unused()
        if waiting:
            yield pa.Table.from_batches(waiting)


def _to_float32(table: pa.Table, names: Collection[str]) -> npt.NDArray[np.float32]:
    """Convert columns to one float32 array of shape (rows, columns), with NaN for missing cells."""
    values = np.empty((table.num_rows, len(names)), np.float32)
    for place, name in enumerate(names):
        column = table.column(name).cast(pa.float32(), safe=False)
        values[:, place] = column.to_numpy(zero_copy_only=False)
    return values


def make_matrix(rows: Rows, ref: xgboost.DMatrix | None = None) -> xgboost.QuantileDMatrix:
    """Make XGBoost's quantised matrix of rows; validation rows use the bins of the training matrix `ref`."""
    return xgboost.QuantileDMatrix(
        rows.features,
        label=rows.target,
        weight=rows.weight,
        ref=ref,
        enable_categorical=True,
        nthread=thread_count(*rows.features.shape),
    )
