"""How well wrong labels are found, and how fast, beside cleanlab; and which folds find them best.

    pip install cleanlab
    OMP_WAIT_POLICY=PASSIVE ASRL_DATA_DIR=... python benchmarks/quality/labels.py --out=labels.jsonl
    OMP_WAIT_POLICY=PASSIVE ASRL_DATA_DIR=... python benchmarks/quality/labels.py --compare=folds --out=folds.jsonl

Labels of at most 5000 rows a table are made wrong, so that it is known which ones are: "sym" and "asym" as
`contaminate` does it, "small" by plus or minus uniform(0.5, 2) standard deviations. Printed is the area under
the curve of precision and recall (AUPRC), the mean over tables and seeds. cleanlab scores the very
predictions that we rank; its CleanLearning fits XGBoost's regressor by folds of its own, some 70 times.
Times are ratios to CleanLearning's in the same cell, on one thread; medians. Results are kept line by line,
so that the command goes on where it was stopped.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import warnings
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import mean, median
from time import perf_counter
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import xgboost
from cleanlab.regression.learn import CleanLearning
from cleanlab.regression.rank import get_label_quality_scores
from cleanlab.version import __version__ as cleanlab_version
from sklearn.metrics import average_precision_score
from tqdm import tqdm

from asrl_mlflow import losses
from asrl_mlflow.datasets import load
from asrl_mlflow.datasets.contamination import contaminate
from asrl_mlflow.datasets.splits import Rows, Split
from asrl_mlflow.diagnosis.labels import predict_in_halves, rank_residuals
from asrl_mlflow.experiments.settings import Settings
from asrl_mlflow.losses import Loss
from asrl_mlflow.records.unseen import OutOfFold, predict_out_of_fold

TABLES = ("diabetes", "concrete", "airfoil", "power_plant", "gas_turbine")
KINDS = tuple(itertools.product(("small", "sym", "asym"), (0.1, 0.2)))
LOSSES: Mapping[str, Loss] = {
    "squared_error": losses.SquaredError(),
    "adaptive_huber": losses.AdaptiveHuber(),
    "asrl_c": losses.ContinuousASRL(),
    "auto": losses.auto(),
}
# Number of folds, and how often they are shuffled anew.
FOLDS = ((2, 1), (2, 2), (2, 3), (2, 5), (3, 1), (3, 2), (5, 1), (5, 2), (20, 1))
MOST_ROWS, ROUNDS = 5000, 100
CLEANLEARNING = "CleanLearning, squared error"

Cell = tuple[str, str, float, int]
Scores = npt.NDArray[np.float64]


def spoil(rows: Rows, kind: str, share: float, seed: int) -> Rows:
    """Make the targets of a share of the rows wrong."""
    if kind != "small":
        none = rows.take(np.arange(0))
        return contaminate(Split(rows, none, none), kind, share, seed).train  # type: ignore[arg-type]  # one of KINDS
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(rows), round(share * len(rows)), replace=False)
    size = rng.uniform(0.5, 2, chosen.size) * rng.choice([-1.0, 1.0], chosen.size)
    target = rows.target.copy()
    target[chosen] += size * target.std()
    return replace(rows, target=target)


def ours(found: OutOfFold, loss: Loss) -> Scores:
    """Suspicion of each row, in the order of the rows."""
    return -rank_residuals(found, loss).sort_values("row")["score"].to_numpy()


def cleanlearning(estimator: xgboost.XGBRegressor, rows: Rows, seed: int) -> Scores:
    """Suspicion of each row by cleanlab's search over what to leave out."""
    learning = CleanLearning(estimator, seed=seed, verbose=False)
    found = learning.find_label_issues(rows.features.to_numpy(), rows.target)
    quality: Scores = found["label_quality"].to_numpy()
    return -quality


def beside_cleanlab(
    rows: Rows, params: dict[str, Any], seed: int
) -> dict[str, tuple[Scores, float]]:
    """Suspicion of each row by every way, and its seconds."""
    given = {**params, "n_estimators": ROUNDS, "n_jobs": 1}
    del given["nthread"]
    scores = {}
    started = perf_counter()
    learned = cleanlearning(xgboost.XGBRegressor(**given), rows, seed)
    scores[CLEANLEARNING] = learned, perf_counter() - started
    for name, loss in LOSSES.items():
        started = perf_counter()
        found = predict_in_halves(loss, params, ROUNDS, rows, seed)
        ranked = ours(found, loss)
        scores[name] = ranked, perf_counter() - started
        scores[f"{name}, |residual|"] = np.abs(found.residual), np.nan
        for method in ("outre", "residual"):
            quality = get_label_quality_scores(found.target, found.prediction, method=method)
            scores[f"{name}, cleanlab's {method}"] = -quality, np.nan
    return scores


def by_folds(rows: Rows, params: dict[str, Any], seed: int) -> dict[str, tuple[Scores, float]]:
    """Suspicion of each row by several numbers of folds, and its seconds."""
    scores = {}
    for name, (count, repeats) in itertools.product(("squared_error", "asrl_c"), FOLDS):
        loss, started = LOSSES[name], perf_counter()
        found = predict_out_of_fold(loss, params, ROUNDS, rows, seed, count=count, repeats=repeats)
        scores[f"{name}, {count} folds x {repeats}"] = ours(found, loss), perf_counter() - started
    return scores


COMPARISONS = {"cleanlab": beside_cleanlab, "folds": by_folds}


def measure(task: tuple[str, Cell]) -> dict[str, Any]:
    """AUPRC and seconds of every way in one cell."""
    warnings.simplefilter("ignore")
    comparison, (data, kind, share, seed) = task
    rows = load(data).rows
    chosen = np.random.default_rng(seed).permutation(len(rows))[:MOST_ROWS]
    rows = replace(rows.take(np.sort(chosen)), numbers=None)
    spoiled = spoil(rows, kind, share, seed)
    wrong = spoiled.target != rows.target
    params = {**Settings().booster_params(seed), "nthread": 1}
    scores = COMPARISONS[comparison](spoiled, params, seed)
    return {
        "cell": [data, kind, share, seed],
        "auprc": {
            name: float(average_precision_score(wrong, each)) for name, (each, _) in scores.items()
        },
        "seconds": {name: seconds for name, (_, seconds) in scores.items()},
    }


@click.command()
@click.option("--compare", default="cleanlab", type=click.Choice(list(COMPARISONS)))
@click.option("--seeds", default=3, show_default=True, help="From 0 on.")
@click.option("--jobs", default=1, show_default=True, help="Processes.")
@click.option("--out", type=click.Path(path_type=Path), default="labels.jsonl")
def main(compare: str, seeds: int, jobs: int, out: Path) -> None:
    """Measure what is not yet in the file; print the table."""
    cells = [
        (data, kind, share, seed)
        for seed in range(seeds)
        for (kind, share) in KINDS
        for data in TABLES
    ]
    done = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    have = {tuple(each["cell"]) for each in done}
    tasks = [(compare, cell) for cell in cells if cell not in have]
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for each in tqdm(pool.imap(measure, tasks), total=len(tasks), disable=None):
            done.append(each)
            with out.open("a") as file:
                file.write(f"{json.dumps(each)}\n")
    print(f"XGBoost {xgboost.__version__}, cleanlab {cleanlab_version}, {len(done)} cells; AUPRC")
    print(
        f"{'':36}"
        + "".join(f"{f'{kind} {share:.0%}':>11}" for kind, share in KINDS)
        + "     mean     time"
    )
    for name in done[0]["auprc"]:
        found: dict[tuple[str, float], list[float]] = defaultdict(list)
        ratios = []
        for each in done:
            _, kind, share, _ = each["cell"]
            found[kind, share].append(each["auprc"][name])
            seconds = each["seconds"]
            ratios.append(seconds[name] / seconds.get(CLEANLEARNING, next(iter(seconds.values()))))
        means = [mean(found[kind]) for kind in KINDS]
        time = "" if np.isnan(ratios).any() else f"{median(ratios):9.3f}"
        print(
            f"{name:36}" + "".join(f"{each:11.3f}" for each in means) + f"{mean(means):9.3f}{time}"
        )


if __name__ == "__main__":
    main()
