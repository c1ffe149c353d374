"""Load a table to learn from, by name or path, with the roles of its columns.

The table "diabetes" comes with scikit-learn. The other named tables are those of the paper: they are
read from `<name>.csv` (features first, target last) in the folder that `ASRL_DATA_DIR` names, else in
the user's cache. A table that is in neither is downloaded into the cache.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from asrl_mlflow.datasets.columns import (
    check_features,
    list_warnings,
    to_blocks,
    to_numbers,
    to_weights,
)
from asrl_mlflow.datasets.names import check_columns_exist
from asrl_mlflow.datasets.published import PUBLISHED, fetch_table
from asrl_mlflow.datasets.splits import Rows
from asrl_mlflow.datasets.tables import SUFFIXES, read_table
from asrl_mlflow.errors import InputError, did_you_mean, listed
from asrl_mlflow.residuals.sample_weights import row_counts

EMBEDDED = "diabetes"
PAPER = tuple(PUBLISHED)
DATA_DIR_VARIABLE = "ASRL_DATA_DIR"

# With fewer rows a 60/20/20 split leaves too few test rows.
_LEAST_ROWS = 20


@dataclass(frozen=True)
class Roles:
    """The columns that are not features, each with its role.

    Parameters
    ----------
    target : str, optional
        The column to predict; by default the last column without another role.
    weight : str, optional
        The column of sample weights.
    group : str, optional
        The column of groups; a split never separates rows with the same value.
    time : str, optional
        The column of numbers, dates or times to split by: training on earlier rows, testing on later.
    drop : tuple of str
        The columns that are not read.

    Raises
    ------
    InputError
        A column has two roles, or both group and time are given.
    """

    target: str | None = None
    weight: str | None = None
    group: str | None = None
    time: str | None = None
    drop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.group is not None and self.time is not None:
            msg = (
                f"A split goes by group or by time; got group {self.group!r} and time {self.time!r}; "
                "leave one of them out."
            )
            raise InputError(msg)
        named = [*self.named, *self.drop]
        twice = sorted({name for name in named if named.count(name) > 1})
        if twice:
            msg = f"A column can have one role; got {listed(twice)} in several; decide for one."
            raise InputError(msg)

    @property
    def named(self) -> list[str]:
        """The columns that have a role and are read, in the order target, weight, group, time."""
        roles = (self.target, self.weight, self.group, self.time)
        return [name for name in roles if name is not None]


@dataclass(frozen=True)
class Dataset:
    """A table with a target, and its origin.

    Parameters
    ----------
    name : str
        A short name: the named table's, or the file's without its suffix.
    rows : Rows
        Features, target, weights and blocks, in the order of the file.
    target_name : str
        The name of the target's column.
    source : str
        The absolute path of the file, or the function that made the table.
    digest : str
        The first 16 hexadecimal digits of a SHA-256 over names and values.
    roles : Roles
        The roles that were asked for.
    warnings : tuple of str
        One line for each thing that is allowed but probably a mistake.
    """

    name: str
    rows: Rows
    target_name: str
    source: str
    digest: str
    roles: Roles = field(default_factory=Roles)
    warnings: tuple[str, ...] = ()

    def describe(self) -> str:
        """Describe the table in one line, so that a wrong table is noticed before training.

        Examples
        --------
        >>> load("diabetes").describe()
        "diabetes: 442 rows, 10 features, target 'disease_progression'"
        """
        rows, features = self.rows.features.shape
        roles = [
            f", {what} {name!r}"
            for what, name in (
                ("weight", self.roles.weight),
                ("groups by", self.roles.group),
                ("time by", self.roles.time),
            )
            if name is not None
        ]
        return (
            f"{self.name}: {rows} rows, {features} features, target {self.target_name!r}"
            f"{''.join(roles)}"
        )


def load(
    data: str = EMBEDDED,
    target: str | None = None,
    *,
    weight: str | None = None,
    group: str | None = None,
    time: str | None = None,
    drop: Sequence[str] = (),
) -> Dataset:
    """Read a table by name or path.

    Parameters
    ----------
    data : str
        "diabetes" (embedded), "california", "concrete", "gas_turbine", "power_plant", "airfoil"
        (fetched once), or a path to a .csv file (comma, semicolon or tab; decimal point or comma),
        a .parquet file or a folder of .parquet files.
    target, weight, group, time, drop
        As for `Roles`.

    Raises
    ------
    InputError
        A file or column does not exist; a named table cannot be downloaded; `Roles` or `read_table`
        refuses something; a feature is infinite; a target, weight, group or time is missing in some
        row, or is no number where it must be one; there are fewer than 20 rows, or fewer than 3 groups
        or times. The message names the file, the row or column, and the remedy.

    Examples
    --------
    >>> table = load("diabetes", drop=["sex"])
    >>> table.rows.features.shape, table.target_name
    ((442, 9), 'disease_progression')
    """
    roles = Roles(target, weight, group, time, tuple(drop))
    path = _find_file(data)
    if path is None:
        frame, source, name = _load_diabetes(), "sklearn.datasets.load_diabetes", EMBEDDED
        check_columns_exist(roles.drop, list(frame.columns), source)
        frame = frame.drop(columns=list(roles.drop))
    else:
        frame = read_table(path, drop=roles.drop, group=group, time=time)
        source = str(path.resolve())
        name = data if data in PAPER or data == EMBEDDED else path.stem
    return _with_roles(frame, roles, name, source, owner=source if path is None else str(path))


def from_arrays(
    X: Any,  # noqa: ANN401, N803 - a table of any kind, under scikit-learn's name
    y: npt.ArrayLike,
    *,
    sample_weight: npt.ArrayLike | None = None,
    groups: npt.ArrayLike | None = None,
    times: npt.ArrayLike | None = None,
    name: str = "table",
) -> Dataset:
    """Make a table from features and targets in memory.

    Parameters
    ----------
    X : DataFrame, or array of shape (n, features)
        Features; of pandas, polars, pyarrow or numpy. Columns without a name are called f0, f1, ...
    y : array of shape (n,)
        Targets. A Series lends its name, otherwise it is "target".
    sample_weight : array of shape (n,), optional
        Sample weights.
    groups : array of shape (n,), optional
        Rows with the same value are never separated by a split.
    times : array of shape (n,), optional
        Numbers, dates or times to split by: training on earlier rows, testing on later.
    name : str
        A short name.

    Raises
    ------
    InputError
        What `load` refuses, or arrays of another length than X.

    Examples
    --------
    >>> table = from_arrays(np.zeros((30, 2)), np.arange(30.0))
    >>> table.describe()
    "table: 30 rows, 2 features, target 'target'"
    """
    frame = _to_frame(X, name)
    target = str(y.name) if isinstance(y, pd.Series) and y.name else "target"
    # A name of ours steps aside for a column that has it.
    taken = {target, *frame.columns}
    roles = Roles(
        target=target,
        weight=None if sample_weight is None else _free_name("weight", taken),
        group=None if groups is None else _free_name("group", taken),
        time=None if times is None else _free_name("time", taken),
    )
    values = [each for each in (y, sample_weight, groups, times) if each is not None]
    given = dict(zip(roles.named, values, strict=True))
    for column, each in given.items():
        array = np.asarray(each)
        if array.shape != (len(frame),):
            msg = (
                f"{name}: needs one value of {column} for each of {len(frame)} rows; got an array of shape "
                f"{array.shape}; pass one column."
            )
            raise InputError(msg)
    if target in frame:
        msg = f"{name}: features need other names than the target; got a column {target!r}; rename it."
        raise InputError(msg)
    columns = {
        column: each.to_numpy() if isinstance(each, pd.Series) else np.asarray(each)
        for column, each in given.items()
    }
    frame = pd.concat([frame, pd.DataFrame(columns, index=frame.index)], axis=1)
    return _with_roles(frame, roles, name, "memory", owner=name)


def _free_name(name: str, taken: Collection[str]) -> str:
    """Give a name that is not taken: this one, or with underscores behind it."""
    while name in taken:
        name += "_"
    return name


def _to_frame(X: Any, owner: str) -> pd.DataFrame:  # noqa: ANN401, N803 - a table of any kind
    """Turn a table of any kind into a frame whose columns have names and whose rows are numbered."""
    if not isinstance(X, pd.DataFrame):
        if not hasattr(X, "to_pandas") and np.asarray(X).ndim != 2:  # noqa: PLR2004 - rows and columns
            msg = (
                f"{owner}: needs a frame or an array of rows and columns; got "
                f"{type(X).__name__} of shape {np.shape(X)}; pass a sparse matrix as .toarray()."
            )
            raise InputError(msg)
        X = X.to_pandas() if hasattr(X, "to_pandas") else pd.DataFrame(np.asarray(X))  # noqa: N806 - see above
    names = [each if isinstance(each, str) else f"f{each}" for each in X.columns]
    frame: pd.DataFrame = X.set_axis(names, axis=1).reset_index(drop=True)
    return frame


def _with_roles(
    frame: pd.DataFrame, roles: Roles, name: str, source: str, *, owner: str
) -> Dataset:
    """Check the columns of a frame, and give each its role; `owner` is who an error is about."""
    check_columns_exist(roles.named, list(frame.columns), owner)
    column = roles.target or _default_target(frame, roles, owner)
    if len(frame) < _LEAST_ROWS:
        msg = f"{owner}: needs at least {_LEAST_ROWS} rows to split; got {len(frame)}."
        raise InputError(msg)
    features = frame.drop(columns=list({column, *roles.named}))
    if features.columns.empty:
        msg = f"{owner}: needs a feature beside the target; got no column but {column!r}."
        raise InputError(msg)
    check_features(features, owner)
    by = roles.group or roles.time
    weighed = None if roles.weight is None else to_weights(frame[roles.weight], owner)
    rows = Rows(
        features,
        to_numbers(frame[column], owner, "target"),
        weighed,
        None if by is None else to_blocks(frame[by], owner, in_time=roles.time is not None),
        row_counts(weighed, len(frame)).rule,
        np.arange(len(frame)),
    )
    return Dataset(name, rows, column, source, _digest(frame), roles, list_warnings(rows, column))


def _find_file(data: str) -> Path | None:
    """Find the file that a name or path means; None means the table that scikit-learn has."""
    if data not in (EMBEDDED, *PAPER):
        if Path(data).is_file() or Path(data).is_dir():
            return Path(data)
        if Path(data).suffix.lower() in SUFFIXES:
            msg = f"Data needs a .csv or .parquet file; got no such file: {data}; check the path."
            raise InputError(msg)
        known = (EMBEDDED, *PAPER)
        hint = did_you_mean(data, known) or "check the path."
        msg = (
            f"Data needs a .csv or .parquet file or one of {', '.join(known)}; got {data!r}; {hint}"
        )
        raise InputError(msg)
    named = os.environ.get(DATA_DIR_VARIABLE)
    cache = _cache_folder()
    for folder in [Path(named or cache), cache]:
        if (folder / f"{data}.csv").is_file():
            return folder / f"{data}.csv"
    return None if data == EMBEDDED else fetch_table(data, cache)


def _cache_folder() -> Path:
    """Give the folder for downloaded tables, in the user's cache."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # a container's user may have no home
        base = Path(tempfile.gettempdir())
    return base / "asrl-mlflow"


def _load_diabetes() -> pd.DataFrame:
    """Load the table that scikit-learn has, the target last."""
    # Here, not above: scikit-learn takes a second to import and only this table needs it.
    from sklearn.datasets import load_diabetes  # noqa: PLC0415 - see above

    bunch = load_diabetes(as_frame=True)
    frame: pd.DataFrame = bunch.data.assign(disease_progression=bunch.target)
    return frame


def _default_target(frame: pd.DataFrame, roles: Roles, owner: str) -> str:
    """Choose the target where none is named: the last column without a role."""
    left = [str(name) for name in frame.columns if name not in roles.named]
    if not left:
        msg = f"{owner}: needs a target; got none beside {listed(roles.named)}; drop fewer columns."
        raise InputError(msg)
    return left[-1]


def _digest(frame: pd.DataFrame) -> str:
    """Compute the digest over names and values, 16 hexadecimal digits."""
    digest = hashlib.sha256(",".join(map(str, frame.columns)).encode())
    digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    return digest.hexdigest()[:16]
