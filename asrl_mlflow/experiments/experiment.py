"""Run one experiment: train a loss on a table, measure it once on the test rows, log everything."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost

from asrl_mlflow import tracking
from asrl_mlflow.boosting.prediction import predict
from asrl_mlflow.boosting.training import train
from asrl_mlflow.datasets.contamination import Contamination, contaminate
from asrl_mlflow.datasets.dataset import Dataset
from asrl_mlflow.datasets.matrices import make_matrix
from asrl_mlflow.datasets.splits import Rows, Split, join, split
from asrl_mlflow.diagnosis.labels.keeping import MOST_ROWS, keep_ranking, predict_in_halves
from asrl_mlflow.errors import InputError
from asrl_mlflow.experiments.settings import Settings
from asrl_mlflow.figures.run_figures import draw_run
from asrl_mlflow.losses import BaseLoss
from asrl_mlflow.metrics import TASKS
from asrl_mlflow.records.artifacts import BOOSTER, FEATURES, LOSS, UNSEEN
from asrl_mlflow.records.distribution import describe_distribution
from asrl_mlflow.records.features import describe_columns, example_rows
from asrl_mlflow.records.record import Record
from asrl_mlflow.records.unseen import (
    UnseenResiduals,
    calibrate_held_out,
    calibrate_out_of_fold,
    measure_unseen,
    predict_out_of_fold,
)
from asrl_mlflow.residuals.conformal import Calibration
from asrl_mlflow.rounds import Round
from asrl_mlflow.system.threads import thread_count
from asrl_mlflow.tracking.keys import data_params
from asrl_mlflow.tracking.run_log import RunLog
from asrl_mlflow.tracking.shell import stored_command


@dataclass(frozen=True)
class Result:
    """The result of one experiment.

    Parameters
    ----------
    metrics : mapping of metric name to value
        The metrics on the clean test rows.
    seconds : float
        The duration of training alone.
    rounds : sequence of Round
        One entry per boosting round.
    prediction : array of shape (n,) or (n, K)
        The predictions of the test rows, in target units; for classes the probability of each.
    """

    metrics: Mapping[str, float]
    seconds: float
    rounds: Sequence[Round]
    prediction: npt.NDArray[np.floating]


def prepare_split(dataset: Dataset, seed: int, contamination: Contamination) -> Split:
    """Split a table, and spoil its training and validation targets as asked.

    Raises
    ------
    InputError
        All rows of a part have weight 0.
    """
    parts = split(dataset.rows, seed)
    for name, part in vars(parts).items():
        if part.weight is not None and not part.weight.any():
            msg = (
                f"{dataset.name}: every part needs a row that counts; got weight "
                f"{dataset.roles.weight!r} 0 in all {len(part)} rows to {name}; split otherwise."
            )
            raise InputError(msg)
    return contaminate(parts, contamination.kind, contamination.share, seed)


def run_experiment(
    loss: BaseLoss,
    dataset: Dataset,
    parts: Split,
    log: RunLog,
    *,
    seed: int,
    settings: Settings,
    contamination: Contamination,
    on_round: Callable[[Round], object],
    continued: xgboost.Booster | None = None,
    change_loss: bool = False,
) -> Result:
    """Train, measure on the test rows and draw figures; log everything to an open run.

    Parameters
    ----------
    loss : BaseLoss
        What to minimise.
    dataset : Dataset
        The table that was split.
    parts : Split
        The split from `prepare_split`.
    log : RunLog
        The log of the open run.
    seed : int
        The seed of split and booster.
    settings : Settings
        How to boost.
    contamination : Contamination
        How the split's targets were spoiled.
    on_round : callable
        Called with each round after it was logged, for a progress bar.
    continued : xgboost.Booster, optional
        A booster from `train` to continue, with the loss that it recorded.
    change_loss : bool
        Continue although the booster recorded another loss.
    """
    params = settings.booster_params(seed)
    log.params(
        {
            **tracking.loss_params(loss),
            **tracking.booster_params(params, settings.rounds, settings.early_stopping_rounds),
            **data_params(dataset, contamination),
            "split.rows": parts.describe(),
            "seed": seed,
        }
    )
    log.dataset(dataset)
    rounds: list[Round] = []

    def listen(round_: Round) -> None:
        rounds.append(round_)
        log.round(round_)
        on_round(round_)

    started = time.perf_counter()
    booster = fit(loss, parts, settings, seed, listen, continued=continued, change_loss=change_loss)
    seconds = time.perf_counter() - started
    title = f"{loss.label} on {dataset.name}, seed {seed}{contamination.describe()}"
    # It is unknown what a continued booster learned from; and early stopping uses the validation rows.
    is_fresh = continued is None
    untouched = is_fresh and settings.early_stopping_rounds is None
    if untouched and parts.valid is not parts.test:
        calibration = calibrate_held_out(booster, parts.valid)
    else:
        calibration = Calibration.of_errors(np.empty(0))
    kept = measure_unseen(calibration, booster, parts.test, is_fresh=is_fresh)
    data = data_record(dataset, contamination)
    result = evaluate_and_log(loss, booster, rounds, seconds, parts.test, data, kept, log)
    if settings.figures:
        draw(loss, booster, parts.test, result, log, title, parts.valid, kept)
    if len(parts.train) <= MOST_ROWS:
        found = predict_in_halves(
            loss,
            _suited_to(params, parts.train),
            booster.num_boosted_rounds(),
            parts.train,
            seed,
        )
        keep_ranking(found, loss, log, title if settings.figures else None)
    return result


def refit(
    loss: BaseLoss,
    params: Mapping[str, Any],
    rounds: int,
    dataset: Dataset,
    parts: Split,
    log: RunLog,
    *,
    seed: int,
    contamination: Contamination,
    title: str | None,
) -> Result:
    """Train the chosen loss on train and valid together, measure it once on the test rows, log it.

    Parameters
    ----------
    loss : BaseLoss
        What to minimise.
    params : mapping
        XGBoost's parameters.
    rounds : int
        The number of rounds that was best when the loss was chosen.
    dataset : Dataset
        The table that was split.
    parts : Split
        The split from `prepare_split`.
    log : RunLog
        The log of the open run.
    seed : int
        The seed of the folds that calibrate intervals.
    contamination : Contamination
        How the split's targets were spoiled.
    title : str, optional
        The title of each figure; without it no figures are drawn.
    """
    heard: list[Round] = []

    def listen(round_: Round) -> None:
        heard.append(round_)
        log.round(round_)

    started = time.perf_counter()
    known = join(parts.train, parts.valid)
    params = _suited_to(params, known)
    booster = train(
        params,
        make_matrix(known),
        rounds,
        loss=loss,
        on_round=listen,
        weight_rule=known.weight_rule,
    )
    seconds = time.perf_counter() - started
    found = predict_out_of_fold(loss, params, rounds, known, seed)
    kept = measure_unseen(
        calibrate_out_of_fold(loss, found, known), booster, parts.test, is_fresh=True
    )
    data = data_record(dataset, contamination)
    result = evaluate_and_log(loss, booster, heard, seconds, parts.test, data, kept, log)
    if title is not None:
        draw(loss, booster, parts.test, result, log, title, None, kept)
    if len(known) <= MOST_ROWS:
        keep_ranking(found, loss, log, title)
    return result


def evaluate_and_log(
    loss: BaseLoss,
    booster: xgboost.Booster,
    rounds: Sequence[Round],
    seconds: float,
    test: Rows,
    data: Mapping[str, Any],
    kept: UnseenResiduals,
    log: RunLog,
) -> Result:
    """Measure on the test rows; log the metrics, the booster and the files that a model needs."""
    prediction = predict(booster, test.features, loss=loss)
    metrics = {
        name: metric(test.target, prediction, test.weight)
        for name, metric in TASKS[loss.task].metrics.items()
    }
    last = _last_round(booster, rounds)
    log.metrics(
        {
            **{f"test.{name}": value for name, value in metrics.items()},
            "fit_seconds": seconds,
            "best_round": last.number,
        }
    )
    record = Record.from_training(booster, loss, last, data, metrics)
    # One that is in a spool gets its id later.
    log.describe(_describe(record, log.run_id if log.is_created else "<id of this run>"))
    columns = {
        "features": describe_columns(test.features),
        "example": example_rows(test.features),
        "distribution": describe_distribution(test.features),
    }
    log.artifact(LOSS, record.to_json().encode())
    log.artifact(FEATURES, json.dumps(columns).encode())
    log.artifact(UNSEEN, kept.to_bytes())
    # Last, so that a run with a booster has the other files too.
    log.artifact(BOOSTER, bytes(booster.save_raw("ubj")))
    return Result(metrics, seconds, rounds, prediction)


def _describe(record: Record, run_id: str) -> str:
    """Describe a run in Markdown: what was trained, on what, how good it is, what to do next."""
    data, task = record.data, record.task
    spoiled = f", labels spoiled on purpose: {data['spoiled']}" if "spoiled" in data else ""
    shown = {name: record.metrics[name] for name in task.titles if name in record.metrics}
    heads = " | ".join(task.titles[name] for name in shown)
    cells = " | ".join(f"{value:.4g}" for value in shown.values())
    return (
        f"**{record.build_loss()}**, {record.rounds} rounds, on *{data['name']}* ({data['rows']} rows, "
        f"target `{data['target']}`{spoiled}).\n\n"
        f"On test rows:\n\n| {heads} |\n|{'---|' * len(shown)}\n| {cells} |\n\n"
        f"Register it: `{stored_command('register', f'--run-id={run_id}')}`"
    )


def data_record(dataset: Dataset, contamination: Contamination) -> dict[str, Any]:
    """Describe the table for a model's record."""
    data: dict[str, Any] = {
        "name": dataset.name,
        "digest": dataset.digest,
        "target": dataset.target_name,
        "rows": len(dataset.rows),
    }
    if dataset.classes:
        data["classes"] = list(dataset.classes)
    if contamination.kind == "none":
        return data
    return {**data, "spoiled": f"{contamination.kind} {contamination.share:g}"}


def _last_round(booster: xgboost.Booster, rounds: Sequence[Round]) -> Round:
    """Find the last round in the booster; early stopping removes the rounds after the best one."""
    number = booster.num_boosted_rounds() - 1
    return next(round_ for round_ in reversed(rounds) if round_.number == number)


def _suited_to(params: Mapping[str, Any], rows: Rows) -> dict[str, Any]:
    """Add what these rows ask for, unless the parameters say it: threads, and how many classes there are."""
    return {"nthread": thread_count(*rows.features.shape), **rows.booster_params, **params}


def draw(
    loss: BaseLoss,
    booster: xgboost.Booster,
    test: Rows,
    result: Result,
    log: RunLog,
    title: str,
    valid: Rows | None,
    kept: UnseenResiduals,
) -> None:
    """Draw the figures of a run and log each as soon as it is ready."""
    figures = draw_run(
        loss,
        booster,
        test,
        result.prediction,
        result.rounds,
        _last_round(booster, result.rounds),
        title,
        valid=valid,
        calibration=kept.calibration.errors,
    )
    for file, content in figures:
        log.artifact(f"figures/{file}.png", content)


def fit(
    loss: BaseLoss,
    parts: Split,
    settings: Settings,
    seed: int,
    on_round: Callable[[Round], None],
    *,
    continued: xgboost.Booster | None = None,
    change_loss: bool = False,
) -> xgboost.Booster:
    """Train a booster on the training rows; the validation rows may stop it early."""
    dtrain = make_matrix(parts.train)
    dvalid = make_matrix(parts.valid, ref=dtrain)
    return train(
        _suited_to(settings.booster_params(seed), parts.train),
        dtrain,
        settings.rounds,
        loss=loss,
        evals=[(dvalid, "valid")],
        early_stopping_rounds=settings.early_stopping_rounds,
        on_round=on_round,
        xgb_model=continued,
        change_loss=change_loss,
        weight_rule=parts.train.weight_rule,
    )
