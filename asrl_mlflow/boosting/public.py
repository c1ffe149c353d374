"""Give users a `train` that can be listened to; what this package trains by itself is not heard.

`autolog` puts another function in the place of `_train`. It is looked up at each call, so that it does not
matter when `train` was imported.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from asrl_mlflow.boosting import training
from asrl_mlflow.system.replaceable import replaceable

_train = training.train
_is_unheard: ContextVar[bool] = ContextVar("nobody hears of trainings", default=False)

train = replaceable(training.train, __name__, "_train")


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
