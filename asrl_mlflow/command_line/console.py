"""The command `asrl`: its help, its version, and the way to all other commands, each imported when it is called.

Commands are found by name, as they import this room.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from importlib.metadata import version
from typing import NoReturn, cast

import click

from asrl_mlflow.command_line import process
from asrl_mlflow.command_line.command import Command
from asrl_mlflow.command_line.process import BAD_INPUT, DONE
from asrl_mlflow.errors import did_you_mean

PROGRAM = "asrl"

# With what --help says of each: to import them all would take seconds.
COMMANDS = {
    "main": "Compare seven losses on clean and on spoiled labels, tune two, register the one that suits.",
    "train": "Train one loss and log all of it.",
    "compare": "Train many losses on the same rows and rank them by test MAE, or log loss for classes.",
    "tune": "Tune one loss, and go on where an earlier run of the same command was stopped.",
    "register": "Register a run's model, and promote it if it is better than the one in use.",
    "report": "Write report.html of a run again, from what the store has of the run and its children.",
    "predict": "Predict every row of a table, in its order.",
    "serve": "Answer POST /invocations as `mlflow models serve` does; errors are one short line.",
    "label_noise": "Compare losses for classes whose labels are wrong: tuned alike, judged on right labels.",
    "literature": "Fit lines with many losses, and show the published errors beside ours.",
}
_VERSIONS = ("asrl-mlflow", "xgboost", "mlflow", "optuna")


def load(name: str) -> Command:
    """Import a command, which takes seconds.

    Parameters
    ----------
    name : str
        One of `COMMANDS`.
    """
    return cast("Command", importlib.import_module(f"asrl_mlflow.commands.{name}").command)


class Commands(click.Group):
    """All commands, of which none is imported before it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Their names, in the order of --help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> Command:
        """The command of a name, or click's error."""
        if cmd_name not in COMMANDS:
            remedy = did_you_mean(cmd_name, COMMANDS) or f"see {PROGRAM} --help."
            msg = f"A command needs one of the names {', '.join(COMMANDS)}; got {cmd_name!r}; {remedy}"
            raise click.UsageError(msg, ctx)
        return load(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """Write their names and summaries."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _tell_versions(ctx: click.Context, _: click.Parameter, asked: bool) -> None:  # noqa: FBT001 - click's signature
    if asked and not ctx.resilient_parsing:
        click.echo(", ".join(f"{name} {version(name)}" for name in _VERSIONS))
        ctx.exit()


@click.group(PROGRAM, cls=Commands, invoke_without_command=True)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_tell_versions,
    help="Show the versions of this package and of what it builds on, and exit.",
)
@click.pass_context
def asrl(context: click.Context) -> None:
    """Robust losses for XGBoost, tracked with MLflow: each command has its --help."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def run(words: Sequence[str]) -> NoReturn:
    """Run `asrl` with the words that follow it, and exit as the contract says.

    Parameters
    ----------
    words : sequence of str
        A command and its options, or options of `asrl` itself.
    """
    if words and words[0] in COMMANDS:
        command = load(words[0])
        # As late as this: it imports what only commands need.
        running = importlib.import_module("asrl_mlflow.command_line.running")
        running.run(command, words[1:], program=PROGRAM)
    try:
        code = asrl.main(list(words), prog_name=PROGRAM, standalone_mode=False) or DONE
    except click.ClickException as error:
        click.echo(f"{PROGRAM}: {error.format_message()}", err=True)
        code = BAD_INPUT
    except SystemExit as ended:
        # A shell has asked for completions.
        code = int(ended.code or DONE)
    process.leave(code)
