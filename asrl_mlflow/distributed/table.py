"""Read Parquet files on the workers of a cluster, and split their rows there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow.parquet
from distributed import Client, wait
from xgboost.dask import DaskQuantileDMatrix

from asrl_mlflow.datasets.columns import check_features, check_types, to_numbers, to_weights
from asrl_mlflow.datasets.names import check_columns_exist
from asrl_mlflow.datasets.parquet import (
    category_columns,
    kept_columns,
    list_parquet_files,
    open_parquet,
)
from asrl_mlflow.datasets.roles import Roles
from asrl_mlflow.datasets.splits import Rows
from asrl_mlflow.errors import InputError
from asrl_mlflow.residuals.conformal import MOST_ROWS
from asrl_mlflow.residuals.sample_weights import WeightRule

# The shares of train, valid and test, as on one machine.
_SHARES = (0.6, 0.2, 0.2)
# A single file is cut into so many partitions, whatever the number of workers: the split depends on them.
_LEAST_PARTITIONS = 8
# At most so many test rows are brought here to be measured.
_MOST_TEST_ROWS = 500_000


@dataclass(frozen=True)
class ClusterTable:
    """The rows of Parquet files, split into train, valid and test on the workers of a cluster.

    Parameters
    ----------
    name, source, digest : str
        A short name, the path, and a digest of the files' names, sizes and schema.
    roles : Roles
        The roles that were asked for.
    target : str
        The target's column.
    features : tuple of str
        The columns to learn from.
    weight_rule : {"none", "counts", "mean 1"}
        How the weights of the whole table are read.
    counts : tuple of three int
        The rows in train, valid and test.
    train, valid, test : dask.dataframe.DataFrame
        The rows, in the memory of the workers.
    """

    name: str
    source: str
    digest: str
    roles: Roles
    target: str
    features: tuple[str, ...]
    weight_rule: WeightRule
    counts: tuple[int, int, int]
    train: Any
    valid: Any
    test: Any

    @property
    def rows(self) -> int:
        """How many rows all parts have."""
        return sum(self.counts)

    def describe(self) -> str:
        """Describe the table in one line, so that a wrong table is noticed before training."""
        weight = f", weight {self.roles.weight!r}" if self.roles.weight else ""
        return (
            f"{self.name}: {self.rows} rows, {len(self.features)} features, target {self.target!r}{weight}, "
            f"{self.train.npartitions} partitions"
        )

    def matrix(self, client: Client, part: Any, **known: Any) -> DaskQuantileDMatrix:  # noqa: ANN401 - Dask's frames
        """Make XGBoost's matrix of a part."""
        return DaskQuantileDMatrix(
            client,
            part[list(self.features)],
            label=part[self.target],
            weight=None if self.roles.weight is None else part[self.roles.weight],
            **known,
        )

    def bring_test(self) -> Rows:
        """Bring the test rows here; where they are too many, a random sample of them."""
        return self._bring(self.test, self.counts[2], _MOST_TEST_ROWS)

    def bring_valid(self) -> Rows:
        """Bring as many validation rows here as intervals are calibrated by."""
        return self._bring(self.valid, self.counts[1], MOST_ROWS)

    def _bring(self, part: Any, rows: int, most: int) -> Rows:  # noqa: ANN401 - a frame of Dask's
        if rows > most:
            part = part.sample(frac=most / rows, random_state=0)
        frame = part.compute().reset_index(drop=True)
        features = frame[list(self.features)]
        check_features(features, self.source)
        weight = (
            None if self.roles.weight is None else to_weights(frame[self.roles.weight], self.source)
        )
        target = to_numbers(frame[self.target], self.source, "target")
        return Rows(features, target, weight, weight_rule=self.weight_rule)


def read(client: Client, data: str, roles: Roles, seed: int) -> ClusterTable:
    """Read Parquet files on the workers, and split their rows into train, valid and test.

    Each row is drawn for a part with the shares of `datasets.split`, partition by partition: rows stay on the
    worker that has read them, and the same files and seed give the same parts.

    Parameters
    ----------
    client : Client
        Of the cluster, whose workers must see the files under this path.
    data : str
        A .parquet file, or a folder of them.
    roles : Roles
        Of the columns; groups and times are refused.
    seed : int
        Of the split.

    Raises
    ------
    InputError
        As `datasets.load` says; columns that are no numbers.
    """
    path = Path(data)
    if not path.is_dir() and not (path.is_file() and path.suffix.lower() == ".parquet"):
        msg = (
            f"--engine=dask needs a .parquet file or a folder of them; got {data!r}; write the table as Parquet, "
            "or leave --engine out."
        )
        raise InputError(msg)
    if roles.group or roles.time:
        msg = (
            "--engine=dask splits rows where they are; got --group or --time, which need all of them in one place; "
            "split the table beforehand, or leave --engine out."
        )
        raise InputError(msg)
    files = list_parquet_files(path.absolute())
    source = open_parquet(path, roles.drop)
    names = kept_columns(source, path, roles.drop)
    missing = [name for name in names if name not in pyarrow.parquet.read_schema(files[0]).names]
    if missing or category_columns(source):
        odd = [*missing, *category_columns(source)][0]
        msg = (
            f"{path}: partitions take numbers that stand in every file; got {odd!r}, which are categories or the "
            "names of folders; encode it as numbers, or drop it."
        )
        raise InputError(msg)
    check_columns_exist(roles.named, names, str(path))
    target = roles.target_among(names, str(path))
    features = tuple(name for name in names if name not in {target, *roles.named})
    frame = dd.read_parquet([str(file) for file in files], columns=names)
    if not features:
        msg = f"{path}: needs a feature beside the target; got no column but {target!r}."
        raise InputError(msg)
    check_types(frame._meta, str(path))  # noqa: SLF001 - Dask's name for an empty frame of the same types
    if frame.npartitions < _LEAST_PARTITIONS:
        frame = frame.repartition(npartitions=_LEAST_PARTITIONS)
    parts = client.persist(list(frame.random_split(_SHARES, random_state=seed)))
    wait(parts)
    counts = [int(part.map_partitions(len).compute().sum()) for part in parts]
    if min(counts) == 0:
        msg = f"{path}: train, valid and test need a row each; got {counts}; give it more rows."
        raise InputError(msg)
    return ClusterTable(
        name=path.stem,
        source=str(path.resolve()),
        digest=_digest(files, path.absolute()),
        roles=roles,
        target=target,
        features=features,
        weight_rule=_weight_rule(parts, roles.weight),
        counts=(counts[0], counts[1], counts[2]),
        train=parts[0],
        valid=parts[1],
        test=parts[2],
    )


def _weight_rule(parts: Any, weight: str | None) -> WeightRule:  # noqa: ANN401 - frames of Dask's
    """How the weights of all rows are read."""
    if weight is None:
        return "none"
    fractions = [part[weight].map_partitions(_has_fractions).compute().any() for part in parts]
    return "mean 1" if any(fractions) else "counts"


def _has_fractions(weight: pd.Series[float]) -> bool:
    return bool((weight != np.floor(weight)).any())


def _digest(files: list[Path], base: Path) -> str:
    """A digest of the files' names, sizes and times: their rows are not read for it."""
    found = hashlib.sha256()
    for file in files:
        known = file.stat()
        name = file.relative_to(base) if file != base else file.name
        found.update(f"{name} {known.st_size} {known.st_mtime_ns}\n".encode())
    return found.hexdigest()[:16]
