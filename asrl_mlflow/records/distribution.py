"""Count how the values of each column are distributed, to compare later rows with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

_BINS = 10


def describe_distribution(features: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Count the rows of each column in bins: tenths of its numbers, or its categories; and missing values.

    Parameters
    ----------
    features : DataFrame of shape (n, features)
        Rows that a model did not learn from.

    Returns
    -------
    dict of str to dict
        By column, in JSON types: `edges`, numbers between bins, or `categories`; and `counts`, the rows of
        each bin in order, those with a missing value last.

    Examples
    --------
    >>> describe_distribution(pd.DataFrame({"a": [1.0, 1.0, 2.0, np.nan]}))
    {'a': {'edges': [1.0], 'counts': [2, 1, 1]}}
    """
    return {str(name): _describe(features[name]) for name in features}


def count_bins(values: pd.Series[Any], described: Mapping[str, Any]) -> list[int]:
    """Count the rows of a column in bins that `describe_distribution` made of other rows.

    Parameters
    ----------
    values : Series of shape (n,)
        Numbers, or categories as themselves or as text.
    described : mapping
        What was said of the column.

    Examples
    --------
    >>> described = describe_distribution(pd.DataFrame({"a": [1.0, 1.0, 2.0, np.nan]}))["a"]
    >>> count_bins(pd.Series([0.5, 7.0, 9.0]), described)
    [1, 2, 0]
    """
    if "categories" in described:
        known = pd.Index(described["categories"])
        codes = known.get_indexer(pd.Index(values.astype(object)))
        count = len(known)
    else:
        numbers = values.to_numpy(np.float64, na_value=np.nan)
        edges: Sequence[float] = described["edges"]
        codes = np.where(np.isnan(numbers), -1, np.searchsorted(edges, numbers, side="left"))
        count = len(edges) + 1
    found = np.bincount(np.where(codes < 0, count, codes), minlength=count + 1)
    return [int(each) for each in found]


def _describe(values: pd.Series[Any]) -> dict[str, Any]:
    if isinstance(values.dtype, pd.CategoricalDtype):
        described: dict[str, Any] = {"categories": values.cat.categories.tolist()}
    else:
        numbers = values.to_numpy(np.float64, na_value=np.nan)
        numbers = numbers[~np.isnan(numbers)]
        levels = np.arange(1, _BINS) / _BINS
        cuts = np.quantile(numbers, levels, method="inverted_cdf") if numbers.size else []
        # A value that many rows have is an edge once; nothing lies above the largest number.
        edges = sorted({float(each) for each in cuts} - {float(max(numbers, default=0))})
        described = {"edges": edges}
    return {**described, "counts": count_bins(values, described)}
