"""Losses beside rivals over a grid of tables and spoiled targets: tuned alike, judged once, with a verdict."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
import joblib
from tqdm import tqdm

from asrl_mlflow import tracking
from asrl_mlflow.command_line.command import Command
from asrl_mlflow.command_line.commands.compare import check_paper, reproduce
from asrl_mlflow.command_line.completion import complete_data, complete_losses
from asrl_mlflow.command_line.given import command_line, option
from asrl_mlflow.command_line.options import DATA, FIGURES, JOBS, dataset, options, tell
from asrl_mlflow.command_line.parsing import (
    ALL,
    Share,
    parse_contaminations,
    parse_names,
    parse_rates,
    parse_rows,
)
from asrl_mlflow.command_line.running import end
from asrl_mlflow.comparisons.grids import Failed, Grid, Judged, Results, Rules, attempt, give_up
from asrl_mlflow.comparisons.grids.budget import measure_pace, plan
from asrl_mlflow.comparisons.grids.cells import FAILED_TRIALS
from asrl_mlflow.comparisons.grids.convergence import Convergence
from asrl_mlflow.comparisons.grids.figures import (
    draw_convergence,
    draw_levels,
    draw_ranks,
    draw_ratios,
)
from asrl_mlflow.comparisons.grids.levels import find_levels
from asrl_mlflow.comparisons.grids.methods import find_method
from asrl_mlflow.comparisons.grids.past import CURVE, find_done, find_parent
from asrl_mlflow.comparisons.grids.presets import PRESETS, REAL_ERRORS
from asrl_mlflow.comparisons.grids.ranking import rank
from asrl_mlflow.comparisons.grids.shift import split_apart
from asrl_mlflow.comparisons.grids.verdict import verdict
from asrl_mlflow.datasets.contamination import Contamination
from asrl_mlflow.datasets.dataset import DEFAULT, PAPER, Dataset
from asrl_mlflow.datasets.published import WITH_TRUTH
from asrl_mlflow.errors import InputError
from asrl_mlflow.figures.style import png
from asrl_mlflow.studies.leases import ERROR
from asrl_mlflow.system.pool import work_on_all
from asrl_mlflow.tracking import RunLog, data_params
from asrl_mlflow.tracking.keys import CELL_TAG, GRID_TAG

_MINUTE = 60.0
# Of cells that failed, with their reason.
_MOST_TOLD = 5
# What a plan may have cut, as the parent's params; a command that goes on takes it from there.
_PLANNED = ("plan.repeats", "plan.trials", "plan.rows")

_NOTE = (
    "Test MAE divided by that of the best rival of each setting, which nobody knows before: below 1 is better than it.\n"
    "Geometric means over the seeds; seconds are of a cell's whole search and fit."
)
_NOT_INDEPENDENT = "Comparisons on one table share its rows: p is smaller than it should be."


def parse_methods(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[str, ...] | None:
    """Names of losses and rivals between commas, each checked; None where nothing is given."""
    if value is None:
        return None
    names = tuple(filter(None, map(str.strip, value.split(","))))
    if not names or len(set(names)) < len(names):
        msg = f"it takes names between commas, each once; got {value!r}."
        raise click.BadParameter(msg, ctx, param)
    for name in names:
        try:
            find_method(name)
        except InputError as error:
            raise click.BadParameter(str(error), ctx, param) from error
    return names


@click.command(
    "study",
    cls=Command,
    interrupted="the same command goes on with it; unfinished runs are KILLED",
)
@options(
    (
        option(
            "--data",
            shell_complete=complete_data,
            default=DEFAULT,
            callback=parse_names,
            help="Names of data sets or paths, between commas, or all: the paper's five.",
        ),
        *DATA[1:],
        option(
            "--truth",
            help="Column of true targets, empty where unknown, by which test rows are judged; not a feature.",
        ),
        option(
            "--preset",
            type=click.Choice((*PRESETS, "paper")),
            default="contamination",
            help="What is compared where the next options do not say it; paper: what compare --preset=paper does.",
        ),
        option(
            "--losses",
            shell_complete=complete_losses,
            callback=parse_methods,
            help="Names of losses between commas.  [default: the preset's]",
        ),
        option(
            "--rivals",
            callback=parse_methods,
            help="What they are compared with, between commas: rivals or losses.  [default: the preset's]",
        ),
        option(
            "--contaminate",
            callback=parse_contaminations,
            help="How training and validation targets are spoiled: none,sym:0.1, say.  [default: the preset's]",
        ),
        option(
            "--learning-rates",
            callback=parse_rates,
            help="Between commas.  [default: the preset's]",
        ),
        option(
            "--rows",
            default=ALL,
            callback=parse_rows,
            help="Rows of each table that are used, at most; numbers between commas.",
        ),
        option(
            "--repeats",
            type=click.IntRange(1),
            help="Seeds, from --seed upwards.  [default: the preset's]",
        ),
        option(
            "--trials",
            type=click.IntRange(1),
            help="Of the search of each cell; 1 tunes nothing.  [default: the preset's]",
        ),
        option(
            "--rounds",
            type=click.IntRange(1),
            help="Boosting rounds, at most.  [default: the preset's]",
        ),
        option(
            "--budget",
            type=Share(0, min_open=True),
            help="Minutes: the grid is cut to what fits, and nothing is begun after them.",
        ),
    ),
    JOBS,
    FIGURES,
)
def command(**values: Any) -> int:  # noqa: ANN401 - click's values, typed by their options
    """Compare losses with rivals on tables whose targets are spoiled: tuned alike, with a verdict.

    Each cell is one method on one table, spoiled in one way, with one seed. Every method gets as many
    trials, on rows as spoiled as those it learns from, and is judged once on clean test rows. The same
    command goes on where it was stopped.
    """
    if values["preset"] == "paper":
        check_paper(values["data"])
        tables = _tables(values)
        return reproduce(list(tables.values()), figures=values["figures"], flow="study")
    started = time.monotonic()
    tables, asked = _tables(values), _grid(values)
    _check_shifts(asked, tables)
    _check_truth(values, tables)
    minutes, jobs = values["budget"], values["jobs"] or joblib.cpu_count()
    for name in asked.methods:
        find_method(name)
    tracking.connect(command=command_line())
    for table in tables.values():
        tell(table)
    digest = asked.digest(tables, minutes)
    before = find_parent(digest)
    grid = asked if minutes is None else None
    if before is not None:
        grid = _read_plan(asked, before.data.params)
    if grid is None:
        grid = _plan(asked, tables, minutes, jobs)
    name = f"study {', '.join(tables)}"
    with tracking.run(
        name,
        flow="study",
        run_id=None if before is None else before.info.run_id,
        tags={GRID_TAG: digest},
    ) as parent:
        _log_grid(grid, tables, values, parent)
        goes_on = _clock(started, minutes)
        judged, failed, cells = _work(grid, tables, jobs, goes_on, parent)
        results = Results.of(grid, judged)
        _tell_missing(results, judged, failed, cells)
        if failed and not results.errors:
            msg = (
                f"A study needs a seed of which all cells succeed; got {len(failed)} of {cells} cells that failed; mend "
                "what they say, and start the same command again."
            )
            raise InputError(msg)
        _show(results, grid, parent, figures=values["figures"])
        if grid.rules.curves and results.errors:
            _show_convergence(results, judged, parent, figures=values["figures"])
    return end(parent)


def _tables(values: dict[str, Any]) -> dict[str, Dataset]:
    """The tables by name."""
    names = PAPER if values["data"] == (ALL,) else values["data"]
    roles = [
        name for name in ("target", "weight", "group", "time", "drop", "truth") if values[name]
    ]
    if len(names) > 1 and roles:
        msg = (
            f"--data with several tables takes them as they are; got --{roles[0]}; leave it out, or name one "
            "table."
        )
        raise InputError(msg)
    tables = [dataset(values, name, task="regression") for name in names]
    by_name = {table.name: table for table in tables}
    if not tables or len(by_name) < len(tables):
        msg = f"--data takes tables of different names; got {', '.join(names) or 'none'}; name each once."
        raise InputError(msg)
    return by_name


def _grid(values: dict[str, Any]) -> Grid:
    """The grid that is asked for: options, and where they are unset the preset."""
    preset = PRESETS[values["preset"]]
    repeats = values["repeats"] or preset.repeats
    return Grid(
        losses=values["losses"] or preset.losses,
        rivals=values["rivals"] or preset.rivals,
        contaminations=values["contaminate"] or preset.contaminations,
        seeds=tuple(range(values["seed"], values["seed"] + repeats)),
        learning_rates=values["learning_rates"] or preset.learning_rates,
        rows=values["rows"],
        shifts=preset.shifts,
        rules=Rules(
            values["trials"] or preset.trials, values["rounds"] or preset.rounds, preset.curves
        ),
    )


def _check_shifts(grid: Grid, tables: Mapping[str, Dataset]) -> None:
    """Refuse tables that cannot be split as asked, before anything is done."""
    if set(grid.shifts) != {"none"}:
        for table in tables.values():
            split_apart(table.rows, grid.seeds[0])


def _check_truth(values: Mapping[str, Any], tables: Mapping[str, Dataset]) -> None:
    """Refuse tables whose errors are not known where those are the only ones to learn beside."""
    if values["preset"] != REAL_ERRORS:
        return
    if values["contaminate"] is not None:
        msg = f"--preset={REAL_ERRORS} spoils nothing on purpose; got --contaminate; leave one of them out."
        raise InputError(msg)
    for table in tables.values():
        if table.rows.truth is None:
            msg = (
                f"--preset={REAL_ERRORS} needs tables whose true targets are known; got {table.name}; pass "
                f"--data={','.join(WITH_TRUTH)}, or --truth=<column> of your own table."
            )
            raise InputError(msg)


def _plan(asked: Grid, tables: Mapping[str, Dataset], minutes: float, jobs: int) -> Grid:
    """Cut a grid to what fits, and say so."""
    began = time.monotonic()
    total = len(tables) * len(asked.methods)
    with tqdm(total=total, unit="fit", desc="planning", disable=None) as bar:
        pace = measure_pace(asked, tables, bar.update)
    left = minutes - (time.monotonic() - began) / _MINUTE
    found = plan(asked, tables, pace, left, jobs)
    grid = found.grid
    rows = "as asked" if grid.rows == asked.rows else f"at most {max(filter(None, grid.rows))}"
    click.echo(
        f"planned: {len(grid.seeds)} of {len(asked.seeds)} seeds, {grid.rules.trials} of "
        f"{asked.rules.trials} trials, rows {rows}: about {found.minutes:.1f} of {minutes:g} minutes"
    )
    return grid


def _read_plan(asked: Grid, params: Mapping[str, str]) -> Grid | None:
    """The plan that an earlier command made for the grid; None where it ended before it said so."""
    if not set(_PLANNED) <= set(params):
        return None
    repeats, trials, rows = (params[name] for name in _PLANNED)
    return dataclasses.replace(
        asked,
        seeds=asked.seeds[: int(repeats)],
        rules=dataclasses.replace(asked.rules, trials=int(trials)),
        rows=tuple(None if each == ALL else int(each) for each in rows.split(",")),
    )


def _log_grid(
    grid: Grid, tables: Mapping[str, Dataset], values: Mapping[str, Any], parent: RunLog
) -> None:
    """Record what the grid compares, and how it was planned."""
    planned = (len(grid.seeds), grid.rules.trials, ",".join(str(each or ALL) for each in grid.rows))
    if len(tables) == 1:
        parent.params(data_params(next(iter(tables.values())), Contamination()))
    else:
        parent.params({"data.name": ",".join(tables)})
    parent.params(
        {
            "preset": values["preset"],
            "losses": ",".join(grid.losses),
            "rivals": ",".join(grid.rivals),
            "contaminate": ",".join(
                f"{each.kind}:{each.share:g}" if each.share else each.kind
                for each in grid.contaminations
            ),
            "learning_rates": ",".join(f"{each:g}" for each in grid.learning_rates),
            "rounds": grid.rules.rounds,
            "seed": grid.seeds[0],
            "budget": values["budget"],
            **dict(zip(_PLANNED, planned, strict=True)),
        }
    )
    for table in tables.values():
        parent.dataset(table)
    parent.flush()


def _clock(started: float, minutes: float | None) -> Callable[[], bool]:
    """Whether there is time to begin another cell."""
    return lambda: minutes is None or time.monotonic() - started < minutes * _MINUTE


def _work(
    grid: Grid,
    tables: Mapping[str, Dataset],
    jobs: int,
    goes_on: Callable[[], bool],
    parent: RunLog,
) -> tuple[list[Judged], list[Failed], int]:
    """Judge the cells that are not done yet; give all that are, those that failed, and how many there are."""
    tasks = {task.cell.key(task.table, task.rules): task for task in grid.tasks(tables)}
    done = find_done(tasks)
    if done:
        click.echo(f"{len(done)} of {len(tasks)} cells are done already")
    left = [task for key, task in tasks.items() if key not in done]
    keys = {task.cell: key for key, task in tasks.items()}
    failed = []
    with tqdm(total=len(tasks), initial=len(done), unit="cell", disable=None) as bar:
        for each in work_on_all(attempt, left, jobs, goes_on=goes_on, died=give_up):
            bar.set_description(each.cell.name)
            key = keys[each.cell]
            if isinstance(each, Failed):
                _log_failed(each, key, parent)
                failed.append(each)
            else:
                _log_judged(each, key)
                done[key] = each
            bar.update()
    return [done[key] for key in tasks if key in done], failed, len(tasks)


def _log_judged(judged: Judged, key: str) -> None:
    """Record a cell as a child run."""
    with tracking.run(judged.cell.name, flow="study", tags={CELL_TAG: key}) as log:
        log.params(judged.params)
        log.metrics(judged.metrics)
        for number, error in enumerate(judged.curve):
            log.step(number, {CURVE: error})


def _log_failed(failed: Failed, key: str, parent: RunLog) -> None:
    """Record a cell that failed as a child run that did; the same command tries it again."""
    tags = {CELL_TAG: key, ERROR: failed.reason}
    log = tracking.open_child(failed.cell.name, flow="study", parent=parent, tags=tags)
    log.params({"method.name": failed.cell.method, "seed": failed.cell.seed})
    log.close("FAILED")


def _tell_missing(
    results: Results, judged: Sequence[Judged], failed: Sequence[Failed], cells: int
) -> None:
    """Say what is not among the results, and why."""
    trials = int(sum(each.metrics.get(FAILED_TRIALS, 0) for each in judged))
    missing = cells - len(judged) - len(failed)
    if missing:
        click.echo(f"{missing} cells are left: the same command goes on with them", err=True)
    if failed:
        click.echo(
            f"{len(failed)} of {cells} cells failed, which the same command tries again:", err=True
        )
        for each in failed[:_MOST_TOLD]:
            click.echo(f"  {each.cell.name}: {each.reason}", err=True)
    if len(failed) > _MOST_TOLD:
        click.echo(f"  and {len(failed) - _MOST_TOLD} more", err=True)
    if results.left_out:
        click.echo(
            f"{results.left_out} cells are done and left out, as a method has no result with their seed",
            err=True,
        )
    if trials:
        click.echo(f"{trials} trials failed and were passed over", err=True)


def _show(results: Results, grid: Grid, parent: RunLog, *, figures: bool) -> None:
    """Print the table and what follows from it; keep both, and the figures, with the parent run."""
    if not results.errors:
        click.echo("No seed has all of its cells: there is nothing to compare yet.", err=True)
        return
    levels = find_levels(results.methods)
    # A map is a picture of its own, and too long to rank.
    others = results.without(levels)
    ranking = rank(others.blocks)
    lines = verdict(results)
    if ranking is not None:
        is_dependent = ranking.blocks > len(results.by_table)
        lines += [ranking.describe(), *([_NOT_INDEPENDENT] if is_dependent else [])]
    context = _describe(results, grid)
    wide = others.table()
    # The longer side downwards.
    shown = wide if len(wide) >= len(wide.columns) else wide.T
    table = shown.to_string(float_format="{:.3f}".format)
    text = f"{context}\n\n{_NOTE}\n\n{table}\n\n" + "\n".join(lines)
    parent.table("study.json", results.columns())
    parent.artifact("study.txt", f"{text}\n".encode())
    parent.describe(f"```text\n{text}\n```")
    if figures:
        if others.losses:
            parent.artifact("figures/ratios.png", png(draw_ratios(others, context)))
        if ranking is not None:
            parent.artifact("figures/ranks.png", png(draw_ranks(ranking, context)))
        if levels:
            parent.artifact("figures/levels.png", png(draw_levels(results, levels, context)))
    click.echo(f"\n{text}")


def _describe(results: Results, grid: Grid) -> str:
    """Say in a line what was compared, and by how much work."""
    seeds, trials = max(map(len, results.errors.values())), grid.rules.trials
    rows = ["all" if each is None else f"at most {each}" for each in grid.rows]
    return "; ".join(
        [
            f"{', '.join(results.by_table.index)}, {' and '.join(rows)} rows",
            f"{seeds} seed{'s' * (seeds > 1)}",
            "nothing tuned" if trials == 1 else f"{trials} trials",
            f"{grid.rules.rounds} rounds",
            ", ".join(dict.fromkeys(find_method(name).library for name in results.methods)),
        ]
    )


def _show_convergence(
    results: Results, judged: Sequence[Judged], parent: RunLog, *, figures: bool
) -> None:
    """Print how fast methods learn; keep it, and a figure a table and contamination, with the parent run."""
    convergence = Convergence.of(results, judged)
    table = convergence.table(results)
    click.echo(f"\n{table.to_string(index=False, float_format='{:.3g}'.format)}")
    parent.table("convergence.json", {str(name): list(table[name]) for name in table})
    if figures:
        for name, figure in draw_convergence(convergence).items():
            parent.artifact(f"figures/convergence_{name}.png", png(figure))
