"""The commands by name, and what is said of each without importing it, which takes seconds.

They are imported by name, as they import this room.
"""

from __future__ import annotations

import importlib
from typing import cast

import click

COMMANDS = {
    "main": "Compare seven losses on clean and on spoiled labels, tune two, register the one that suits.",
    "train": "Train one loss and log all of it.",
    "compare": "Train many losses on the same rows and rank them by test MAE, or log loss for classes.",
    "tune": "Tune one loss, and go on where an earlier run of the same command was stopped.",
    "register": "Register a run's model, and promote it if it is better than the one in use.",
    "report": "Write report.html of a run again, from what the store has of the run and its children.",
    "predict": "Predict every row of a table, in its order.",
    "serve": "Answer POST /invocations as `mlflow models serve` does; errors are one short line.",
    "monitor": "Compare later rows with those that a model was measured on; exit code 6 where they differ.",
    "doctor": "Say what a target is like, and which loss to begin with; the test rows stay unseen.",
    "label_noise": "Compare losses for classes whose labels are wrong: tuned alike, judged on right labels.",
    "study": "Compare losses with rivals on tables whose targets are spoiled: tuned alike, with a verdict.",
    "literature": "Fit lines with many losses, and show the published errors beside ours.",
}


def load(name: str) -> click.Command:
    """Import a command, which takes seconds.

    Parameters
    ----------
    name : str
        One of `COMMANDS`.
    """
    return cast(
        "click.Command",
        importlib.import_module(f"asrl_mlflow.command_line.commands.{name}").command,
    )


def keys_of(command: click.Command) -> list[str]:
    """The options of a command as keys: without the hyphens in front.

    Examples
    --------
    >>> keys_of(click.Command("c", params=[click.Option(["--max-depth"])]))
    ['max-depth']
    """
    return [option.opts[0].removeprefix("--") for option in command.params]
