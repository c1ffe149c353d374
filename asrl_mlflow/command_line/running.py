"""Run an entry point: its exit code, its last line, and what a signal leaves behind."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from asrl_mlflow.command_line import process
from asrl_mlflow.command_line.command import Command
from asrl_mlflow.command_line.log import show_log
from asrl_mlflow.command_line.process import (
    BAD_INPUT,
    DONE,
    INCOMPLETE,
    NO_SPACE,
    NO_STORE,
    NO_WORKERS,
)
from asrl_mlflow.errors import ClusterError, InputError, StorageError, StoreError
from asrl_mlflow.system.signals import exit_on_signals, received_signal, stop_repeating
from asrl_mlflow.tracking.retries import stop_waiting
from asrl_mlflow.tracking.run_log import RunLog
from asrl_mlflow.tracking.shell import module_command, ui_command

# What a user can mend, told in one line.
_CODES = {
    InputError: BAD_INPUT,
    StoreError: NO_STORE,
    StorageError: NO_SPACE,
    ClusterError: NO_WORKERS,
}


def end(log: RunLog | None = None) -> int:
    """Print where a run and its children are and what was not logged; return the exit code."""
    click.echo(f"\n{_where()}")
    files = [] if log is None else log.unsent_files()
    for file in files:
        # Under `mlflow run` the shell is in another folder.
        send = module_command("asrl_mlflow.tracking.resend", str(file.absolute()))
        click.echo(
            f"Not everything was logged; the rest is in {file}; once the store answers, send it with: {send}",
            err=True,
        )
    return INCOMPLETE if files else DONE


def _where() -> str:
    return f"See every run: {ui_command()}"


def run(command: Command, words: Sequence[str] | None = None, *, program: str = "") -> NoReturn:
    """Run a command and exit as the contract says: one line for what a user can mend.

    0 done, 1 a bug, 2 bad input or configuration, 3 no tracking store, 4 trained but not all of it
    logged, 5 storage or disk, 7 no cluster, or it has lost a worker or its scheduler, 128 + n ended by signal n.

    Parameters
    ----------
    command : Command
        What to do.
    words : sequence of str, optional
        Its options; without it those that the process was started with.
    program : str
        What stands before the command's name; nothing where it is run as `python -m flows.<name>`.
    """
    try:
        exit_on_signals(process.signals(), stop_waiting)
        code = _code(command, words, program)
        sys.stdout.flush()
        sys.stderr.flush()
        process.end_at_once()
    except BaseException:
        # What a signal raised may have become something else on its way.
        if received_signal() is None:
            process.end_at_once()
            raise
    stop_repeating()
    number = received_signal()
    if number is not None:
        line = f"Interrupted by {signal.Signals(number).name}; {command.interrupted}; {_where()}"
        code = _fail(command, program, line, 128 + number)
    process.leave(code)


def _code(command: Command, words: Sequence[str] | None, program: str) -> int:
    shown = f"{program} {command.name}" if program else f"python -m flows.{command.name}"
    try:
        show_log()
        code: int = command.main(words, prog_name=shown, standalone_mode=False)
    except click.ClickException as error:
        return _fail(command, program, error.format_message(), BAD_INPUT)
    except tuple(_CODES) as error:
        code = next(code for kind, code in _CODES.items() if isinstance(error, kind))
        return _fail(command, program, str(error), code)
    except OSError as error:
        line = f"Storage failed: {error}; free or mount it and run again."
        return _fail(command, program, line, NO_SPACE)
    return code


def _fail(command: Command, program: str, line: str, code: int) -> int:
    click.echo(f"{program} {command.name}: {line}".lstrip(), err=True)
    return code
