"""The choice among losses: the simplest that nothing beats by more than noise."""

from __future__ import annotations

import numpy as np
import pytest

from asrl_mlflow import datasets, losses
from asrl_mlflow.datasets import Contamination
from asrl_mlflow.experiments.experiment import prepare_split
from asrl_mlflow.experiments.settings import Settings
from asrl_mlflow.tuning import Plan
from asrl_mlflow.tuning.choice import Candidate, Errors, candidates_of, choose

RNG = np.random.default_rng(3)
NOISE = RNG.normal(size=400)


def candidate(name, loss, errors, *, is_tuned=False):
    weight = np.ones(len(errors))
    return Candidate(name, loss, is_tuned, 10, Errors(np.asarray(errors), weight), ())


def test_the_simplest_loss_wins_where_the_best_is_better_by_less_than_noise():
    simple = candidate("squared_error", losses.SquaredError(), 5 + NOISE)
    lucky = candidate("asrl_c tuned", losses.ContinuousASRL(), 4.99 + NOISE[::-1], is_tuned=True)
    choice = choose([lucky, simple])
    assert (choice.chosen, choice.best) == (simple, lucky)
    assert choice.excess < choice.standard_error
    assert choice.describe().startswith(
        "chosen: squared_error; its MAE on held-out training rows is "
    )
    assert "that of asrl_c tuned is " in choice.describe()


def test_the_best_loss_wins_where_it_is_better_by_more_than_noise():
    simple = candidate("squared_error", losses.SquaredError(), 5 + NOISE)
    better = candidate("asrl_c tuned", losses.ContinuousASRL(), 4.5 + NOISE, is_tuned=True)
    choice = choose([simple, better])
    assert (choice.chosen, choice.excess) == (better, 0.0)


def test_a_loss_that_is_not_tuned_is_simpler_than_a_tuned_one_and_fewer_parameters_are_simpler():
    same = 5 + NOISE
    every = [
        candidate("huber tuned", losses.Huber(), same, is_tuned=True),
        candidate("asrl_c", losses.ContinuousASRL(), same),
        candidate("huber", losses.Huber(), same),
    ]
    assert choose(every).chosen.name == "huber"
    assert choose(every[:2]).chosen.name == "asrl_c"


def test_weights_count_rows():
    errors = np.array([1.0, 5.0, 2.0])
    weighted = Errors(errors, np.array([2.0, 1.0, 1.0]))
    assert weighted.mean == pytest.approx(np.mean([1, 1, 5, 2]))
    excess, _ = weighted.excess(Errors(np.ones(3), weighted.weight))
    assert excess == pytest.approx(np.mean([0, 0, 4, 1]))


@pytest.mark.parametrize("rows_for_one_split", [10, 20_000])
def test_candidates_are_judged_by_rows_that_they_did_not_learn_from(
    monkeypatch, rows_for_one_split
):
    monkeypatch.setattr("asrl_mlflow.tuning.plan.ROWS_FOR_ONE_SPLIT", rows_for_one_split)
    table = datasets.load()
    settings = Settings(rounds=40, early_stopping_rounds=5)
    plan = Plan(losses.Huber, table, "mae", 0, settings, Contamination(), tune_booster=False)
    parts = prepare_split(table, 0, plan.contamination)
    wanted = {"squared_error": (losses.SquaredError(), None), "huber tuned": (losses.Huber(9.0), 7)}
    squared, tuned = candidates_of(plan, parts, wanted)
    rows = len(parts.valid) if rows_for_one_split == 10 else len(parts.train) + len(parts.valid)
    assert len(squared.errors.size) == len(tuned.errors.size) == rows
    assert (squared.is_tuned, tuned.is_tuned, tuned.rounds) == (False, True, 7)
    assert 1 <= squared.rounds < 40
    # Rows that were learned from would be predicted far better.
    assert 40 < squared.errors.mean < 60
    assert min(squared.curve) == pytest.approx(squared.errors.mean, rel=0.1)
