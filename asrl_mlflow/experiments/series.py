"""Experiments one after another, each in a child run of its own, under one progress bar."""

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
from asrl_mlflow.losses import Loss
from asrl_mlflow.tracking.run_log import RunLog


@dataclass(frozen=True)
class Case:
    """What one child run trains.

    Parameters
    ----------
    name : str
        Of the run.
    loss : Loss
        What to minimise.
    table : Dataset
        Where the parts come from.
    parts : Split
        To learn from, to choose by, to judge by.
    seed : int
        Of parts and booster.
    settings : Settings
        How to boost.
    """

    name: str
    loss: Loss
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
    logs: list[RunLog],
) -> Iterator[tuple[Case, Result]]:
    """Train the cases in order inside the run that is open; each is told as soon as it is done.

    Parameters
    ----------
    cases : iterable of Case
        Made when they are needed, so that only one table's parts need be in memory.
    total : int
        Rounds of all of them, for the progress bar.
    contamination : Contamination
        How their parts were spoiled.
    flow : str
        The entry point, for the tag `asrl.flow`.
    logs : list of RunLog
        The log of each run is appended as it opens.
    """
    planned = 0
    with tqdm(total=total, unit="round", disable=None) as bar:
        for case in cases:
            bar.set_description(case.name)
            with tracking.run(case.name, flow=flow) as log:
                logs.append(log)
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
            # Early stopping may have left rounds over.
            planned += case.settings.rounds
            bar.update(planned - bar.n)
            yield case, result
