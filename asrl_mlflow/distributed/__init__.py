"""Train with a robust loss on the workers of a Dask cluster, each with a part of the rows.

Needs the extra `dask`. Imports `boosting` and what is below it.
"""

from __future__ import annotations

import importlib

for _name in ("distributed", "dask.dataframe"):
    try:
        importlib.import_module(_name)
    except ImportError as error:
        _msg = (
            f"Training on many workers needs Dask; got: {error}; install it with pip install "
            "'asrl-mlflow[dask]'."
        )
        raise ImportError(_msg) from error

from asrl_mlflow.distributed.training import train  # noqa: E402 - the reason comes first

__all__ = ["train"]
