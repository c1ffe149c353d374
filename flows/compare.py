"""Many losses side by side on one table: a parent run, and a child run a loss and seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import click
from tqdm import tqdm

from asrl_mlflow import report, tracking
from asrl_mlflow.datasets import Dataset, load
from asrl_mlflow.lab import Contamination, Settings, data_params, experiment
from asrl_mlflow.losses import Loss
from asrl_mlflow.run_log import RunLog
from flows.options import (
    BOOSTING,
    CONTAMINATION,
    DATA,
    boosting,
    contamination,
    ending,
    option,
    options,
    parse_losses,
    run,
)


@click.command("compare")
@options(
    DATA,
    (
        option(
            "--losses",
            default="all",
            callback=parse_losses,
            help="all, or names between commas, with their default parameters.",
        ),
        option("--repeats", type=click.IntRange(1), default=1, help="Seeds, from --seed upwards."),
    ),
    BOOSTING,
    CONTAMINATION,
)
def command(**values: Any) -> int:  # noqa: ANN401 - click's values, typed by their options
    """Train many losses on the same rows and rank them by test MAE."""
    spoiling = contamination(values)
    return compare(
        load(values["data"], values["target"]),
        values["losses"],
        seeds=range(values["seed"], values["seed"] + values["repeats"]),
        settings=boosting(values),
        spoiling=spoiling,
        flow="compare",
    )


def compare(
    dataset: Dataset,
    losses: Sequence[Loss],
    *,
    seeds: Sequence[int],
    settings: Settings,
    spoiling: Contamination,
    flow: str,
) -> int:
    """Every loss with every seed, each in a run of its own; table and figure on the parent.

    Returns
    -------
    int
        The exit code.
    """
    tracking.connect()
    click.echo(dataset.told())
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    logs: list[RunLog] = []
    with tracking.run(f"{flow} {dataset.name}", flow=flow) as parent:
        logs.append(parent)
        parent.params(
            {
                **data_params(dataset, spoiling),
                "losses": ",".join(loss.name for loss in losses),
                "repeats": len(seeds),
                "seed": seeds[0],
            }
        )
        parent.dataset(dataset)
        total = len(losses) * len(seeds) * settings.rounds
        with tqdm(total=total, unit="round", disable=None) as bar:
            for done, (seed, loss) in enumerate((seed, loss) for seed in seeds for loss in losses):
                name = loss.name if len(seeds) == 1 else f"{loss.name}, seed {seed}"
                bar.set_description(name)
                with tracking.run(name, flow=flow) as log:
                    logs.append(log)
                    result = experiment(
                        loss,
                        dataset,
                        log,
                        seed=seed,
                        settings=settings,
                        contamination=spoiling,
                        on_round=lambda _: bar.update(),
                    )
                for metric, value in {**result.metrics, "seconds": result.seconds}.items():
                    scores[loss.name][metric].append(value)
                # Early stopping may have left rounds over.
                bar.update((done + 1) * settings.rounds - bar.n)
        title = f"seed {', '.join(map(str, seeds))}{spoiling.told()}"
        parent.table("comparison.json", report.summary_columns(scores))
        parent.artifact("comparison.txt", f"{report.summary_table(scores)}\n".encode())
        parent.artifact(
            "figures/metrics.png",
            report.png(report.metric_bars(scores, f"{dataset.name}, {title}")),
        )
    click.echo(f"\n{title}\n\n{report.summary_table(scores)}\n\n{report.RECALL_NOTE}")
    return ending(logs)


if __name__ == "__main__":
    run(command)
