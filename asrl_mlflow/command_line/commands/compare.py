"""Many losses side by side on one table or several: a parent run, and a child each loss, table and seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import click

from asrl_mlflow import reports, tracking
from asrl_mlflow.command_line.command import Command
from asrl_mlflow.command_line.completion import complete_losses
from asrl_mlflow.command_line.given import command_line, option, typed_options
from asrl_mlflow.command_line.options import (
    BOOSTING,
    CONTAMINATION,
    DATA,
    FIGURES,
    boosting,
    contamination,
    dataset,
    losses_for,
    options,
    tell,
)
from asrl_mlflow.command_line.parsing import ALL, parse_losses
from asrl_mlflow.command_line.running import end
from asrl_mlflow.comparisons import paper
from asrl_mlflow.comparisons.keeping import keep_results, list_cases
from asrl_mlflow.comparisons.paper import figures as paper_figures
from asrl_mlflow.comparisons.paper.protocol import PAPER_SEED, split_as_the_paper
from asrl_mlflow.datasets.contamination import Contamination
from asrl_mlflow.datasets.dataset import PAPER, Dataset
from asrl_mlflow.datasets.published import describe_difference, has_published_order
from asrl_mlflow.errors import InputError
from asrl_mlflow.experiments import report
from asrl_mlflow.experiments.experiment import Result
from asrl_mlflow.experiments.series import Case, run_series
from asrl_mlflow.experiments.settings import Settings
from asrl_mlflow.figures.style import png
from asrl_mlflow.losses import PointwiseLoss
from asrl_mlflow.tracking.keys import data_params
from asrl_mlflow.tracking.run_log import RunLog


@click.command("compare", cls=Command)
@options(
    DATA,
    (
        option(
            "--losses",
            shell_complete=complete_losses,
            default="basic",
            callback=parse_losses,
            help="basic (seven; six for classes), all, or names between commas, with their default parameters; auto is one.",
        ),
        option("--repeats", type=click.IntRange(1), default=1, help="Seeds, from --seed upwards."),
        option(
            "--preset",
            type=click.Choice(["paper"]),
            help="paper: losses, split and boosting as in arXiv 2504.06935, its figures beside ours.",
        ),
    ),
    BOOSTING,
    CONTAMINATION,
    FIGURES,
)
def command(**values: Any) -> int:  # noqa: ANN401 - click's values, typed by their options
    """Train many losses on the same rows and rank them by test MAE, or log loss for classes.

    --data=all means the paper's five tables.
    """
    if values["preset"] == "paper":
        check_paper([values["data"]])
        return reproduce(_tables(values, "regression"), figures=values["figures"])
    asked = values["losses"]
    tables = _tables(values, None if isinstance(asked, str) else asked[0].task)
    losses = losses_for(asked, tables[0])
    spoiling = contamination(values, tables[0])
    seeds = range(values["seed"], values["seed"] + values["repeats"])
    settings = boosting(values)
    tracking.connect(command=command_line())
    for table in tables:
        tell(table)
        if table.roles.time and len(seeds) > 1:
            click.echo(
                f"Warning: {table.name}: --time splits the rows alike for every seed: of --repeats only "
                "spoiled targets differ.",
                err=True,
            )
    with _parent(tables, spoiling) as parent:
        names = ",".join(loss.label for loss in losses)
        parent.params({"losses": names, "repeats": len(seeds), "seed": seeds[0]})
        series = run_series(
            list_cases(tables, losses, seeds, settings, spoiling),
            total=len(tables) * len(seeds) * len(losses) * settings.rounds,
            contamination=spoiling,
            flow="compare",
        )
        # Without the cases, whose rows need not be held any longer.
        results = [(case.table.name, case.loss.label, result) for case, result in series]
        _show(results, losses[0].task, seeds, spoiling, parent, figures=settings.figures)
    return end(parent)


def _show(
    results: Sequence[tuple[str, str, Result]],
    task: str,
    seeds: Sequence[int],
    spoiling: Contamination,
    parent: RunLog,
    *,
    figures: bool,
) -> None:
    """Print a summary of each table; keep it, and its figures, with the parent run."""
    title = f"seed {', '.join(map(str, seeds))}{spoiling.describe()}"
    spread = "\n±: standard deviation over the seeds." if len(seeds) > 1 else ""
    click.echo(f"\n{title}\n\n{report.SUMMARIES[task].note}{spread}")
    tables = list(dict.fromkeys(table for table, _, _ in results))
    described = [f"Losses side by side on test rows, {title}.\n"]
    for table in tables:
        heading, place = (f"{table}\n", f"{table}/") if len(tables) > 1 else ("", "")
        scores = keep_results(
            [(loss, result) for where, loss, result in results if where == table],
            task,
            f"{table}, {title}",
            parent,
            place=place,
            figures=figures,
        )
        summary = report.summary_table(scores, task)
        click.echo(f"\n{heading}{summary}")
        described.append(f"{heading}\n```text\n{summary}\n```\n")
    parent.describe("\n".join(described))


def _tables(values: dict[str, Any], task: str | None) -> list[Dataset]:
    if values["data"] != ALL:
        return [dataset(values, task=task)]
    named = [name for name in ("target", "weight", "group", "time", "drop") if values[name]]
    if named:
        msg = (
            f"--data={ALL} takes the paper's five tables as they are; got --{named[0]}; leave it out, or "
            "name one table."
        )
        raise InputError(msg)
    return [dataset(values, name) for name in PAPER]


def check_paper(names: Sequence[str]) -> None:
    """The preset leaves nothing to choose but data and figures; other values are refused.

    Parameters
    ----------
    names : sequence of str
        The values of `--data`.

    Raises
    ------
    InputError
        A table is none of the paper's, or another option was typed.
    """
    for name in names:
        if name not in (ALL, *PAPER):
            msg = f"--preset=paper needs --data={ALL} or one of {', '.join(PAPER)}; got {name!r}."
            raise InputError(msg)
    changed = [name for name in typed_options() if name not in ("--data", "--preset", "--figures")]
    if changed:
        msg = (
            "--preset=paper sets everything but data and figures; got "
            f"{changed[0]}; leave it or the preset out."
        )
        raise InputError(msg)


def reproduce(tables: Sequence[Dataset], *, figures: bool, flow: str = "compare") -> int:
    """The paper's losses on its tables, at both depths; its values beside ours on the parent.

    Parameters
    ----------
    tables : sequence of Dataset
        Of the paper's.
    figures : bool
        Whether pictures are drawn.
    flow : str
        The entry point.

    Returns
    -------
    int
        The exit code.
    """

    def cases() -> Iterator[Case]:
        for table in tables:
            parts = split_as_the_paper(table.rows)
            for depth in paper.DEPTHS:
                settings = Settings(max_depth=depth, figures=figures)
                for loss in paper.PAPER_LOSSES.values():
                    name = f"{loss.name} {table.name}, depth {depth}"
                    yield Case(name, loss, table, parts, PAPER_SEED, settings)

    _check_tables(tables)
    tracking.connect(command=command_line())
    for table in tables:
        tell(table)
    with _parent(tables, Contamination(), flow) as parent:
        parent.params({"preset": "paper", "seed": PAPER_SEED})
        series = run_series(
            cases(),
            total=len(tables) * len(paper.DEPTHS) * len(paper.PAPER_LOSSES) * Settings().rounds,
            contamination=Contamination(),
            flow=flow,
        )
        results = paper.Results()
        for case, result in series:
            key = paper.TrainingKey(case.table.name, case.settings.max_depth, case.loss.name)
            results[key] = paper.OurResult(
                {**result.metrics, "seconds": result.seconds},
                [round_.valid["mae"] for round_ in result.rounds],
                case.parts.test.target,
                result.prediction,
                # The paper's losses are for regression, and have one.
                cast("PointwiseLoss", result.rounds[-1].pointwise),
            )
        text = paper.describe(results)
        parent.table("paper.json", paper.comparison_columns(results))
        parent.artifact("paper.md", text.encode())
        if figures:
            for name, figure in paper_figures.draw_overviews(results).items():
                parent.artifact(f"figures/{name}.png", png(figure))
    click.echo(f"\n{text}")
    return end(parent)


def _check_tables(tables: Sequence[Dataset]) -> None:
    """Check that tables are the paper's own, before its values stand beside ours."""
    for table in tables:
        frame = table.rows.features.assign(**{table.target_name: table.rows.target})
        if differs := describe_difference(table.name, frame):
            msg = f"--preset=paper: {table.source} must be {differs}; put the table there, or remove it."
            raise InputError(msg)
        if not has_published_order(table.name, frame):
            click.echo(
                f"Warning: {table.name}: the rows stand in another order than the README's, so that "
                "the split and all that follows differ.",
                err=True,
            )


@contextmanager
def _parent(
    tables: Sequence[Dataset], spoiling: Contamination, flow: str = "compare"
) -> Iterator[RunLog]:
    name = tables[0].name if len(tables) == 1 else ALL
    with tracking.run(f"{flow} {name}", flow=flow) as parent:
        if len(tables) == 1:
            parent.params(data_params(tables[0], spoiling))
        else:
            parent.params({"data.name": ",".join(table.name for table in tables)})
            parent.params(spoiling.params())
        for table in tables:
            parent.dataset(table)
        yield parent
        reports.publish(parent)
