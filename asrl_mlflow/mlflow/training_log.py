"""Record a training that a user has started: into the active run, or into one of its own."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import mlflow
import numpy as np
import xgboost
from matplotlib.figure import Figure
from mlflow.utils.autologging_utils import get_autologging_config
from mlflow.utils.autologging_utils.safety import picklable_exception_safe_function
from mlflow.utils.mlflow_tags import MLFLOW_AUTOLOGGING

from asrl_mlflow import tracking
from asrl_mlflow.boosting import recorded_loss
from asrl_mlflow.command_line.log import LOGGER
from asrl_mlflow.figures.loss_figures import draw_thresholds_and_weights
from asrl_mlflow.figures.model_figures import draw_learning_curves
from asrl_mlflow.figures.style import png
from asrl_mlflow.losses import BaseLoss
from asrl_mlflow.metrics import TASKS
from asrl_mlflow.mlflow.describing import Model, booster_of, make_artifacts
from asrl_mlflow.mlflow.saving import log_artifacts
from asrl_mlflow.mlflow.searches import is_searching
from asrl_mlflow.records.artifacts import LOSS
from asrl_mlflow.registry.packing import FLAVOR_NAME
from asrl_mlflow.rounds import Round
from asrl_mlflow.system.listening import is_unheard
from asrl_mlflow.tracking.retries import limit_waiting
from asrl_mlflow.tracking.run_log import RunLog

FLOW = "autolog"
_EXAMPLE_ROWS = 3


@dataclass
class TrainingLog:
    """What is heard of one training.

    Parameters
    ----------
    log : RunLog
        Of the run that it is recorded in.
    target : str
        The target's name.
    example : DataFrame or array, optional
        Rows of features.
    """

    log: RunLog
    target: str = "target"
    example: Any = None
    _rounds: list[Round] = field(default_factory=list)
    _data: dict[str, Any] = field(default_factory=dict)
    _began: float = 0.0

    def begin(
        self,
        loss: BaseLoss,
        params: Mapping[str, Any] | None,
        matrix: xgboost.DMatrix,
        rounds: int,
        early_stopping_rounds: int | None,
    ) -> None:
        """Log what is known before the first round."""
        self._began = time.perf_counter()
        self.name(loss, matrix)
        given = {
            key: value
            for key, value in (params or {}).items()
            # `xgboost.train` takes an objective beside `obj`, which then trains nothing.
            if value is not None and key != "objective"
        }
        self.log.params(tracking.booster_params(given, rounds, early_stopping_rounds))

    def name(self, loss: BaseLoss, matrix: xgboost.DMatrix) -> None:
        """Log the loss and the table."""
        self._data = describe_matrix(matrix, self.target)
        self.log.params(
            {
                **tracking.loss_params(loss),
                **{f"data.{key}": value for key, value in self._data.items()},
            }
        )
        if option("log_datasets"):
            types = {name: np.dtype(np.float64) for name in (matrix.feature_names or ())}
            self.log.used(
                self._data["name"],
                self._data["digest"],
                {**types, self.target: np.dtype(np.float64)},
                rows=self._data["rows"],
                origin="memory",
            )

    def hear(self, round_: Round) -> None:
        """Log a round."""
        self._rounds.append(round_)
        self.log.round(round_)

    def end(self, model: Model) -> None:
        """Log what is known after the last round."""
        self.log.metrics({"fit_seconds": time.perf_counter() - self._began})
        booster = booster_of(model)
        last = self._last(booster)
        if last is not None:
            self.log.metrics({"best_round": last.number})
        safely(self._log_model)(model, last)
        if option("log_figures"):
            safely(self._draw)(booster, last)

    def end_unheard(self, model: Model, seconds: float, rows: int) -> None:
        """Log a model whose training was not heard: a search has fitted it again."""
        self._data = {"name": "table", "target": self.target, "rows": rows}
        self.log.params({f"data.{key}": value for key, value in self._data.items()})
        self.log.metrics({"fit_seconds": seconds})
        self._log_model(model, None)

    def _last(self, booster: xgboost.Booster) -> Round | None:
        """Find the last round that the booster keeps."""
        number = booster.num_boosted_rounds() - 1
        return next((each for each in reversed(self._rounds) if each.number == number), None)

    def _log_model(self, model: Model, last: Round | None) -> None:
        artifacts = make_artifacts(
            model, run_id=self.log.run_id, example=self.example, data=self._data, last=last
        )
        if not option("log_models"):
            self.log.artifact(LOSS, artifacts.files[LOSS])
            return
        for name, content in artifacts.files.items():
            self.log.artifact(name, content)
        if self.log.complete:  # else `register` makes the model, when the store has the files
            log_artifacts(
                artifacts,
                model,
                name="model",
                registered_model_name=option("registered_model_name"),
            )

    def _draw(self, booster: xgboost.Booster, last: Round | None) -> None:
        loss = recorded_loss(booster)
        if loss is None or last is None:
            return
        title, task = f"{loss.label} on {self._data['name']}", TASKS[loss.task]
        figures: dict[str, Figure | None] = {}
        if last.pointwise is not None:
            figures["thresholds_and_weights"] = draw_thresholds_and_weights(
                self._rounds, loss.name, title
            )
        if last.valid:
            titles = {name: task.titles[name] for name in task.reported}
            figures["learning_curves"] = draw_learning_curves(
                self._rounds, last.number, loss.name, title, titles
            )
        for name, figure in figures.items():
            if figure is not None:
                self.log.artifact(f"figures/{name}.png", png(figure))


# The `fit` that is under way here, which hears of the training inside it.
around: ContextVar[TrainingLog | None] = ContextVar("training around this", default=None)


@contextmanager
def heard_by(listener: TrainingLog) -> Iterator[None]:
    """Let a training log hear of the training in this block."""
    token = around.set(listener)
    try:
        yield
    finally:
        around.reset(token)


def is_recorded() -> bool:
    """Check whether what is trained here is a part of something that is recorded already.

    Examples
    --------
    >>> is_recorded()
    False
    """
    known = is_unheard() or around.get() is not None
    return known or tracking.current_log() is not None or is_searching()


@contextmanager
def open_run(name: str) -> Iterator[RunLog]:
    """Open a run for what is recorded, or go on with the active one.

    An active run that has a training already gets a child run: params cannot have two values, and rounds
    of two trainings would be mixed.
    """
    active = mlflow.active_run()
    # MLflow itself would wait for minutes for a store that does not answer.
    with silenced(), limit_waiting():
        known = None if active is None else tracking.read_run(active.info.run_id)
        if active is not None and (known is None or "loss.name" not in known.params):
            with tracking.fill(active) as log:
                log.tags(tags_of_runs())
                yield log
            return
        with tracking.run(name, flow=FLOW, tags=tags_of_runs()) as log:
            yield log


@contextmanager
def silenced() -> Iterator[None]:
    """Hide our own warnings where `autolog(silent=True)` asks for it, as MLflow hides its own."""
    logger = logging.getLogger(LOGGER)
    level = logger.level
    if option("silent"):
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def safely(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function warn where it would raise: recording never ends a training."""
    guarded: Callable[..., Any] = picklable_exception_safe_function(function)
    return guarded


def option(name: str) -> Any:  # noqa: ANN401 - whatever the option is
    """Give an option of `autolog`."""
    return get_autologging_config(FLAVOR_NAME, name)


def describe_matrix(matrix: xgboost.DMatrix, target: str) -> dict[str, Any]:
    """Describe a table that nobody has named; its digest is over names, labels and weights.

    Examples
    --------
    >>> describe_matrix(xgboost.DMatrix([[1.0], [2.0]], label=[0, 1]), "y")
    {'name': 'table', 'rows': 2, 'target': 'y', 'digest': 'ce7940fe49107f81'}
    """
    digest = hashlib.sha256(",".join(matrix.feature_names or ()).encode())
    digest.update(str((matrix.num_row(), matrix.num_col())).encode())
    for values in (matrix.get_label(), matrix.get_weight()):
        digest.update(np.ascontiguousarray(values).tobytes())
    return {
        "name": "table",
        "rows": matrix.num_row(),
        "target": target,
        "digest": digest.hexdigest()[:16],
    }


def first_rows(table: Any) -> Any:  # noqa: ANN401 - a table of any kind
    """Give the first rows of a frame or an array; None of others.

    Examples
    --------
    >>> first_rows(np.arange(10)[:, None]).tolist()
    [[0], [1], [2]]
    """
    if hasattr(table, "columns") and hasattr(table, "head"):
        return table.head(_EXAMPLE_ROWS)
    return table[:_EXAMPLE_ROWS] if isinstance(table, np.ndarray | Sequence) else None


def name_of(target: Any) -> str:  # noqa: ANN401 - an array of any kind
    """Give the name of a target: a Series has one.

    Examples
    --------
    >>> name_of([1, 2])
    'target'
    """
    return str(getattr(target, "name", None) or "target")


def tags_of_runs() -> dict[str, str]:
    """Give the tags of a run that `autolog` records."""
    return {MLFLOW_AUTOLOGGING: FLAVOR_NAME, **(option("extra_tags") or {})}
