"""The folder that MLflow loads a model from, made of what a run keeps of its booster."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import pandas as pd
from mlflow.models import Model, ModelSignature
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

from asrl_mlflow.records.artifacts import ARTIFACTS, FEATURES, RunArtifacts, silence_mlflow
from asrl_mlflow.records.record import PACKAGES

_MODEL_FILE = Path(__file__).parents[1] / "serving" / "model.py"

# Of inputs nothing. MLflow's double refuses integers, its long missing values, and its "any" looks at
# every cell by itself: 60 times as long for a million rows as the prediction itself. What columns a
# model takes stands in its metadata, and the scorer holds its input to them.
_SIGNATURE = ModelSignature(
    outputs=Schema([ColSpec(DataType.double, "prediction")]),
    params=ParamSchema([ParamSpec("interval", DataType.double, None)]),
)


def write_model(parts: RunArtifacts, folder: Path, *, model_id: str) -> None:
    """Make the folder: scorer, booster and its files, signature, requirements; no pickle.

    Parameters
    ----------
    parts : Parts
        What it is made of.
    folder : Path
        Where; it must not be there yet.
    model_id : str
        Of the model in the tracking store.
    """
    columns = json.loads(parts.files[FEATURES])
    with TemporaryDirectory() as aside, silence_mlflow():
        for name, content in parts.files.items():
            (Path(aside) / name).write_bytes(content)
        mlflow.pyfunc.save_model(
            folder,
            python_model=str(_MODEL_FILE),
            artifacts={key: str(Path(aside) / name) for key, name in ARTIFACTS.items()},
            signature=_SIGNATURE,
            input_example=pd.read_json(
                io.StringIO(columns["example"]), orient="split", dtype=False
            ),
            # Named, as MLflow would spend twenty seconds on guessing them.
            pip_requirements=[f"{name}=={parts.record.packages[name]}" for name in PACKAGES],
            metadata={
                "asrl": dataclasses.asdict(parts.record),
                "asrl.columns": columns["features"],
            },
            # Not the working folder, whose uv.lock MLflow would copy: no model needs where it was made.
            uv_project_path=aside,
            mlflow_model=Model(run_id=parts.run_id, model_id=model_id),
        )
    _forget_paths(folder / MLMODEL_FILE_NAME)


def _forget_paths(file: Path) -> None:
    """MLflow notes from where it took the files: of no use where a model is used."""
    model = Model.load(file)
    flavor: dict[str, Any] = model.flavors["python_function"]
    flavor["model_code_path"] = _MODEL_FILE.name
    for artifact in flavor["artifacts"].values():
        artifact["uri"] = artifact["path"]
    model.save(file)
