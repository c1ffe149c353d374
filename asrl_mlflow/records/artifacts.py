"""Fetch the files that a run keeps of its booster; a registered model is made of them."""

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
# The keys under which `serving/model.py` finds them.
ARTIFACTS = {"booster": BOOSTER, "features": FEATURES, "errors": UNSEEN, "loss": LOSS}


@dataclass(frozen=True)
class RunArtifacts:
    """The files that a run keeps of its booster.

    Parameters
    ----------
    run_id : str
        The id of the MLflow run.
    files : mapping of file name to bytes
        Booster, loss, features and residuals on unseen rows.
    record : Record
        How the booster was trained.
    """

    run_id: str
    files: Mapping[str, bytes]
    record: Record

    @property
    def digest(self) -> str:
        """The booster's digest, 16 hexadecimal digits; a study that goes on may replace its run's booster."""
        return hashlib.sha256(self.files[BOOSTER]).hexdigest()[:16]


def fetch_artifacts(run_id: str) -> RunArtifacts:
    """Fetch a run's files from the tracking store.

    Parameters
    ----------
    run_id : str
        The id of a run that trained one booster.

    Raises
    ------
    InputError
        The run does not exist, or lacks one of the files.
    StorageError
        The disk is too full to download them.
    """
    files = {}
    with TemporaryDirectory() as folder:
        try:
            with require_space(), silence_mlflow():
                # Not by a runs:/ URI: with that, MLflow hides why a download failed.
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
    """Hide MLflow's progress bars, messages and warnings about each file."""
    logger = logging.getLogger("mlflow")
    level, bar = logger.level, MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.get_raw()
    # Such as the warning that an environment made by uv has no pip.
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
