"""Grids of losses and rivals: all tuned alike on spoiled targets, judged on clean ones, told without favour."""

from __future__ import annotations

import dataclasses
import math
import sys
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import xgboost

from asrl_mlflow import losses
from asrl_mlflow.comparisons.grids import (
    Cell,
    Failed,
    Grid,
    Judged,
    Results,
    Rules,
    Setting,
    Task,
    attempt,
    budget,
    judge,
)
from asrl_mlflow.comparisons.grids.budget import measure_pace, plan
from asrl_mlflow.comparisons.grids.convergence import Convergence
from asrl_mlflow.comparisons.grids.figures import (
    draw_convergence,
    draw_levels,
    draw_ranks,
    draw_ratios,
)
from asrl_mlflow.comparisons.grids.levels import find_levels, level_name
from asrl_mlflow.comparisons.grids.methods import BOOSTER_START, RIVALS, Boosting, find_method
from asrl_mlflow.comparisons.grids.methods.installed import installed
from asrl_mlflow.comparisons.grids.presets import PRESETS
from asrl_mlflow.comparisons.grids.ranking import rank
from asrl_mlflow.comparisons.grids.shift import split_apart
from asrl_mlflow.comparisons.grids.verdict import verdict
from asrl_mlflow.datasets import Blocks, Contamination, Rows, from_arrays, load, split
from asrl_mlflow.errors import InputError
from asrl_mlflow.losses.search_space import Interval
from asrl_mlflow.metrics import mae
from asrl_mlflow.residuals import distances
from asrl_mlflow.system.pool import work_on_all

TABLE = load("diabetes")
CELL = Cell("diabetes", "asrl_c", "asym", 0.2, seed=0, learning_rate=0.3, rows=150)
GRID = Grid(
    losses=("asrl_c",),
    rivals=("xgboost_squared",),
    contaminations=(Contamination(), Contamination("asym", 0.2)),
    seeds=(0, 1),
    learning_rates=(0.3,),
    rows=(150,),
    shifts=("none",),
    rules=Rules(trials=1, rounds=3),
)


def task(trials=1, rounds=3, **changed):
    return Task(dataclasses.replace(CELL, **changed), TABLE, Rules(trials, rounds))


def results(settings, **errors):
    """Of one table: at each setting an error a seed for every method; the first is asked about."""
    frames = {
        Setting("diabetes", contamination, 0.1, None): pd.DataFrame(
            {name: values[place] for name, values in errors.items()}
        )
        for place, contamination in enumerate(settings)
    }
    first, *others = errors
    return Results([first], others, frames, dict.fromkeys(errors, 1.0), 0)


SPOILED = (Contamination(), Contamination("sym", 0.05), Contamination("sym", 0.2))


def test_test_targets_are_clean_and_the_same_for_every_method_and_contamination():
    clean = task(kind="none", share=0.0).split()
    for changed in ({}, {"kind": "cauchy", "share": 0.0}, {"method": "xgboost_absolute"}):
        np.testing.assert_array_equal(task(**changed).split().test.target, clean.test.target)
    spoiled = task().split()
    for part in ("train", "valid"):
        moved = getattr(spoiled, part).target != getattr(clean, part).target
        assert moved.mean() == pytest.approx(0.2, abs=0.02)


def test_shifted_test_rows_lie_where_nothing_is_learned_and_their_targets_are_clean():
    shifted = task(shift="features", rows=None).split()
    features = [part.features.to_numpy() for part in (shifted.train, shifted.valid, shifted.test)]
    whole = np.concatenate(features)
    mean, deviation = whole.mean(axis=0), whole.std(axis=0, ddof=1)
    order = np.random.default_rng(0).normal(size=whole.shape[1])
    train, valid, test = ((each - mean) / deviation @ order for each in features)
    assert max(train.max(), valid.max()) <= test.min() + 1e-9
    assert set(shifted.test.target) <= set(TABLE.rows.target)
    assert not set(shifted.train.target) <= set(TABLE.rows.target)
    blocks = dataclasses.replace(TABLE.rows, blocks=Blocks(np.arange(442), in_time=True))
    with pytest.raises(InputError, match="got rows with groups or times"):
        split_apart(blocks, 0)
    texts = pd.DataFrame({"a": pd.Categorical(["x", "y"] * 10)})
    with pytest.raises(InputError, match="need a feature that is a number"):
        split_apart(Rows(texts, np.arange(20.0)), 0)


@pytest.mark.parametrize("name", [*RIVALS, "asrl_c", "auto", "huber"])
def test_every_method_learns_more_than_the_median_and_stops_where_it_is_best(name):
    if name.startswith("lightgbm") and sys.platform != "linux":
        pytest.skip("LightGBM needs more than pip here")
    parts = split(TABLE.rows, 0)
    method = find_method(name)
    start = {**method.starts(distances(parts.train.target))[0], **BOOSTER_START}
    boosting = Boosting(60, 0.2, 5, 0)
    fitted = method.fit(start, parts.train, parts.valid, boosting)
    error = mae(parts.valid.target, fitted.predict(parts.valid))
    assert error < 0.95 * mae(parts.valid.target, np.full(88, np.median(parts.train.target)))
    assert error == pytest.approx(min(fitted.curve), rel=1e-5)
    assert fitted.rounds == int(np.argmin(fitted.curve)) + 1
    whole = method.fit(start, parts.train, None, dataclasses.replace(boosting, rounds=7))
    assert (whole.rounds, len(whole.curve)) == (7, 0)


@pytest.mark.parametrize("name", ["rrboost", "filter_refit"])
def test_a_robust_rival_learns_what_is_right_beside_labels_that_are_far_off(name):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 3))
    right = 40 + 6 * x[:, 0] + 4 * np.sin(2 * x[:, 1])
    wrong = right + rng.normal(size=600)
    wrong[::10] += 1000
    parts = [Rows(pd.DataFrame(x[half]), wrong[half]) for half in (slice(400), slice(400, 600))]
    errors = {}
    for each in (name, "xgboost_squared"):
        method = find_method(each)
        point = {**method.starts(distances(wrong))[0], **BOOSTER_START, "left_out": 0.3}
        fitted = method.fit(point, *parts, Boosting(60, 0.2, None, 0))
        errors[each] = mae(right[400:], fitted.predict(parts[1]))
    assert errors[name] < 0.1 * errors["xgboost_squared"]


@pytest.mark.parametrize(
    "name", ["xgboost_absolute", "rrboost", "filter_refit", "lightgbm_l1", "catboost_mae", "asrl_c"]
)
def test_every_library_takes_categories_gaps_weights_and_any_column_name(name):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            'a "b": {1}, 2': rng.normal(size=90),
            "kind": pd.Categorical(rng.choice(["x", "y", None], 90)),
            "yes": rng.uniform(size=90) > 0.5,
        }
    )
    frame.iloc[::7, 0] = np.nan
    rows = Rows(frame, 50 + rng.normal(size=90), rng.uniform(1, 2, 90), weight_rule="mean 1")
    method = find_method(name)
    start = {**BOOSTER_START, **method.starts(distances(rows.target))[0]}
    fitted = method.fit(start, rows, rows, Boosting(3, 0.3, 2, 0))
    assert fitted.predict(rows) == pytest.approx(50, abs=4)


@pytest.mark.parametrize("name", [*RIVALS, "asrl_c"])
def test_every_method_begins_at_the_median_by_sample_weights(name):
    if name.startswith("lightgbm") and sys.platform != "linux":
        pytest.skip("LightGBM needs more than pip here")
    target = np.repeat([0.0, 100.0], [60, 40])
    frame = pd.DataFrame({"nothing": np.tile([0.0, 1.0], 50)})
    rows = Rows(frame, target, np.where(target, 1.0, 0.1), weight_rule="mean 1")
    method = find_method(name)
    start = {**BOOSTER_START, **method.starts(distances(target, rows.weight))[0]}
    fitted = method.fit(start, rows, None, Boosting(2, 0.01, None, 0))
    assert fitted.predict(rows) == pytest.approx(100, abs=20)


@pytest.mark.parametrize("rounds", [1, 2])
def test_two_stages_do_with_a_single_round(rounds):
    judged = judge(
        Task(dataclasses.replace(CELL, method="rrboost"), TABLE, Rules(1, rounds, curves=True))
    )
    assert 1 <= judged.metrics["best.rounds"] <= rounds
    assert len(judged.curve) == rounds
    assert np.isfinite(judged.curve).all()


def test_a_rival_whose_library_is_missing_is_refused_and_not_left_out():
    with pytest.raises(
        InputError, match=r"got none installed; run pip install 'asrl-mlflow\[rivals\]'"
    ):
        installed("Nothing", "no-such-package")


def test_xgboost_s_squared_error_and_ours_are_the_same_trees():
    parts = split(TABLE.rows, 0)
    boosting = Boosting(5, 0.2, None, 0)
    ours, theirs = (
        find_method(name).fit(BOOSTER_START, parts.train, None, boosting).predict(parts.test)
        for name in ("squared_error", "xgboost_squared")
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_a_variant_with_every_choice_as_it_is_is_the_loss_itself():
    parts = split(TABLE.rows, 0)
    boosting = Boosting(8, 0.3, None, 0)

    def predict(name):
        fitted = find_method(name).fit(BOOSTER_START, parts.train, None, boosting)
        return fitted.predict(parts.test)

    for loss in ("asrl", "asrl_c:q_low=0.3:q_high=0.6"):
        same = predict(f"{loss}/refresh=1")
        np.testing.assert_allclose(
            same, predict(f"{loss}:eps=1e-6" if loss == "asrl" else loss), rtol=1e-4
        )
        for choice in ("hessian=second", "hessian=one", "refresh=0", "refresh=5"):
            assert np.abs(predict(f"{loss}/{choice}") - same).max() > 1
    assert np.abs(predict("asrl/regions=off") - predict("asrl/refresh=1")).max() > 1
    np.testing.assert_array_equal(predict("asrl_c/refresh=0"), predict("asrl_c/refresh=8"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("asrl_c/hessian=two", "hessian=weight|second|one"),
        ("asrl_c/refresh=-1", "refresh=<rounds>"),
        ("asrl_c/speed=2", "takes hessian, regions, refresh"),
        ("asrl_c/regions=off", "Only asrl has weights"),
        ("auto/refresh=2", "variants of asrl and asrl_c; got asrl_c auto"),
        ("huber/refresh=2", "variants of asrl and asrl_c; got huber"),
        ("asrl_c:q_low", "takes parameters as asrl_c:q_low=0.5"),
        ("asrl_c:q_low=2", "0 < q_low < 1"),
    ],
)
def test_a_variant_that_there_is_not_is_refused(name, said):
    with pytest.raises(InputError) as refused:
        find_method(name)
    assert said in str(refused.value)


def test_a_loss_with_parameters_keeps_them_whatever_the_trials():
    judged = judge(task(method="asrl_c:q_low=0.3:q_high=0.6", trials=3))
    assert (judged.params["loss.q_low"], judged.params["loss.q_high"]) == (0.3, 0.6)


def test_the_map_has_a_cell_a_point_and_is_left_out_of_the_ranks():
    names = [
        level_name(low, high, tail) for low in (0.2, 0.4) for high in (0.5, 0.9) for tail in (1, 5)
    ]
    rng = np.random.default_rng(0)
    found = results(
        SPOILED, **{name: list(rng.uniform(1, 2, (3, 6))) for name in [*names, "asrl_c"]}
    )
    found = dataclasses.replace(found, losses=names, rivals=["asrl_c"])
    levels = find_levels(found.methods)
    assert set(levels) == set(names)
    panels = draw_levels(found, levels, "title").axes
    assert (len(panels), {len(axes.texts) for axes in panels}) == (6, {4})
    assert found.without(levels).methods == ["asrl_c"]


def test_every_method_searches_the_booster_too_and_more_trials_choose_no_worse():
    one, four = (judge(task(trials=trials)) for trials in (1, 4))
    assert {"booster.max_depth", "booster.lambda", "loss.q_low"} <= set(one.params)
    assert four.metrics["best.objective"] <= one.metrics["best.objective"]
    again = judge(task(trials=4))
    assert again.params == four.params
    assert again.metrics["test.mae"] == four.metrics["test.mae"]
    parameter = judge(task(method="xgboost_pseudo_huber"))
    assert parameter.params["method.huber_slope"] > 0


@pytest.mark.parametrize(
    "name",
    ["asrl_c", "xgboost_squared", "catboost_mae", "asrl_c/refresh=5", "rrboost", "mm", "auto"],
)
def test_a_curve_is_the_test_mae_of_every_round_and_chooses_nothing(name):
    with_curve = judge(
        Task(dataclasses.replace(CELL, method=name), TABLE, Rules(1, 9, curves=True))
    )
    without = judge(task(method=name, rounds=9))
    assert (len(with_curve.curve), len(without.curve)) == (9, 0)
    assert with_curve.metrics["test.mae"] == without.metrics["test.mae"]
    kept = int(without.metrics["best.rounds"])
    assert with_curve.curve[kept - 1] == pytest.approx(without.metrics["test.mae"], rel=1e-4)


def test_convergence_is_of_the_seeds_that_every_method_has():
    grid = dataclasses.replace(GRID, rules=Rules(1, 4, curves=True))
    errors = [4.0, 2.0, 1.01, 1.0]
    judged = [
        Judged(
            each.cell,
            {"test.mae": 2.0, "fit_seconds": 1.0, "round_seconds": 0.5},
            {},
            [(1 + each.cell.seed) * error for error in errors],
        )
        for each in grid.tasks({"diabetes": TABLE})
    ]
    found = Results.of(grid, judged[:-1])
    convergence = Convergence.of(found, judged[:-1])
    curves = [methods["asrl_c"] for methods in convergence.curves.values()]
    np.testing.assert_allclose([curve.errors[0] for curve in curves], [6.0, 4.0])
    assert {(curve.best, curve.near) for curve in curves} == {(4, 3)}
    assert set(convergence.table(found)["and seconds"]) == {1.5}
    figures = draw_convergence(convergence)
    assert set(figures) == {"diabetes_none_0_150", "diabetes_asym_0.2_150"}


@dataclass(frozen=True)
class Picky(losses.Huber):
    """A loss that some points of its search space break."""

    name = "picky"

    @classmethod
    def search_space(cls, target):
        return {"delta": Interval(1.0, 200.0, log=True)}

    @classmethod
    def starts(cls, target):
        return ({"delta": 100.0}, {"delta": 10.0})

    def adapt(self, stats):
        if self.delta < 50:
            msg = f"no delta like {self.delta:g}"
            raise RuntimeError(msg)
        return super().adapt(stats)


def test_a_trial_that_fails_is_passed_over_and_counted(forgetful):
    losses.register(Picky)
    judged = judge(task(method="picky", trials=2))
    assert judged.metrics["trials.failed"] == 1
    assert judged.params["loss.delta"] == 100
    assert judge(task(method="asrl_c", trials=2)).metrics["trials.failed"] == 0


def test_a_cell_whose_every_trial_fails_is_kept_with_its_reason(forgetful):
    losses.register(Picky)
    failed = attempt(task(method="picky:delta=2", trials=3))
    assert failed == Failed(task(method="picky:delta=2").cell, "RuntimeError: no delta like 2")
    # Planning meets it too.
    grid = dataclasses.replace(GRID, losses=("picky:delta=2",), seeds=(0,))
    assert measure_pace(grid, {"diabetes": TABLE})["diabetes", "picky:delta=2"] == 0


def test_nothing_is_begun_after_the_time():
    answers = iter([True, False])
    tasks = [task(seed=seed) for seed in range(2)]
    begun = list(work_on_all(judge, tasks, 1, goes_on=lambda: next(answers)))
    assert [each.cell.seed for each in begun] == [0]


def test_a_cell_s_key_tells_it_from_cells_with_another_rule_table_or_library(monkeypatch):
    cells = [task(), task(rows=149), task(trials=2), task(rounds=4), task(method="auto")]
    other = dataclasses.replace(task(), table=dataclasses.replace(TABLE, digest="other"))
    keys = {each.cell.key(each.table, each.rules) for each in (*cells, other)}
    assert len(keys) == 6
    assert CELL.key(TABLE, Rules(1, 3)) in keys
    monkeypatch.setattr(xgboost, "__version__", "9")
    assert CELL.key(TABLE, Rules(1, 3)) not in keys


def test_a_grid_is_everything_with_everything_seed_after_seed():
    cells = [each.cell for each in GRID.tasks({"diabetes": TABLE})]
    assert len(cells) == len(set(cells)) == 8
    assert [cell.seed for cell in cells] == [0] * 4 + [1] * 4


def test_a_budget_cuts_seeds_then_trials_then_rows_and_refuses_what_does_not_fit():
    tables = {"diabetes": TABLE}
    grid = dataclasses.replace(
        GRID, seeds=tuple(range(20)), rows=(None,), rules=Rules(trials=40, rounds=3)
    )
    pace = {("diabetes", name): 1.0 for name in grid.methods}
    whole = plan(grid, tables, pace, 1e6, jobs=1)
    assert whole.grid == grid
    fewer = plan(grid, tables, pace, 0.6 * whole.minutes, jobs=1)
    assert (len(fewer.grid.seeds), fewer.grid.rules.trials) == (9, 40)
    assert plan(grid, tables, pace, 0.3 * whole.minutes, jobs=2).grid == fewer.grid
    least = plan(grid, tables, pace, 0.1 * whole.minutes, jobs=1).grid
    assert (len(least.seeds), least.rules.trials) == (5, 10)
    with pytest.raises(InputError, match=r"takes about 0\.\d+ minutes; got 0\.01 after planning"):
        plan(grid, tables, pace, 0.01, jobs=1)
    assert set(measure_pace(GRID, tables)) == set(pace)


def test_a_pace_is_timed_on_few_rows_and_is_that_of_all(monkeypatch):
    seen = []

    def probe(task):
        parts = task.split()
        seen.append(sum(map(len, (parts.train, parts.valid, parts.test))))
        return 2.0

    monkeypatch.setattr(budget, "probe", probe)
    monkeypatch.setattr(budget, "_ROWS_TO_TIME", 221)
    pace = measure_pace(GRID, {"diabetes": TABLE})
    assert seen == [221] * 2
    assert set(pace.values()) == {2.0 * 442 / 221}


def test_a_seed_that_some_method_lacks_is_left_out_and_counted():
    judged = [
        Judged(each.cell, {"test.mae": 2.0, "fit_seconds": 1.0}, {})
        for each in GRID.tasks({"diabetes": TABLE})
    ]
    found = Results.of(GRID, judged[:-1])
    assert [len(frame) for frame in found.errors.values()] == [2, 1]
    assert found.left_out == 1
    assert Results.of(GRID, judged).left_out == 0


def test_ratios_are_to_the_rival_that_hindsight_chooses_and_intervals_hold_them():
    rng = np.random.default_rng(0)
    noise = rng.lognormal(0, 0.02, 20)
    found = results(
        SPOILED[:1], asrl_c=[0.9 * noise], xgboost_squared=[np.ones(20)], huber=[1.5 * noise]
    )
    ((ratio,),) = found.ratios().values()
    assert (ratio.method, ratio.rival, ratio.is_clear) == ("asrl_c", "xgboost_squared", True)
    assert ratio.low < ratio.value < ratio.high < 1
    (setting,) = found.errors
    assert found.ratio(setting, "asrl_c", comparisons=50).high > ratio.high
    few = results(SPOILED[:1], asrl_c=[np.ones(4)], xgboost_squared=[np.ones(4)])
    ((ratio,),) = few.ratios().values()
    assert math.isnan(ratio.low)
    assert not ratio.is_clear
    columns = found.columns()
    assert {len(each) for each in columns.values()} == {3}
    assert columns["best rival"] == ["xgboost_squared"] * 3


def test_ranks_are_scipy_s_and_the_critical_difference_is_demsar_s():
    rng = np.random.default_rng(0)
    errors = pd.DataFrame(rng.uniform(np.zeros((30, 4)), [0.7, 1, 1.3, 1.3]), columns=list("abcd"))
    found = rank(errors)
    assert found.p == scipy.stats.friedmanchisquare(*errors.T.to_numpy()).pvalue
    # Demsar 2006, table 5: q for four methods is 2.569.
    assert found.critical_difference == pytest.approx(2.569 * math.sqrt(4 * 5 / 180), abs=1e-3)
    apart = found.ranks["d"] - found.ranks["a"] > found.critical_difference
    assert apart == (found.differ.loc["a", "d"] < 0.05)
    assert "a is first" in found.describe()
    assert rank(errors[["a", "b"]]) is None
    alike = rank(pd.DataFrame(np.tile([[1, 2, 3], [3, 2, 1]], (4, 1)), columns=list("abc")))
    assert "no difference is shown" in alike.describe()
    drawn = np.random.default_rng(111).uniform([0, 0.2, 0.3, 0.3], [1, 1.2, 1.3, 1.3], (6, 4))
    near = rank(pd.DataFrame(drawn, columns=list("abcd")))
    assert near.p < 0.05
    assert "clearly before none of the others" in near.describe()


def test_the_verdict_says_which_loss_how_sure_it_is_and_where_squared_error_would_do():
    ones = np.ones(7)
    jitter = np.array([0.99, 1.01, 1.0, 0.98, 1.02, 1.0, 1.0])
    lines = verdict(
        results(
            SPOILED,
            asrl_c=[1.01 * ones, 1.005 * jitter, 0.9 * jitter],
            xgboost_squared=[ones, ones, 3 * ones],
            huber=[1.1 * ones, 1.1 * ones, ones],
        )
    )
    assert lines[0].startswith("diabetes, none: asrl_c is 1% worse than xgboost_squared")
    assert "which is not clear" in lines[1]
    assert lines[2].startswith(
        "diabetes, sym 20%: asrl_c is 10% better than huber, the best rival (95%: "
    )
    assert lines[3] == (
        "all settings: asrl_c is 9% better than huber, the best rival over all of them (1 table; an interval "
        "takes 6)."
    )
    assert lines[4:] == [
        "diabetes, sym: xgboost_squared would do with 5% of bad labels; with 20% of bad labels its error is "
        "3.33 times that of asrl_c."
    ]
    (alone, *_) = verdict(results(SPOILED[:1], asrl_c=[ones], squared_error=[2 * ones]))
    assert "50% better" in alone
    (alike, *_) = verdict(results(SPOILED[:1], asrl_c=[ones], squared_error=[1.001 * ones]))
    assert "asrl_c is as good as squared_error" in alike


def test_the_seeds_of_several_tables_are_no_comparisons_of_their_own():
    one = results(SPOILED, asrl_c=[np.ones(4)] * 3, huber=[np.full(4, 2.0)] * 3)
    assert len(one.blocks) == 3 * 4
    other = {setting._replace(table="wine"): frame for setting, frame in one.errors.items()}
    both = dataclasses.replace(one, errors={**one.errors, **other})
    assert both.blocks.to_numpy().tolist() == [[1.0, 2.0]] * 6
    (ratio,) = both.overall()
    assert (ratio.value, ratio.is_clear) == (0.5, False)
    assert "(2 tables; an interval takes 6)" in verdict(both)[6]
    five = {
        setting._replace(table=f"{setting.table}{copy}"): frame
        for copy in range(6)
        for setting, frame in one.errors.items()
    }
    (ratio,) = dataclasses.replace(one, errors=five).overall()
    assert ratio.is_clear


def test_figures_have_a_panel_a_setting_and_a_mark_a_method():
    rng = np.random.default_rng(0)
    errors = {name: list(rng.uniform(1, 2, (3, 6))) for name in ("asrl_c", "auto", "huber")}
    found = results(SPOILED, **errors)
    shown = [axes for axes in draw_ratios(found, "title").axes if axes.get_visible()]
    assert [axes.get_title() for axes in shown] == [found.label(each) for each in found.errors]
    ranks = draw_ranks(rank(found.blocks), "title").axes[0]
    assert {text.get_text().split(" (")[0].split(") ")[-1] for text in ranks.texts} == set(errors)


@pytest.mark.parametrize("kind", ["sym", "asym", "adversarial"])
def test_the_verdict_says_that_squared_error_would_do_under_the_smallest_share_that_hurts(kind):
    ones = np.ones(6)
    settings = (Contamination(), Contamination(kind, 0.02), Contamination(kind, 0.05))
    found = results(settings, asrl_c=[ones] * 3, xgboost_squared=[ones, 1.3 * ones, 2 * ones])
    assert verdict(found)[-1] == (
        f"diabetes, {kind}: xgboost_squared would do on the targets as they are; with 2% of bad labels its error is 1.30 "
        "times that of asrl_c."
    )


def test_the_presets_of_wrong_labels_have_the_shares_that_they_promise():
    shares = {(each.kind, each.share) for each in PRESETS["label-noise"].contaminations}
    tried = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4)
    assert shares == {("none", 0)} | {(kind, each) for kind in ("sym", "asym") for each in tried}
    assert Contamination("adversarial", 0.01) in PRESETS["adversarial"].contaminations
    assert PRESETS["real-errors"].contaminations == (Contamination(),)


@pytest.mark.parametrize("shift", ["none", "features"])
def test_a_cell_of_a_table_with_truth_learns_what_is_given_and_is_judged_by_the_truth(shift):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3))
    truth = 5 * x[:, 0]
    given = truth + np.where(np.arange(300) % 10, 0, 1000)
    table = from_arrays(x, given, truth=np.where(np.arange(300) % 3, truth, np.nan))
    cell = dataclasses.replace(CELL, kind="none", share=0.0, rows=None, shift=shift)
    parts = Task(cell, table, Rules(1, 3)).split()
    assert max(parts.train.target) > 900
    assert max(np.abs(parts.test.target)) < 30
    assert 0 < len(parts.test) < 60
    errors = {
        name: judge(Task(dataclasses.replace(cell, method=name), table, Rules(1, 30))).metrics[
            "test.mae"
        ]
        for name in ("asrl_c", "xgboost_squared")
    }
    assert errors["asrl_c"] < 0.2 * errors["xgboost_squared"]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_names_methods_that_there_are(name):
    preset = PRESETS[name]
    for method in (*preset.losses, *preset.rivals):
        find_method(method)


@pytest.mark.parametrize(
    ("name", "said"),
    [("hubber", "did you mean 'huber'?"), ("focal", "which is for classes; use label_noise")],
)
def test_what_no_grid_can_compare_is_refused(name, said):
    with pytest.raises(InputError, match="A grid needs losses") as refused:
        find_method(name)
    assert said in str(refused.value)


def test_grids_of_other_roles_of_one_table_have_runs_of_their_own():
    table = load("diabetes")
    renamed = dataclasses.replace(table, roles=dataclasses.replace(table.roles, weight="age"))
    assert GRID.digest({"t": table}, None) != GRID.digest({"t": renamed}, None)
    assert GRID.digest({"t": table}, None) == GRID.digest({"t": load("diabetes")}, None)
