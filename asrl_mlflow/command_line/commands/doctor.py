"""What a regression target is like, and which loss to begin with, from one quick fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from asrl_mlflow import tracking
from asrl_mlflow.command_line.command import Command
from asrl_mlflow.command_line.given import command_line
from asrl_mlflow.command_line.options import (
    CONTAMINATION,
    DATA,
    FIGURES,
    contamination,
    dataset,
    options,
    tell,
)
from asrl_mlflow.command_line.running import end
from asrl_mlflow.datasets.splits import join
from asrl_mlflow.diagnosis import Diagnosis, diagnose, draw_diagnosis
from asrl_mlflow.diagnosis.advice import VERY_HEAVY, Advice
from asrl_mlflow.errors import InputError
from asrl_mlflow.experiments.experiment import prepare_split
from asrl_mlflow.experiments.settings import Settings
from asrl_mlflow.figures.style import png
from asrl_mlflow.tracking.keys import ADVICE_TAG, LEVELS_TAG, data_params
from asrl_mlflow.tracking.shell import shell_command

# Fewer digits of the noise are lost among the targets' own; a smaller share is less than a row in a thousand.
_FEW_DIGITS, _FEWEST = 2.0, 0.001
# Degrees of freedom from which on tails are as light as a normal distribution's.
_LIGHT = 20.0


@click.command("doctor", cls=Command)
@options(DATA, CONTAMINATION, FIGURES)
def command(**values: Any) -> int:  # noqa: ANN401 - click's values, typed by their options
    """Say what a target is like, and which loss to begin with; the test rows stay unseen."""
    table = dataset(values)
    if table.classes:
        msg = f"{table.name}: doctor needs a target of numbers; got {len(table.classes)} classes; name another column by --target, or rank labels by which_labels."
        raise InputError(msg)
    spoiling = contamination(values, table)
    parts = prepare_split(table, values["seed"], spoiling)
    rows = join(parts.train, parts.valid)
    tracking.connect(command=command_line())
    tell(table)
    settings = Settings()
    with tracking.run(f"doctor {table.name}", flow="doctor") as log:
        log.params({**data_params(table, spoiling), "seed": values["seed"]})
        log.dataset(table)
        found = diagnose(
            rows, settings.booster_params(values["seed"]), settings.rounds, values["seed"]
        )
        log.metrics(found.metrics)
        log.tags({ADVICE_TAG: str(found.advice)})
        if found.levels:
            log.tags({LEVELS_TAG: found.levels.params})
        lines = _lines(found)
        log.describe("\n".join(f"- **{name}**: {text}" for name, text in lines.items()))
        if values["figures"]:
            context = f"{table.name}{spoiling.describe()}, seed {values['seed']}"
            log.artifact("figures/doctor.png", png(draw_diagnosis(found, context)))
    width = max(map(len, lines))
    click.echo("\n" + "\n".join(f"{name:{width}}  {text}" for name, text in lines.items()))
    click.echo(f"\nTrain it: {_train(values, found.advice)}")
    if found.levels:
        click.echo(f"Or by levels: {_train(values, found.levels)}")
    return end(log)


def _train(values: Mapping[str, Any], advice: Advice) -> str:
    """The command that trains an advised loss on the same rows."""
    words = [f"--data={values['data']}"]
    # What columns are for, as it was given.
    roles = ("target", "weight", "group", "time")
    words += [f"--{name}={values[name]}" for name in roles if values[name]]
    words.append(f"--loss={advice.name}")
    # The labels and the split that were looked at.
    words += [
        f"--{name.replace('_', '-')}={values[name]}"
        for name in ("contaminate_share", "contaminate_kind", "seed")
        if values[name]
    ]
    if values["drop"]:
        words.append(f"--drop={','.join(values['drop'])}")
    if advice.params:
        words.append(f"--loss-params={advice.params}")
    return shell_command("train", *words)


def _lines(found: Diagnosis) -> dict[str, str]:
    """What the measurements say, by name, in plain words."""
    outliers, repeats = found.outliers, found.repeats
    degrees = outliers.degrees
    tails = "light" if degrees > _LIGHT else "heavy" if degrees >= VERY_HEAVY else "very heavy"
    levels = {"levels": f"{found.levels}: {found.levels.reason}"} if found.levels else {}
    return {
        "rows": f"{len(found.found.target)}, of which an out-of-fold prediction was made",
        "explained": f"{found.explained:.0%} of the target's spread, by one quick fit",
        "noise": f"scale {outliers.scale:.4g} in target units; tails {tails} (Student, {degrees:.1f} degrees of freedom), the farthest target {found.farthest:.0f} scales away",
        "gross outliers": (
            f"{outliers.above:.1%} above and {outliers.below:.1%} below the prediction"
            if outliers.share > _FEWEST
            else "none"
        ),
        "equal rows": (
            f"{repeats.rows} have the features of another row, {repeats.contradicting} with a target that "
            "contradicts it"
            if repeats.rows
            else "none"
        ),
        "digits": f"float32 keeps {found.digits:.1f} digits of the noise"
        + ("; subtract a constant from the target" if found.digits < _FEW_DIGITS else ""),
        "begin with": f"{found.advice}: {found.advice.reason}",
        **levels,
    }
