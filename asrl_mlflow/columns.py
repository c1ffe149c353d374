"""What a column must be to serve as feature, target, weight, group or time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from asrl_mlflow.errors import InputError
from asrl_mlflow.names import listed
from asrl_mlflow.splits import Blocks, FloatArray, Part

# A group for each part of a split.
_LEAST_BLOCKS = 3
# XGBoost computes in float32, which has every integer up to here and then ever fewer.
_EXACT_INTEGERS = 2.0**24


def check_features(features: pd.DataFrame, owner: str) -> None:
    """Refuse what XGBoost cannot learn from: names that it does not allow, infinite values.

    Raises
    ------
    InputError
        The line names the columns.
    """
    names = [str(name) for name in features]
    illegal = [name for name in names if any(sign in name for sign in "[]<")]
    if illegal:
        msg = f"{owner}: XGBoost refuses [, ] and < in names; got {listed(illegal)}; rename them."
        raise InputError(msg)
    measured = features.select_dtypes(exclude="category")
    with np.errstate(over="ignore"):
        infinite = [
            str(name) for name in measured if np.isinf(measured[name].astype(np.float32)).any()
        ]
    if infinite:
        msg = (
            f"{owner}: features must be missing or below 3.4e38 (float32); got infinite values in "
            f"{listed(infinite)}; leave them empty, or cap them."
        )
        raise InputError(msg)


def numbers(column: pd.Series[float], owner: str, role: str) -> FloatArray:
    """A column that needs a finite number in every row.

    Raises
    ------
    InputError
        The line names the first row, counted from 1.
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        msg = f"{owner}: the {role} {column.name!r} must be numbers; got categories; encode them."
        raise InputError(msg)
    values: FloatArray = column.to_numpy(dtype=np.float64, na_value=np.nan)  # type: ignore[assignment]  # pandas-stubs forget the dtype
    with np.errstate(over="ignore"):
        bad = np.flatnonzero(~np.isfinite(values.astype(np.float32)))
    if bad.size:
        msg = (
            f"{owner}: the {role} {column.name!r} must be finite (float32); got {bad.size} missing "
            f"or infinite values, the first in row {bad[0] + 1}; remove those rows."
        )
        raise InputError(msg)
    return values


def weights(column: pd.Series[float], owner: str) -> FloatArray:
    """Sample weights: finite, and 0 or more.

    Raises
    ------
    InputError
        The line names the first row, counted from 1.
    """
    weight = numbers(column, owner, "weight")
    negative = np.flatnonzero(weight < 0)
    if negative.size:
        msg = (
            f"{owner}: the weight {column.name!r} must not be negative; got "
            f"{weight[negative[0]]:g} in row {negative[0] + 1}; weight 0 leaves a row out."
        )
        raise InputError(msg)
    return weight


def blocks(column: pd.Series[Any], owner: str, *, in_time: bool) -> Blocks:
    """Rows with equal values as blocks, in order of their values where those are times.

    Raises
    ------
    InputError
        A value is missing, a time is text, or there are fewer than three different values.
    """
    role, name = "time" if in_time else "group", column.name
    text = pd.api.types.is_string_dtype(column)
    if in_time and (text or isinstance(column.dtype, pd.CategoricalDtype)):
        msg = (
            f"{owner}: the time {name!r} must be numbers, or dates as 2024-01-31 or 2024-01-31 "
            f"10:00:00; got text ({column.iloc[0]!r:.40}); write it so."
        )
        raise InputError(msg)
    codes, values = pd.factorize(column.mask(column == "") if text else column, sort=in_time)
    missing = np.flatnonzero(codes < 0)
    if missing.size:
        msg = (
            f"{owner}: every row needs a {role}; got {missing.size} without one in {name!r}, the "
            f"first in row {missing[0] + 1}; fill them in, or remove those rows."
        )
        raise InputError(msg)
    if len(values) < _LEAST_BLOCKS:
        msg = (
            f"{owner}: a split by {role} needs at least {_LEAST_BLOCKS} different values, one for "
            f"each part; got {len(values)} in {name!r}; split by rows."
        )
        raise InputError(msg)
    return Blocks(codes.astype(np.int64), in_time=in_time)


def warnings(rows: Part, target_name: str) -> tuple[str, ...]:
    """What is legal but hardly meant, a line each."""
    empty, constant, lines = [], [], []
    for name in map(str, rows.features):
        known = rows.features[name].dropna()
        if known.empty:
            empty.append(name)
        elif (known == known.iloc[0]).all():
            constant.append(name)
        elif not isinstance(known.dtype, pd.CategoricalDtype):
            lines += _blurred(name, known.to_numpy(dtype=np.float64))
    if empty:
        lines.append(
            f"{listed(empty)}: no values, so nothing to learn from; leave out with --drop."
        )
    if constant:
        lines.append(
            f"{listed(constant)}: the same in every row that has a value; leave out with --drop."
        )
    if rows.target.min() == rows.target.max():
        lines.append(
            f"{target_name!r}: the target is the same in every row; there is nothing to learn."
        )
    return tuple(lines)


def _blurred(name: str, known: FloatArray) -> list[str]:
    """The warning for integers that float32 cannot tell apart."""
    if np.abs(known).max() <= _EXACT_INTEGERS or not np.array_equal(known, np.floor(known)):
        return []
    distinct, told = (np.unique(values).size for values in (known, known.astype(np.float32)))
    if told == distinct:
        return []
    line = (
        f"{name!r}: {distinct} different integers, some above 2**24, of which XGBoost (float32) can "
        f"tell {told} apart; if it is an id, leave it out with --drop."
    )
    return [line]
