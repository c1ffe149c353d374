"""One experiment: a loss learns from a table, is judged once on its test rows, and all is logged."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost

from asrl_mlflow import tracking
from asrl_mlflow.datasets import Dataset
from asrl_mlflow.errors import InputError
from asrl_mlflow.judging import matrix
from asrl_mlflow.losses import Loss, to_config
from asrl_mlflow.metrics import METRICS
from asrl_mlflow.pictures import drawn
from asrl_mlflow.rounds import Round
from asrl_mlflow.run_log import RunLog
from asrl_mlflow.splits import ContaminationKind, Part, Split, contaminate, joined, split
from asrl_mlflow.training import SCALE_ATTRIBUTE, WEIGHT_RULE_ATTRIBUTE, train

LOSS_SCHEMA = 1


@dataclass(frozen=True)
class Settings:
    """How to boost, whatever the loss.

    Parameters
    ----------
    rounds : int, >= 1
        Boosting rounds, at most.
    learning_rate : float, in (0, 1]
        Shrinkage of each tree.
    max_depth : int, >= 1
        Depth of each tree.
    early_stopping_rounds : int, optional
        Stop when the validation MAE has not improved for so many rounds.
    figures : bool
        Whether to draw a run's figures.
    """

    rounds: int = 100
    learning_rate: float = 0.1
    max_depth: int = 6
    early_stopping_rounds: int | None = None
    figures: bool = True

    def booster_params(self, seed: int) -> dict[str, Any]:
        """XGBoost's parameters."""
        return {"learning_rate": self.learning_rate, "max_depth": self.max_depth, "seed": seed}


@dataclass(frozen=True)
class Contamination:
    """How training and validation targets are spoiled on purpose.

    Parameters
    ----------
    kind : {"none", "sym", "asym", "cauchy"}
        As in `datasets.contaminate`.
    share : float, in [0, 1]
        Share of the rows.
    """

    kind: ContaminationKind = "none"
    share: float = 0.0

    def told(self) -> str:
        """What to add to a title: nothing where nothing was spoiled.

        Examples
        --------
        >>> Contamination("asym", 0.2).told()
        '; 20% of the training targets spoiled (asym), test targets clean'
        """
        if self.kind == "none":
            return ""
        share = f"{self.share:.0%} of the" if self.share else "all"
        return f"; {share} training targets spoiled ({self.kind}), test targets clean"

    def params(self) -> dict[str, object]:
        """Under the keys that MLflow shows."""
        return {"contaminate.kind": self.kind, "contaminate.share": self.share}


@dataclass(frozen=True)
class Result:
    """What came out of one experiment.

    Parameters
    ----------
    metrics : mapping of metric name to value
        On the clean test rows.
    seconds : float
        Of training alone.
    rounds : sequence of Round
        What happened in each.
    prediction : float32 array of shape (n,)
        Of the test rows, in target units.
    """

    metrics: Mapping[str, float]
    seconds: float
    rounds: Sequence[Round]
    prediction: npt.NDArray[np.float32]


def divide(dataset: Dataset, seed: int, contamination: Contamination) -> Split:
    """The parts of a table, by seed, with training and validation targets spoiled as asked.

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


def experiment(
    loss: Loss,
    dataset: Dataset,
    parts: Split,
    log: RunLog,
    *,
    seed: int,
    settings: Settings,
    contamination: Contamination,
    on_round: Callable[[Round], object],
) -> Result:
    """Train, judge on the test rows, draw; log everything to an open run.

    Parameters
    ----------
    loss : Loss
        What to minimise.
    dataset : Dataset
        Where the parts come from.
    parts : Split
        As `divide` gives them.
    log : RunLog
        Of the run to fill.
    seed : int
        Of parts and booster.
    settings : Settings
        How to boost.
    contamination : Contamination
        How the parts were spoiled.
    on_round : callable
        Told of each round after the log, for a progress bar.
    """
    params = settings.booster_params(seed)
    log.params(
        {
            **tracking.loss_params(loss),
            **{f"booster.{key}": value for key, value in params.items()},
            "booster.num_boost_round": settings.rounds,
            "booster.early_stopping_rounds": settings.early_stopping_rounds,
            **data_params(dataset, contamination),
            "split.rows": parts.told(),
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
    booster = fitted(loss, parts, settings, seed, listen)
    seconds = time.perf_counter() - started
    title = f"{loss.name} on {dataset.name}, seed {seed}{contamination.told()}"
    result = _judged(loss, booster, rounds, seconds, parts.test, log)
    if settings.figures:
        _draw(loss, booster, parts.test, result, log, title, valid=parts.valid)
    return result


def refit(
    loss: Loss,
    params: Mapping[str, Any],
    rounds: int,
    parts: Split,
    log: RunLog,
    *,
    title: str | None,
) -> Result:
    """Train what was chosen on train and valid together, judge it once on the test rows, log it.

    Parameters
    ----------
    loss : Loss
        What to minimise.
    params : mapping
        XGBoost's parameters.
    rounds : int
        As many as were best when it was chosen.
    parts : Split
        As `divide` gives them.
    log : RunLog
        Of the run to fill.
    title : str, optional
        Above each picture; without there are none.
    """
    told: list[Round] = []

    def listen(round_: Round) -> None:
        told.append(round_)
        log.round(round_)

    started = time.perf_counter()
    dtrain = matrix(joined(parts.train, parts.valid))
    booster = train(params, dtrain, rounds, loss=loss, on_round=listen)
    seconds = time.perf_counter() - started
    result = _judged(loss, booster, told, seconds, parts.test, log)
    if title is not None:
        _draw(loss, booster, parts.test, result, log, title, valid=None)
    return result


def _judged(
    loss: Loss,
    booster: xgboost.Booster,
    rounds: Sequence[Round],
    seconds: float,
    test: Part,
    log: RunLog,
) -> Result:
    """Judge by the test rows; log that and the booster."""
    prediction = booster.inplace_predict(test.features)
    metrics = {
        name: metric(test.target, prediction, test.weight) for name, metric in METRICS.items()
    }
    last = _last(booster, rounds)
    log.metrics(
        {
            **{f"test.{name}": value for name, value in metrics.items()},
            "fit_seconds": seconds,
            "best_round": last.number,
        }
    )
    log.artifact("loss.json", _loss_json(loss, booster, last))
    log.artifact("booster.ubj", bytes(booster.save_raw("ubj")))
    return Result(metrics, seconds, rounds, prediction)


def _last(booster: xgboost.Booster, rounds: Sequence[Round]) -> Round:
    """The last round that is in the booster: early stopping cuts off those after the best."""
    return rounds[booster.num_boosted_rounds() - 1]


def _draw(
    loss: Loss,
    booster: xgboost.Booster,
    test: Part,
    result: Result,
    log: RunLog,
    title: str,
    *,
    valid: Part | None,
) -> None:
    last = _last(booster, result.rounds)
    pictures = drawn(
        loss, booster, test, result.prediction, result.rounds, last, title, valid=valid
    )
    for file, content in pictures:
        log.artifact(f"figures/{file}.png", content)


def data_params(dataset: Dataset, contamination: Contamination) -> dict[str, object]:
    """A table, and what was done to it, under the keys that MLflow shows."""
    return {
        "data.name": dataset.name,
        "data.rows": len(dataset.rows),
        "data.target": dataset.target_name,
        "data.digest": dataset.digest,
        "data.weight": dataset.roles.weight,
        "data.group": dataset.roles.group,
        "data.time": dataset.roles.time,
        "data.drop": ",".join(dataset.roles.drop) or None,
        **contamination.params(),
    }


def fitted(
    loss: Loss, parts: Split, settings: Settings, seed: int, on_round: Callable[[Round], None]
) -> xgboost.Booster:
    """A booster trained on the training part and, if asked, stopped early by the validation part."""
    dtrain = matrix(parts.train)
    dvalid = matrix(parts.valid, ref=dtrain)
    return train(
        settings.booster_params(seed),
        dtrain,
        settings.rounds,
        loss=loss,
        evals=[(dvalid, "valid")],
        early_stopping_rounds=settings.early_stopping_rounds,
        on_round=on_round,
    )


def _loss_json(loss: Loss, booster: xgboost.Booster, last: Round) -> bytes:
    """What trained this booster, for whoever finds it without its run."""
    config = json.loads(booster.save_config())
    record = {
        "schema": LOSS_SCHEMA,
        "loss": to_config(loss),
        "pointwise": dataclasses.asdict(last.pointwise),
        "rounds": booster.num_boosted_rounds(),
        "base_score": json.loads(config["learner"]["learner_model_param"]["base_score"])[0],
        "weight_rule": booster.attr(WEIGHT_RULE_ATTRIBUTE),
        "objective_scale": float(booster.attr(SCALE_ATTRIBUTE) or 1),
    }
    return json.dumps(record, indent=2).encode()
