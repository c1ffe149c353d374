"""Load a table to learn from, by name or path, with the roles of its columns.

Named tables are those that come with scikit-learn and those of the paper. They are read from `<name>.csv`
(features first, target last) in the folder that `ASRL_DATA_DIR` names, else in the user's cache. A
table of the paper that is in neither is downloaded into the cache.
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

from asrl_mlflow.datasets.classes import names_classes, to_classes
from asrl_mlflow.datasets.columns import (
    check_features,
    list_warnings,
    to_blocks,
    to_numbers,
    to_truth,
    to_weights,
)
from asrl_mlflow.datasets.embedded import EMBEDDED
from asrl_mlflow.datasets.names import check_columns_exist
from asrl_mlflow.datasets.published import PUBLISHED, WITH_TRUTH, fetch_table
from asrl_mlflow.datasets.roles import Roles
from asrl_mlflow.datasets.splits import Label, Rows
from asrl_mlflow.datasets.tables import SUFFIXES, read_table
from asrl_mlflow.errors import InputError, did_you_mean
from asrl_mlflow.residuals.sample_weights import row_counts

DEFAULT = "diabetes"
PAPER = tuple(PUBLISHED)
NAMED = (*EMBEDDED, *PAPER, *WITH_TRUTH)
DATA_DIR_VARIABLE = "ASRL_DATA_DIR"

_OF_PANDAS = (pd.Series, pd.Index, pd.Categorical)
# With fewer rows a 60/20/20 split leaves too few test rows.
_LEAST_ROWS = 20


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

    @property
    def classes(self) -> tuple[Label, ...]:
        """The labels of the classes in the order of their codes; empty where the target is a number."""
        return self.rows.classes

    def describe(self) -> str:
        """Describe the table in one line, so that a wrong table is noticed before training.

        Examples
        --------
        >>> load("diabetes").describe()
        "diabetes: 442 rows, 10 features, target 'disease_progression'"
        >>> load("breast_cancer").describe()
        "breast_cancer: 569 rows, 30 features, target 'diagnosis', 2 classes"
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
        if self.rows.truth is not None:
            known = np.isfinite(self.rows.truth)
            wrong = int(np.count_nonzero(self.rows.truth[known] != self.rows.target[known]))
            roles.append(
                f", true targets {self.roles.truth!r} known of {known.sum()}, other than given in {wrong}"
            )
        return (
            f"{self.name}: {rows} rows, {features} features, target {self.target_name!r}"
            f"{f', {len(self.classes)} classes' if self.classes else ''}{''.join(roles)}"
        )


def load(
    data: str = DEFAULT,
    target: str | None = None,
    *,
    weight: str | None = None,
    group: str | None = None,
    time: str | None = None,
    drop: Sequence[str] = (),
    classes: bool | None = None,
    truth: str | None = None,
) -> Dataset:
    """Read a table by name or path.

    Parameters
    ----------
    data : str
        "diabetes", or with classes "breast_cancer", "wine", "digits" (embedded); "california",
        "concrete", "gas_turbine", "power_plant", "airfoil" (fetched once); or a path to a .csv file (comma, semicolon or tab; decimal point or comma),
        a .parquet file or a folder of .parquet files. "airquality_co" (fetched once) has real errors in its
        target, and beside it the truth.
    target, weight, group, time, drop
        As for `Roles`.
    classes : bool, optional
        Whether the target names classes: text, whole numbers, booleans or categories. Then targets are
        the codes 0.0, 1.0, ... of the classes, and `Rows.classes` has the labels, sorted. False: the
        target is a number. By default the column decides: text, booleans, categories and the targets
        of the tables with classes name classes; all others are numbers.
    truth : str, optional
        As for `Roles`; only where the target is a number.

    Raises
    ------
    InputError
        A file or column does not exist; a named table cannot be downloaded; `Roles` or `read_table`
        refuses something; a feature is infinite; a target, weight, group or time is missing in some
        row, or is no number where it must be one; there are fewer than 20 rows, or fewer than 3 groups
        or times; there are fewer than 2 classes or more than 1000, or fewer than 5 rows of one. The
        message names the file, the row or column, and the remedy.

    Examples
    --------
    >>> table = load("diabetes", drop=["sex"])
    >>> table.rows.features.shape, table.target_name
    ((442, 9), 'disease_progression')
    >>> load("wine").classes
    ('class_0', 'class_1', 'class_2')
    """
    known = WITH_TRUTH.get(data)
    if known is not None and target is None and truth is None:
        target, truth = known.target, known.truth
    roles = Roles(target, weight, group, time, tuple(drop), truth)
    path, table = _find_file(data), EMBEDDED.get(data)
    if classes is None and table is not None and target in (None, table.target):
        classes = table.classes
    if path is not None:
        frame = read_table(path, roles, labels=bool(classes))
        name = data if data in NAMED else path.stem
        return _with_roles(
            frame, roles, name, str(path.resolve()), owner=str(path), classes=classes
        )
    source = EMBEDDED[data].source
    frame = EMBEDDED[data].load()
    check_columns_exist(roles.drop, list(frame.columns), source)
    frame = frame.drop(columns=list(roles.drop))
    return _with_roles(frame, roles, data, source, owner=source, classes=classes)


def from_arrays(
    X: Any,  # noqa: ANN401, N803 - a table of any kind, under scikit-learn's name
    y: npt.ArrayLike,
    *,
    sample_weight: npt.ArrayLike | None = None,
    groups: npt.ArrayLike | None = None,
    times: npt.ArrayLike | None = None,
    name: str = "table",
    classes: bool | None = None,
    truth: npt.ArrayLike | None = None,
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
    classes : bool, optional
        Whether the targets name classes, as for `load`.
    truth : array of shape (n,), optional
        True targets, where those in y may be wrong; NaN where they are unknown.

    Raises
    ------
    InputError
        What `load` refuses, or arrays of another length than X.

    Examples
    --------
    >>> table = from_arrays(np.zeros((30, 2)), np.arange(30.0))
    >>> table.describe()
    "table: 30 rows, 2 features, target 'target'"
    >>> from_arrays(np.zeros((30, 2)), ["no", "yes"] * 15).classes
    ('no', 'yes')
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
        truth=None if truth is None else _free_name("truth", taken),
    )
    values = [each for each in (y, sample_weight, groups, times, truth) if each is not None]
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
    # Without an index, which pandas would match with the features'; categories stay categories.
    columns = {
        column: pd.Series(each).array if isinstance(each, _OF_PANDAS) else np.asarray(each)
        for column, each in given.items()
    }
    frame = pd.concat([frame, pd.DataFrame(columns, index=frame.index)], axis=1)
    return _with_roles(frame, roles, name, "memory", owner=name, classes=classes)


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
    frame: pd.DataFrame, roles: Roles, name: str, source: str, *, owner: str, classes: bool | None
) -> Dataset:
    """Check the columns of a frame, and give each its role; `owner` is who an error is about."""
    names = list(map(str, frame.columns))
    check_columns_exist(roles.named, names, owner)
    column = roles.target_among(names, owner)
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
    labels: tuple[Label, ...] = ()
    if names_classes(frame[column]) if classes is None else classes:
        target, labels = to_classes(frame[column], owner)
    else:
        target = to_numbers(frame[column], owner, "target")
    if labels and roles.truth is not None:
        msg = f"{owner}: truth is for targets that are numbers; got classes in {column!r}; leave it out."
        raise InputError(msg)
    rows = Rows(
        features,
        target,
        weighed,
        None if by is None else to_blocks(frame[by], owner, in_time=roles.time is not None),
        row_counts(weighed, len(frame)).rule,
        labels,
        np.arange(len(frame)),
        None if roles.truth is None else to_truth(frame[roles.truth], owner),
    )
    return Dataset(name, rows, column, source, _digest(frame), roles, list_warnings(rows, column))


def _find_file(data: str) -> Path | None:
    """Find the file that a name or path means; None means a table that scikit-learn has."""
    if data not in NAMED:
        if Path(data).is_file() or Path(data).is_dir():
            return Path(data)
        if Path(data).suffix.lower() in SUFFIXES:
            msg = f"Data needs a .csv or .parquet file; got no such file: {data}; check the path."
            raise InputError(msg)
        hint = did_you_mean(data, NAMED) or "check the path."
        msg = (
            f"Data needs a .csv or .parquet file or one of {', '.join(NAMED)}; got {data!r}; {hint}"
        )
        raise InputError(msg)
    named = os.environ.get(DATA_DIR_VARIABLE)
    cache = _cache_folder()
    for folder in [Path(named or cache), cache]:
        if (folder / f"{data}.csv").is_file():
            return folder / f"{data}.csv"
    return None if data in EMBEDDED else fetch_table(data, cache)


def _cache_folder() -> Path:
    """Give the folder for downloaded tables, in the user's cache."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # a container's user may have no home
        base = Path(tempfile.gettempdir())
    return base / "asrl-mlflow"


def _digest(frame: pd.DataFrame) -> str:
    """Compute the digest over names and values, 16 hexadecimal digits."""
    digest = hashlib.sha256(",".join(map(str, frame.columns)).encode())
    digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    return digest.hexdigest()[:16]
