"""A signal that ends a process, raised again until somebody hears it.

Python raises a handler's exception wherever the program is. Where that is a callback from C, a
`__del__` or a weak reference's, the exception is printed and forgotten, and the program goes on.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import NoReturn

_SECONDS_BETWEEN = 1.0


def interrupt(number: int) -> NoReturn:
    """Exit with 128 + number; what is on the way up has a second until `heard` must be called."""
    if hasattr(signal, "setitimer"):

        def again(_: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - a handler's signature
            interrupt(number)

        signal.signal(signal.SIGALRM, again)
        signal.setitimer(signal.ITIMER_REAL, _SECONDS_BETWEEN)
    sys.exit(128 + number)


def heard() -> None:
    """Whoever has caught the exit says so, and then has all the time it needs."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)
