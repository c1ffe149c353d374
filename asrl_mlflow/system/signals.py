"""A signal that ends a process, raised again until somebody hears it.

Python raises a handler's exception wherever the program is. Where that is a callback from C, a
`__del__` or a weak reference's, the exception is printed and forgotten, and the program goes on. So it
is raised again, is not printed, and whoever ends the process asks `came` and not what was raised.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

_SECONDS_BETWEEN = 1.0

_number: int | None = None


def listen(numbers: Iterable[int], hurry: Callable[[], object]) -> None:
    """From here on the first of these signals raises SystemExit(128 + number); others are ignored then.

    Parameters
    ----------
    numbers : iterable of int
        Signals.
    hurry : callable
        Called before the exit is raised.
    """
    global _number  # noqa: PLW0603 - a process has one end
    _number = None
    every = list(numbers)

    def end(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - a handler's signature
        global _number  # noqa: PLW0603 - a process has one end
        # The first signal ends the runs as KILLED; a second must not cut that short.
        for other in every:
            signal.signal(other, signal.SIG_IGN)
        _number = number
        # From now on an exception that goes nowhere is this one, or comes of it.
        sys.unraisablehook = lambda _: None
        hurry()
        _interrupt(number)

    for number in every:
        signal.signal(number, end)


def came() -> int | None:
    """The signal that came, whatever has become of its exit; None where there was none."""
    return _number


def heard() -> None:
    """Whoever has caught the exit says so, and then has all the time it needs."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)


def _interrupt(number: int) -> NoReturn:
    """Exit; what is on the way up has a second until `heard` must be called."""
    if hasattr(signal, "setitimer"):

        def again(_: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - a handler's signature
            _interrupt(number)

        signal.signal(signal.SIGALRM, again)
        signal.setitimer(signal.ITIMER_REAL, _SECONDS_BETWEEN)
    sys.exit(128 + number)


# Those that end a program in good order; on some systems there are fewer.
_HELD = [
    signal.Signals[name]
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if name in signal.Signals.__members__
]


@contextmanager
def signals_held(hurry: Callable[[], object]) -> Iterator[None]:
    """Signals that a handler waits for are handed to it afterwards.

    Between MLflow's creating a run and our knowing of it, or while its end is written, an
    interruption would leave a run whose status is not true.

    Parameters
    ----------
    hurry : callable
        Called when a signal comes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers: dict[int, Callable[[int, FrameType | None], Any]] = {
        number: handler for number in _HELD if callable(handler := signal.getsignal(number))
    }
    held_back: list[tuple[int, FrameType | None]] = []

    def hold(number: int, frame: FrameType | None) -> None:
        held_back.append((number, frame))
        hurry()
        # Whoever insists is heard at once: a store that does not answer can take minutes.
        if len(held_back) > 1:
            handlers[number](number, frame)

    for held in handlers:
        signal.signal(held, hold)
    try:
        yield
    finally:
        for held, handler in handlers.items():
            signal.signal(held, handler)
        for number, frame in held_back[:1]:
            handlers[number](number, frame)
