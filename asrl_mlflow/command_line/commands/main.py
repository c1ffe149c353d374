"""Show on one table what robust losses are for, and register the loss that suits its labels.

Each of seven losses (six for classes) is trained twice: on the labels as they are, and with a fifth of the
training labels spoiled. Test labels stay clean. Two losses are tuned too. The model that is registered learned
from the labels as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click
from tqdm import tqdm

from asrl_mlflow import reports, tracking
from asrl_mlflow.command_line.command import Command
from asrl_mlflow.command_line.commands.register import REGISTERED_MODEL, registered, tell_promotion
from asrl_mlflow.command_line.commands.tune import STORAGE, tell_choice, tuned
from asrl_mlflow.command_line.given import command_line, option
from asrl_mlflow.command_line.options import DATA, FIGURES, JOBS, ROUNDS, dataset, options, tell
from asrl_mlflow.command_line.running import end
from asrl_mlflow.comparisons.keeping import draw_comparison
from asrl_mlflow.datasets import Contamination, Dataset, Split
from asrl_mlflow.errors import InputError
from asrl_mlflow.experiments import report
from asrl_mlflow.experiments.experiment import prepare_split, refit
from asrl_mlflow.experiments.settings import Settings
from asrl_mlflow.losses import (
    BASIC,
    BASIC_CLASSIFICATION,
    BaseLoss,
    ContinuousASRL,
    Focal,
    GeneralizedCrossEntropy,
    Huber,
    LogLoss,
    SquaredError,
    auto,
    from_name,
)
from asrl_mlflow.metrics import TASKS
from asrl_mlflow.registry import CHAMPION, check_name, promote
from asrl_mlflow.studies import open_storage
from asrl_mlflow.tracking import RunLog, booster_params, data_params, loss_params
from asrl_mlflow.tracking.keys import CHOSEN_TAG, STUDY_TAG
from asrl_mlflow.tuning import Plan
from asrl_mlflow.tuning.choice import Candidate, Choice, candidates_of, choose
from asrl_mlflow.tuning.plan import EARLY_STOPPING_ROUNDS


@dataclass(frozen=True)
class Setup:
    """The losses that a table of one kind is shown with, and how its labels are spoiled.

    Parameters
    ----------
    untuned : tuple of BaseLoss
        Trained as they are.
    tuned : tuple of type of BaseLoss
        Tuned too.
    plain : str
        The loss that everybody uses, to which the best is compared.
    spoiled : Contamination
        Of training and validation labels, in the second scene.
    """

    untuned: tuple[BaseLoss, ...]
    tuned: tuple[type[BaseLoss], ...]
    plain: str
    spoiled: Contamination


SETUPS = {
    "regression": Setup(
        (*map(from_name, BASIC), auto()),
        (Huber, ContinuousASRL),
        SquaredError.name,
        Contamination("asym", 0.2),
    ),
    "classification": Setup(
        tuple(map(from_name, BASIC_CLASSIFICATION)),
        (Focal, GeneralizedCrossEntropy),
        LogLoss.name,
        Contamination("flip", 0.2),
    ),
}


@dataclass(frozen=True)
class Scene:
    """Results of all losses on one table, with its labels as they are or spoiled.

    Parameters
    ----------
    contamination : Contamination
        How training and validation targets were spoiled; not at all in the first scene.
    scores : mapping of name to {metric: [value]}
        On the clean test rows.
    choice : Choice
        Which loss the training and validation rows speak for.
    run_ids : mapping of name to str
        The run that has each loss's booster.
    curves : mapping of name to sequence of float
        Mean absolute error after each round, on rows that were not learned from.
    """

    contamination: Contamination
    scores: Mapping[str, Mapping[str, list[float]]]
    choice: Choice
    run_ids: Mapping[str, str]
    curves: Mapping[str, Sequence[float]]


@click.command("main", cls=Command)
@options(
    DATA,
    ROUNDS,
    (
        option(
            "--trials",
            type=click.IntRange(1),
            default=20,
            help="Trials of each of four studies, earlier ones included.",
        ),
    ),
    JOBS,
    STORAGE,
    REGISTERED_MODEL,
    FIGURES,
)
def command(**values: Any) -> int:  # noqa: ANN401 - click's values, typed by their options
    """Compare seven losses on clean and on spoiled labels, tune two, register the one that suits."""
    if values["registered_model"]:
        check_name(values["registered_model"])
    if values["storage"]:
        # Before every loss is trained: what is wrong with the storage is said at once.
        with open_storage(values["storage"]):
            pass
    table = dataset(values)
    setup = SETUPS[_task(table)]
    tracking.connect(command=command_line())
    tell(table)
    with tracking.run(f"main {table.name}", flow="main") as parent:
        parent.params({**data_params(table, Contamination()), "seed": values["seed"]})
        parent.params(
            {
                "losses": ",".join(each.label for each in setup.untuned),
                "tuned": ",".join(each.name for each in setup.tuned),
            }
        )
        parent.dataset(table)
        clean = _play(table, Contamination(), values, parent)
        spoiled = _play(table, setup.spoiled, values, parent)
        _show(clean, spoiled, table, parent, figures=values["figures"])
        parent.tags({CHOSEN_TAG: clean.run_ids[clean.choice.chosen.name]})
        reports.publish(parent)
    if not parent.unsent_files():
        _register(clean.run_ids[clean.choice.chosen.name], values["registered_model"])
    return end(parent)


def _play(
    table: Dataset,
    contamination: Contamination,
    values: dict[str, Any],
    parent: RunLog,
) -> Scene:
    """Tune two losses, judge all, train each once more on all its rows and judge it on test rows."""
    is_spoiled = contamination.kind != "none"
    click.echo(f"\n{_heading(contamination)}")
    setup = SETUPS[_task(table)]
    plans = {loss: _plan(loss, table, contamination, values) for loss in setup.tuned}
    plan = plans[setup.tuned[-1]]
    parts = prepare_split(table, plan.seed, contamination)
    losses: dict[str, tuple[BaseLoss, int | None]] = {
        each.label: (each, None) for each in setup.untuned
    }
    scores, run_ids = {}, {}
    for loss in setup.tuned:
        name = f"{loss.name} tuned"
        outcome = tuned(plans[loss], values)
        tell_choice(plans[loss], outcome)
        where = "spoiled." if is_spoiled else ""
        parent.tags({f"{STUDY_TAG}.{where}{loss.name}": outcome.log.run_id})
        losses[name] = (outcome.loss, outcome.best.rounds)
        scores[name] = {**outcome.metrics, "seconds": outcome.seconds}
        run_ids[name] = outcome.log.run_id
    candidates = candidates_of(plan, parts, losses)
    with tqdm(candidates, unit="loss", disable=None) as bar:
        for each in bar:
            bar.set_description(each.name)
            if each.name not in run_ids:
                suffix = f", {contamination.share:.0%} spoiled" if is_spoiled else ""
                with tracking.run(f"{each.name}{suffix}", flow="main") as log:
                    scores[each.name] = _train(plan, parts, each, log)
                run_ids[each.name] = log.run_id
    return Scene(
        contamination,
        {name: {key: [value] for key, value in each.items()} for name, each in scores.items()},
        choose(candidates),
        run_ids,
        {each.name: each.curve for each in candidates},
    )


def _plan(
    loss: type[BaseLoss], table: Dataset, contamination: Contamination, values: dict[str, Any]
) -> Plan:
    return Plan(
        loss=loss,
        table=table,
        metric=TASKS[loss.task].default,
        seed=values["seed"],
        settings=Settings(
            rounds=values["rounds"],
            early_stopping_rounds=EARLY_STOPPING_ROUNDS,
            figures=values["figures"],
        ),
        contamination=contamination,
        tune_booster=False,
    )


def _train(plan: Plan, parts: Split, candidate: Candidate, log: RunLog) -> dict[str, float]:
    params = plan.settings.booster_params(plan.seed)
    log.params(
        {
            **loss_params(candidate.loss),
            **booster_params(params, candidate.rounds),
            **data_params(plan.table, plan.contamination),
            "seed": plan.seed,
        }
    )
    title = (
        f"{candidate.name} on {plan.table.name}, seed {plan.seed}{plan.contamination.describe()}"
    )
    result = refit(
        candidate.loss,
        params,
        candidate.rounds,
        plan.table,
        parts,
        log,
        seed=plan.seed,
        contamination=plan.contamination,
        title=title if plan.settings.figures else None,
    )
    return {**result.metrics, "seconds": result.seconds}


def _show(clean: Scene, spoiled: Scene, table: Dataset, parent: RunLog, *, figures: bool) -> None:
    """Print both scenes side by side; keep tables and figures with the parent run."""
    task = _task(table)
    click.echo(f"\n{_side_by_side(clean, spoiled, task)}\n")
    lines = [
        *(
            f"{_heading(scene.contamination)}: {scene.choice.describe()}"
            for scene in (clean, spoiled)
        ),
        _conclude(clean, spoiled, task),
    ]
    click.echo("\n".join(lines))
    table_text = _side_by_side(clean, spoiled, task)
    parent.describe("\n\n".join([f"```text\n{table_text}\n```", *lines]))
    parent.metrics(
        {
            f"{TASKS[task].default}.{name}": each[TASKS[task].default][0]
            for name, each in clean.scores.items()
        }
    )
    parent.artifact(reports.VERDICT, "\n".join(lines).encode())
    for folder, scene in (("", clean), ("spoiled/", spoiled)):
        title = f"{table.name}{scene.contamination.describe()}"
        parent.table(f"{folder}comparison.json", report.summary_columns(scene.scores, task))
        if figures:
            curves = {name: [curve] for name, curve in scene.curves.items()}
            draw_comparison(scene.scores, curves, title, parent, f"{folder}figures", task=task)


def _heading(contamination: Contamination) -> str:
    if contamination.kind == "none":
        return "labels as they are"
    return f"{contamination.share:.0%} of the training labels spoiled"


def _side_by_side(clean: Scene, spoiled: Scene, task: str) -> str:
    """The errors of both scenes on the same clean test rows, sorted by those of the spoiled one."""
    headings = [_heading(scene.contamination) for scene in (clean, spoiled)]
    shown = report.SUMMARIES[task].columns[:2]
    rows = [["loss", *[heading for _, heading in shown] * 2]]
    names = report.rank_losses(spoiled.scores, task)
    for name in names:
        numbers = [scene.scores[name][key][0] for scene in (clean, spoiled) for key, _ in shown]
        rows.append([name, *(f"{number:#.4g}".rstrip(".") for number in numbers)])
    first = max(len(row[0]) for row in rows)
    width = [max(len(row[place]) for row in rows) for place in range(1, 5)]
    pairs = [max(len(headings[at]), width[2 * at] + 2 + width[2 * at + 1]) for at in range(2)]
    lines = [f"{'':{first}}   {headings[0]:>{pairs[0]}}   {headings[1]:>{pairs[1]}}"]
    for name, *cells in rows:
        texts = [
            f"{cells[2 * at]:>{width[2 * at]}}  {cells[2 * at + 1]:>{width[2 * at + 1]}}"
            for at in range(2)
        ]
        lines.append(f"{name:{first}}   {texts[0]:>{pairs[0]}}   {texts[1]:>{pairs[1]}}")
    return "\n".join(line.rstrip() for line in lines)


def _conclude(clean: Scene, spoiled: Scene, task: str) -> str:
    """Say what follows, from the errors of the plain loss and of the best one in each condition."""
    metric, plain_loss = TASKS[task], SETUPS[task].plain

    def compare(scene: Scene) -> tuple[float, float, str]:
        errors = {name: each[metric.default][0] for name, each in scene.scores.items()}
        best = min(errors, key=lambda name: errors[name])
        return errors[plain_loss], errors[best], best

    plain, smallest, best = compare(clean)
    plain_spoiled, smallest_spoiled, best_spoiled = compare(spoiled)
    return (
        f"So: with the labels as they are, {plain_loss} has a test {metric.default_title} of {plain:.4g} and the best loss "
        f"{smallest:.4g} ({best}); with spoiled labels {plain_spoiled:.4g} and {smallest_spoiled:.4g} "
        f"({best_spoiled})."
    )


def _task(table: Dataset) -> str:
    return "classification" if table.classes else "regression"


def _register(run_id: str, name: str | None) -> None:
    """Register the loss that was chosen for the labels as they are."""
    click.echo("\nThe model of the loss that was chosen for the labels as they are:")
    version = registered(run_id, name)
    try:
        tell_promotion(version, CHAMPION, promote(version, CHAMPION))
    except InputError as error:
        # What was trained and registered stays; who is champion is for its user to say.
        click.echo(f"{CHAMPION}: stays as it is; {error}", err=True)
