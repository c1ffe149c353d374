"""Name what a run records: the params of a loss and of a table."""

from __future__ import annotations

import dataclasses

from asrl_mlflow.datasets.contamination import Contamination
from asrl_mlflow.datasets.dataset import Dataset
from asrl_mlflow.losses import Loss


def loss_params(loss: Loss) -> dict[str, object]:
    """A loss under the keys that MLflow shows."""
    fields = dataclasses.asdict(loss).items()
    return {"loss.name": loss.name, **{f"loss.{key}": value for key, value in fields}}


def data_params(dataset: Dataset, contamination: Contamination) -> dict[str, object]:
    """A table, and what was done to it, under the keys that MLflow shows."""
    return {
        "data.name": dataset.name,
        "data.rows": len(dataset.rows),
        "data.target": dataset.target_name,
        "data.digest": dataset.digest,
        "data.weight": dataset.roles.weight,
        "data.weight_rule": dataset.rows.weight_rule if dataset.roles.weight else None,
        "data.group": dataset.roles.group,
        "data.time": dataset.roles.time,
        "data.drop": ",".join(dataset.roles.drop) or None,
        **contamination.params(),
    }
