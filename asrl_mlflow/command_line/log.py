"""What the package says while it works, on standard error: the logger `asrl_mlflow`, from a level upwards.

Only commands show it: whoever imports the package decides for himself.
"""

from __future__ import annotations

import logging
import os
import sys

from asrl_mlflow.errors import InputError, did_you_mean

LOGGER, LEVEL_VARIABLE = "asrl_mlflow", "ASRL_LOG_LEVEL"

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}


class _OnStandardError(logging.Handler):
    """A line each; below a warning with the name of the module that says so."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            name = f"{record.name}: " if record.levelno < logging.WARNING else ""
            # As it is now: tests and terminals exchange it.
            sys.stderr.write(f"{name}{self.format(record)}\n")
            sys.stderr.flush()
        except Exception:  # noqa: BLE001 - as each of Python's own handlers
            self.handleError(record)


_handler = _OnStandardError()


def show_log() -> None:
    """Show warnings and worse on standard error, or what `ASRL_LOG_LEVEL` says.

    Raises
    ------
    InputError
        The variable names no level; warnings are shown then.
    """
    named = os.environ.get(LEVEL_VARIABLE) or "warning"
    level = _LEVELS.get(named.lower())
    logger = logging.getLogger(LOGGER)
    logger.setLevel(level or logging.WARNING)
    logger.addHandler(_handler)
    if level is None:
        remedy = did_you_mean(named, _LEVELS) or "unset it."
        msg = f"{LEVEL_VARIABLE} takes {', '.join(_LEVELS)}; got {named!r}; {remedy}"
        raise InputError(msg)
