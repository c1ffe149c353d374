"""Register models, find and open versions, and move the alias of the best one.

A version is opened only if its files are what was registered. Imports `records`, `datasets` and `system`;
loads no matplotlib, so that `serve` and `predict` start fast.
"""

from __future__ import annotations

from asrl_mlflow.registry.promotion import (
    CHAMPION,
    Comparison,
    Promotion,
    check_alias,
    compare,
    promote,
)
from asrl_mlflow.registry.registration import CHALLENGER, check_name, register
from asrl_mlflow.registry.versions import (
    Registered,
    booster,
    columns,
    found,
    holder,
    load,
    unseen,
    verified,
)

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "Comparison",
    "Promotion",
    "Registered",
    "booster",
    "check_alias",
    "check_name",
    "columns",
    "compare",
    "found",
    "holder",
    "load",
    "promote",
    "register",
    "unseen",
    "verified",
]
