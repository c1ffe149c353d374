"""The monitor: alarms where rows have changed, and hardly ever where they have not."""

from __future__ import annotations

import mlflow
import numpy as np
import pandas as pd
import pytest
import xgboost
from scipy import stats

import asrl_mlflow.mlflow as flavor
from asrl_mlflow import datasets, losses, registry, train
from asrl_mlflow.diagnosis.monitoring import Reference, judge
from asrl_mlflow.records.distribution import count_bins, describe_distribution
from asrl_mlflow.registry import versions
from tests.stores import artifacts, newest

RATE = 0.05


def table(rng, rows, *, moved=0.0, noise=1.0):
    x = pd.DataFrame(rng.normal(size=(rows, 3))).add_prefix("x")
    x.loc[::7, "x2"] = np.nan
    y = 10 * x["x0"] + 5 * np.sin(3 * x["x1"]) + moved + noise * rng.normal(size=rows)
    return x.assign(y=y)


def reference(rng, rows=300):
    features = pd.DataFrame({"a": rng.normal(size=rows), "b": rng.integers(0, 3, rows)})
    residual = rng.standard_t(3, rows)
    limits = {"delta_low": 0.7, "delta_high": 2.0}
    return Reference(np.abs(residual), limits, describe_distribution(features), residual=residual)


def batch_of(rng, known, rows=150, *, times=1.0, moved=0.0, shift=0.0):
    features = pd.DataFrame({"a": rng.normal(size=rows) + moved, "b": rng.integers(0, 3, rows)})
    residual = times * rng.standard_t(3, rows) + shift
    return judge("a day", features, np.abs(residual), known, residual)


def test_batches_without_a_change_have_alarms_as_rarely_as_was_asked():
    rng = np.random.default_rng(0)
    alarms = sum(bool(batch_of(rng, reference(rng)).alarms(RATE)) for _ in range(600))
    # What 600 batches can have at the rate, but for one case in a thousand; Holm's rule has fewer.
    assert 0 < alarms <= stats.binom(600, RATE).ppf(0.999)


@pytest.mark.parametrize(
    ("change", "checks"),
    [
        ({"times": 3.0}, {"coverage", "errors", "beyond.delta_low", "beyond.delta_high"}),
        ({"times": 0.2}, {"errors", "beyond.delta_low", "beyond.delta_high"}),
        ({"moved": 1.5}, {"feature.a"}),
        ({"shift": 0.5}, {"shift"}),
    ],
)
def test_a_change_has_an_alarm_by_the_checks_that_it_is_about(change, checks):
    rng = np.random.default_rng(0)
    found = batch_of(rng, reference(rng), **change).alarms(RATE)
    assert checks <= {check.name for check in found} <= checks | {"coverage", "beyond.delta_low"}


def test_the_coverage_of_a_batch_is_that_of_split_conformal_intervals():
    known = Reference(np.arange(1.0, 100.0), {}, {})
    batch = judge("a day", pd.DataFrame(), np.array([89.5] * 6 + [90.5] * 4), known)
    coverage = next(check for check in batch.checks if check.name == "coverage")
    assert (coverage.expected, coverage.observed) == (0.9, 0.6)
    assert coverage.p_value == pytest.approx(2 * stats.betabinom(10, 90, 10).cdf(6))


def test_a_reference_without_sides_is_compared_by_sizes_alone():
    residual = np.random.default_rng(0).normal(size=300)
    known = Reference(np.abs(residual), {}, {})
    batch = judge("a day", pd.DataFrame(), np.abs(residual), known, residual)
    assert [check.name for check in batch.checks] == ["coverage", "errors"]


def test_bins_count_ties_missing_values_and_categories():
    frame = pd.DataFrame(
        {
            "many": [0.0] * 90 + [1.0] * 10,
            "none": [np.nan] * 100,
            "kind": pd.Categorical(["x"] * 60 + ["y"] * 40, categories=["x", "y", "z"]),
        }
    )
    described = describe_distribution(frame)
    assert described["many"] == {"edges": [0.0], "counts": [90, 10, 0]}
    assert described["none"] == {"edges": [], "counts": [0, 100]}
    assert described["kind"]["counts"] == [60, 40, 0, 0]
    other = pd.Series(["x", "new", None], dtype=object)
    assert count_bins(other, described["kind"]) == [1, 0, 0, 2]


@pytest.fixture
def model(flow, store):
    """A registered model of a made table; gives the generator of later rows."""
    rng = np.random.default_rng(0)
    table(rng, 1500).to_csv("made.csv", index=False)
    given = ("--data=made.csv", "--target=y", "--rounds=60", "--figures=false")
    assert flow("train", *given)[0] == 0
    registry.register(newest(store))
    return rng


def test_the_command_exits_with_6_where_a_batch_has_changed_and_logs_what(flow, store, model):
    days = [table(model, 200, noise=1 + 2 * (day == 2)) for day in range(3)]
    frame = pd.concat(day.assign(day=f"day {at}", note="text") for at, day in enumerate(days))
    frame.to_csv("later.csv", index=False)
    command = ("monitor", "--model-uri=models:/asrl-made/1", "--data=later.csv", "--by=day")
    code, said, _ = flow(*command)
    assert code == 6
    lines = {line[:5]: line for line in said.splitlines() if line.startswith("day ")}
    assert "coverage" in lines["day 2"]
    run = store.get_run(newest(store))
    assert (run.data.metrics["monitor.batches"], run.data.metrics["monitor.alarms"]) == (3, 1)
    history = store.get_metric_history(run.info.run_id, "monitor.coverage")
    assert [each.step for each in history] == [0, 1, 2]
    assert 0.3 < run.data.metrics["monitor.shift"] < 0.7
    assert {"monitor.json", "figures/monitor.png"} <= set(artifacts(store, run.info.run_id))


def test_without_outcomes_features_alone_are_compared(flow, store, model):
    later = table(model, 300).drop(columns="y")
    later.to_csv("later.csv", index=False)
    command = ("monitor", "--model-uri=models:/asrl-made/1", "--figures=false")
    code, said, _ = flow(*command, "--data=later.csv")
    assert (code, "only features were compared" in said) == (0, True)
    later.assign(x0=later["x0"] + 1).to_parquet("later.parquet")
    code, said, _ = flow(*command, "--data=later.parquet")
    assert (code, "feature.x0" in said) == (6, True)


@pytest.fixture
def mixed(flow, store):
    """Rows with a category, and a registered model that has learned from them."""
    rng = np.random.default_rng(8)
    frame = pd.DataFrame({"x": rng.normal(size=400), "k": rng.choice(["a", "b"], 400)})
    frame["y"] = 40 + 5 * frame.x + rng.normal(size=400)
    frame.assign(k=frame.k.astype("category")).to_parquet("mixed.parquet")
    given = ("--data=mixed.parquet", "--target=y", "--rounds=20", "--figures=false")
    assert flow("train", *given)[0] == 0
    registry.register(newest(store))
    return frame


MONITOR_MIXED = ("monitor", "--model-uri=models:/asrl-mixed/1", "--data=later.parquet")


@pytest.mark.parametrize("outcomes", ["k", "k y"])
def test_a_category_that_training_had_not_is_an_alarm(flow, store, mixed, outcomes):
    later = mixed.assign(k=pd.Categorical(np.where(mixed.index % 4, mixed.k, "c")))
    later[["x", *outcomes.split()]].to_parquet("later.parquet")
    code, said, err = flow(*MONITOR_MIXED, "--figures=false")
    assert (code, "feature.k" in said, "coverage" in said) == (6, True, False), err
    assert "100 of 400 rows have a category that the training had not: " in said
    metrics = store.get_run(newest(store)).data.metrics
    assert metrics["monitor.rows_unknown"] == 100
    assert ("monitor.coverage" in metrics) == ("y" in outcomes)


def test_a_batch_that_no_model_can_predict_has_no_checks_of_outcomes(flow, store, mixed):
    day = np.arange(400) // 100
    kinds = pd.Categorical(np.where(day == 2, "c", mixed.k))
    mixed.assign(k=kinds, day=day).to_parquet("later.parquet")
    code, _, err = flow(*MONITOR_MIXED, "--by=day")
    assert (code, err.count("Traceback")) == (6, 0), err
    run = newest(store)
    history = store.get_metric_history(run, "monitor.coverage")
    assert [each.step for each in history] == [0, 1, 3]
    assert "figures/monitor.png" in artifacts(store, run)


def test_a_version_is_downloaded_and_checked_once(flow, model, monkeypatch):
    checked, check_copy = [], versions.check_copy

    def count(folder, *given):
        checked.append(folder)
        check_copy(folder, *given)

    monkeypatch.setattr(versions, "check_copy", count)
    table(model, 300).to_csv("later.csv", index=False)
    command = ("monitor", "--model-uri=models:/asrl-made/1", "--figures=false")
    assert flow(*command, "--data=later.csv")[0] == 0
    assert len(checked) == 1


def test_a_feature_whose_name_can_be_no_metric_loses_no_alarm(flow, store):
    rng = np.random.default_rng(0)
    names = {"x0": "a b%", "x1": "b", "x2": "c"}
    table(rng, 1500).rename(columns=names).to_csv("made.csv", index=False)
    assert flow("train", "--data=made.csv", "--target=y", "--rounds=20", "--figures=false")[0] == 0
    registry.register(newest(store))
    later = table(rng, 300)
    later.assign(x0=later["x0"] + 2).rename(columns=names).to_csv("later.csv", index=False)
    command = ("monitor", "--model-uri=models:/asrl-made/1", "--data=later.csv", "--figures=false")
    code, said, err = flow(*command)
    assert (code, "feature.a b%" in said) == (6, True), err
    metrics = store.get_run(newest(store)).data.metrics
    assert metrics["monitor.changed_features"] == 1


def test_models_of_several_targets_and_of_arrays_are_refused_in_a_line(flow, store):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 2)), rng.normal(size=(300, 2))
    two = train({"nthread": 1}, xgboost.DMatrix(x, label=y), 3, loss=losses.Huber())
    one = train({"nthread": 1}, xgboost.DMatrix(x, label=y[:, 0]), 3, loss=losses.Huber())
    pd.DataFrame(x, columns=["0", "1"]).assign(target=y[:, 0]).to_csv("later.csv", index=False)
    for name, booster, rule in (("two", two, "one target"), ("one", one, "name them so")):
        with mlflow.start_run():
            flavor.log_model(booster, name="model", registered_model_name=name)
        code, _, err = flow("monitor", f"--model-uri=models:/{name}/1", "--data=later.csv")
        assert (code, rule in err.splitlines()[-1]) == (2, True), err


def test_errors_that_are_tied_at_the_width_of_an_interval_are_no_change():
    rng = np.random.default_rng(0)
    levels, shares = [0.1, 0.3, 2.0], [0.5, 0.45, 0.05]
    known = Reference(rng.choice(levels, 500, p=shares), {}, {})
    batches = [
        judge("a day", pd.DataFrame(), rng.choice(levels, 500, p=shares), known) for _ in range(100)
    ]
    assert sum(bool(batch.alarms(0.01)) for batch in batches) <= 10


def test_a_model_of_classes_is_judged_by_its_sets(flow, store):
    assert flow("train", "--data=wine", "--rounds=20", "--figures=false")[0] == 0
    version = registry.register(newest(store))
    rows = datasets.load("wine").rows
    wrong = np.asarray(rows.classes)[(rows.target.astype(int) + 1) % 3]
    target = version.record.data["target"]
    rows.features.assign(**{target: wrong}).to_csv("later.csv", index=False)
    command = ("monitor", f"--model-uri={version.uri}", "--figures=false")
    code, said, _ = flow(*command, "--data=later.csv")
    assert (code, "coverage" in said) == (6, True)
    rows.features.assign(**{target: "no wine"}).to_csv("other.csv", index=False)
    code, _, err = flow(*command, "--data=other.csv")
    assert (code, "needs classes" in err) == (2, True)


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        (["--data=later.csv"], "got no --model-uri"),
        (["--model-uri=models:/asrl-made/1"], "got no --data"),
        (["--model-uri=models:/asrl-made/1", "--data=few.csv"], "at least 20 rows"),
        (["--model-uri=models:/asrl-made/1", "--data=later.csv", "--by=week"], "week"),
        (["--model-uri=models:/asrl-made/1", "--data=nowhere.csv"], "no such file"),
        (["--model-uri=models:/asrl-made/1", "--data=gaps.csv"], "in every row or in none"),
        (["--model-uri=models:/asrl-made/1", "--data=short.csv"], "column"),
    ],
)
def test_what_cannot_be_monitored_is_one_line_and_exit_code_2(flow, model, given, rule):
    later = table(model, 50)
    later.to_csv("later.csv", index=False)
    later.head(5).to_csv("few.csv", index=False)
    later.assign(y=later["y"].where(later.index > 3)).to_csv("gaps.csv", index=False)
    later.drop(columns="x1").to_csv("short.csv", index=False)
    code, _, err = flow("monitor", *given)
    last = err.splitlines()[-1]
    assert (code, last.startswith("monitor: "), rule in last) == (2, True, True), err
