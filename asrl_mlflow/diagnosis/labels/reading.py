"""Read the ranking that a run keeps of its training rows."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import pandas as pd
import pyarrow as pa
import pyarrow.csv
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from asrl_mlflow.diagnosis.labels.keeping import MOST_ROWS, TABLE
from asrl_mlflow.errors import InputError, StorageError
from asrl_mlflow.records.artifacts import LOSS, silence_mlflow
from asrl_mlflow.registry.versions import find
from asrl_mlflow.system.disk import require_space


def read_ranking(source: str) -> pd.DataFrame:
    """Read a run's table.

    Parameters
    ----------
    source : str
        A run's id, `runs:/<id>`, or a model's address, which stands for the run that trained it.

    Raises
    ------
    InputError
        There is no such run or model, or the run keeps no such table.
    StorageError
        The disk is too full to download it.
    StoreError
        The store does not answer.
    """
    run_id = find(source).run_id if source.startswith("models:") else source.removeprefix("runs:/")
    with TemporaryDirectory() as folder:
        try:
            with require_space(), silence_mlflow():
                # Not by a runs:/ URI: with that, MLflow hides why a download failed.
                kept = get_artifact_repository(mlflow.get_run(run_id).info.artifact_uri)
                file = Path(kept.download_artifacts(TABLE, folder))
        except StorageError:
            raise
        except Exception as error:
            msg = (
                f"which_labels reads {TABLE} of a run that trained a booster on at most {MOST_ROWS} rows; "
                f"got {source!r}, without one in this tracking store; give the id of a run of train or "
                "tune, or an estimator with its rows."
            )
            raise InputError(msg) from error
        # Not by pandas, whose earlier releases lose the last digits.
        # Labels are text until the run's record says what they are: 01 is no 1.
        text = dict.fromkeys(("label", "likeliest"), pa.string())
        options = pyarrow.csv.ConvertOptions(column_types=text, strings_can_be_null=False)
        table: pd.DataFrame = pyarrow.csv.read_csv(file, convert_options=options).to_pandas()
        if "label" in table:
            record = json.loads(Path(kept.download_artifacts(LOSS, folder)).read_text())
            known = {str(each): each for each in record["data"]["classes"]}
            for column in text:
                table[column] = [known[str(each)] for each in table[column]]
        return table
