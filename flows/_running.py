"""Run an entry point: its exit code, its last line, and what a signal leaves behind."""

from __future__ import annotations

import shlex
import signal
import sys
from typing import NoReturn

import click

from asrl_mlflow.errors import InputError, StorageError, StoreError
from asrl_mlflow.system.signals import exit_on_signals, received_signal, stop_repeating
from asrl_mlflow.tracking.retries import stop_waiting
from asrl_mlflow.tracking.run_log import RunLog
from asrl_mlflow.tracking.store import ui_command
from flows import _process

DONE, BUG, BAD_INPUT, NO_STORE, INCOMPLETE, NO_SPACE = range(6)


def end(log: RunLog | None = None) -> int:
    """Print where a run and its children are and what was not logged; return the exit code."""
    click.echo(f"\n{_where()}")
    files = [] if log is None else log.unsent_files()
    for file in files:
        click.echo(
            f"Not everything was logged; the rest is in {file}; once the store answers, send it "
            f"with: {shlex.quote(sys.executable)} -m asrl_mlflow.tracking.resend {shlex.quote(str(file))}",
            err=True,
        )
    return INCOMPLETE if files else DONE


def _where() -> str:
    return f"See every run: {ui_command()}"


def run(command: click.Command, *, interrupted: str = "unfinished runs are KILLED") -> NoReturn:
    """Run an entry point and exit as the contract says: one line for what a user can mend.

    0 done, 1 a bug, 2 bad input or configuration, 3 no tracking store, 4 trained but not all of it
    logged, 5 storage or disk, 128 + n ended by signal n.

    Parameters
    ----------
    command : click.Command
        The entry point.
    interrupted : str
        What a signal leaves behind, for the line that says so.
    """
    try:
        exit_on_signals(_process.signals(), stop_waiting)
        code = _code(command)
        sys.stdout.flush()
        sys.stderr.flush()
        _process.end_at_once()
    except BaseException:
        # What a signal raised may have become something else on its way.
        if received_signal() is None:
            _process.end_at_once()
            raise
    stop_repeating()
    number = received_signal()
    if number is not None:
        line = f"Interrupted by {signal.Signals(number).name}; {interrupted}; {_where()}"
        code = _fail(command, line, 128 + number)
    _process.leave(code)


def _code(command: click.Command) -> int:
    try:
        code: int = command.main(prog_name=f"python -m flows.{command.name}", standalone_mode=False)
    except click.ClickException as error:
        return _fail(command, error.format_message(), BAD_INPUT)
    except InputError as error:
        return _fail(command, str(error), BAD_INPUT)
    except StoreError as error:
        return _fail(command, str(error), NO_STORE)
    except StorageError as error:
        return _fail(command, str(error), NO_SPACE)
    except OSError as error:
        return _fail(command, f"Storage failed: {error}; free or mount it and run again.", NO_SPACE)
    return code


def _fail(command: click.Command, line: str, code: int) -> int:
    click.echo(f"{command.name}: {line}", err=True)
    return code
