"""A command: what click knows of one, and what a signal that ends it leaves behind."""

from __future__ import annotations

from typing import Any

import click


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
