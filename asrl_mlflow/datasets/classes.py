"""Turn a column that names classes into codes and labels, or refuse it in one line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from asrl_mlflow.datasets.splits import FloatArray, Label
from asrl_mlflow.errors import InputError, listed

# Three fifths of a class's rows train, one validates and one tests.
_FEWEST_ROWS = 5
# Boosting grows a tree for each class in every round.
_MOST_CLASSES = 1000
_FEWEST_CLASSES = 2
# Up to here float64 tells all integers apart.
_EXACT = 2.0**53
_FOR_NUMBERS = "take a loss for numbers if the target is a number"


def names_classes(column: pd.Series[Any]) -> bool:
    """Check whether a column holds text, categories or booleans, which can only name classes.

    Examples
    --------
    >>> names_classes(pd.Series(["red", "blue"])), names_classes(pd.Series([1, 2]))
    (True, False)
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        return True
    return pd.api.types.infer_dtype(column, skipna=True) in ("string", "boolean")


def to_classes(column: pd.Series[Any], owner: str) -> tuple[FloatArray, tuple[Label, ...]]:
    """Convert a column to the codes 0.0, 1.0, ... of its classes, and their labels in that order.

    Labels are sorted: text by its letters, numbers by size. They are plain text, integers or booleans.

    Raises
    ------
    InputError
        A label is missing (the line names the first row, counted from 1), a fraction, or neither text,
        number nor boolean; there is one class, or there are over 1000; a class has fewer than 5 rows.

    Examples
    --------
    >>> codes, labels = to_classes(pd.Series(["no", "yes"] * 5, name="ill"), "table")
    >>> codes[:3], labels
    (array([0., 1., 0.]), ('no', 'yes'))
    """
    who = f"{owner}: the target {str(column.name)!r}"
    values = _plain(column, who)
    codes, found = pd.factorize(values, sort=True)
    labels = tuple(found.tolist())
    if len(labels) < _FEWEST_CLASSES:
        msg = f"{who} must name at least 2 classes; got {labels[0]!r:.40} in every row."
        raise InputError(msg)
    if len(labels) > _MOST_CLASSES:
        msg = (
            f"{who} may name at most {_MOST_CLASSES} classes; got {len(labels)}; join classes, or "
            f"{_FOR_NUMBERS}."
        )
        raise InputError(msg)
    counts = np.bincount(codes)
    rare = np.flatnonzero(counts < _FEWEST_ROWS)
    if rare.size:
        few = listed([labels[code] for code in rare], most=3)
        msg = (
            f"{who} needs at least {_FEWEST_ROWS} rows of each class, some for each part of a split; got "
            f"fewer of {few}; leave those rows out, join classes, or {_FOR_NUMBERS}."
        )
        raise InputError(msg)
    return codes.astype(np.float64), labels


def _plain(column: pd.Series[Any], who: str) -> pd.Series[Any]:
    """Give the labels as text, as whole numbers or as booleans, all of one kind."""
    missing = np.flatnonzero(column.isna() | (column == ""))
    if missing.size:
        msg = (
            f"{who} must name the class of every row; got {missing.size} missing, the first in row "
            f"{missing[0] + 1}; fill them in, or remove those rows."
        )
        raise InputError(msg)
    # Of categories and of objects, the values decide.
    is_plain = pd.api.types.is_numeric_dtype(column)
    values = column if is_plain else column.astype(object).infer_objects()
    kind = pd.api.types.infer_dtype(values)
    if kind in ("string", "boolean", "integer"):
        return values
    if kind not in ("floating", "mixed-integer-float"):
        msg = (
            f"{who} must name classes by text, whole numbers or booleans, all in one way; got values "
            f"of kind {kind!r}; write all of them as text."
        )
        raise InputError(msg)
    numbers = values.to_numpy(np.float64)
    with np.errstate(invalid="ignore"):
        odd = np.flatnonzero((numbers != np.floor(numbers)) | (np.abs(numbers) > _EXACT))
    if odd.size:
        msg = (
            f"{who} must name classes by whole numbers; got {numbers[odd[0]]:g} in row {odd[0] + 1}; write "
            f"labels as text or whole numbers, or {_FOR_NUMBERS}."
        )
        raise InputError(msg)
    return pd.Series(numbers.astype(np.int64))
