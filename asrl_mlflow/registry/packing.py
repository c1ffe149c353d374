"""Write the folder that MLflow loads a model from, out of the files that a run keeps."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import pandas as pd
from mlflow.models import Model, ModelSignature
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

from asrl_mlflow.records.artifacts import ARTIFACTS, FEATURES, RunArtifacts, silence_mlflow
from asrl_mlflow.records.record import PACKAGES

# A boolean is an integer too.
_TYPES = {
    bool: DataType.boolean,
    int: DataType.long,
    float: DataType.double,
    str: DataType.string,
}

_MODEL_FILE = Path(__file__).parents[1] / "serving" / "model.py"


# The inputs have no schema: MLflow's "double" refuses integers, its "long" refuses missing values, and
# its "any" checks every cell one by one, which takes 60 times as long as predicting a million rows.
# Instead the columns are in the model's metadata, and the model itself checks its input.
def _signature(classes: Sequence[Any]) -> ModelSignature:
    """Give the signature of a model that predicts numbers, or one of some classes."""
    if not classes:
        return ModelSignature(
            outputs=Schema([ColSpec(DataType.double, "prediction")]),
            params=ParamSchema([ParamSpec("interval", DataType.double, None)]),
        )
    kind = next(_TYPES[each] for each in _TYPES if isinstance(classes[0], each))
    outputs: list[ColSpec | TensorSpec] = [ColSpec(kind, "prediction")]
    outputs += [ColSpec(DataType.double, f"probability_{each}") for each in classes]
    return ModelSignature(
        outputs=Schema(outputs), params=ParamSchema([ParamSpec("set", DataType.double, None)])
    )


def write_model(artifacts: RunArtifacts, folder: Path, *, model_id: str) -> None:
    """Write a model's folder: code, booster, signature and requirements, without any pickle.

    Parameters
    ----------
    artifacts : RunArtifacts
        The files that the run kept.
    folder : Path
        The folder to write; it must not exist yet.
    model_id : str
        The id of the logged model in the tracking store.
    """
    columns = json.loads(artifacts.files[FEATURES])
    with TemporaryDirectory() as aside, silence_mlflow():
        for name, content in artifacts.files.items():
            (Path(aside) / name).write_bytes(content)
        mlflow.pyfunc.save_model(
            folder,
            python_model=str(_MODEL_FILE),
            artifacts={key: str(Path(aside) / name) for key, name in ARTIFACTS.items()},
            signature=_signature(artifacts.record.data.get("classes", ())),
            input_example=pd.read_json(
                io.StringIO(columns["example"]), orient="split", dtype=False
            ),
            # Without a list MLflow would spend twenty seconds on guessing one.
            pip_requirements=[f"{name}=={artifacts.record.packages[name]}" for name in PACKAGES],
            metadata={
                "asrl": dataclasses.asdict(artifacts.record),
                "asrl.columns": columns["features"],
            },
            # MLflow copies a uv.lock from this folder; the working folder must not get into a model.
            uv_project_path=aside,
            mlflow_model=Model(run_id=artifacts.run_id, model_id=model_id),
        )
    _forget_paths(folder / MLMODEL_FILE_NAME)


def _forget_paths(file: Path) -> None:
    """Remove the paths of this machine that MLflow wrote into the model's description."""
    model = Model.load(file)
    flavor: dict[str, Any] = model.flavors["python_function"]
    flavor["model_code_path"] = _MODEL_FILE.name
    for artifact in flavor["artifacts"].values():
        artifact["uri"] = artifact["path"]
    model.save(file)
