"""Libraries that are installed on request only."""

from __future__ import annotations

import importlib.metadata

from asrl_mlflow.errors import InputError


def installed(title: str, package: str) -> str:
    """Name a library with its version.

    Parameters
    ----------
    title : str
        What people call it.
    package : str
        What it is installed as.

    Raises
    ------
    InputError
        It is not installed.

    Examples
    --------
    >>> installed("XGBoost", "xgboost").split()[0]
    'XGBoost'
    """
    try:
        return f"{title} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError as error:
        msg = (
            f"Rivals in {title} need the package {package}; got none installed; run pip install "
            "'asrl-mlflow[rivals]', or leave these rivals out."
        )
        raise InputError(msg) from error
