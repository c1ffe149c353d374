"""Trials a minute: our tuner beside the straightforward way, on the same rows in one run.

The straightforward way is what tutorials show: Optuna in one process, `xgboost.train` with ASRL in
NumPy as its objective, `mlflow.log_metric` each round.

OMP_WAIT_POLICY=PASSIVE python benchmarks/speed/tuning.py --data=california
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import mlflow
import numpy as np
import numpy.typing as npt
import optuna
import xgboost

from asrl_mlflow import tracking
from asrl_mlflow.datasets.contamination import Contamination
from asrl_mlflow.datasets.dataset import load
from asrl_mlflow.datasets.splits import Split
from asrl_mlflow.experiments.experiment import prepare_split
from asrl_mlflow.experiments.settings import Settings
from asrl_mlflow.losses import ContinuousASRL
from asrl_mlflow.studies.storages import open_storage
from asrl_mlflow.studies.study import Study
from asrl_mlflow.tuning.api import Plan, run_study

ROUNDS, DEPTH = 100, 6
SECONDS_LOOKED_AT = 30
LEAST_RATIO = 5

Progress = list[tuple[float, float]]


@click.command()
@click.option("--data", default="california", show_default=True, help="As the flows' option.")
@click.option("--seconds", default=60.0, show_default=True, help="For each way.")
@click.option("--jobs", default=2, show_default=True, help="Worker processes of ours.")
def main(data: str, seconds: float, jobs: int) -> None:
    """Measure, and print a table."""
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    plan = Plan(
        loss=ContinuousASRL,
        table=load(data),
        metric="mae",
        seed=0,
        settings=Settings(rounds=ROUNDS, max_depth=DEPTH, figures=False),
        contamination=Contamination("asym", 0.2),
        tune_booster=False,
    )
    parts = prepare_split(plan.table, plan.seed, plan.contamination)
    ways: dict[str, Callable[[], Progress]] = {
        "straightforward": lambda: straightforward(parts, seconds),
        "asrl-mlflow": lambda: ours(plan, seconds, jobs),
    }
    print(f"{data}, {plan.contamination.describe()[2:]}, {ROUNDS} rounds, depth {DEPTH}\n")
    head = f"{'':18}{'trials':>8}{'a minute':>10}"
    print(f"{head}  best validation MAE after {SECONDS_LOOKED_AT} s")
    speeds = []
    for name, way in ways.items():
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
            tracking.connect()
            progress = way()
        speeds.append(60 * len(progress) / max(at for at, _ in progress))
        early = [value for at, value in progress if at <= SECONDS_LOOKED_AT]
        best = f"{min(early):.4f}" if early else "none yet"
        print(f"{name:18}{len(progress):8}{speeds[-1]:10.1f}  {best}")
    print(f"\nratio {speeds[1] / speeds[0]:.1f}; at least {LEAST_RATIO} is asked for")


def straightforward(parts: Split, seconds: float) -> Progress:
    """What one writes without this package; seconds and validation MAE of each trial."""
    dtrain = xgboost.QuantileDMatrix(parts.train.features, label=parts.train.target)
    dvalid = xgboost.QuantileDMatrix(parts.valid.features, label=parts.valid.target, ref=dtrain)
    progress: Progress = []
    started = time.perf_counter()

    def objective(trial: optuna.Trial) -> float:
        q_low = trial.suggest_float("q_low", 0.05, 0.9)
        q_high = trial.suggest_float("q_high", q_low + 0.01, 0.99)
        with mlflow.start_run(nested=True):
            mlflow.log_params({"q_low": q_low, "q_high": q_high})
            loss = _NumpyASRL(q_low, q_high)
            result: dict[str, dict[str, list[float]]] = {}
            xgboost.train(
                {"max_depth": DEPTH, "learning_rate": 0.1, "eval_metric": ["mae", "rmse"]},
                dtrain,
                ROUNDS,
                obj=loss,
                evals=[(dtrain, "train"), (dvalid, "valid")],
                evals_result=result,
                verbose_eval=False,
                callbacks=[_LogMetric(loss)],
            )
        progress.append((time.perf_counter() - started, result["valid"]["mae"][-1]))
        return progress[-1][1]

    with mlflow.start_run():
        optuna.create_study().optimize(objective, timeout=seconds)
    return progress


class _NumpyASRL:
    """The published loss, as one writes it from the paper."""

    def __init__(self, q_low: float, q_high: float) -> None:
        self.levels = (q_low, q_high)
        self.told: dict[str, float] = {}

    def __call__(
        self, prediction: npt.NDArray[np.float32], dtrain: xgboost.DMatrix
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        r = dtrain.get_label() - prediction
        size = np.abs(r)
        low, high = np.quantile(size, self.levels)
        upper, lower = np.percentile(size, [75, 25])
        alpha, beta = 1 / (np.var(r) + 1e-6), 1 / (upper - lower + 1e-6)
        gamma = 1 / (np.median(np.abs(r - np.median(r))) + 1e-6)
        beyond = np.maximum(size, 1e-12)
        weight = np.where(
            size <= low,
            alpha,
            np.where(size <= high, beta / beyond, gamma / (beyond * (1 + size))),
        )
        self.told = {
            "delta_low": float(low),
            "delta_high": float(high),
            "alpha": float(alpha),
            "beta": float(beta),
            "gamma": float(gamma),
        }
        return -weight * r, weight


class _LogMetric(xgboost.callback.TrainingCallback):
    def __init__(self, loss: _NumpyASRL) -> None:
        self.loss = loss

    def after_iteration(
        self,
        model: object,  # noqa: ARG002 - XGBoost's signature
        epoch: int,
        evals_log: xgboost.callback.TrainingCallback.EvalsLog,
    ) -> bool:
        for name, value in self.loss.told.items():
            mlflow.log_metric(name, float(value), step=epoch)
        for data, metrics in evals_log.items():
            for metric, values in metrics.items():
                mlflow.log_metric(f"{data}.{metric}", float(values[-1]), step=epoch)  # type: ignore[arg-type]  # pairs come from xgboost.cv
        return False


def ours(plan: Plan, seconds: float, jobs: int) -> Progress:
    """The tuner, its worker processes' start included."""
    progress: Progress = []
    judged = 0
    started = time.perf_counter()

    def on_change(study: Study) -> None:
        nonlocal judged
        best = study.best()
        new = study.count_judged() - judged
        judged += new
        value = best.value if best else float("inf")
        progress.extend([(time.perf_counter() - started, value)] * new)

    with open_storage(f"journal:{Path.cwd()}/studies.journal") as storage:
        run_study(
            plan,
            storage,
            name="benchmark",
            trials=100_000,
            jobs=jobs,
            seconds=seconds,
            on_change=on_change,
        )
    return progress


if __name__ == "__main__":
    main()
