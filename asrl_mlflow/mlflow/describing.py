"""Make the files of a model, as a run keeps them, out of a booster or an estimator."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xgboost

from asrl_mlflow.boosting import recorded_loss
from asrl_mlflow.boosting.early_stopping import with_categories
from asrl_mlflow.errors import InputError
from asrl_mlflow.estimators.model import RobustXGBModel, kept_rounds
from asrl_mlflow.estimators.targets import Classes
from asrl_mlflow.intervals import kept
from asrl_mlflow.losses import BaseLoss
from asrl_mlflow.records.artifacts import BOOSTER, FEATURES, LOSS, UNSEEN, RunArtifacts
from asrl_mlflow.records.features import example_rows
from asrl_mlflow.records.record import Record
from asrl_mlflow.records.unseen import UnseenResiduals
from asrl_mlflow.registry.registration import check_served
from asrl_mlflow.residuals.conformal import Calibration
from asrl_mlflow.rounds import Round

Model = xgboost.Booster | RobustXGBModel

# What is recorded of a table that nobody has described.
_UNKNOWN: Mapping[str, Any] = {"name": "table", "target": "target"}


def make_artifacts(
    model: Model,
    *,
    run_id: str = "",
    example: Any = None,  # noqa: ANN401 - rows of any kind
    data: Mapping[str, Any] | None = None,
    last: Round | None = None,
) -> RunArtifacts:
    """Make the files of a model, and the record of how it was trained as far as that is known.

    Parameters
    ----------
    model : Booster or estimator
        Of `train`, or fitted.
    run_id : str
        The id of the run that trained it.
    example : DataFrame or array of shape (n, features), optional
        Rows such as the model will be given; the first three are kept.
    data : mapping, optional
        Name, target, digest and number of rows of the table, as far as they are known.
    last : Round, optional
        The last round of the training.

    Raises
    ------
    InputError
        The model has no loss of this package, or a loss for classes that is the user's own.
    """
    booster = booster_of(model)
    loss = recorded_loss(booster)
    if loss is None:
        msg = (
            "save_model and log_model need a booster of asrl_mlflow.train, which records its loss; got one "
            "without; use mlflow.xgboost."
        )
        raise InputError(msg)
    record = Record.from_training(
        booster, loss, last, {**(data or _UNKNOWN), **_classes(booster, loss)}, {}
    )
    check_served(record)
    calibration = kept(booster)
    unseen = UnseenResiduals(
        calibration=calibration or Calibration.of_errors(np.empty(0)),
        test=np.empty(0),
        weight=np.empty(0),
        test_rows="",
    )
    files = {
        LOSS: record.to_json().encode(),
        FEATURES: json.dumps(_columns(booster, model, example)).encode(),
        UNSEEN: unseen.to_bytes(),
        BOOSTER: bytes(booster.save_raw("ubj")),
    }
    return RunArtifacts(run_id, files, record)


def booster_of(model: Model) -> xgboost.Booster:
    """Give the trees that a model predicts by.

    Raises
    ------
    InputError
        It is neither a booster nor an estimator of this package that was fitted.

    Examples
    --------
    >>> booster_of("a model")
    Traceback (most recent call last):
    asrl_mlflow.errors.InputError: The flavor asrl takes a booster of asrl_mlflow.train, or a fitted RobustXGBRegressor or RobustXGBClassifier; got str; for others use the flavor of their library.
    """
    if isinstance(model, xgboost.Booster):
        return model
    if not isinstance(model, RobustXGBModel) or not model.__sklearn_is_fitted__():
        msg = (
            "The flavor asrl takes a booster of asrl_mlflow.train, or a fitted RobustXGBRegressor or "
            f"RobustXGBClassifier; got {type(model).__name__}; for others use the flavor of their library."
        )
        raise InputError(msg)
    booster = model.get_booster()
    rounds = kept_rounds(booster)
    # A callback that stopped early has left rounds that the estimator does not predict by.
    return booster if rounds == booster.num_boosted_rounds() else _cut(booster, rounds)


def _cut(booster: xgboost.Booster, rounds: int) -> xgboost.Booster:
    """Give the first rounds of a booster, with all that it records."""
    part = with_categories(booster[:rounds], booster)
    part.set_attr(**booster.attributes())
    return part


def _classes(booster: xgboost.Booster, loss: BaseLoss) -> dict[str, Any]:
    """Record the labels of the classes, where there are classes."""
    if loss.task != "classification":
        return {}
    return {"classes": Classes.recorded("save_model", booster).labels.tolist()}


def _columns(booster: xgboost.Booster, model: Model, example: Any) -> dict[str, Any]:  # noqa: ANN401 - rows
    """Describe the columns that a booster learned from, with an example of them."""
    names = list(booster.feature_names or [])
    names = names or [f"f{place}" for place in range(booster.num_features())]
    # What pandas calls columns that nobody has named.
    has_none = booster.feature_names in (None, [str(place) for place in range(len(names))])
    features = [
        {"name": name} if values is None else {"name": name, "categories": values}
        for name, values in zip(names, _categories(booster), strict=True)
    ]
    columns: dict[str, Any] = {"features": features, "example": None}
    if has_none:
        columns["unnamed"] = True
    missing = getattr(model, "missing", math.nan)
    if missing is not None and not math.isnan(missing):
        columns["missing"] = missing
    if example is not None:
        frame = pd.DataFrame(example.to_pandas() if hasattr(example, "to_pandas") else example)
        shown = names if has_none else [str(each) for each in frame.columns]
        columns["example"] = example_rows(frame.set_axis(shown, axis=1))
    return columns


def _categories(booster: xgboost.Booster) -> list[list[Any] | None]:
    """List the categories of each feature in the order of their codes; None of one that has none."""
    nothing: list[list[Any] | None] = [None] * booster.num_features()
    if "c" not in (booster.feature_types or ()):
        return nothing
    found = booster.get_categories(export_to_arrow=True)
    if found.empty():
        return nothing  # it learned from codes
    return [None if values is None else values.to_pylist() for _, values in found.to_arrow()]
