"""Make a function that another one can stand in for, wherever it was imported before."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def replaceable(
    function: Callable[Parameters, Result], module: str, name: str
) -> Callable[Parameters, Result]:
    """Give a function that calls what a module has under a name at that moment.

    Parameters
    ----------
    function : callable
        What stands there at first; it lends name, signature and docstring.
    module : str
        The module; the function that is given back belongs to it.
    name : str
        A private name in that module.

    Examples
    --------
    >>> replaceable(len, "builtins", "len")("abc")
    3
    """

    @functools.wraps(function)
    def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        found: Any = getattr(sys.modules[module], name)
        return cast("Result", found(*args, **kwargs))

    call.__module__ = module
    return call
