"""Losses for classes under wrong labels: all tuned alike on wrong labels, judged once on right ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

import click
import xgboost
from tqdm import tqdm

from asrl_mlflow import tracking
from asrl_mlflow.command_line.command import Command
from asrl_mlflow.command_line.completion import complete_data, complete_losses
from asrl_mlflow.command_line.given import command_line, option
from asrl_mlflow.command_line.options import DATA, FIGURES, JOBS, dataset, losses_for, options, tell
from asrl_mlflow.command_line.parsing import parse_losses, parse_shares
from asrl_mlflow.command_line.running import end
from asrl_mlflow.comparisons.label_noise import SHOWN, Cell, Comparison, Judged, Results, judge_all
from asrl_mlflow.comparisons.label_noise.figures import (
    draw_calibration,
    draw_noise,
    draw_reliabilities,
)
from asrl_mlflow.datasets.contamination import OF_CLASSES, Contamination, ContaminationKind
from asrl_mlflow.datasets.dataset import Dataset
from asrl_mlflow.errors import InputError
from asrl_mlflow.experiments import report
from asrl_mlflow.figures.style import png
from asrl_mlflow.losses import (
    BaseLoss,
    ClassificationLoss,
    Focal,
    FullL,
    FullM,
    GeneralizedCrossEntropy,
    LLoss,
    MLoss,
    SoftmaxCrossEntropy,
    to_config,
)
from asrl_mlflow.records.artifacts import LOSS
from asrl_mlflow.records.record import SCHEMA
from asrl_mlflow.tracking import RunLog, booster_params, data_params, loss_params

LOSSES = (SoftmaxCrossEntropy, MLoss, LLoss, FullM, FullL, GeneralizedCrossEntropy, Focal)

_CLEARLY = (
    "\nClearly: 0 is outside the 95% interval of the differences, seed by seed. One comparison in twenty is so by "
    "chance."
)


@click.command("label_noise", cls=Command)
@options(
    (
        option(
            "--data",
            shell_complete=complete_data,
            default="breast_cancer",
            help="Name of a data set with classes, or a path to .csv, .parquet or a folder of .parquet files.",
        ),
        *DATA[1:],
        option(
            "--losses",
            shell_complete=complete_losses,
            default=",".join(each.name for each in LOSSES),
            callback=parse_losses,
            help="Names of losses for classes between commas, basic, or all; the first is what others are compared with.",
        ),
        option(
            "--shares",
            default="0,0.1,0.2,0.3,0.4",
            callback=parse_shares,
            help="Shares of training and validation labels to flip.",
        ),
        option(
            "--kind",
            type=click.Choice(OF_CLASSES),
            default=OF_CLASSES[0],
            help="flip: to any other class; flip_next: of each class but the last to the next.",
        ),
        option("--repeats", type=click.IntRange(1), default=5, help="Seeds, from --seed upwards."),
        option(
            "--trials",
            type=click.IntRange(1),
            default=10,
            help="Of the search of each loss, share and seed.",
        ),
        option("--rounds", type=click.IntRange(1), default=100, help="Boosting rounds, at most."),
    ),
    JOBS,
    FIGURES,
)
def command(**values: Any) -> int:  # noqa: ANN401 - click's values, typed by their options
    """Compare losses for classes whose labels are wrong: tuned alike, judged on right labels.

    Labels of training and validation rows are flipped. Each loss searches learning rate, depth and its own
    parameters by log loss on validation rows whose labels are as wrong as the others', as its user would
    have to; it is then trained on both and judged once on test rows, whose labels are right.
    """
    table = dataset(values, task="classification")
    losses = _losses(values["losses"], table)
    seeds = range(values["seed"], values["seed"] + values["repeats"])
    kind: ContaminationKind = values["kind"]
    comparison = Comparison(table, kind, values["trials"], values["rounds"])
    cells = [
        Cell(loss, share, seed) for seed in seeds for share in values["shares"] for loss in losses
    ]
    tracking.connect(command=command_line())
    tell(table)
    with tracking.run(f"label_noise {table.name}", flow="label_noise") as parent:
        parent.params({**data_params(table, Contamination()), "seed": seeds[0]})
        parent.params(
            {
                "losses": ",".join(loss.name for loss in losses),
                "shares": ",".join(f"{share:g}" for share in values["shares"]),
                "kind": kind,
                "repeats": len(seeds),
                "trials": comparison.trials,
                "rounds": comparison.rounds,
            }
        )
        parent.dataset(table)
        judged = []
        with tqdm(total=len(cells), unit="cell", disable=None) as bar:
            for each in judge_all(comparison, cells, values["jobs"]):
                bar.set_description(each.cell.name)
                _log(comparison, each)
                judged.append(each)
                bar.update()
        judged.sort(key=lambda each: cells.index(each.cell))
        _show(comparison, judged, parent, figures=values["figures"])
    return end(parent)


def _losses(asked: str | tuple[BaseLoss, ...], table: Dataset) -> tuple[ClassificationLoss, ...]:
    """The losses that can learn a table's classes."""
    losses = losses_for(asked, table)
    for loss in losses:
        if not isinstance(loss, ClassificationLoss):
            msg = f"--losses takes losses for classes; got {loss.name}; pass log_loss,full_m, say."
            raise InputError(msg)
        loss.check_outputs(loss.outputs(len(table.classes)))
    return cast("tuple[ClassificationLoss, ...]", losses)


def _log(comparison: Comparison, judged: Judged) -> None:
    """Record a cell as a child run."""
    cell = judged.cell
    with tracking.run(cell.name, flow="label_noise") as log:
        log.params(
            {
                **loss_params(judged.loss),
                **booster_params({**judged.booster, "seed": cell.seed}, judged.rounds),
                **data_params(comparison.table, comparison.contamination(cell.share)),
                "split.rows": judged.split,
                "seed": cell.seed,
            }
        )
        plain = judged.metrics(corrected=False)
        log.metrics(
            {
                **{f"test.{name}": value for name, value in judged.metrics().items()},
                **{f"test.plain.{name}": plain[name] for name in SHOWN},
                "best.objective": judged.chosen_by,
                "fit_seconds": judged.seconds,
            }
        )
        record = {"schema": SCHEMA, "loss": to_config(judged.loss)}
        log.artifact(LOSS, json.dumps(record).encode())


def _show(
    comparison: Comparison, judged: Sequence[Judged], parent: RunLog, *, figures: bool
) -> None:
    """Print the table and what follows from it; keep both, and the figures, with the parent run."""
    results = Results.of(judged)
    seeds = list(dict.fromkeys(each.cell.seed for each in judged))
    title = (
        f"{comparison.table.name}, seed {', '.join(map(str, seeds))}; {comparison.kind}; {comparison.trials} "
        f"trials a loss, chosen by log loss on flipped labels; XGBoost {xgboost.__version__}"
    )
    spread = "\n±: standard deviation over the seeds." if len(seeds) > 1 else ""
    text = f"{title}\n\n{report.SUMMARIES['classification'].note}{spread}\n\n{results.table()}\n\n{results.verdict()}{_CLEARLY if len(seeds) > 1 else ''}"
    parent.table("label_noise.json", results.columns())
    parent.artifact("label_noise.txt", f"{text}\n".encode())
    if figures:
        drawn = {
            "label_noise": draw_noise(results, title),
            "calibration": draw_calibration(results, title),
            **{
                f"reliability_{name}": figure
                for name, figure in draw_reliabilities(judged, title).items()
            },
        }
        for name, figure in drawn.items():
            parent.artifact(f"figures/{name}.png", png(figure))
    click.echo(f"\n{text}")
