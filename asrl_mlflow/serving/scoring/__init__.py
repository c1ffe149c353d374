"""Predict whole folders of Parquet files with a registered model, on this host or on a cluster.

A folder is the sum of its files: each is one piece of work, predicted by `serving.predict_file` wherever it is done,
so that the numbers are those of one host. Imports `serving`, `records`, `datasets` and `system`.
"""

from __future__ import annotations

from asrl_mlflow.serving.scoring.engines import ENGINES, Engine
from asrl_mlflow.serving.scoring.folders import FolderResult, predict_folder
from asrl_mlflow.serving.scoring.model_files import ModelFiles

__all__ = ["ENGINES", "Engine", "FolderResult", "ModelFiles", "predict_folder"]
