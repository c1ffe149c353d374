"""The files of a model as one value, which goes to other processes and hosts and is loaded there."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from mlflow.pyfunc import PyFuncModel

from asrl_mlflow.records.artifacts import silence_mlflow
from asrl_mlflow.system.disk import require_space

# Two threads that load models at once disturb each other in MLflow.
_lock = threading.Lock()


@dataclass(frozen=True)
class ModelFiles:
    """The files of a model.

    Who predicts with it needs no tracking store, and gets what was checked where it was read.

    Parameters
    ----------
    name : str
        The version's address, for people.
    digest : str
        SHA-256 of names and contents.
    files : mapping of str to bytes
        Contents by path, with forward slashes.
    """

    name: str
    digest: str
    files: Mapping[str, bytes] = field(compare=False, repr=False)

    @classmethod
    def read(cls, folder: Path, name: str) -> ModelFiles:
        """Read a folder, such as `registry.open_verified` gives."""
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        digest = hashlib.sha256()
        for path, content in files.items():
            for part in (path.encode(), content):
                digest.update(len(part).to_bytes(8))
                digest.update(part)
        return cls(name, digest.hexdigest(), files)

    def load(self) -> PyFuncModel:
        """Load the model; a process keeps the one that it has loaded last.

        Raises
        ------
        StorageError
            The disk is too full for the files.
        """
        with _lock:
            return _load(self)


@lru_cache(maxsize=1)
def _load(model: ModelFiles) -> PyFuncModel:
    with require_space(), TemporaryDirectory() as folder, silence_mlflow():
        for name, content in model.files.items():
            file = Path(folder, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        loaded: PyFuncModel = mlflow.pyfunc.load_model(folder)
        return loaded
