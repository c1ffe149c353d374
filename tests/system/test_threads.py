"""Threads: a table has as many as it pays for, and whoever sets OMP_NUM_THREADS has the last word."""

from __future__ import annotations

import json

import numpy as np
import xgboost

from asrl_mlflow import datasets, losses
from asrl_mlflow.datasets.contamination import Contamination
from asrl_mlflow.experiments import experiment
from asrl_mlflow.experiments.settings import Settings
from asrl_mlflow.system.threads import CELLS_FOR_ALL, thread_count


def threads_of(booster):
    return json.loads(booster.save_config())["learner"]["generic_param"]["nthread"]


def test_a_small_table_is_learned_by_one_thread(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    parts = experiment.prepare_split(datasets.load(), 0, Contamination())
    loss, few = losses.ContinuousASRL(), Settings(rounds=2)
    assert threads_of(experiment.fit(loss, parts, few, 0, lambda _: None)) == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert threads_of(experiment.fit(loss, parts, few, 0, lambda _: None)) == "0"


def test_a_large_table_has_all_threads(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert thread_count(CELLS_FOR_ALL // 10, 10) == 0
    assert thread_count(CELLS_FOR_ALL // 10 - 1, 10) == 1


def test_the_trees_do_not_depend_on_the_number_of_threads():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 4))
    dtrain = xgboost.QuantileDMatrix(x, label=x[:, 0] + rng.normal(size=3000))
    one, two = (
        xgboost.train({"nthread": count, "max_depth": 4}, dtrain, 3).get_dump(with_stats=True)
        for count in (1, 2)
    )
    assert one == two
