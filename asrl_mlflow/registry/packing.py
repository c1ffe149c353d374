"""Write the folder that MLflow loads a model from, out of the files that a run keeps."""

from __future__ import annotations

import dataclasses
import io
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import Model, ModelSignature
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

from asrl_mlflow.records.artifacts import ARTIFACTS, BOOSTER, FEATURES, RunArtifacts, silence_mlflow
from asrl_mlflow.records.record import PACKAGES

# A boolean is an integer too.
_TYPES = {
    bool: DataType.boolean,
    int: DataType.long,
    float: DataType.double,
    str: DataType.string,
}

# Of what `asrl_mlflow.mlflow` loads.
FLAVOR_NAME = "asrl"

_MODEL_FILE = Path(__file__).parents[1] / "serving" / "model.py"


# By default the inputs have no schema: MLflow's "double" refuses integers and categories, its "long" refuses
# missing values, and its "any" checks every cell one by one, which takes 60 times as long as predicting a
# million rows. Instead the columns are in the model's metadata, and the model itself checks its input.
def make_signature(
    columns: Mapping[str, Any],
    classes: Sequence[Any] = (),
    outputs: int = 1,
    *,
    names_inputs: bool = False,
) -> ModelSignature:
    """Make the signature of a model that predicts numbers, or one of some classes.

    Parameters
    ----------
    columns : mapping
        What `features.json` holds: "features" as `describe_columns` gives them.
    classes : sequence
        Labels of the classes; empty where numbers are predicted.
    outputs : int, >= 1
        How many numbers are predicted for a row.
    names_inputs : bool
        Whether to name the inputs: numbers are "double" and categories "string", as these alone let values
        be missing. Then MLflow refuses columns of 64-bit integers, booleans and pandas' categories.

    Examples
    --------
    >>> made = make_signature({"features": [{"name": "age"}]}, names_inputs=True)
    >>> made.inputs
    ['age': double (required)]
    >>> made.outputs
    ['prediction': double (required)]
    """
    inputs = _inputs(columns) if names_inputs else None
    if not classes and outputs > 1:
        several = Schema([TensorSpec(np.dtype(np.float32), (-1, outputs))])
        return ModelSignature(inputs=inputs, outputs=several)
    if not classes:
        return ModelSignature(
            inputs=inputs,
            outputs=Schema([ColSpec(DataType.double, "prediction")]),
            params=ParamSchema(
                [
                    ParamSpec("interval", DataType.double, None),
                    ParamSpec("clean", DataType.boolean, default=False),
                    ParamSpec("adaptive", DataType.boolean, default=False),
                ]
            ),
        )
    kind = next(_TYPES[each] for each in _TYPES if isinstance(classes[0], each))
    given: list[ColSpec | TensorSpec] = [ColSpec(kind, "prediction")]
    given += [ColSpec(DataType.double, f"probability_{each}") for each in classes]
    return ModelSignature(
        inputs=inputs,
        outputs=Schema(given),
        params=ParamSchema([ParamSpec("set", DataType.double, None)]),
    )


def _inputs(columns: Mapping[str, Any]) -> Schema:
    """Name the inputs; columns that had no names in training are known by their place only."""
    specs: list[ColSpec | TensorSpec] = []
    for feature in columns["features"]:
        is_text = any(isinstance(each, str) for each in feature.get("categories", ()))
        kind = DataType.string if is_text else DataType.double
        specs.append(ColSpec(kind, None if columns.get("unnamed") else feature["name"]))
    return Schema(specs)


def write_model(
    artifacts: RunArtifacts,
    folder: Path,
    *,
    model: Model,
    signature: bool | ModelSignature = False,
    flavor: Mapping[str, Any] | None = None,
    **settings: Any,  # noqa: ANN401 - MLflow's
) -> None:
    """Write a model's folder: code, booster, signature and requirements, without any pickle.

    Its flavors are `python_function`, the code that serves; `xgboost`, the plain booster; and `asrl`.

    Parameters
    ----------
    artifacts : RunArtifacts
        The files that the run kept.
    folder : Path
        The folder to write; it must not exist yet.
    model : Model
        MLflow's description of the model, which is completed; its ids are given.
    signature : bool or ModelSignature
        Whether the signature names the inputs, or one of the user's own.
    flavor : mapping, optional
        What the flavor `asrl` keeps besides; without it loads the plain booster.
    **settings
        More arguments of `mlflow.pyfunc.save_model`: requirements, metadata, and so on.
    """
    columns, record = json.loads(artifacts.files[FEATURES]), artifacts.record
    if isinstance(signature, bool):
        signature = make_signature(
            columns, record.data.get("classes", ()), record.outputs, names_inputs=signature
        )
    if columns["example"] is not None:
        example = pd.read_json(
            io.StringIO(columns["example"]), orient="split", dtype=False, convert_axes=False
        )
        # As JSON has no types, a column of whole numbers would come back as integers.
        settings.setdefault("input_example", _as_signed(example, signature))
    if settings.get("conda_env") is None:
        # Without a list MLflow would spend twenty seconds on guessing one.
        settings.setdefault("pip_requirements", None)
        settings["pip_requirements"] = settings["pip_requirements"] or [
            f"{name}=={record.packages[name]}" for name in PACKAGES
        ]
    metadata = {"asrl": dataclasses.asdict(record), "asrl.columns": columns["features"]}
    with TemporaryDirectory() as aside, silence_mlflow(), warnings.catch_warnings():
        # MLflow would guess types by it, which this model checks itself.
        warnings.filterwarnings("ignore", ".*An input example was not provided", UserWarning)
        for name, content in artifacts.files.items():
            (Path(aside) / name).write_bytes(content)
        mlflow.pyfunc.save_model(
            folder,
            python_model=str(_MODEL_FILE),
            artifacts={key: str(Path(aside) / name) for key, name in ARTIFACTS.items()},
            signature=signature,
            metadata=(settings.pop("metadata", None) or {}) | metadata,
            # MLflow copies a uv.lock from this folder; the working folder must not get into a model.
            uv_project_path=aside,
            mlflow_model=model,
            **settings,
        )
    _forget_paths(model)
    # The same file for all three: nothing is stored twice.
    file = {"data": f"artifacts/{BOOSTER}", "code": None}
    model.add_flavor(
        "xgboost",
        xgb_version=record.packages["xgboost"],
        model_class="xgboost.core.Booster",
        model_format="ubj",
        **file,
    )
    model.add_flavor(
        FLAVOR_NAME,
        asrl_version=record.packages["asrl-mlflow"],
        loss=dict(record.loss),
        **{"model_class": "xgboost.core.Booster", **(flavor or {})},
        **file,
    )
    model.save(folder / MLMODEL_FILE_NAME)


def _as_signed(example: pd.DataFrame, signature: ModelSignature) -> pd.DataFrame:
    """Give an example the types that a signature names for its columns; without names as it is."""
    if signature.inputs is None or not signature.inputs.has_input_names():
        return example
    doubles = [
        each.name
        for each in signature.inputs
        if each.type == DataType.double and each.name in example
    ]
    return example.astype(dict.fromkeys(doubles, np.float64))


def _forget_paths(model: Model) -> None:
    """Remove the paths of this machine that MLflow wrote into the model's description."""
    flavor: dict[str, Any] = model.flavors["python_function"]
    flavor["model_code_path"] = _MODEL_FILE.name
    for artifact in flavor["artifacts"].values():
        artifact["uri"] = artifact["path"]
