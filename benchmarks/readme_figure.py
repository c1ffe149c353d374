"""Draw the pictures of the README and of the page on losses.

    ASRL_DATA_DIR=... OMP_WAIT_POLICY=PASSIVE python benchmarks/readme_figure.py

`wrong_labels.png` shows the error on clean test rows against the share of wrong labels among the rows
to learn from. What was measured for it is kept beside it as `wrong_labels.json`; delete that file to
measure again. `loss_<name>.png` shows the value, the weight and the influence of each loss.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import xgboost
from tqdm import tqdm

from asrl_mlflow.boosting.training import train
from asrl_mlflow.datasets.contamination import Contamination
from asrl_mlflow.datasets.dataset import Dataset, load
from asrl_mlflow.datasets.matrices import matrix
from asrl_mlflow.datasets.splits import Split
from asrl_mlflow.experiments.experiment import divide
from asrl_mlflow.experiments.settings import Settings
from asrl_mlflow.losses import LOSSES, ContinuousASRL, Huber, Loss, SquaredError
from asrl_mlflow.metrics import mae
from asrl_mlflow.residuals.statistics import Residuals

SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4)
ROUNDS = 100
THREADS = 2


def measure(table: Dataset, seeds: int) -> dict[str, Any]:
    """Measure the test MAE of every method.

    Parameters
    ----------
    table : Dataset
        Rows to split.
    seeds : int, >= 1
        How many seeds, from 0 on.

    Returns
    -------
    dict
        "mae" holds, by method, one list of test MAE values (one a seed) for each share.
    """
    found: dict[str, list[list[float]]] = {}
    for share in tqdm(SHARES, desc="shares", disable=None):
        for seed in range(seeds):
            kind = Contamination("asym", share) if share else Contamination()
            for method, error in judge_methods(divide(table, seed, kind), seed):
                values = found.setdefault(method, [])
                if seed == 0:
                    values.append([])
                values[-1].append(error)
    return {
        "data": table.name,
        "rows": len(table.rows),
        "seeds": seeds,
        "xgboost": xgboost.__version__,
        "shares": list(SHARES),
        "mae": found,
    }


def judge_methods(parts: Split, seed: int) -> Iterator[tuple[str, float]]:
    """Fit every method on the training rows; yield its name and its MAE on the test rows.

    A tuned loss is the one of its class's starting points that has the smallest MAE on validation
    rows, which are spoiled as the training rows are.
    """
    params = {**Settings().booster_params(seed), "nthread": THREADS}
    dtrain = matrix(parts.train)
    dtest, dvalid = parts.test, parts.valid

    def fit(loss: Loss) -> xgboost.Booster:
        return train(params, dtrain, ROUNDS, loss=loss)

    def error(booster: xgboost.Booster) -> float:
        return mae(dtest.target, booster.inplace_predict(dtest.features))

    def spoiled_error(booster: xgboost.Booster) -> float:
        return mae(dvalid.target, booster.inplace_predict(dvalid.features))

    yield "squared_error", error(fit(SquaredError()))
    native = xgboost.train({**params, "objective": "reg:absoluteerror"}, dtrain, ROUNDS)
    yield "native absolute error", error(native)
    target = Residuals(parts.train.target - np.median(parts.train.target))
    for kind in (Huber, ContinuousASRL):
        yield kind.name, error(fit(kind()))
        fitted = [fit(kind.at(point)) for point in kind.starts(target)]
        yield f"{kind.name} tuned", error(min(fitted, key=spoiled_error))
