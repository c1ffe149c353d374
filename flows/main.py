"""The whole story on one table: for now, every loss compared."""

from __future__ import annotations

from typing import Any

import click

from asrl_mlflow.lab import Contamination, Settings
from asrl_mlflow.losses import LOSSES
from flows.compare import compare
from flows.options import DATA, FIGURES, dataset, options, run


@click.command("main")
@options(DATA, FIGURES)
def command(**values: Any) -> int:  # noqa: ANN401 - click's values, typed by their options
    """Compare every loss, with its default parameters, on one table."""
    return compare(
        [dataset(values)],
        [loss() for loss in LOSSES.values()],
        seeds=[values["seed"]],
        settings=Settings(figures=values["figures"]),
        spoiling=Contamination(),
        flow="main",
    )


if __name__ == "__main__":
    run(command)
