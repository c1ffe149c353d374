"""Read what a registered version has among its files, which were checked before any is parsed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import numpy.typing as npt
import pandas as pd
import xgboost
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel

from asrl_mlflow.errors import InputError
from asrl_mlflow.records.artifacts import BOOSTER, FEATURES, UNSEEN, silence_mlflow
from asrl_mlflow.records.unseen import UnseenResiduals
from asrl_mlflow.registry.signing import Keys
from asrl_mlflow.registry.versions import RegisteredVersion, open_copy
from asrl_mlflow.system.disk import require_space


@dataclass(frozen=True)
class OpenVersion:
    """A version with a checked copy of its files; what is read of it remains when the copy is gone.

    Parameters
    ----------
    version : RegisteredVersion
        Which it is.
    folder : Path
        The copy.
    """

    version: RegisteredVersion
    folder: Path

    def load(self) -> PyFuncModel:
        """Load it with `mlflow.pyfunc.load_model`."""
        with require_space(), silence_mlflow():
            model: PyFuncModel = mlflow.pyfunc.load_model(str(self.folder))
        return model

    def booster(self) -> xgboost.Booster:
        """Load its booster."""
        return xgboost.Booster(model_file=self.folder / "artifacts" / BOOSTER)

    def unseen_residuals(self) -> UnseenResiduals:
        """Load its residuals on rows that it did not learn from."""
        return UnseenResiduals.from_bytes((self.folder / "artifacts" / UNSEEN).read_bytes())

    @property
    def columns(self) -> list[dict[str, Any]]:
        """Its columns, as `describe_columns` returned them at training."""
        described: list[dict[str, Any]] = self._features["features"]
        return described

    @property
    def distribution(self) -> dict[str, dict[str, Any]]:
        """How the columns of its test rows are distributed; empty where it had none."""
        described: dict[str, dict[str, Any]] = self._features.get("distribution", {})
        return described

    @cached_property
    def _features(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / "artifacts" / FEATURES).read_text())
        return content

    def predict_rows(self, features: pd.DataFrame, owner: str) -> npt.NDArray[np.float64]:
        """Predict rows in the form that the errors of its loss are measured by.

        Parameters
        ----------
        features : DataFrame of shape (n, features)
            Columns that the version knows.
        owner : str
            What the rows are of, for the error.

        Returns
        -------
        float64 array of shape (n,) or (n, K)
            In target units, or probabilities of the classes.

        Raises
        ------
        InputError
            The version cannot predict the rows.
        """
        try:
            # Around MLflow's schema, which is narrower than the model's own checks.
            model: Any = self.load().unwrap_python_model()
            predicted: Any = model.predict(None, features)
        except MlflowException as error:
            msg = f"{owner}: {self.version.uri} must be able to predict it; {error.message}"
            raise InputError(msg) from error
        known = self.version.record.data.get("classes", [])
        if known:
            predicted = predicted[[f"probability_{each}" for each in known]]
        return np.asarray(predicted, np.float64)


@contextmanager
def open_version(uri: str, *, trusted: Keys | None = None) -> Iterator[OpenVersion]:
    """Open a version once, to read several things of it.

    Parameters
    ----------
    uri : str
        The version, as for `find`.
    trusted : sequence of str or Path, optional
        Public keys that may have signed it, as for `open_verified`.

    Yields
    ------
    OpenVersion
        The version with a private copy of its files, deleted afterwards.

    Raises
    ------
    InputError, StorageError
        As for `open_verified`.
    """
    with open_copy(uri, trusted) as (version, folder):
        yield OpenVersion(version, folder)


@contextmanager
def open_verified(uri: str, *, trusted: Keys | None = None) -> Iterator[Path]:
    """Open a private copy of a version's files, after checking it against manifest and signature.

    Parameters
    ----------
    uri : str
        The version, as for `find`.
    trusted : sequence of str or Path, optional
        Public keys, PEM files: one of them must have signed these files, and with them the version's name
        and number. Without keys no signature is asked for; an empty sequence is refused.

    Yields
    ------
    Path
        The folder of the copy, deleted afterwards.

    Raises
    ------
    InputError
        As for `find`; or the files cannot be downloaded, are not those that were registered, or are not
        signed as this version by a trusted key.
    StorageError
        The disk is too full for the copy.
    """
    with open_copy(uri, trusted) as (_, folder):
        yield folder


def load(uri: str, *, trusted: Keys | None = None) -> PyFuncModel:
    """Load a version with `mlflow.pyfunc.load_model`, after checking that its files are unchanged.

    Parameters
    ----------
    uri : str
        The version, as for `find`.
    trusted : sequence of str or Path, optional
        Public keys that may have signed it, as for `open_verified`.

    Raises
    ------
    InputError
        As for `open_verified`; then no code of the model was run.
    """
    with open_version(uri, trusted=trusted) as opened:
        return opened.load()


def load_booster(uri: str, *, trusted: Keys | None = None) -> xgboost.Booster:
    """Load a version's booster, to continue its training; `find(uri).record` has its loss.

    Parameters
    ----------
    uri : str
        The version, as for `find`.
    trusted : sequence of str or Path, optional
        Public keys that may have signed it, as for `open_verified`.

    Raises
    ------
    InputError
        As for `open_verified`.
    """
    with open_version(uri, trusted=trusted) as opened:
        return opened.booster()


def load_columns(uri: str, *, trusted: Keys | None = None) -> list[dict[str, Any]]:
    """Load the description of a version's columns, as `describe_columns` returned it at training.

    Parameters
    ----------
    uri : str
        The version, as for `find`.
    trusted : sequence of str or Path, optional
        Public keys that may have signed it, as for `open_verified`.

    Raises
    ------
    InputError
        As for `open_verified`.
    """
    with open_version(uri, trusted=trusted) as opened:
        return opened.columns


def load_unseen_residuals(uri: str, *, trusted: Keys | None = None) -> UnseenResiduals:
    """Load a version's residuals on rows that it did not learn from.

    Parameters
    ----------
    uri : str
        The version, as for `find`.
    trusted : sequence of str or Path, optional
        Public keys that may have signed it, as for `open_verified`.

    Raises
    ------
    InputError
        As for `open_verified`.
    """
    with open_version(uri, trusted=trusted) as opened:
        return opened.unseen_residuals()
