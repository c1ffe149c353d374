"""Signals that end a process: its exit is raised until the program handles it, or held back for a while.

Python raises a signal handler's exception wherever the program is. In a callback from C, in `__del__`
or in the callback of a weak reference the exception is printed and lost, and the program goes on. So
the exit is raised again every second, without being printed, until `stop_repeating` is called. Code that
ends the process asks `received_signal`, not which exception arrived.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

# The signals that end a program in good order; on some systems there are fewer.
ENDING_SIGNALS = tuple(
    signal.Signals[name]
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if name in signal.Signals.__members__
)

_SECONDS_BETWEEN = 1.0

_number: int | None = None


def exit_on_signals(numbers: Iterable[int], hurry: Callable[[], object]) -> None:
    """Let the first of these signals raise SystemExit(128 + number); later ones are ignored.

    Parameters
    ----------
    numbers : iterable of int
        Signal numbers.
    hurry : callable
        Called without arguments before the exit is raised.
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


def received_signal() -> int | None:
    """Return the number of the signal that was received, even if its exit was lost; None without one."""
    return _number


def stop_repeating() -> None:
    """Stop raising the exit every second: the program handles it now and may take its time."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)


def _interrupt(number: int) -> NoReturn:
    """Raise the exit, and raise it again every second until `stop_repeating` is called."""
    if hasattr(signal, "setitimer"):

        def again(_: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - a handler's signature
            _interrupt(number)

        signal.signal(signal.SIGALRM, again)
        signal.setitimer(signal.ITIMER_REAL, _SECONDS_BETWEEN)
    sys.exit(128 + number)


@contextmanager
def hold_signals(hurry: Callable[[], object]) -> Iterator[None]:
    """Hold back signals until the block ends, then pass the first of them to its handler.

    Used while a run is created or ended: an interruption there would leave a run with a wrong status.
    A second signal is passed on at once, as a store that does not answer can take minutes.

    Parameters
    ----------
    hurry : callable
        Called without arguments when a signal is received.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers: dict[int, Callable[[int, FrameType | None], Any]] = {
        number: handler
        for number in ENDING_SIGNALS
        if callable(handler := signal.getsignal(number))
    }
    held_back: list[tuple[int, FrameType | None]] = []

    def hold(number: int, frame: FrameType | None) -> None:
        held_back.append((number, frame))
        hurry()
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
