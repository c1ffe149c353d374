"""Measure any model by robust metrics, and log them with figures to an MLflow run."""

from __future__ import annotations

import dataclasses
import io
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from mlflow.data.evaluation_dataset import EvaluationDataset
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.models import EvaluationArtifact, EvaluationResult
from mlflow.models.evaluation.artifacts import ImageEvaluationArtifact
from mlflow.pyfunc import PyFuncModel
from PIL import Image

from asrl_mlflow.errors import InputError, did_you_mean
from asrl_mlflow.figures.class_figures import draw_reliability
from asrl_mlflow.figures.model_figures import (
    draw_contributions,
    draw_error_by_decile,
    draw_predicted_against_actual,
)
from asrl_mlflow.figures.style import png
from asrl_mlflow.metrics import TASKS

_logger = logging.getLogger(__name__)

Array = npt.NDArray[np.float64]

# By task, what MLflow's own evaluators do not log; none of them has one of these names.
MEASURED = {
    "regressor": ("mae", "medae", "trimmed_mae", "quantile"),
    "classifier": ("logloss", "error", "balanced_accuracy", "brier", "calibration_error"),
}
_TASK = {"regressor": TASKS["regression"], "classifier": TASKS["classification"]}
# Thresholds in a model's record, each with the region that ends there; beyond the last there is one more.
_ENDS = ({"delta_low": "core", "delta_high": "middle"}, {"delta": "core"})
_BEYOND = {"delta_high": "tail", "delta": "middle"}
_LOWER, _UPPER, _PREDICTION, _PROBABILITY = "lower", "upper", "prediction", "probability_"
_INTERVAL = "interval"
_TWO = 2
# As many as MLflow takes for its own.
_SHAP_ROWS = 2000


@dataclass(frozen=True)
class Settings:
    """What `evaluator_config={"asrl": {...}}` may have.

    Parameters
    ----------
    interval : float, in (0, 1)
        The level of the intervals that are asked of a model whose signature has the param "interval", as
        the models of this package have.
    figures : bool
        Whether figures are drawn.
    metric_prefix : str
        Stands before the name of each metric and figure.
    sample_weights : array of shape (n,), optional
        Weights of the rows.
    """

    interval: float = 0.9
    figures: bool = True
    metric_prefix: str = ""
    sample_weights: npt.ArrayLike | None = None

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Settings:
        """Read a config.

        Raises
        ------
        InputError
            It has a key that is not known, or a level outside its interval.

        Examples
        --------
        >>> Settings.from_config({"interval": 0.8}).interval
        0.8
        """
        names = [field.name for field in dataclasses.fields(cls)]
        for key in config:
            if key not in names:
                hint = did_you_mean(key, names)
                msg = f"The evaluator asrl takes {', '.join(names)}; got {key!r}{f'; {hint}' if hint else '.'}"
                raise InputError(msg)
        settings = cls(**config)
        if not 0 < settings.interval < 1:
            msg = f"The evaluator asrl needs an interval in (0, 1); got {settings.interval}; pass 0.9, say."
            raise InputError(msg)
        return settings


def evaluate(
    model: PyFuncModel | None,
    dataset: EvaluationDataset,
    *,
    model_type: str,
    run_id: str,
    settings: Settings,
    column: str | None = None,
    model_id: str | None = None,
) -> EvaluationResult | None:
    """Measure a model on a data set, and log metrics and figures to a run.

    Parameters
    ----------
    model : PyFuncModel, optional
        The model; without it the data set has predictions.
    dataset : EvaluationDataset
        Features and targets, or predictions and targets.
    model_type : {"regressor", "classifier"}
        What it predicts.
    run_id : str
        The run to log to.
    settings : Settings
        What to measure besides.
    column : str, optional
        The column of the model's output that is the prediction, where it has several.
    model_id : str, optional
        Of the logged model that metrics are linked to.

    Returns
    -------
    EvaluationResult or None
        None for a classifier without probabilities.

    Raises
    ------
    InputError
        The data set has no targets, or the output has several columns and none is named.
    """
    if dataset.labels_data is None:
        msg = "The evaluator asrl needs targets; got a data set without; pass targets= to evaluate."
        raise InputError(msg)
    if model_type == "classifier":
        found = _measure_classes(model, dataset, settings)
        if found is None:
            _logger.warning(
                "The evaluator asrl needs probabilities of the classes; got a model that predicts classes only; "
                "log a model with predict_proba, or one whose output has columns probability_<class>."
            )
            return None
    else:
        found = _measure_numbers(model, dataset, settings, column)
    metrics, figures = found
    if settings.figures and (drawn := _draw_shap(model, dataset)) is not None:
        figures["shap"] = drawn
    named = {f"{settings.metric_prefix}{key}": value for key, value in metrics.items()}
    _log_metrics(named, dataset, run_id, model_id)
    artifacts: dict[str, EvaluationArtifact] = {}
    if settings.figures:
        for name, figure in figures.items():
            artifacts[name] = _log_figure(f"{settings.metric_prefix}{name}.png", figure, run_id)
    return EvaluationResult(metrics=named, artifacts=artifacts, run_id=run_id)


Found = tuple[dict[str, float], dict[str, Figure]]


def _measure_numbers(
    model: PyFuncModel | None,
    dataset: EvaluationDataset,
    settings: Settings,
    column: str | None,
) -> Found:
    """Measure predictions that are numbers: errors, regions, intervals."""
    target = np.asarray(dataset.labels_data, np.float64).ravel()
    output = _predict(model, dataset, settings)
    predicted = _prediction(output, column)
    metrics = {
        name: _TASK["regressor"].metrics[name](target, predicted, settings.sample_weights)
        for name in MEASURED["regressor"]
    }
    record = _record(model)
    metrics |= _shares(np.abs(target - predicted), record.get("pointwise", {}))
    metrics |= _coverage(target, output)
    loss = record.get("loss", {}).get("name", "model")
    context = f"{dataset.name}: {len(target)} rows"
    figures = {
        "predicted_against_actual": draw_predicted_against_actual(target, predicted, loss, context),
        "error_by_decile": draw_error_by_decile(target, predicted, loss, context),
    }
    return metrics, figures


def _measure_classes(
    model: PyFuncModel | None, dataset: EvaluationDataset, settings: Settings
) -> Found | None:
    """Measure probabilities of classes; None where the model gives none."""
    found = _probabilities(model, dataset, settings)
    if found is None:
        return None
    classes, probabilities = found
    codes = pd.Index(classes).get_indexer(pd.Index(np.asarray(dataset.labels_data).ravel()))
    if (codes < 0).any():
        row = int((codes < 0).argmax())
        msg = (
            f"The evaluator asrl needs targets that the model knows, {', '.join(map(str, classes))}; got "
            f"another one in row {row + 1}; correct it."
        )
        raise InputError(msg)
    metrics = {
        name: _TASK["classifier"].metrics[name](codes, probabilities, settings.sample_weights)
        for name in MEASURED["classifier"]
    }
    loss = _record(model).get("loss", {}).get("name", "model")
    context = f"{dataset.name}: {len(codes)} rows"
    return metrics, {
        "reliability": draw_reliability(
            codes, probabilities, probabilities, loss, context, "probabilities"
        )
    }


def _draw_shap(model: PyFuncModel | None, dataset: EvaluationDataset) -> Figure | None:
    """Draw what each feature adds to predictions, of a model of this package, whose trees say it exactly.

    MLflow's own evaluator tries every subset of the features instead, which takes a minute where this takes a
    tenth of a second. Of more rows than MLflow takes a sample is taken.
    """
    if not isinstance(model, PyFuncModel) or not _record(model):
        return None
    served: Any = model.unwrap_python_model()
    if not hasattr(served, "contributions"):
        return None  # it was registered by an earlier version
    features = _features(dataset)
    if len(features) > _SHAP_ROWS:
        features = features.sample(_SHAP_ROWS, random_state=0)
    found = np.abs(served.contributions(features)[..., :-1])
    record = _record(model)
    columns = [each["name"] for each in (model.metadata.metadata or {})["asrl.columns"]]
    unit = "margins" if record["data"].get("classes") else "target units"
    sizes = found.reshape(-1, len(columns)).mean(axis=0)
    return draw_contributions(
        dict(zip(columns, map(float, sizes), strict=True)),
        record["loss"]["name"],
        unit,
        f"{dataset.name}: {len(features)} rows",
    )


def _features(dataset: EvaluationDataset) -> pd.DataFrame:
    """Copy the features, as models may change what they are given."""
    features = pd.DataFrame(dataset.features_data)
    # An array's columns get the names that MLflow has made up for them, as in its own evaluators.
    return features.rename(columns=dict(zip(features.columns, dataset.feature_names, strict=False)))


def _predict(model: PyFuncModel | None, dataset: EvaluationDataset, settings: Settings) -> Any:  # noqa: ANN401 - models give arrays, series and frames
    """Predict, with intervals where the model's signature offers them and it has rows to make them by."""
    if model is None:
        return dataset.predictions_data
    # A function that MLflow has wrapped has no metadata.
    signature = getattr(getattr(model, "metadata", None), "signature", None)
    params = getattr(signature, "params", None)
    if params and _INTERVAL in {each.name for each in params}:
        try:
            return model.predict(_features(dataset), params={_INTERVAL: settings.interval})
        except MlflowException as error:
            _logger.warning("No intervals are measured: %s", error.message)
    return model.predict(_features(dataset))


def _prediction(output: Any, column: str | None) -> Array:  # noqa: ANN401 - as `_predict` gives it
    """Find the one number a row in a model's output."""
    if isinstance(output, pd.DataFrame):
        names = list(output.columns)
        name = column or (_PREDICTION if _PREDICTION in names else names[0])
        if name not in names or (name != _PREDICTION and column is None and len(names) > 1):
            msg = (
                f"The evaluator asrl needs the column of the prediction; got {', '.join(map(str, names))}; "
                "pass predictions= to evaluate."
            )
            raise InputError(msg)
        output = output[name]
    found: Array = np.asarray(output, np.float64)
    return found.ravel()


def _record(model: PyFuncModel | None) -> Mapping[str, Any]:
    """Read the record of training that a model of this package has in its metadata; of others empty."""
    metadata = getattr(getattr(model, "metadata", None), "metadata", None) or {}
    found: Mapping[str, Any] = metadata.get("asrl", {})
    return found


def _shares(sizes: Array, pointwise: Mapping[str, float]) -> dict[str, float]:
    """Compute how errors fall into the regions that ended training; none without thresholds."""
    ends = next((each for each in _ENDS if set(each) <= set(pointwise)), None)
    if ends is None:
        return {}
    ranks = np.searchsorted([pointwise[key] for key in ends], sizes)
    names = [*ends.values(), _BEYOND[list(ends)[-1]]]
    return {f"share.{name}": float(np.mean(ranks == at)) for at, name in enumerate(names)}


def _coverage(target: Array, output: Any) -> dict[str, float]:  # noqa: ANN401 - as `_predict` gives it
    """Compute the share of the targets inside their intervals, and how wide these are."""
    if not isinstance(output, pd.DataFrame) or not {_LOWER, _UPPER} <= set(output.columns):
        return {}
    low, high = (np.asarray(output[name], np.float64) for name in (_LOWER, _UPPER))
    inside = (low <= target) & (target <= high)
    found = {"interval.coverage": float(np.mean(inside))}
    width = float(np.mean(high - low))
    return {**found, "interval.width": width} if np.isfinite(width) else found


def _probabilities(
    model: PyFuncModel | None, dataset: EvaluationDataset, settings: Settings
) -> tuple[list[Any], Array] | None:
    """Find the classes that a model knows, and the probability of each."""
    if model is None:
        return None
    raw: Any = None
    with suppress(AttributeError, NotImplementedError):  # a function, or a model that has none
        raw = model.get_raw_model()
    if hasattr(raw, "predict_proba") and hasattr(raw, "classes_"):
        return list(raw.classes_), np.asarray(raw.predict_proba(_features(dataset)), np.float64)
    output = _predict(model, dataset, settings)
    if not isinstance(output, pd.DataFrame):
        return None
    columns = [name for name in output.columns if str(name).startswith(_PROBABILITY)]
    if len(columns) < _TWO:
        return None
    record = _record(model).get("data", {})
    classes = record.get("classes") or [name.removeprefix(_PROBABILITY) for name in columns]
    return list(classes), output[columns].to_numpy(np.float64)


def _log_metrics(
    metrics: Mapping[str, float], dataset: EvaluationDataset, run_id: str, model_id: str | None
) -> None:
    """Log metrics with the model and the data set they belong to, as MLflow's own evaluators do."""
    now = int(time.time() * 1000)
    entries = [
        Metric(
            key=key,
            value=value,
            timestamp=now,
            step=0,
            model_id=model_id,
            dataset_name=dataset.name,
            dataset_digest=dataset.digest,
            run_id=run_id,
        )
        for key, value in metrics.items()
    ]
    mlflow.MlflowClient().log_batch(run_id, metrics=entries)


def _log_figure(name: str, figure: Figure, run_id: str) -> EvaluationArtifact:
    """Log a figure among a run's artifacts."""
    content = png(figure)
    client = mlflow.MlflowClient()
    with TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_bytes(content)
        client.log_artifact(run_id, str(file))
    uri = f"{client.get_run(run_id).info.artifact_uri}/{name}"
    image = Image.open(io.BytesIO(content))
    return ImageEvaluationArtifact(uri=uri, content=image)
