r"""Ways to choose one loss of many, each by the test error of what it chooses.

`flows.main` chooses the simplest loss that the best does not beat by more than one standard error, on
folds that no trial saw. Beside it: the smallest cross-validated error, and always the same loss. Results
are kept line by line, so that the command goes on where it was stopped.

ASRL_DATA_DIR=... uv run python benchmarks/quality/choice.py --out=choice.jsonl
"""

from __future__ import annotations

import itertools
import json
import warnings
from collections import defaultdict
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import click
import optuna
import xgboost
from accuracy import KINDS, choose_ours, plan_of
from tqdm import tqdm

from asrl_mlflow.boosting import train
from asrl_mlflow.datasets import PAPER, join, make_matrix
from asrl_mlflow.experiments.experiment import prepare_split
from asrl_mlflow.experiments.trials import Judge
from asrl_mlflow.losses import BASIC, LOSSES, BaseLoss
from asrl_mlflow.metrics import mae
from asrl_mlflow.tuning.choice import candidates_of, choose

TUNED = ("huber", "asrl_c")
ALWAYS = ("asrl_c tuned", "huber tuned", "huber", "squared_error")


def measure(data: str, kind: str, seed: int, trials: int, most_rows: int) -> dict[str, Any]:
    """Test error over the best candidate's, for each way to choose, in one cell."""
    losses: dict[str, tuple[BaseLoss, int | None]] = {}
    values: dict[str, float] = {}
    for name, kind_of_loss in ((name, LOSSES[name]) for name in BASIC):
        plan = plan_of(data, kind, seed, kind_of_loss, most_rows)
        parts = prepare_split(plan.table, seed, plan.contamination)
        contest = plan.contest(parts)
        losses[name] = (kind_of_loss(), None)
        if name in TUNED:
            point, rounds = choose_ours(plan, parts, contest, trials)
            losses[f"{name} tuned"] = (plan.candidate(point)[0], rounds)
    judge = Judge(contest)
    for name, (loss, _) in losses.items():
        values[name] = judge.judge(loss, {}, lambda *_: None, lambda *_: True).value
    candidates = candidates_of(plan, parts, losses)
    known = join(parts.train, parts.valid)
    errors = {
        each.name: mae(
            parts.test.target,
            train(contest.params, make_matrix(known), each.rounds, loss=each.loss).inplace_predict(
                parts.test.features
            ),
        )
        for each in candidates
    }
    chosen = {
        "one standard error": choose(candidates).chosen.name,
        "smallest cross-validated error": min(values, key=lambda name: values[name]),
        **{f"always {name}": name for name in ALWAYS},
    }
    best = min(errors.values())
    return {
        "data": data,
        "kind": kind,
        "seed": seed,
        "trials": trials,
        "most_rows": most_rows,
        "xgboost": xgboost.__version__,
        "chosen": chosen,
        "ratio": {way: errors[name] / best for way, name in chosen.items()},
    }


@click.command()
@click.option("--seeds", default=2)
@click.option("--trials", default=12)
@click.option("--most-rows", default=800)
@click.option("--kinds", default="none,asym")
@click.option("--out", type=click.Path(path_type=Path), default="choice.jsonl")
def main(seeds: int, trials: int, most_rows: int, kinds: str, out: Path) -> None:
    """Measure what is not yet in the file; print the table."""
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    unknown = set(kinds.split(",")) - set(KINDS)
    if unknown:
        msg = f"--kinds takes {', '.join(KINDS)}; got {', '.join(sorted(unknown))}."
        raise click.UsageError(msg)
    cells = list(itertools.product(PAPER, kinds.split(","), range(seeds)))
    done = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    have = {(each["data"], each["kind"], each["seed"]) for each in done}
    for cell in tqdm([cell for cell in cells if cell not in have], disable=None):
        done.append(measure(*cell, trials, most_rows))
        with out.open("a") as file:
            file.write(f"{json.dumps(done[-1])}\n")
    ratios: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for each in done:
        for way, ratio in each["ratio"].items():
            ratios[way][each["kind"]].append(ratio)
    print(f"XGBoost {xgboost.__version__}; test MAE over the best candidate in hindsight")
    for way, by_kind in ratios.items():
        means = ", ".join(f"{kind} {geometric_mean(all_):.3f}" for kind, all_ in by_kind.items())
        plain = sum(not each["chosen"][way].endswith("tuned") for each in done)
        print(f"{way:32}{means}; untuned in {plain} of {len(done)} cells")


if __name__ == "__main__":
    main()
