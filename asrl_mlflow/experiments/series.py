"""Run experiments one after another, each in its own child run, under one progress bar."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tqdm import tqdm

from asrl_mlflow import tracking
from asrl_mlflow.datasets.contamination import Contamination
from asrl_mlflow.datasets.dataset import Dataset
from asrl_mlflow.datasets.splits import Split
from asrl_mlflow.experiments.experiment import Result, run_experiment
from asrl_mlflow.experiments.settings import Settings
from asrl_mlflow.losses import BaseLoss


@dataclass(frozen=True)
class Case:
    """One experiment of a series: what its child run trains.

    Parameters
    ----------
    name : str
        The name of the run.
    loss : BaseLoss
        What to minimise.
    table : Dataset
        The table that was split.
    parts : Split
        Training, validation and test rows.
    seed : int
        The seed of split and booster.
    settings : Settings
        How to boost.
    """

    name: str
    loss: BaseLoss
    table: Dataset
    parts: Split
    seed: int
    settings: Settings


def run_series(
    cases: Iterable[Case],
    *,
    total: int,
    contamination: Contamination,
    flow: str,
) -> Iterator[tuple[Case, Result]]:
    """Run the cases in order inside the open run; yield each with its result as soon as it is done.

    Parameters
    ----------
    cases : iterable of Case
        May be a generator, so that only one table is in memory at a time.
    total : int
        The number of rounds of all cases, for the progress bar.
    contamination : Contamination
        How their targets were spoiled.
    flow : str
        The entry point, for the tag `asrl.flow`.
    """
    planned = 0
    with tqdm(total=total, unit="round", disable=None) as bar:
        for case in cases:
            bar.set_description(case.name)
            with tracking.run(case.name, flow=flow) as log:
                result = run_experiment(
                    case.loss,
                    case.table,
                    case.parts,
                    log,
                    seed=case.seed,
                    settings=case.settings,
                    contamination=contamination,
                    on_round=lambda _: bar.update(),
                )
            # After early stopping the bar jumps over the rounds that were not needed.
            planned += case.settings.rounds
            bar.update(planned - bar.n)
            yield case, result
