"""Train losses side by side on a table in memory, each in a run of its own."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from asrl_mlflow import reports, tracking
from asrl_mlflow.comparisons.comparison import Comparison
from asrl_mlflow.comparisons.keeping import keep_results, list_cases
from asrl_mlflow.datasets.contamination import Contamination
from asrl_mlflow.datasets.dataset import from_arrays
from asrl_mlflow.errors import InputError
from asrl_mlflow.experiments import report
from asrl_mlflow.experiments.series import run_series
from asrl_mlflow.experiments.settings import Settings
from asrl_mlflow.losses import BASIC, BASIC_CLASSIFICATION, BaseLoss, auto, from_name
from asrl_mlflow.tracking.keys import data_params


def compare(
    X: Any,  # noqa: ANN401, N803 - a table of any kind, under scikit-learn's name
    y: npt.ArrayLike,
    *,
    losses: Sequence[str | BaseLoss] | None = None,
    seeds: Sequence[int] = (0,),
    classes: bool = False,
    sample_weight: npt.ArrayLike | None = None,
    groups: npt.ArrayLike | None = None,
    times: npt.ArrayLike | None = None,
    rounds: int = Settings.rounds,
    learning_rate: float = Settings.learning_rate,
    max_depth: int = Settings.max_depth,
    early_stopping_rounds: int | None = None,
    figures: bool = True,
    name: str = "table",
) -> Comparison:
    """Train losses on the same rows and measure them on the same test rows; each is a nested MLflow run.

    Parameters
    ----------
    X, y, sample_weight, groups, times, name
        As for `datasets.from_arrays`. A fifth of the rows are test rows.
    losses : sequence of str or BaseLoss, optional
        Names, or losses with their parameters, at least one, no two with the same name in tables; by default
        the six of `losses.BASIC` and `losses.auto()`, for classes those of `losses.BASIC_CLASSIFICATION`.
    seeds : sequence of int
        Of splits and trees: every loss is trained once with each.
    classes : bool
        Whether y has labels of classes.
    rounds, learning_rate, max_depth, early_stopping_rounds
        How to boost.
    figures : bool
        Whether to draw figures into the runs.

    Raises
    ------
    InputError
        An argument is not as described.
    StoreError
        The tracking store does not answer.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> y = 5 + 3 * x[:, 0]
    >>> y[::5] += 100  # one target in five is wrong
    >>> found = compare(x, y, losses=["squared_error", "asrl_c"], rounds=20, figures=False)
    >>> list(found.frame.index)
    ['asrl_c', 'squared_error']
    """
    task = "classification" if classes else "regression"
    chosen = _losses(losses, task)
    if not seeds:
        msg = "compare needs at least one seed; got none; pass [0], say."
        raise InputError(msg)
    settings = Settings(rounds, learning_rate, max_depth, early_stopping_rounds, figures)
    table = from_arrays(
        X,
        y,
        sample_weight=sample_weight,
        groups=groups,
        times=times,
        name=name,
        classes=classes,
    )
    for line in table.warnings:
        warnings.warn(f"{table.name}: {line}", UserWarning, stacklevel=2)
    tracking.connect()
    with tracking.run(f"compare {table.name}", flow="compare") as parent:
        parent.params(data_params(table, Contamination()))
        names = ",".join(each.label for each in chosen)
        parent.params({"losses": names, "repeats": len(seeds), "seed": seeds[0]})
        parent.dataset(table)
        series = run_series(
            list_cases([table], chosen, seeds, settings, Contamination()),
            total=len(seeds) * len(chosen) * rounds,
            contamination=Contamination(),
            flow="compare",
        )
        results = [(case.loss.label, result) for case, result in series]
        context = f"{table.name}, seed {', '.join(map(str, seeds))}"
        scores = keep_results(results, task, context, parent, figures=figures)
        summary = report.summary_table(scores, task)
        parent.describe(f"Losses side by side on test rows, {context}.\n\n```text\n{summary}\n```")
        reports.publish(parent)
    return Comparison(table.name, task, scores, parent.run_id)


def _losses(given: Sequence[str | BaseLoss] | None, task: str) -> list[BaseLoss]:
    if given is None:
        if task == "classification":
            return list(map(from_name, BASIC_CLASSIFICATION))
        return [*map(from_name, BASIC), auto()]
    chosen = [from_name(each) if isinstance(each, str) else each for each in given]
    labels = [each.label for each in chosen]
    if not chosen or len(set(labels)) < len(labels):
        msg = f"compare needs losses, each once; got {', '.join(labels) or 'none'}; leave out all but one."
        raise InputError(msg)
    for each in chosen:
        if each.task != task:
            msg = f"compare needs losses for {task}; got {each.name!r}; pass classes={task != 'classification'}."
            raise InputError(msg)
    return chosen
