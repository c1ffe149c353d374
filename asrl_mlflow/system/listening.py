"""Let another function stand in for one, to hear of its calls; and say which calls nobody is to hear of."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar, cast

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_is_unheard: ContextVar[bool] = ContextVar("nobody hears of trainings", default=False)


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


@contextmanager
def unheard() -> Iterator[None]:
    """Let nobody hear of what is trained in this block: it is a part of something else.

    Examples
    --------
    >>> with unheard():
    ...     is_unheard()
    True
    """
    token = _is_unheard.set(True)
    try:
        yield
    finally:
        _is_unheard.reset(token)


def is_unheard() -> bool:
    """Check whether nobody is to hear of what is trained here.

    Examples
    --------
    >>> is_unheard()
    False
    """
    return _is_unheard.get()
