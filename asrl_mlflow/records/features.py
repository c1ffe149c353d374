"""Describe the columns that a booster learned from, so that later input can be checked against them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

_EXAMPLE_ROWS = 3


def describe_columns(features: pd.DataFrame) -> list[dict[str, Any]]:
    """List the columns in the order of training; categories with their values in the order of their codes.

    Examples
    --------
    >>> describe_columns(pd.DataFrame({"a": [1.5], "k": pd.Categorical(["x"], categories=["x", "y"])}))
    [{'name': 'a'}, {'name': 'k', 'categories': ['x', 'y']}]
    """
    return [_describe_column(str(name), features[name].dtype) for name in features]


def _describe_column(name: str, kind: object) -> dict[str, Any]:
    """Describe one column by its name and, for categories, their values."""
    if not isinstance(kind, pd.CategoricalDtype):
        return {"name": name}
    return {"name": name, "categories": kind.categories.tolist()}


def find_unknown(
    features: pd.DataFrame, described: Sequence[Mapping[str, Any]]
) -> npt.NDArray[np.bool_]:
    """Find the rows with a category that was not there in training, which a model cannot predict.

    Parameters
    ----------
    features : DataFrame of shape (n, features)
        Rows with at least the columns that are described.
    described : sequence of mapping
        The columns, as `describe_columns` gives them.

    Returns
    -------
    bool array of shape (n,)
        Missing values are known.

    Examples
    --------
    >>> described = describe_columns(pd.DataFrame({"k": pd.Categorical(["x", "y"])}))
    >>> find_unknown(pd.DataFrame({"k": ["x", None, "z"]}), described)
    array([False, False,  True])
    """
    unknown = np.zeros(len(features), bool)
    for column in described:
        if "categories" in column:
            values = features[column["name"]]
            is_known = values.astype(object).isin(column["categories"])
            unknown |= ~(is_known | values.isna()).to_numpy(bool)
    return unknown


def example_rows(features: pd.DataFrame) -> str:
    """Give the first rows as an example of a model's input, as JSON in pandas' orient "split"."""
    few = features.head(_EXAMPLE_ROWS)
    plain = few.astype(dict.fromkeys(few.select_dtypes("category"), object))
    return json.dumps(json.loads(plain.to_json(orient="split", index=False, double_precision=15)))
