"""Tuned ContinuousASRL beside tuned baselines, on tables whose training targets are spoiled.

Every method gets the same trials, the same rows to choose by (as `flows.tune` has them) and early
stopping; it is then refitted on train and valid, and judged once on clean test rows. Results are
kept line by line, so that the command goes on where it was stopped.

pip install lightgbm catboost
ASRL_DATA_DIR=... python benchmarks/accuracy.py --seeds=3 --out=accuracy.jsonl
"""

from __future__ import annotations

import json
import multiprocessing
import os
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import geometric_mean, mean
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import optuna
from tqdm import tqdm

from asrl_mlflow.datasets import PAPER, load
from asrl_mlflow.judging import Contest, Judge, Pruned
from asrl_mlflow.lab import divide
from asrl_mlflow.losses import LOSSES, to_config
from asrl_mlflow.losses.space import Interval, Point, SearchSpace
from asrl_mlflow.metrics import mae
from asrl_mlflow.residuals import Residuals
from asrl_mlflow.settings import Contamination, Settings
from asrl_mlflow.splits import Part, Split, joined
from asrl_mlflow.studies import LOSS, ROUNDS, Study
from asrl_mlflow.training import train
from asrl_mlflow.tuning import Plan

KINDS = {
    "none": Contamination(),
    "sym": Contamination("sym", 0.1),
    "asym": Contamination("asym", 0.2),
    "cauchy": Contamination("cauchy"),
}
SETTINGS = Settings(rounds=100, max_depth=6, early_stopping_rounds=20)
MOST_ROWS = 12_000
# What is asked for: the geometric mean of the ratio to the best baseline, chosen with hindsight.
ASKED = {"all": 0.93, "asym": 0.84, "sym": 0.94, "none": 1.00, "cauchy": 1.00}
OURS = ("asrl_c", "asrl")

Prediction = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Foreign:
    """Another library's method: its search space by the target's scale, and how it is fitted."""

    space: Callable[[float], SearchSpace]
    start: Callable[[float], Point]
    fit: Callable[[Point, Part, Part | None, int, int], tuple[Callable[[Part], Prediction], int]]


def _lightgbm(objective: str, parameter: str | None = None) -> Any:  # noqa: ANN401 - a fit of Foreign
    def fit(
        point: Point, learned: Part, judged: Part | None, rounds: int, seed: int
    ) -> tuple[Callable[[Part], Prediction], int]:
        import lightgbm  # noqa: PLC0415 - only this benchmark needs it

        params = {
            "objective": objective,
            "max_depth": 6,
            "num_leaves": 64,
            "learning_rate": 0.1,
            "metric": "mae",
            "num_threads": 1,
            "verbosity": -1,
            "seed": seed,
        }
        if parameter:
            params[parameter] = point[parameter]
        # Their robust losses begin far from a target far from 0, and would spend their rounds walking.
        center = np.median(learned.target)
        data = lightgbm.Dataset(learned.features, learned.target - center)
        stop: list[Any] = []
        valid: list[Any] = []
        if judged is not None:
            valid = [lightgbm.Dataset(judged.features, judged.target - center, reference=data)]
            stop = [lightgbm.early_stopping(20, verbose=False)]
        model: Any = lightgbm.train(params, data, rounds, valid_sets=valid, callbacks=stop)
        kept = model.best_iteration or rounds
        return lambda part: center + model.predict(part.features, num_iteration=kept), kept

    return fit


def _catboost(
    point: Point, learned: Part, judged: Part | None, rounds: int, seed: int
) -> tuple[Callable[[Part], Prediction], int]:
    import catboost  # noqa: PLC0415 - only this benchmark needs it

    model: Any = catboost.CatBoostRegressor(
        loss_function=f"Huber:delta={point['delta']}",
        eval_metric="MAE",
        iterations=rounds,
        depth=6,
        learning_rate=0.1,
        thread_count=1,
        random_seed=seed,
        verbose=False,
        allow_writing_files=False,
        early_stopping_rounds=20 if judged is not None else None,
    )
    center = np.median(learned.target)
    eval_set = None if judged is None else (judged.features, judged.target - center)
    model.fit(learned.features, learned.target - center, eval_set=eval_set)
    return lambda part: center + model.predict(part.features), model.tree_count_


def _scaled(name: str) -> Callable[[float], SearchSpace]:
    return lambda scale: {name: Interval(0.01 * scale, 10 * scale, log=True)}


def _half(name: str) -> Callable[[float], Point]:
    return lambda scale: {name: 0.5 * scale}


FOREIGN: Mapping[str, Foreign] = {
    "lightgbm l1": Foreign(lambda _: {}, lambda _: {}, _lightgbm("regression_l1")),
    "lightgbm huber": Foreign(_scaled("alpha"), _half("alpha"), _lightgbm("huber", "alpha")),
    "lightgbm fair": Foreign(_scaled("fair_c"), _half("fair_c"), _lightgbm("fair", "fair_c")),
    "catboost huber": Foreign(_scaled("delta"), _half("delta"), _catboost),
}
METHODS = ("asrl_c", "asrl", "squared_error", "absolute_error", "adaptive_huber", *FOREIGN)


def plan_of(data: str, kind: str, seed: int, loss: str) -> Plan:
    """The study of one cell of the grid."""
    table = load(data)
    if len(table.rows) > MOST_ROWS:
        kept = np.random.default_rng(0).permutation(len(table.rows))[:MOST_ROWS]
        table = replace(table, rows=table.rows.take(kept))
    return Plan(LOSSES[loss], table, "mae", seed, SETTINGS, KINDS[kind], tune_booster=False)


def measured(data: str, kind: str, seed: int, method: str, trials: int) -> dict[str, Any]:
    """One method in one cell: tuned, refitted, judged once."""
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    plan = plan_of(data, kind, seed, method if method in LOSSES else "asrl_c")
    parts = divide(plan.table, seed, plan.contamination)
    contest = plan.contest(parts)
    if method in LOSSES:
        point, rounds = _choose_ours(plan, parts, contest, trials)
        loss, _ = plan.candidate(point)
        prediction = _refitted(plan, loss, rounds, parts)
        point = to_config(loss)["params"]
    else:
        point, rounds = _choose_foreign(FOREIGN[method], contest, parts, seed, trials)
        known = joined(parts.train, parts.valid)
        predict, _ = FOREIGN[method].fit(point, known, None, rounds, seed)
        prediction = predict(parts.test)
    return {
        "data": data,
        "kind": kind,
        "seed": seed,
        "method": method,
        "trials": trials,
        "mae": mae(parts.test.target, prediction),
        "params": dict(point),
        "rounds": rounds,
    }


def _choose_ours(plan: Plan, parts: Split, contest: Contest, trials: int) -> tuple[Point, int]:
    judge = Judge(contest)
    if not plan.loss.search_space(Residuals(parts.train.target)):
        return {}, judge.judge(plan.loss(), {}, lambda *_: None, lambda *_: True).rounds
    study = Study("s", optuna.storages.InMemoryStorage(), plan.space(parts), plan.seed)
    study.begin("", plan.starts(parts))
    while (trial := study.claim(trials)) is not None:
        loss, params = plan.candidate(trial.params)
        try:
            verdict = judge.judge(
                loss,
                params,
                lambda *_: None,
                partial(study.is_worth_it, trial),
            )
        except Pruned:
            study.prune(trial)
            continue
        study.note(trial, {LOSS: to_config(loss), ROUNDS: verdict.rounds})
        study.complete(trial, verdict.value)
    best = study.best()
    if best is None:
        raise AssertionError
    return best.point, best.rounds


def _refitted(plan: Plan, loss: Any, rounds: int, parts: Split) -> Prediction:  # noqa: ANN401 - a loss
    known = joined(parts.train, parts.valid)
    import xgboost  # noqa: PLC0415 - beside the other libraries

    dtrain = xgboost.QuantileDMatrix(known.features, label=known.target)
    params = {**plan.settings.booster_params(plan.seed), "nthread": 1}
    booster = train(params, dtrain, rounds, loss=loss)
    prediction: Prediction = booster.inplace_predict(parts.test.features)
    return prediction


def _choose_foreign(
    method: Foreign, contest: Contest, parts: Split, seed: int, trials: int
) -> tuple[Point, int]:
    target = parts.train.target
    scale = 1.4826 * Residuals(target - np.median(target)).quantile_abs(0.5)
    space = method.space(scale)
    kept: dict[int, int] = {}

    def value(trial: optuna.Trial) -> float:
        point = {
            name: trial.suggest_float(name, each.low, each.high, log=each.log)
            for name, each in space.items()
        }
        values, rounds = [], []
        for step, (learned, judged) in enumerate(contest.folds):
            predict, best = method.fit(point, learned, judged, contest.rounds, seed)
            values.append(mae(judged.target, predict(judged)))
            rounds.append(best)
            trial.report(mean(values), step)
            if step + 1 < len(contest.folds) and trial.should_prune():
                raise optuna.TrialPruned
        kept[trial.number] = round(mean(rounds))
        return mean(values)

    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=10, n_min_trials=5),
    )
    if space:
        study.enqueue_trial(dict(method.start(scale)))
    study.optimize(value, n_trials=trials if space else 1)
    return study.best_params, kept[study.best_trial.number]


def summary(results: Sequence[Mapping[str, Any]]) -> str:
    """Ratios to the best baseline of each cell, chosen with hindsight, as geometric means."""
    cells: dict[tuple[str, str, int], dict[str, float]] = defaultdict(dict)
    for line in results:
        cells[line["data"], line["kind"], line["seed"]][line["method"]] = line["mae"]
    whole = {key: cell for key, cell in cells.items() if set(METHODS) <= set(cell)}
    lines = [
        f"{len(whole)} of {len(cells)} cells whole; ratio to the best baseline (hindsight)",
        "",
    ]
    lines.append(f"{'':16}{'cells':>6}" + "".join(f"{name:>16}" for name in METHODS) + "   asked")
    groups: dict[str, list[Mapping[str, float]]] = {"all": [*whole.values()]}
    for (data, kind, _), cell in sorted(whole.items()):
        for name in (kind, data, f"{data[:10]} {kind}"):
            groups.setdefault(name, []).append(cell)
    for name, group in sorted(groups.items(), key=lambda item: (item[0] not in ASKED, item[0])):
        best = [min(v for m, v in cell.items() if m not in OURS) for cell in group]
        ratios = [
            geometric_mean(cell[m] / b for cell, b in zip(group, best, strict=True))
            for m in METHODS
        ]
        asked = f"{ASKED[name]:8.2f}" if name in ASKED else ""
        numbers = "".join(f"{ratio:16.3f}" for ratio in ratios)
        lines.append(f"{name:16}{len(group):6}{numbers}{asked}")
    return "\n".join(lines)


def _task(task: tuple[str, str, int, str, int]) -> dict[str, Any]:
    return measured(*task)


@click.command()
@click.option("--seeds", default=3, show_default=True, help="From 0 on.")
@click.option(
    "--trials", default=60, show_default=True, help="For each method that has something to tune."
)
@click.option("--jobs", default=os.cpu_count(), show_default=True, help="Processes.")
@click.option("--out", default="accuracy.jsonl", show_default=True, help="Where results are kept.")
@click.option("--methods", default=",".join(METHODS), help="Between commas.")
def main(seeds: int, trials: int, jobs: int, out: str, methods: str) -> None:
    """Measure what is not yet in the file, and print the table."""
    file = Path(out)
    results = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    known = {(r["data"], r["kind"], r["seed"], r["method"], r["trials"]) for r in results}
    tasks = [
        (data, kind, seed, method, trials)
        for seed in range(seeds)
        for data in PAPER
        for kind in KINDS
        for method in methods.split(",")
        if (data, kind, seed, method, trials) not in known
    ]
    with multiprocessing.get_context("spawn").Pool(jobs) as pool, file.open("a") as kept:
        for result in tqdm(pool.imap_unordered(_task, tasks), total=len(tasks), disable=None):
            results.append(result)
            kept.write(json.dumps(result) + "\n")
            kept.flush()
    print(summary([r for r in results if r["trials"] == trials]))


if __name__ == "__main__":
    main()
