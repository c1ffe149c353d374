"""Packages that are installed on request only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from asrl_mlflow.errors import InputError


@contextmanager
def needing(extra: str) -> Iterator[None]:
    """Import what an engine of `--engine` needs, in the block.

    Parameters
    ----------
    extra : str
        The name of the engine, and of what pip must be asked for.

    Raises
    ------
    InputError
        A package is missing.

    Examples
    --------
    >>> with needing("dask"):
    ...     import math
    """
    try:
        yield
    except ImportError as error:
        msg = f"--engine={extra} needs packages that are not installed ({error}); pip install 'asrl-mlflow[{extra}]'."
        raise InputError(msg) from error
