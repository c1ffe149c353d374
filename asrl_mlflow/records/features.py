"""Describe the columns that a booster learned from, so that later input can be checked against them."""

from __future__ import annotations

import json
from typing import Any

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


def example_rows(features: pd.DataFrame) -> str:
    """Give the first rows as an example of a model's input, as JSON in pandas' orient "split"."""
    few = features.head(_EXAMPLE_ROWS)
    plain = few.astype(dict.fromkeys(few.select_dtypes("category"), object))
    return json.dumps(json.loads(plain.to_json(orient="split", index=False, double_precision=15)))
