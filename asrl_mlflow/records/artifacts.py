"""Which files a run keeps of its booster: a registered model is made of these."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from mlflow.environment_variables import MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from asrl_mlflow.errors import InputError, StorageError
from asrl_mlflow.records.record import Record
from asrl_mlflow.system.disk import require_space

BOOSTER, LOSS, FEATURES, UNSEEN = "booster.ubj", "loss.json", "features.json", "unseen.npz"
# As the scorer knows them.
ARTIFACTS = {"booster": BOOSTER, "features": FEATURES, "errors": UNSEEN, "loss": LOSS}


@dataclass(frozen=True)
class RunArtifacts:
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


def fetch_artifacts(run_id: str) -> RunArtifacts:
    """Fetch them from the tracking store.

    Raises
    ------
    InputError
        There is no such run, or it has none.
    StorageError
        There is no room for them on the way.
    """
    files = {}
    with TemporaryDirectory() as folder:
        try:
            with require_space(), silence_mlflow():
                # Not by its runs:/ URI, for which MLflow swallows why a file did not come.
                kept = get_artifact_repository(mlflow.get_run(run_id).info.artifact_uri)
                for name in ARTIFACTS.values():
                    files[name] = Path(kept.download_artifacts(name, folder)).read_bytes()
        except StorageError:
            raise
        except Exception as error:
            names = ", ".join(ARTIFACTS.values())
            msg = (
                f"A model is made of a run that trained one booster; got run {run_id!r}, without all of "
                f"{names} in this tracking store; give the id of a run of train or tune, or of a child run "
                "of compare."
            )
            raise InputError(msg) from error
    return RunArtifacts(run_id, files, Record.from_json(files[LOSS].decode(), f"run {run_id}"))


@contextmanager
def silence_mlflow() -> Iterator[None]:
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
