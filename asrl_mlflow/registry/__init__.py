"""Register models, find and open versions, and move the alias of the best one.

A version is opened only if its files are what was registered and, where that is required, signed. Imports `records`, `datasets` and `system`;
loads no matplotlib, so that `serve` and `predict` start fast.
"""

from __future__ import annotations

from asrl_mlflow.registry.opened import (
    OpenVersion,
    load,
    load_booster,
    load_columns,
    load_unseen_residuals,
    open_verified,
    open_version,
)
from asrl_mlflow.registry.promotion import (
    CHAMPION,
    Comparison,
    Promotion,
    check_alias,
    compare_residuals,
    promote,
)
from asrl_mlflow.registry.registration import CHALLENGER, check_name, register
from asrl_mlflow.registry.signing import make_keys, public_half
from asrl_mlflow.registry.versions import RegisteredVersion, find, version_with_alias

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "Comparison",
    "OpenVersion",
    "Promotion",
    "RegisteredVersion",
    "check_alias",
    "check_name",
    "compare_residuals",
    "find",
    "load",
    "load_booster",
    "load_columns",
    "load_unseen_residuals",
    "make_keys",
    "open_verified",
    "open_version",
    "promote",
    "public_half",
    "register",
    "version_with_alias",
]
