"""The process of an entry point: how it begins, before anything else is imported, and how it is left.

Imports the standard library and signals only: all that comes before `begin` is Python's own to answer for.
"""

from __future__ import annotations

import atexit
import errno
import io
import os
import signal
import stat
import sys
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

from asrl_mlflow.system.signals import ENDING_SIGNALS

DONE, BUG, BAD_INPUT, NO_STORE, INCOMPLETE, NO_SPACE, CHANGED, NO_WORKERS = range(8)

_is_ours = False
_name = ""
# Of an exception that nobody caught, as Python would exit.
_code = BUG


def begin(name: str) -> None:
    """Answer signals, keep the streams usable, and be the last that is called at the exit.

    Parameters
    ----------
    name : str
        Of the program, which begins the line of a signal.
    """
    global _is_ours, _name
    _is_ours, _name = True, name
    end_at_once()
    _keep_streams()
    atexit.register(_leave)
    # Signals are answered by now.
    from asrl_mlflow.command_line.log import show_log  # noqa: PLC0415 - see above

    # What is said while modules are imported is shown too; running.run refuses a level that is none.
    with suppress(ValueError):
        show_log()


def signals() -> list[signal.Signals]:
    """Those that end a program in good order."""
    # Under nohup a terminal that closes ends nothing.
    ignored = "SIGHUP" in signal.Signals.__members__ and signal.getsignal(signal.SIGHUP)
    return [each for each in ENDING_SIGNALS if each.name != "SIGHUP" or ignored != signal.SIG_IGN]


def end_at_once() -> None:
    """From here on nothing is open: a signal ends the process where it stands, with one line.

    Does nothing in a process that is not an entry point's own, such as a test's.
    """
    if _is_ours:
        for number in signals():
            signal.signal(number, _end)


def leave(code: int) -> NoReturn:
    """Exit with a code; whatever a library has registered for the exit is called first."""
    global _code  # noqa: PLW0603 - a process is one
    _code = code
    sys.exit(code)


def _end(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - a handler's signature
    for other in signals():
        signal.signal(other, signal.SIG_IGN)
    # Standard error as Python has it may be in the middle of a line of its own.
    line = f"{_name}: Interrupted by {signal.Signals(number).name}; no run was open.\n"
    with suppress(OSError):
        os.write(2, line.encode())
    os._exit(128 + number)


def _leave() -> None:
    # What Python would still do is to take itself apart, where a signal ends it in its own way.
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(_code)


class _Stream(io.FileIO):
    """A standard stream whose reader may leave: what is written afterwards goes nowhere."""

    def write(self, content: Any, /) -> int:  # noqa: ANN401 - whatever bytes are in
        try:
            return super().write(content) or 0
        except OSError as error:
            # A terminal that was closed answers EIO.
            closed = error.errno == errno.EIO and stat.S_ISCHR(os.fstat(self.fileno()).st_mode)
            if error.errno != errno.EPIPE and not closed:
                raise
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        return super().write(content) or 0


def _keep_streams() -> None:
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # Closed: the next file to be opened, a database say, would be taken for the stream; in
            # a worker process, too.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003 - its only form
    for name, number in (("stdout", 1), ("stderr", 2)):
        given = getattr(sys, name)
        kept = io.TextIOWrapper(
            io.BufferedWriter(_Stream(number, "w", closefd=False)),
            encoding=given.encoding if given else "utf-8",
            # A character that the terminal does not know shall not end a training.
            errors="backslashreplace",
            line_buffering=given.line_buffering if given else True,
            write_through=given.write_through if given else False,
        )
        setattr(sys, name, kept)
