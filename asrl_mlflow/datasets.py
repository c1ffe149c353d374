"""Tables to learn from: named ones and any CSV or Parquet file; splitting and spoiling them.

The embedded table is real and ships with scikit-learn. The other named tables are the paper's; they
are read as `<name>.csv` (features first, target last) from the folder that `ASRL_DATA_DIR` names,
else from the user's cache.
"""

from __future__ import annotations

import difflib
import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from asrl_mlflow.errors import InputError
from asrl_mlflow.tables import SUFFIXES, listed, read

EMBEDDED = "diabetes"
PAPER = ("california", "concrete", "gas_turbine", "power_plant", "airfoil")
DATA_DIR_VARIABLE = "ASRL_DATA_DIR"

ContaminationKind = Literal["none", "sym", "asym", "cauchy"]
CONTAMINATIONS: tuple[ContaminationKind, ...] = ("none", "sym", "asym", "cauchy")

# Under this a 60/20/20 split leaves too few rows to judge anything by.
_LEAST_ROWS = 20

Target = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """Some rows of a table.

    Parameters
    ----------
    features : DataFrame of shape (n, features)
        Numbers and booleans; NaN is a missing value.
    target : float64 array of shape (n,)
        Finite, in target units.
    """

    features: pd.DataFrame
    target: Target

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.target)


@dataclass(frozen=True)
class Dataset:
    """A table with a target, and where it came from.

    Parameters
    ----------
    name : str
        Its short name.
    rows : Part
        Features and target, in file order.
    target_name : str
        The column that is the target.
    source : str
        A path, or the function that made it.
    digest : str
        The first 16 hexadecimal digits of a SHA-256 over names and values.
    """

    name: str
    rows: Part
    target_name: str
    source: str
    digest: str

    def told(self) -> str:
        """The table in one line, so that a wrong one is noticed before it is learned from.

        Examples
        --------
        >>> load("diabetes").told()
        "diabetes: 442 rows, 10 features, target 'disease_progression'"
        """
        rows, features = self.rows.features.shape
        return f"{self.name}: {rows} rows, {features} features, target {self.target_name!r}"


@dataclass(frozen=True)
class Split:
    """Rows to learn from, rows to choose by, rows to judge by."""

    train: Part
    valid: Part
    test: Part


def load(data: str = EMBEDDED, target: str | None = None) -> Dataset:
    """Read a table by name or path.

    Parameters
    ----------
    data : str
        "diabetes" (embedded), "california", "concrete", "gas_turbine", "power_plant", "airfoil", or
        a path to a .csv (comma, semicolon or tab) or .parquet file.
    target : str, optional
        The column to predict; by default the last.

    Raises
    ------
    InputError
        The file or column is not there; names stand twice; a row has more or fewer fields than the
        header; a column is text, a date or infinite; a target is missing or infinite; fewer than 20
        rows. One line, which names the file, the row or the column, and the remedy.

    Examples
    --------
    >>> table = load("diabetes")
    >>> table.rows.features.shape, table.target_name
    ((442, 10), 'disease_progression')
    """
    path = _find(data)
    if path is None:
        frame, source, name = _diabetes(), "sklearn.datasets.load_diabetes", EMBEDDED
    else:
        frame, source = read(path), str(path.resolve())
        name = data if data in PAPER or data == EMBEDDED else path.stem
    owner = source if path is None else str(path)
    column = _target_column(frame, target, owner)
    # Whatever has missing values came as objects or nothing at all; XGBoost wants numbers.
    features = frame.drop(columns=column)
    objects = features.select_dtypes(object).columns
    features[objects] = features[objects].astype(np.float64)
    _check_features(features, owner)
    part = Part(features, _checked_target(frame[column], owner))
    return Dataset(name, part, column, source, _digest(frame))


def split(rows: Part, seed: int) -> Split:
    """Shuffle rows by seed into 60% train, 20% valid, 20% test.

    Examples
    --------
    >>> parts = split(load().rows, seed=0)
    >>> len(parts.train), len(parts.valid), len(parts.test)
    (265, 88, 89)
    """
    order = np.random.default_rng(seed).permutation(len(rows))
    ends = int(0.6 * len(rows)), int(0.8 * len(rows))
    train, valid, test = (
        Part(rows.features.iloc[part].reset_index(drop=True), rows.target[part])
        for part in np.split(order, ends)
    )
    return Split(train, valid, test)


def contaminate(parts: Split, kind: ContaminationKind, share: float, seed: int) -> Split:
    """Spoil training and validation targets on purpose; test targets stay clean.

    Parameters
    ----------
    parts : Split
        Clean parts.
    kind : {"none", "sym", "asym", "cauchy"}
        "sym" adds plus or minus uniform(3, 10) standard deviations of the clean train and valid
        targets to `share` of the rows, "asym" only plus; "cauchy" adds 0.1 standard deviations
        times a standard Cauchy draw to every row.
    share : float, in [0, 1]
        Share of the rows; "none" and "cauchy" do not look at it.
    seed : int
        Of the draws.

    Examples
    --------
    >>> parts = split(load().rows, seed=0)
    >>> spoiled = contaminate(parts, "asym", 0.2, seed=0)
    >>> int((spoiled.train.target > parts.train.target).sum())
    53
    >>> spoiled.test is parts.test
    True
    """
    if kind == "none":
        return parts
    rng = np.random.default_rng(seed)
    deviation = float(np.concatenate([parts.train.target, parts.valid.target]).std())

    def spoiled(part: Part) -> Part:
        target = part.target.copy()
        if kind == "cauchy":
            target += 0.1 * deviation * rng.standard_cauchy(len(part))
        else:
            chosen = rng.choice(len(part), round(share * len(part)), replace=False)
            size = deviation * rng.uniform(3, 10, chosen.size)
            signs = rng.choice([-1.0, 1.0], chosen.size) if kind == "sym" else 1.0
            target[chosen] += signs * size
        return replace(part, target=target)

    return replace(parts, train=spoiled(parts.train), valid=spoiled(parts.valid))


def _find(data: str) -> Path | None:
    """The file that a name or path means; None is the embedded table."""
    if data not in (EMBEDDED, *PAPER):
        if Path(data).is_file():
            return Path(data)
        if Path(data).suffix.lower() in SUFFIXES or Path(data).is_dir():
            what = "a folder" if Path(data).is_dir() else "no such file"
            msg = f"Data needs a .csv or .parquet file; got {what}: {data}; check the path."
            raise InputError(msg)
        known = (EMBEDDED, *PAPER)
        close = difflib.get_close_matches(data, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "check the path."
        msg = (
            f"Data needs a .csv or .parquet file or one of {', '.join(known)}; got {data!r}; {hint}"
        )
        raise InputError(msg)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "asrl-mlflow"
    named = os.environ.get(DATA_DIR_VARIABLE)
    for folder in [Path(named), cache] if named else [cache]:
        if (folder / f"{data}.csv").is_file():
            return folder / f"{data}.csv"
    if data == EMBEDDED:
        return None
    msg = (
        f"Data set {data!r} needs the file {data}.csv (features first, target last); got none in "
        f"{DATA_DIR_VARIABLE}={named or '(unset)'} and {cache}; put it there."
    )
    raise InputError(msg)


def _diabetes() -> pd.DataFrame:
    # Here, not above: scikit-learn takes a second to import and only this table needs it.
    from sklearn.datasets import load_diabetes  # noqa: PLC0415 - see above

    bunch = load_diabetes(as_frame=True)
    frame: pd.DataFrame = bunch.data.assign(disease_progression=bunch.target)
    return frame


def _target_column(frame: pd.DataFrame, target: str | None, owner: str) -> str:
    names = [str(name) for name in frame.columns]
    if target is not None and target not in names:
        close = difflib.get_close_matches(target, names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"it has {listed(names)}."
        msg = f"{owner}: the target must be a column; got {target!r}; {hint}"
        raise InputError(msg)
    if len(names) == 1:
        msg = f"{owner}: needs a feature beside the target; got the one column {names[0]!r}."
        raise InputError(msg)
    return names[-1] if target is None else target


def _check_features(features: pd.DataFrame, owner: str) -> None:
    names = [str(name) for name in features.columns]
    illegal = [name for name in names if any(sign in name for sign in "[]<")]
    if illegal:
        msg = f"{owner}: XGBoost refuses [, ] and < in names; got {listed(illegal)}; rename them."
        raise InputError(msg)
    with np.errstate(over="ignore"):
        infinite = [name for name in names if np.isinf(features[name].astype(np.float32)).any()]
    if infinite:
        msg = (
            f"{owner}: features must be missing or below 3.4e38 (float32); got infinite values in "
            f"{listed(infinite)}; leave them empty, or cap them."
        )
        raise InputError(msg)


def _checked_target(column: pd.Series[float], owner: str) -> Target:
    target: Target = column.to_numpy(dtype=np.float64, na_value=np.nan)  # type: ignore[assignment]  # pandas-stubs forget the dtype
    if len(target) < _LEAST_ROWS:
        msg = f"{owner}: needs at least {_LEAST_ROWS} rows to split; got {len(target)}."
        raise InputError(msg)
    with np.errstate(over="ignore"):
        bad = np.flatnonzero(~np.isfinite(target.astype(np.float32)))
    if bad.size:
        msg = (
            f"{owner}: the target {column.name!r} must be finite (float32); got {bad.size} missing "
            f"or infinite values, the first in row {bad[0] + 1}; remove those rows."
        )
        raise InputError(msg)
    return target


def _digest(frame: pd.DataFrame) -> str:
    digest = hashlib.sha256(",".join(map(str, frame.columns)).encode())
    digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    return digest.hexdigest()[:16]
