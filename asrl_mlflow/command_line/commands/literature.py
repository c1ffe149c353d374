"""Two demonstrations of the literature, a line among outliers: what they print beside ours."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

import click
from tqdm import tqdm

from asrl_mlflow import tracking
from asrl_mlflow.command_line.command import Command
from asrl_mlflow.command_line.given import command_line, option
from asrl_mlflow.command_line.options import FIGURES, options
from asrl_mlflow.command_line.running import end
from asrl_mlflow.comparisons.literature import DEMONSTRATIONS, Demonstration, Line, fit_line
from asrl_mlflow.comparisons.literature.figures import draw_lines
from asrl_mlflow.figures.style import png
from asrl_mlflow.losses import (
    ASRL,
    SMAE,
    AbsoluteError,
    AdaptiveBarron,
    ContinuousASRL,
    Huber,
    LogCosh,
    Loss,
    SquaredError,
)
from asrl_mlflow.tracking import RunLog, loss_params

# By label in the table; scales are those of the sources, which is the noise's standard deviation.
_FITTED: Mapping[str, Mapping[str, Loss]] = {
    "outliers": {
        "squared_error": SquaredError(),
        "log_cosh": LogCosh(scale=1.0),
        "smae": SMAE(scale=1.0),
        "huber": Huber(delta=1.0),
        "absolute_error": AbsoluteError(),
        "asrl": ASRL(),
        "asrl_c": ContinuousASRL(),
        # By somebody who knows that a third of the points are outliers.
        "asrl_c (0.3, 0.6)": ContinuousASRL(q_low=0.3, q_high=0.6),
    },
    "flipped": {
        "squared_error": SquaredError(),
        "absolute_error": AbsoluteError(),
        "adaptive_barron": AdaptiveBarron(),
        "huber": Huber(delta=0.025),
        "asrl": ASRL(),
        "asrl_c": ContinuousASRL(),
    },
}

Errors = tuple[float, float]


@click.command("literature", cls=Command)
@options(
    (
        option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, help="Of the first points."),
        option("--repeats", type=click.IntRange(1), default=5, help="Seeds, from --seed upwards."),
    ),
    FIGURES,
)
def command(**values: Any) -> int:  # noqa: ANN401 - click's values, typed by their options
    """Fit lines with many losses, and show the published errors beside ours."""
    seeds = range(values["seed"], values["seed"] + values["repeats"])
    tracking.connect(command=command_line())
    with tracking.run("literature", flow="literature") as parent:
        parent.params({"seed": seeds[0], "repeats": len(seeds)})
        total = sum(len(losses) for losses in _FITTED.values())
        with tqdm(total=total, unit="loss", disable=None) as bar:
            tables = [
                _repeat(name, seeds, parent, bar, figures=values["figures"])
                for name in DEMONSTRATIONS
            ]
        text = "\n\n".join(tables)
        parent.artifact("literature.txt", f"{text}\n".encode())
    click.echo(text)
    return end(parent)


def _repeat(
    name: str,
    seeds: range,
    parent: RunLog,
    bar: tqdm[Any],
    *,
    figures: bool,
) -> str:
    """Fit a demonstration's line with each loss, in a child run each; give the table."""
    demonstration = DEMONSTRATIONS[name]
    drawn = [demonstration.draw(seed) for seed in seeds]
    errors: dict[str, Errors] = {}
    lines: dict[str, list[Line]] = {}
    for label, loss in _FITTED[name].items():
        bar.set_description(f"{name}: {label}")
        with tracking.run(f"{name}: {label}", flow="literature") as log:
            log.params({**loss_params(loss), "demonstration": name, "seed": seeds[0]})
            fitted = [fit_line(loss, *points.xy) for points in drawn]
            each = [_errors(line, demonstration.truth) for line in fitted]
            errors[label] = (median(one for one, _ in each), median(two for _, two in each))
            log.metrics({"error.slope": errors[label][0]})
            log.metrics({"error.intercept": errors[label][1]})
        lines[label] = fitted
        bar.update()
    parent.table(f"{name}/errors.json", _columns(demonstration, errors))
    if figures:
        context = f"{demonstration.source}; seeds {seeds[0]} to {seeds[-1]}, a line each; outliers in grey"
        parent.artifact(
            f"{name}/figures/lines.png",
            png(draw_lines(demonstration, drawn[0], lines, context)),
        )
    return _describe(demonstration, errors, len(seeds))


def _errors(line: Line, truth: Line) -> Errors:
    """Give the errors of slope and intercept, in percent of the truth."""
    return (
        100 * abs(line.slope / truth.slope - 1),
        100 * abs(line.intercept / truth.intercept - 1),
    )


def _columns(demonstration: Demonstration, errors: Mapping[str, Errors]) -> dict[str, list[Any]]:
    published = [demonstration.published.get(name, (None, None)) for name in errors]
    return {
        "loss": list(errors),
        "slope error %": [slope for slope, _ in errors.values()],
        "intercept error %": [intercept for _, intercept in errors.values()],
        "published slope error %": [slope for slope, _ in published],
        "published intercept error %": [intercept for _, intercept in published],
    }


def _describe(demonstration: Demonstration, errors: Mapping[str, Errors], repeats: int) -> str:
    """Format the errors as a table, the smallest error of the slope first."""
    seeds = f"median of {repeats} seeds" if repeats > 1 else "one seed"
    lines = [
        f"{demonstration.title} ({demonstration.source})",
        demonstration.note,
        f"Errors in percent of the true value, {seeds}:",
        "",
        f"{'loss':18}{'slope':>8}{'intercept':>11}{'published':>18}",
    ]
    for name in sorted(errors, key=lambda name: errors[name][0]):
        slope, intercept = errors[name]
        theirs = demonstration.published.get(name)
        shown = "" if theirs is None else f"{theirs[0]:.1f} and {theirs[1]:.1f}"
        lines.append(f"{name:18}{slope:8.2f}{intercept:11.1f}{shown:>18}".rstrip())
    return "\n".join(lines)
