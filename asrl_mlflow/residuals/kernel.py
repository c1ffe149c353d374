"""The passes over the rows in C, where they were compiled; numpy does the same elsewhere.

The extension is a module of its own beside this package, not in it: so it is found also when flows
run from a clone, whose folder shadows the installed package.
"""

from __future__ import annotations

import importlib
import logging
from typing import Any, Literal

_logger = logging.getLogger(__name__)

# Of what the functions take and give.
_VERSION = 2


def _compiled() -> Any:  # noqa: ANN401 - the extension's module, which has no types
    try:
        module = importlib.import_module("_asrl_mlflow_kernel")
    except ImportError:
        _logger.info(
            "The passes over the rows are numpy's: none in C was compiled for this Python."
        )
        return None
    if module.VERSION == _VERSION:
        return module
    # A clone may be newer than the extension that is installed.
    _logger.info(
        "The passes over the rows are numpy's: those in C are of version %s, not %s.",
        module.VERSION,
        _VERSION,
    )
    return None


native = _compiled()


def backend() -> Literal["native", "numpy"]:
    """What computes residuals and weights: "native" where the extension was compiled, else "numpy".

    Examples
    --------
    >>> backend() in ("native", "numpy")
    True
    """
    return "numpy" if native is None else "native"
