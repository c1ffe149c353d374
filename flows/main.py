"""The whole story on one table: every loss compared, both forms of ASRL tuned, the best registered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click
from tqdm import tqdm

from asrl_mlflow import tracking
from asrl_mlflow.datasets.contamination import Contamination
from asrl_mlflow.errors import InputError
from asrl_mlflow.experiments.experiment import divide, refit
from asrl_mlflow.experiments.settings import Settings
from asrl_mlflow.losses import ASRL, LOSSES, ContinuousASRL, Loss
from asrl_mlflow.registry.promotion import CHAMPION, promote
from asrl_mlflow.registry.registration import check_name
from asrl_mlflow.studies.storages import open_storage
from asrl_mlflow.tracking.keys import data_params
from asrl_mlflow.tracking.run_log import RunLog
from asrl_mlflow.trials.judging import Judge
from asrl_mlflow.tuning.plan import Plan
from flows._options import DATA, FIGURES, dataset, option, options
from flows._running import run
from flows.compare import Scored, compare
from flows.register import REGISTERED_MODEL, registered, tell_promotion
from flows.tune import EARLY_STOPPING_ROUNDS, STORAGE, tell_choice, tuned

TUNED = (ASRL, ContinuousASRL)


@dataclass(frozen=True)
class Candidate:
    """What may be registered: its loss, its objective on validation rows, its run if it has one."""

    name: str
    loss: Loss
    value: float
    rounds: int
    run_id: str | None


@click.command("main")
@options(
    DATA,
    (
        option(
            "--trials",
            type=click.IntRange(1),
            default=30,
            help="Of each study, earlier ones included.",
        ),
    ),
    STORAGE,
    REGISTERED_MODEL,
    FIGURES,
)
def command(**values: Any) -> int:  # noqa: ANN401 - click's values, typed by their options
    """Compare every loss, tune both forms of ASRL, register what was best on validation rows."""
    if values["registered_model"]:
        check_name(values["registered_model"])
    if values["storage"]:
        # What is wrong with it is better known before every loss was trained.
        with open_storage(values["storage"]):
            pass
    table = dataset(values)
    chosen: list[str] = []

    def plan_for(loss: type[Loss]) -> Plan:
        return Plan(
            loss=loss,
            table=table,
            metric="mae",
            seed=values["seed"],
            settings=Settings(
                early_stopping_rounds=EARLY_STOPPING_ROUNDS, figures=values["figures"]
            ),
            contamination=Contamination(),
            tune_booster=False,
        )

    def studies(parent: RunLog, logs: list[RunLog]) -> Iterator[tuple[str, str, Scored]]:
        candidates = []
        for loss in TUNED:
            plan = plan_for(loss)
            outcome = tuned(plan, values, logs)
            tell_choice(plan, outcome)
            parent.tags({f"asrl.study.{loss.name}": outcome.run_id})
            yield table.name, f"{loss.name} tuned", outcome
            best = outcome.best
            candidates.append(
                Candidate(
                    f"{loss.name} tuned", outcome.loss, best.value, best.rounds, outcome.run_id
                )
            )
        plan = plan_for(ContinuousASRL)
        candidates += _baselines(plan)
        best_of_all = min(candidates, key=lambda each: each.value)
        _tell(plan, candidates)
        if best_of_all.run_id is not None:
            chosen.append(best_of_all.run_id)
            return
        name = f"{best_of_all.name} refitted"
        with tracking.run(name, flow="main") as log:
            logs.append(log)
            yield table.name, name, _refitted(plan, best_of_all, name, log)
        chosen.append(log.run_id)

    return compare(
        [table],
        [loss() for loss in LOSSES.values()],
        seeds=[values["seed"]],
        settings=Settings(figures=values["figures"]),
        spoiling=Contamination(),
        flow="main",
        also=studies,
        afterwards=lambda: _register(chosen[0], values["registered_model"]),
    )


def _baselines(plan: Plan) -> list[Candidate]:
    """The losses that are not tuned, judged by the same rows and rules as the trials were."""
    judge = Judge(plan.contest(divide(plan.table, plan.seed, plan.contamination)))
    found = []
    for loss in tqdm([each() for each in LOSSES.values() if each not in TUNED], disable=None):
        verdict = judge.judge(loss, {}, lambda *_: None, lambda *_: True)
        found.append(Candidate(loss.name, loss, verdict.value, verdict.rounds, None))
    return found


def _tell(plan: Plan, candidates: list[Candidate]) -> None:
    ranked = sorted(candidates, key=lambda each: each.value)
    values = ", ".join(f"{each.name} {each.value:.4g}" for each in ranked)
    click.echo(f"\n{plan.metric} {plan.judged}: {values}")


def _refitted(plan: Plan, best: Candidate, name: str, log: RunLog) -> Scored:
    params = plan.settings.booster_params(plan.seed)
    log.params(
        {
            **tracking.loss_params(best.loss),
            **{f"booster.{key}": value for key, value in params.items()},
            "booster.num_boost_round": best.rounds,
            **data_params(plan.table, plan.contamination),
            "seed": plan.seed,
        }
    )
    return refit(
        best.loss,
        params,
        best.rounds,
        plan.table,
        divide(plan.table, plan.seed, plan.contamination),
        log,
        seed=plan.seed,
        contamination=plan.contamination,
        title=f"{name} on {plan.table.name}, seed {plan.seed}" if plan.settings.figures else None,
    )


def _register(run_id: str, name: str | None) -> None:
    click.echo()
    version = registered(run_id, name)
    try:
        tell_promotion(version, CHAMPION, promote(version, CHAMPION))
    except InputError as error:
        # What was trained and registered stays; who is champion is for its user to say.
        click.echo(f"{CHAMPION}: stays as it is; {error}", err=True)


if __name__ == "__main__":
    run(command)
