"""A command: its defaults, its command line, and what a signal that ends it leaves behind."""

from __future__ import annotations

from typing import Any

import click

from asrl_mlflow.command_line.defaults import FILE, TABLE, Default, find_defaults, variables

# Where click's context keeps the defaults that were found.
_DEFAULTS = "asrl.defaults"


class Command(click.Command):
    """One of the commands of `asrl`, which returns its exit code.

    Parameters
    ----------
    interrupted : str
        What a signal leaves behind, for the line that says so.
    """

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - click's
        interrupted: str = "unfinished runs are KILLED",
        **settings: Any,  # noqa: ANN401 - click's
    ) -> None:
        super().__init__(*args, **settings)
        self.interrupted = interrupted
        own, shared = (name.replace("X", "<OPTION>") for name in variables(str(self.name), "x"))
        self.epilog = (
            f"Defaults can be set: in {own} or {shared}, and under [{TABLE}.{self.name}] or [{TABLE}] in the "
            f"nearest {FILE}."
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Find the defaults that the environment and the table set, then parse."""
        if not ctx.resilient_parsing:
            found = find_defaults(self)
            ctx.meta[_DEFAULTS] = found
            ctx.default_map = {name: default.text for name, default in found.items()}
        return super().parse_args(ctx, args)


def default_of(ctx: click.Context, name: str | None) -> Default | None:
    """The default of an option that the environment or the table sets; None where none does.

    Parameters
    ----------
    ctx : click.Context
        Of the command.
    name : str
        The option's name in Python.
    """
    found: dict[str | None, Default] = ctx.meta.get(_DEFAULTS, {})
    return found.get(name)
