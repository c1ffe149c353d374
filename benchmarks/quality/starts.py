r"""Whether a study of `asrl_c` finds better levels if it tries the doctor's among its first points.

Both studies have the same number of trials, the same folds and the same seed, and none is pruned. The best by
5-fold MAE on spoiled rows is trained anew on train and valid, and judged once on clean test rows. Beside them:
losses that nobody tuned. Results are kept line by line, so that the command goes on where it was stopped.

ASRL_DATA_DIR=... OMP_WAIT_POLICY=PASSIVE uv run python benchmarks/quality/starts.py --out=starts.jsonl
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import click
import numpy as np
import optuna
import xgboost
from optuna.distributions import FloatDistribution
from tqdm import tqdm

from asrl_mlflow.boosting import predict, train
from asrl_mlflow.datasets import Contamination, join, load, make_matrix
from asrl_mlflow.diagnosis import diagnose
from asrl_mlflow.diagnosis.levels import starting_levels
from asrl_mlflow.experiments.experiment import prepare_split
from asrl_mlflow.experiments.settings import Settings
from asrl_mlflow.experiments.trials import Judge, Verdict
from asrl_mlflow.losses import BaseLoss, ContinuousASRL, SquaredError, auto
from asrl_mlflow.losses.search_space import Point, point_of
from asrl_mlflow.residuals.outliers import Outliers
from asrl_mlflow.studies.sampler import SeededTPE
from asrl_mlflow.tuning import Plan

TABLES = ("airfoil", "concrete", "diabetes", "power_plant", "california")
MOST_ROWS = 1_500
KINDS = {
    "none": Contamination(),
    "sym 0.1": Contamination("sym", 0.1),
    "asym 0.2": Contamination("asym", 0.2),
    "cauchy": Contamination("cauchy"),
}
SETTINGS = Settings(rounds=100, max_depth=6, early_stopping_rounds=20)
TRIALS = (2, 5, 10, 20)
# Of thresholds that stay, in scales of the noise; no level is nearer to 0 or 1 than these.
_STAYING, _LEAST, _MOST = (1.5, 3.0), 0.05, 0.99


def staying_levels(outliers: Outliers, target: np.typing.NDArray[np.float64]) -> ContinuousASRL:
    """Levels whose thresholds stay where training starts, at so many scales of the noise."""
    away = np.abs(target - np.median(target))
    low, high = (round(float(np.mean(away <= at * outliers.scale)), 4) for at in _STAYING)
    low = min(max(low, _LEAST), 0.97)
    return ContinuousASRL(low, min(max(high, low + 0.01), _MOST), floor=1.0)


def measure(data: str, kind: str, seed: int) -> dict[str, Any]:
    """One cell: the test MAE of each study after so many trials, and of losses that nobody tuned."""
    table = load(data)
    if len(table.rows) > MOST_ROWS:
        drawn = np.random.default_rng(seed).permutation(len(table.rows))[:MOST_ROWS]
        table = replace(table, rows=table.rows.take(np.sort(drawn)))
    plan = Plan(ContinuousASRL, table, "mae", seed, SETTINGS, KINDS[kind], tune_booster=False)
    parts = prepare_split(table, seed, plan.contamination)
    contest, known = plan.contest(parts), join(parts.train, parts.valid)
    judge, matrix = Judge(contest), make_matrix(known)

    def test(loss: BaseLoss, rounds: int) -> float:
        booster = train(contest.params, matrix, rounds, loss=loss)
        return float(np.abs(parts.test.target - predict(booster, parts.test.features)).mean())

    @cache
    def verdict(loss: BaseLoss) -> Verdict:
        return judge.judge(loss, {}, None, lambda *_: True)

    found = diagnose(known, contest.params, SETTINGS.rounds, seed)
    levels = starting_levels(found.outliers)
    own = plan.starts(parts)
    # The loss with its defaults stays first, as `tune` tells its error.
    starts = {
        "own": own,
        "doctor": [own[0], _point(levels), *own[1:]],
        "staying": [own[0], _point(staying_levels(found.outliers, known.target)), *own[1:]],
    }
    space = {
        name: FloatDistribution(each.low, each.high, log=each.log)
        for name, each in plan.space(parts).items()
    }
    tuned = {}
    for name, points in starts.items():
        judged = _search(lambda point: verdict(plan.loss.at(point)), space, points, seed)
        for trials in TRIALS:
            point, best = min(judged[:trials], key=lambda each: each[1].value)
            tuned[f"{name} {trials}"] = test(plan.loss.at(point), best.rounds)
    untuned = {
        "advised": found.advice.loss,
        "levels": levels,
        "auto": auto(),
        "defaults": ContinuousASRL(),
        "squared_error": SquaredError(),
    }
    return {
        "data": data,
        "kind": kind,
        "seed": seed,
        "xgboost": xgboost.__version__,
        "tuned": tuned,
        "untuned": {name: test(loss, SETTINGS.rounds) for name, loss in untuned.items()},
    }


def _point(loss: ContinuousASRL) -> Point:
    """The point of the search space that stands for a loss."""
    levels = point_of(float(loss.q_low), float(loss.q_high))
    return {**levels, "tail": loss.tail, "floor": loss.floor}


def _search(
    verdict: Callable[[Point], Verdict],
    space: Mapping[str, FloatDistribution],
    starts: Sequence[Point],
    seed: int,
) -> list[tuple[Point, Verdict]]:
    """As `tune` searches, in memory: the points to start with, then those of its sampler."""
    study = optuna.create_study(sampler=SeededTPE(seed, space))
    for point in starts:
        study.enqueue_trial(dict(point))
    judged: list[tuple[Point, Verdict]] = []
    for _ in range(max(TRIALS)):
        trial = study.ask(dict(space))
        judged.append((trial.params, verdict(trial.params)))
        study.tell(trial, judged[-1][1].value)
    return judged


@click.command()
@click.option("--seeds", default=3, show_default=True, help="From 0 on.")
@click.option("--out", type=click.Path(path_type=Path), default="starts.jsonl")
def main(seeds: int, out: Path) -> None:
    """Measure what is not yet in the file; print geometric means of ratios."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    done = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    have = {(each["data"], each["kind"], each["seed"]) for each in done}
    cells = [each for each in itertools.product(TABLES, KINDS, range(seeds)) if each not in have]
    for cell in tqdm(cells, disable=None):
        done.append(measure(*cell))
        with out.open("a") as file:
            file.write(f"{json.dumps(done[-1])}\n")
    print(
        f"XGBoost {xgboost.__version__}, {len(done)} cells; test MAE with the start over that without"
    )
    for name, trials in itertools.product(("doctor", "staying"), TRIALS):
        key, base = f"{name} {trials}", f"own {trials}"
        _tell(
            f"{name}, {trials} trials",
            done,
            [each["tuned"][key] / each["tuned"][base] for each in done],
        )
    print("test MAE over that of auto; nothing is tuned")
    always = [each["untuned"]["auto"] for each in done]
    for name in done[0]["untuned"]:
        errors = [each["untuned"][name] for each in done]
        _tell(name, done, [one / base for one, base in zip(errors, always, strict=True)])
    errors = [each["tuned"][f"own {max(TRIALS)}"] for each in done]
    _tell(
        f"tuned, {max(TRIALS)} trials",
        done,
        [one / base for one, base in zip(errors, always, strict=True)],
    )


def _tell(name: str, done: Sequence[Mapping[str, Any]], ratios: Sequence[float]) -> None:
    """A row of a Markdown table: of all cells, of each contamination, and the extremes."""
    by_kind = [
        geometric_mean(one for one, each in zip(ratios, done, strict=True) if each["kind"] == kind)
        for kind in KINDS
    ]
    means = " | ".join(f"{mean:.3f}" for mean in (geometric_mean(ratios), *by_kind))
    print(f"| {name} | {means} | {min(ratios):.2f} to {max(ratios):.2f} |")


if __name__ == "__main__":
    main()
