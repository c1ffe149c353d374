"""The folder that MLflow loads a model from, made of what a run keeps of its booster."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import pandas as pd
from mlflow.environment_variables import MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

from asrl_mlflow.errors import InputError
from asrl_mlflow.lab import BOOSTER, FEATURES, LOSS, UNSEEN
from asrl_mlflow.record import PACKAGES, Record

_SCORER = Path(__file__).with_name("scorer.py")
# As the scorer knows them.
_ARTIFACTS = {"booster": BOOSTER, "features": FEATURES, "errors": UNSEEN, "loss": LOSS}

# Of inputs nothing. MLflow's double refuses integers, its long missing values, and its "any" looks at
# every cell by itself: 60 times as long for a million rows as the prediction itself. What columns a
# model takes stands in its metadata, and the scorer holds its input to them.
_SIGNATURE = ModelSignature(
    outputs=Schema([ColSpec(DataType.double, "prediction")]),
    params=ParamSchema([ParamSpec("interval", DataType.double, None)]),
)


@dataclass(frozen=True)
class Parts:
    """What a run keeps of its booster.

    Parameters
    ----------
    run_id : str
        The run.
    files : mapping of name to bytes
        Booster, loss, features and residuals.
    record : Record
        What trained it.
    """

    run_id: str
    files: Mapping[str, bytes]
    record: Record

    @property
    def digest(self) -> str:
        """Equal for equal boosters: a study's run may get another one when it goes on."""
        return hashlib.sha256(self.files[BOOSTER]).hexdigest()[:16]


def parts_of(run_id: str) -> Parts:
    """Fetch them from the tracking store.

    Raises
    ------
    InputError
        There is no such run, or it has none.
    """
    client, files = mlflow.MlflowClient(), {}
    try:
        client.get_run(run_id)
        with TemporaryDirectory() as folder, quiet():
            for name in _ARTIFACTS.values():
                path = client.download_artifacts(run_id, name, folder)
                files[name] = Path(path).read_bytes()
    except (MlflowException, OSError) as error:
        kept = ", ".join(_ARTIFACTS.values())
        msg = (
            f"A model is made of a run that trained one booster; got run {run_id!r}, without all of "
            f"{kept} in this tracking store; give the id of a run of train or tune, or of a child run "
            "of compare."
        )
        raise InputError(msg) from error
    return Parts(run_id, files, Record.from_json(files[LOSS].decode(), f"run {run_id}"))


def pack(parts: Parts, folder: Path, *, model_id: str) -> None:
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
    with TemporaryDirectory() as aside, quiet():
        for name, content in parts.files.items():
            (Path(aside) / name).write_bytes(content)
        mlflow.pyfunc.save_model(
            folder,
            python_model=str(_SCORER),
            artifacts={key: str(Path(aside) / name) for key, name in _ARTIFACTS.items()},
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
            mlflow_model=Model(run_id=parts.run_id, model_id=model_id),
        )
    _forget_paths(folder / MLMODEL_FILE_NAME)


def _forget_paths(file: Path) -> None:
    """MLflow notes from where it took the files: of no use where a model is used."""
    model = Model.load(file)
    flavor: dict[str, Any] = model.flavors["python_function"]
    flavor["model_code_path"] = _SCORER.name
    for artifact in flavor["artifacts"].values():
        artifact["uri"] = artifact["path"]
    model.save(file)


@contextmanager
def quiet() -> Iterator[None]:
    """Without what MLflow says of each file on the way."""
    logger = logging.getLogger("mlflow")
    level, bar = logger.level, MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.get_raw()
    # Not its warnings either: that an environment made by uv has no pip, for one.
    logger.setLevel(logging.ERROR)
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)
    try:
        yield
    finally:
        logger.setLevel(level)
        if bar is None:
            MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.unset()
        else:
            MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(bar)
