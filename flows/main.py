"""The whole story on one table: every loss compared, both forms of ASRL tuned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from asrl_mlflow.losses import ASRL, LOSSES, ContinuousASRL
from asrl_mlflow.run_log import RunLog
from asrl_mlflow.settings import Contamination, Settings
from asrl_mlflow.tuning import Plan
from flows.compare import Scored, compare
from flows.options import DATA, FIGURES, dataset, option, options, run
from flows.tune import EARLY_STOPPING_ROUNDS, STORAGE, tell_choice, tuned

TUNED = (ASRL, ContinuousASRL)


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
    FIGURES,
)
def command(**values: Any) -> int:  # noqa: ANN401 - click's values, typed by their options
    """Compare every loss, with its default parameters and both forms of ASRL tuned, on one table."""
    table = dataset(values)

    def studies(parent: RunLog, logs: list[RunLog]) -> Iterator[tuple[str, str, Scored]]:
        for loss in TUNED:
            plan = Plan(
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
            outcome = tuned(plan, values, logs)
            tell_choice(plan, outcome)
            parent.tags({f"asrl.study.{loss.name}": outcome.run_id})
            yield table.name, f"{loss.name} tuned", outcome

    return compare(
        [table],
        [loss() for loss in LOSSES.values()],
        seeds=[values["seed"]],
        settings=Settings(figures=values["figures"]),
        spoiling=Contamination(),
        flow="main",
        also=studies,
    )


if __name__ == "__main__":
    run(command)
