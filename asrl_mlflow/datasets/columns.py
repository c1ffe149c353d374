"""Check that a column can serve as feature, target, weight, group or time, and convert it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from asrl_mlflow.datasets.splits import Blocks, FloatArray, Rows
from asrl_mlflow.errors import InputError, listed

# One group for each part of a split.
_LEAST_BLOCKS = 3
# Up to here float32 and float64 hold every integer exactly; XGBoost computes in float32.
_EXACT_INTEGERS, _EXACT_DOUBLES = 2.0**24, 2.0**53
# float32 is too coarse if its step is more than this share of the target's interquartile range.
_COARSE = 0.01
# What pandas calls columns of numbers; "empty" is one in which all are missing.
_NUMBERS = ("floating", "integer", "boolean", "mixed-integer-float", "decimal", "empty")
# A class that is rarer, or so common, is warned of.
_FEW_ROWS, _MOST_COMMON = 20, 0.99
# A block larger than the validation share makes the 60/20/20 split impossible.
_LARGEST_BLOCK = 0.2


def check_features(features: pd.DataFrame, owner: str) -> None:
    """Refuse features that XGBoost cannot learn from: illegal names and infinite values.

    Raises
    ------
    InputError
        The message names the columns.
    """
    names = [str(name) for name in features]
    illegal = [name for name in names if any(sign in name for sign in "[]<")]
    if illegal:
        msg = f"{owner}: XGBoost refuses [, ] and < in names; got {listed(illegal)}; rename them."
        raise InputError(msg)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        msg = (
            f"{owner}: each feature needs a name of its own; got {listed(twice)} twice; rename one."
        )
        raise InputError(msg)
    check_types(features, owner)
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


def check_types(features: pd.DataFrame, owner: str) -> None:
    """Refuse columns that hold neither numbers nor categories.

    Raises
    ------
    InputError
        The message names the first such column.
    """
    for name, kind in features.dtypes.items():
        is_category = isinstance(kind, pd.CategoricalDtype)
        if not (is_category or pd.api.types.is_numeric_dtype(kind)):
            got = "text" if pd.api.types.is_string_dtype(kind) else kind
            msg = (
                f"{owner}: features must be numbers or categories; got {got} in column {str(name)!r}; "
                "convert it: text by .astype('category')."
            )
            raise InputError(msg)


def to_numbers(column: pd.Series[float], owner: str, role: str) -> FloatArray:
    """Convert a column to float64, and refuse missing or infinite values.

    Raises
    ------
    InputError
        The line names the first row, counted from 1.
    """
    is_category = isinstance(column.dtype, pd.CategoricalDtype)
    if is_category or pd.api.types.infer_dtype(column) not in _NUMBERS:
        got = "categories" if is_category else f"{column.dropna().iloc[0]!r:.40}"
        remedy = "encode them"
        if role == "target":
            remedy += ", or take a loss for classes, such as --loss=log_loss"
        msg = f"{owner}: the {role} {column.name!r} must be numbers; got {got}; {remedy}."
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


def to_truth(column: pd.Series[float], owner: str) -> FloatArray:
    """Convert a column of true targets to float64, NaN where they are unknown.

    Parameters
    ----------
    column : Series of length n
        Numbers, or missing.
    owner : str
        Who an error is about.

    Raises
    ------
    InputError
        No true target is known, one is infinite, or they are no numbers.
    """
    known = column.notna().to_numpy()
    if not known.any():
        msg = f"{owner}: the truth {column.name!r} must be known of some rows; got none; leave it out."
        raise InputError(msg)
    truth = np.full(len(column), np.nan)
    truth[known] = to_numbers(column[known], owner, "truth")
    return truth


def to_weights(column: pd.Series[float], owner: str) -> FloatArray:
    """Convert a column to sample weights: finite, 0 or more, and not all 0.

    Raises
    ------
    InputError
        The line names the first row, counted from 1.
    """
    weight = to_numbers(column, owner, "weight")
    negative = np.flatnonzero(weight < 0)
    if negative.size:
        msg = (
            f"{owner}: the weight {column.name!r} must not be negative; got "
            f"{weight[negative[0]]:g} in row {negative[0] + 1}; weight 0 leaves a row out."
        )
        raise InputError(msg)
    if not weight.any():
        msg = f"{owner}: the weight {column.name!r} must count some row; got 0 in every one."
        raise InputError(msg)
    return weight


def to_blocks(column: pd.Series[Any], owner: str, *, in_time: bool) -> Blocks:
    """Convert a column to blocks: rows with equal values belong together; times are put in order.

    Raises
    ------
    InputError
        A value is missing, a time is text, or there are fewer than three different values.
    """
    role, name = "time" if in_time else "group", column.name
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    text = pd.api.types.is_string_dtype(column)
    if text:
        column = column.mask(column == "")
    if in_time and text:
        dates = pd.to_datetime(column, format="ISO8601", errors="coerce")
        bad = np.flatnonzero(column.notna() & dates.isna())
        if bad.size:
            msg = (
                f"{owner}: the time {name!r} must be numbers, or dates as 2024-01-31 or 2024-01-31 "
                f"10:00:00; got {column.iloc[bad[0]]!r:.40} in row {bad[0] + 1}; write it so."
            )
            raise InputError(msg)
        column = dates
    codes, values = pd.factorize(column, sort=in_time)
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


def list_warnings(rows: Rows, target_name: str) -> tuple[str, ...]:
    """List what is allowed but probably a mistake, one line each."""
    empty, constant, lines = [], [], []
    for name in map(str, rows.features):
        known = rows.features[name].dropna()
        if known.empty:
            empty.append(name)
        elif (known == known.iloc[0]).all():
            constant.append(name)
        elif not isinstance(known.dtype, pd.CategoricalDtype):
            lines += _precision_warnings(name, known.to_numpy())
    if empty:
        lines.append(
            f"{listed(empty)}: no values, so nothing to learn from; leave out with --drop."
        )
    if constant:
        lines.append(
            f"{listed(constant)}: the same in every row that has a value; leave out with --drop."
        )
    if all(map(_is_number, [*map(str, rows.features), target_name])):
        lines.append(
            f"all columns have numbers for names ({target_name!r}): if the first row is no header, "
            "write one above it."
        )
    warn = _class_warnings if rows.classes else _target_warnings
    lines += warn(rows, target_name)
    if rows.blocks is not None:
        lines += _block_warnings(rows.blocks)
    return tuple(lines)


def _is_number(name: str) -> bool:
    """Check whether a column's name is a number, as where a file has no header."""
    try:
        float(name)
    except ValueError:
        return False
    return True


def _block_warnings(blocks: Blocks) -> list[str]:
    """Warn of a group or moment that is too large for its part."""
    largest = np.bincount(blocks.codes).max() / blocks.codes.size
    if largest <= _LARGEST_BLOCK:
        return []
    line = (
        f"one {'moment' if blocks.in_time else 'group'} has {largest:.0%} of the rows, and is not parted; "
        "so the parts cannot be near 60%, 20% and 20%."
    )
    return [line]


def _target_warnings(rows: Rows, name: str) -> list[str]:
    """Warn of a constant target, and of one that float32 holds too coarsely."""
    target = rows.target
    if target.min() == target.max():
        return [f"{name!r}: the target is the same in every row; there is nothing to learn."]
    low, high = np.quantile(target, [0.25, 0.75])
    step = float(np.spacing(np.float32(np.abs(target).max())))
    if step > _COARSE * (high - low or target.std()):
        line = (
            f"{name!r}: the target is read in steps of {step:g} (float32), which is coarse beside its "
            "spread; subtract a constant first."
        )
        return [line]
    return []


def _class_warnings(rows: Rows, name: str) -> list[str]:
    """Warn of classes with few rows, and of one that has nearly all."""
    counts = np.bincount(rows.target.astype(np.int64), minlength=len(rows.classes))
    rare, lines = np.flatnonzero(counts < _FEW_ROWS), []
    if rare.size:
        names = listed([rows.classes[code] for code in rare])
        lines.append(
            f"{name!r}: fewer than {_FEW_ROWS} rows of {names}; the test part has four or fewer of "
            "each, so measures of them vary much; join classes, or add rows."
        )
    share = counts.max() / len(rows)
    if share > _MOST_COMMON:
        lines.append(
            f"{name!r}: {share:.2%} of the rows are {rows.classes[int(counts.argmax())]!r}; to predict "
            "it always has a small error: look at balanced_accuracy and auc."
        )
    return lines


def _precision_warnings(name: str, known: npt.NDArray[np.number]) -> list[str]:
    """Warn of integers that float32 cannot tell apart."""
    if np.abs(known).max() <= _EXACT_INTEGERS or not np.array_equal(known, np.floor(known)):
        return []
    distinct, told = (np.unique(values).size for values in (known, known.astype(np.float32)))
    # CSV files are read as float64, which cannot hold some very large integers either.
    lost = known.dtype == np.float64 and np.abs(known).max() > _EXACT_DOUBLES
    if told == distinct and not lost:
        return []
    line = (
        f"{name!r}: {'integers above 2**53' if lost else f'{distinct} different integers, some above 2**24'}, "
        f"of which XGBoost (float32) can tell {told} apart; if it is an id, leave it out with --drop."
    )
    return [line]


def standardise(features: pd.DataFrame) -> FloatArray:
    """Give the features that are numbers and vary, each with mean 0 and deviation 1; a gap is the median.

    Returns
    -------
    float64 array of shape (n, features)

    Raises
    ------
    InputError
        There is none.

    Examples
    --------
    >>> standardise(pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [1, 1, 1], "c": pd.Categorical(["x", "y", "x"])}))
    array([[-1.],
           [ 0.],
           [ 1.]])
    """
    numbers = features.select_dtypes(["number", "bool"]).astype(np.float64)
    numbers = numbers.fillna(numbers.median())
    varied = numbers.loc[:, numbers.std() > 0]
    if not len(varied.columns):
        msg = (
            "Directions of the feature space need a feature that is a number and varies; got none; shift or spoil "
            "targets otherwise."
        )
        raise InputError(msg)
    standard: FloatArray = ((varied - varied.mean()) / varied.std()).to_numpy()
    return standard
