"""Name the tasks, and the metrics of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from asrl_mlflow.metrics import classification, regression

Metric = Callable[..., float]


@dataclass(frozen=True)
class Task:
    """What a target is, and how predictions of it are measured.

    Parameters
    ----------
    name : str
        "regression": the target is a number. "classification": it is a class.
    metrics : mapping of str to callable
        Functions of (target, prediction, sample_weight=None); a prediction of classes is their
        probabilities.
    reported : tuple of two str
        Those that every round of boosting reports.
    selecting : tuple of str
        Those that a model can be selected by: smaller is better.
    default : str
        The one that selects where none is named.
    titles : mapping of str to str
        What people call the metrics that summaries show, the most important first.

    Examples
    --------
    >>> TASKS["classification"].reported
    ('logloss', 'error')
    >>> TASKS["regression"].metrics["mae"]([1.0, 2.0], [1.0, 5.0])
    1.5
    """

    name: str
    metrics: Mapping[str, Metric]
    reported: tuple[str, str]
    selecting: tuple[str, ...]
    default: str
    titles: Mapping[str, str]

    @property
    def default_title(self) -> str:
        """What people call the metric that selects where none is named."""
        return self.titles[self.default]


TASKS: Mapping[str, Task] = {
    task.name: task
    for task in (
        Task(
            "regression",
            regression.METRICS,
            ("mae", "rmse"),
            regression.SELECTING,
            "mae",
            {"mae": "MAE", "medae": "MedAE", "rmse": "RMSE", "r2": "R2", "recall": "recall"},
        ),
        Task(
            "classification",
            classification.METRICS,
            ("logloss", "error"),
            classification.SELECTING,
            "logloss",
            {
                "logloss": "log loss",
                "error": "error",
                "balanced_accuracy": "bal. acc.",
                "auc": "AUC",
                "brier": "Brier",
                "calibration_error": "ECE",
            },
        ),
    )
}
