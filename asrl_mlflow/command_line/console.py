"""The command `asrl`: its help, its version, and the way to all other commands, each imported when it is called."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from importlib.metadata import version
from typing import NoReturn

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class

from asrl_mlflow.command_line import process
from asrl_mlflow.command_line.catalogue import COMMANDS, load
from asrl_mlflow.command_line.process import BAD_INPUT, DONE
from asrl_mlflow.errors import did_you_mean

PROGRAM = "asrl"

_VERSIONS = ("asrl-mlflow", "xgboost", "mlflow", "optuna")


@add_completion_class
class Bash(BashComplete):
    """Completion for bash, which takes --loss=huber for three words."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the one that is typed, and that one."""
        words, incomplete = super().get_completion_args()
        return [word for word in words if word != "="], incomplete


class Commands(click.Group):
    """All commands, of which none is imported before it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Their names, in the order of --help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, or click's error; None where a shell completes."""
        if cmd_name not in COMMANDS:
            if ctx.resilient_parsing:
                return None
            remedy = did_you_mean(cmd_name, COMMANDS) or f"see {PROGRAM} --help."
            msg = f"A command needs one of the names {', '.join(COMMANDS)}; got {cmd_name!r}; {remedy}"
            raise click.UsageError(msg, ctx)
        return load(cmd_name)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names of commands that begin so, and the options of `asrl` itself."""
        found = [
            CompletionItem(name, help=summary)
            for name, summary in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*found, *super(click.Group, self).shell_complete(ctx, incomplete)]

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
