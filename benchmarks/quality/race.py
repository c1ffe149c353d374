"""Which accuracy a second of training buys, on targets of which a fifth is spoiled on one side.

    pip install lightgbm catboost
    OMP_WAIT_POLICY=PASSIVE ASRL_DATA_DIR=... python benchmarks/quality/race.py

Every method trains on one thread, depth 6, learning rate 0.1, for 10 to 640 rounds; what is printed is
the test MAE of the longest training that ends within each time (median of repeated trainings). Nothing
is tuned: Huber's thresholds are half the target's robust scale, ContinuousASRL has levels 0.7 and 0.75.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from statistics import median
from time import perf_counter

import click
import xgboost
from accuracy import FOREIGN, KINDS, Prediction
from tqdm import tqdm

from asrl_mlflow.boosting.training import train
from asrl_mlflow.datasets.dataset import load
from asrl_mlflow.datasets.splits import Rows
from asrl_mlflow.experiments.experiment import prepare_split
from asrl_mlflow.losses import AbsoluteError, ContinuousASRL, Loss, SquaredError
from asrl_mlflow.metrics import mae
from asrl_mlflow.residuals.statistics import Residuals

ROUNDS = (10, 20, 40, 80, 160, 320, 640)
SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0)
PARAMS = {"max_depth": 6, "learning_rate": 0.1, "nthread": 1}

Fit = Callable[[Rows, int], Callable[[Rows], Prediction]]


def ours(loss: Loss, learned: Rows, rounds: int) -> Callable[[Rows], Prediction]:
    """A booster; for squared and absolute error XGBoost's own."""
    dtrain = xgboost.QuantileDMatrix(learned.features, label=learned.target, nthread=1)
    booster = train(PARAMS, dtrain, rounds, loss=loss)
    return lambda part: booster.inplace_predict(part.features)


def foreign(name: str, learned: Rows, rounds: int) -> Callable[[Rows], Prediction]:
    """Another library's model, with the first of its points to start with."""
    method = FOREIGN[name]
    target = Residuals(learned.target)
    scale = 1.4826 * target.mad()
    predict, _ = method.fit(method.start(scale), learned, None, rounds, 0)
    return predict


METHODS: Mapping[str, Fit] = {
    "asrl_c": partial(ours, ContinuousASRL(q_low=0.7, q_high=0.75)),
    "squared_error": partial(ours, SquaredError()),
    "absolute_error": partial(ours, AbsoluteError()),
    "lightgbm huber": partial(foreign, "lightgbm huber"),
    "catboost huber": partial(foreign, "catboost huber"),
}


@click.command()
@click.option("--data", default="california", show_default=True, help="As the flows' option.")
@click.option("--repeats", default=3, show_default=True, help="Trainings of each length.")
def main(data: str, repeats: int) -> None:
    """Measure, and print a table."""
    parts = prepare_split(load(data), 0, KINDS["asym"])
    reached: dict[str, dict[int, tuple[float, float]]] = {name: {} for name in METHODS}
    with tqdm(total=len(METHODS) * len(ROUNDS) * repeats, leave=False, disable=None) as progress:
        for rounds in ROUNDS:
            took: dict[str, list[float]] = {name: [] for name in METHODS}
            for _ in range(repeats):
                for name, fit in METHODS.items():
                    started = perf_counter()
                    predict = fit(parts.train, rounds)
                    took[name].append(perf_counter() - started)
                    error = mae(parts.test.target, predict(parts.test))
                    reached[name][rounds] = (median(took[name]), error)
                    progress.update()
    print(f"{data}, {len(parts.train)} training rows, asym 20%, test MAE within seconds\n")
    print(
        f"{'method':16}"
        + "".join(f"{seconds:>8}" for seconds in SECONDS)
        + f"{'100 rounds take':>18}"
    )
    for name, lengths in reached.items():
        cells = []
        for seconds in SECONDS:
            within = [error for spent, error in lengths.values() if spent <= seconds]
            cells.append(f"{within[-1]:8.4f}" if within else f"{'-':>8}")
        per_round = (lengths[320][0] - lengths[20][0]) / 300
        print(f"{name:16}{''.join(cells)}{100 * per_round:>16.2f} s")


if __name__ == "__main__":
    main()
