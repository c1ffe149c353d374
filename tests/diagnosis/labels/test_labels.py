"""Which labels are wrong: what comes first, what a run keeps, what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xgboost

from asrl_mlflow import RobustXGBRegressor, losses, registry, tracking, which_labels
from asrl_mlflow.datasets import from_arrays
from asrl_mlflow.datasets.contamination import Contamination
from asrl_mlflow.datasets.splits import folds, join, split
from asrl_mlflow.diagnosis.labels import MOST_ROWS, predict_in_halves, rank_residuals
from asrl_mlflow.diagnosis.labels.figure import draw_ranking
from asrl_mlflow.diagnosis.labels.ranking import measure_distance
from asrl_mlflow.errors import InputError
from asrl_mlflow.experiments.experiment import prepare_split, refit, run_experiment
from asrl_mlflow.experiments.settings import Settings
from asrl_mlflow.records.artifacts import UNSEEN, fetch_artifacts
from asrl_mlflow.records.unseen import OutOfFold, UnseenResiduals
from tests.conftest import PARAMS
from tests.stores import artifacts

CLEAN = Contamination()
SETTINGS = Settings(rounds=10, max_depth=4, learning_rate=0.3, figures=False)
ROBUST = ("asrl_c", "auto", "mm", "bisquare", "adaptive_huber")


def estimator(loss="asrl_c", **params):
    return RobustXGBRegressor(loss=loss, **{"n_estimators": 30, **PARAMS, **params})


def share_found(ranked):
    """Of the 60 spoiled rows of `table`, every tenth one."""
    return (ranked["row"].head(60) % 10 == 0).mean()


def trained(data, loss=None, seed=0, settings=SETTINGS):
    """A tracked run of a loss; gives its id."""
    with tracking.run("a run", flow="train") as log:
        run_experiment(
            loss or losses.ContinuousASRL(),
            data,
            prepare_split(data, seed, CLEAN),
            log,
            seed=seed,
            settings=settings,
            contamination=CLEAN,
            on_round=lambda _: None,
        )
    return log.run_id


@pytest.mark.parametrize("loss", [*ROBUST, "squared_error", "absolute_error"])
def test_wrong_labels_come_first_whatever_the_loss(table, loss):
    ranked = which_labels(estimator(loss), *table)
    assert share_found(ranked) >= 0.95
    assert len(ranked) == 600
    assert list(ranked) == ["row", "target", "prediction", "residual", "weight", "score"]
    assert ranked["target"].to_numpy() == pytest.approx(table[1][ranked["row"]])
    assert ranked["residual"].to_numpy() == pytest.approx(ranked["target"] - ranked["prediction"])


def test_a_loss_of_one_side_ranks_both_sides(table):
    x, y = table
    both = y.copy()
    both[5::50] -= 60
    ranked = which_labels(estimator(losses.Quantile(0.8)), x, both)
    assert set(range(5, 600, 50)) <= set(ranked["row"].head(80))


def test_the_score_is_the_share_of_rows_that_are_at_least_as_far(table):
    score = which_labels(estimator(), *table)["score"].to_numpy()
    assert (np.diff(score) >= 0).all()
    assert score[0] == 1 / 600
    assert score[-1] == 1
    same = OutOfFold(np.arange(5), np.ones(5), np.ones(5), np.zeros(5))
    assert rank_residuals(same, losses.ContinuousASRL())["score"].tolist() == [1.0] * 5
    assert rank_residuals(same, losses.ContinuousASRL())["row"].tolist() == [0, 1, 2, 3, 4]


def test_the_weight_is_what_the_final_loss_lets_a_row_count(table):
    ranked = which_labels(estimator(), *table)
    assert ranked["weight"].between(0, 1).all()
    assert ranked["weight"].head(60).max() < 0.3
    assert ranked["weight"].tail(300).median() == 1
    assert (which_labels(estimator("squared_error"), *table)["weight"] == 1).all()
    # Both losses of two stages are in their second one: nothing is left of a far row.
    assert which_labels(estimator("mm"), *table)["weight"].head(50).max() < 1e-6


def test_the_unit_of_the_target_and_its_origin_change_no_order(table):
    residual = np.random.default_rng(0).standard_t(2, 600)
    prediction = table[1]
    spread = np.random.default_rng(1).uniform(0, 3, 600)
    plain = measure_distance(residual, prediction, spread)
    moved = measure_distance(1000 * residual + 7, 1000 * prediction + 9, 1000 * spread)
    assert moved == pytest.approx(plain)


def test_rows_of_a_noisy_part_of_the_table_are_not_taken_for_wrong():
    rng = np.random.default_rng(0)
    prediction = rng.uniform(0, 100, 2000)
    residual = rng.normal(size=2000) * np.where(prediction > 50, 20, 1)
    wrong = np.flatnonzero(prediction < 25)[:20]
    residual[wrong] = 30
    first = np.argsort(-measure_distance(residual, prediction, np.zeros(2000)))[:20]
    assert set(first) == set(wrong)


def test_of_two_equal_residuals_that_of_a_row_whose_boosters_disagree_is_the_less_suspicious():
    residual = np.zeros(100)
    residual[[20, 60]] = 9
    spread = np.where(np.arange(100) == 20, 5.0, 0.1)
    distance = measure_distance(residual, np.arange(100.0), spread)
    assert distance[60] > distance[20] > 0


@pytest.mark.parametrize("share", [0.6, 1.0])
def test_targets_that_are_mostly_equal_are_ranked_too(share):
    residual = np.maximum(np.arange(200.0) - share * 200, 0)
    order = np.random.default_rng(0).permutation(200)
    distance = measure_distance(residual[order], np.arange(200.0), np.zeros(200))
    assert np.isfinite(distance).all()
    assert distance.argmax() == residual[order].argmax()


def test_a_fitted_estimator_is_ranked_with_the_rounds_it_kept_and_stays_as_it_is(table):
    x, y = table
    model = estimator(n_estimators=200, early_stopping_rounds=3, eval_metric="mae")
    model.fit(x[:400], y[:400], eval_set=[(x[400:], y[400:])], verbose=False)
    kept, before = model.get_booster().num_boosted_rounds(), model.predict(x)
    ranked = which_labels(model, x, y)
    pd.testing.assert_frame_equal(ranked, which_labels(estimator(n_estimators=kept), x, y))
    assert kept < 200
    assert (model.predict(x) == before).all()
    assert model.get_params()["early_stopping_rounds"] == 3


def test_the_rows_of_an_estimator_may_be_a_frame_with_categories(table):
    x, y = table
    frame = pd.DataFrame(x).add_prefix("f").set_index(np.arange(600)[::-1])
    frame["kind"] = pd.Categorical(np.where(x[:, 0] > 0, "high", "low"))
    # XGBoost 3.1 asks for it; newer ones find categories by themselves.
    model = estimator(enable_categorical=True)
    ranked = which_labels(model, frame, pd.Series(y, index=frame.index))
    assert share_found(ranked) >= 0.95


def test_rows_without_weight_are_left_out_and_heavy_ones_are_believed(table):
    x, y = table
    weight = np.ones(600)
    weight[:100] = 0
    ranked = which_labels(estimator(), x, y, sample_weight=weight)
    assert ranked["row"].min() == 100
    assert len(ranked) == 500
    halved = which_labels(estimator(), x, y, sample_weight=weight / 2)
    assert set(halved["row"]) == set(ranked["row"])
    everywhere = from_arrays(x, y, sample_weight=weight).rows
    found = predict_in_halves(losses.ContinuousASRL(), PARAMS, 5, everywhere, 0)
    assert found.numbers.tolist() == list(range(100, 600))
    assert found.left_out == 0


def test_a_group_s_rows_do_not_vouch_for_each_other(table):
    x, y = np.repeat(table[0], 2, axis=0), np.repeat(table[1], 2)
    group = np.repeat(np.arange(600), 2)
    deep = estimator("squared_error", max_depth=12, min_child_weight=0)

    def found(**given):
        return (which_labels(deep, x, y, **given)["row"].head(120) // 2 % 10 == 0).mean()

    assert found(groups=group) > found() + 0.1


def test_rows_know_their_place_in_the_table_wherever_they_go():
    x = np.arange(60.0)
    rows = from_arrays(x[:, None], x, groups=np.arange(60) // 2).rows
    parts = split(rows, 0)
    pairs = folds(join(parts.train, parts.valid), 3, 0)
    for part in (*vars(parts).values(), *(part for pair in pairs for part in pair)):
        assert (part.numbers == part.target).all()


def test_a_run_keeps_the_ranking_of_its_training_rows_by_their_place_in_the_file(store, table):
    x, y = table
    run_id = trained(from_arrays(x, y))
    ranked = which_labels(run_id)
    assert sorted(ranked["row"]) == sorted(split(from_arrays(x, y).rows, 0).train.numbers)
    assert (ranked["target"] == y[ranked["row"]]).all()
    assert ranked["row"].head(30).mod(10).eq(0).all()
    assert store.get_run(run_id).data.metrics["labels.ranked"] == 360
    assert store.get_run(run_id).data.metrics["labels.left_out"] == 0


def test_what_is_read_is_to_the_bit_what_was_ranked(store, table):
    data = from_arrays(*table)
    run_id = trained(data)
    params = {**SETTINGS.booster_params(0), "nthread": 1}
    found = predict_in_halves(losses.ContinuousASRL(), params, 10, split(data.rows, 0).train, 0)
    pd.testing.assert_frame_equal(
        which_labels(run_id), rank_residuals(found, losses.ContinuousASRL()), check_exact=True
    )


def test_a_run_its_uri_and_the_models_made_of_it_give_the_same_table(store, table):
    run_id = trained(from_arrays(*table))
    registered = registry.register(run_id, "house")
    store.set_registered_model_alias("house", "best", registered.version)
    expected = which_labels(run_id)
    for source in (f"runs:/{run_id}", "models:/house/1", "models:/house@best"):
        pd.testing.assert_frame_equal(which_labels(source), expected)


def test_a_run_draws_its_ranking_where_it_draws_at_all(store, table):
    data = from_arrays(*table)
    assert "figures/which_labels.png" not in artifacts(store, trained(data))
    drawn = artifacts(store, trained(data, settings=replace(SETTINGS, figures=True)))
    assert {"which_labels.csv", "figures/which_labels.png"} <= set(drawn)


def test_a_refit_ranks_by_the_residuals_that_calibrate_its_intervals(store, table):
    data = from_arrays(*table)
    with tracking.run("refit", flow="tune") as log:
        refit(
            losses.ContinuousASRL(),
            PARAMS,
            10,
            data,
            prepare_split(data, 0, CLEAN),
            log,
            seed=0,
            contamination=CLEAN,
            title=None,
        )
    ranked = which_labels(log.run_id)
    kept = UnseenResiduals.from_bytes(fetch_artifacts(log.run_id).files[UNSEEN])
    assert len(ranked) == 480
    assert np.sort(ranked["residual"].abs()) == pytest.approx(
        np.sort(kept.calibration.errors), rel=1e-12
    )
    assert ranked["row"].head(40).mod(10).eq(0).all()


def test_with_a_time_the_first_rows_are_left_out_and_counted(store, table):
    x, y = table
    run_id = trained(from_arrays(x, y, times=np.arange(600)))
    ranked, metrics = which_labels(run_id), store.get_run(run_id).data.metrics
    assert metrics["labels.ranked"] == len(ranked) == 240
    assert metrics["labels.left_out"] == 120
    assert ranked["row"].min() == 120


def test_rows_of_one_group_cannot_be_ranked_and_the_run_is_none_the_worse(store, table):
    x, y = table
    groups = np.repeat([0, 1, 2], [200, 200, 200])
    run_id = trained(from_arrays(x, y, groups=groups))
    run = store.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["labels.ranked"] == 0
    assert run.data.metrics["labels.left_out"] == 200
    with pytest.raises(InputError, match=r"^which_labels reads which_labels\.csv .*$"):
        which_labels(run_id)


def test_of_more_than_100000_training_rows_no_table_is_kept(store):
    x = np.arange(1.7 * MOST_ROWS)
    run_id = trained(from_arrays(x[:, None], x), settings=replace(SETTINGS, rounds=1))
    assert "which_labels.csv" not in artifacts(store, run_id)
    with pytest.raises(InputError, match="at most 100000 rows"):
        which_labels(run_id)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("no-such-run",), "got 'no-such-run', without one in this tracking store"),
        (("runs:/no-such-run",), "got 'runs:/no-such-run', without one"),
        (("models:/nobody/1",), "needs a version in this tracking store"),
        (("some-run", np.ones((9, 1)), np.ones(9)), "takes a run or model alone"),
        ((estimator(),), "got RobustXGBRegressor; pass which_labels(estimator, X, y)"),
        ((xgboost.XGBRegressor(), np.ones((9, 1)), np.ones(9)), "got XGBRegressor with rows"),
        (
            (estimator(), np.ones((9, 1)), np.ones(8)),
            r"got targets of shape (8,) for X of shape (9, 1)",
        ),
        ((estimator(), np.ones((3, 1)), np.ones(3)), "at least 4 rows"),
        ((estimator(), np.ones((9, 1)), np.full(9, np.nan)), "needs targets without NaN"),
        ((estimator("nothing"), np.ones((9, 1)), np.ones(9)), "nothing"),
    ],
)
def test_what_cannot_be_ranked_is_refused_in_one_line(store, arguments, message):
    with pytest.raises(InputError) as caught:
        which_labels(*arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("count", [1, 2, 30, 25_000])
def test_the_picture_is_drawn_of_few_rows_and_of_many_far_ones(count):
    rng = np.random.default_rng(0)
    found = OutOfFold(np.arange(count), rng.standard_cauchy(count), *np.zeros((2, count)))
    ranked = rank_residuals(found, losses.ContinuousASRL())
    figure = draw_ranking(ranked, {"core": 1.0, "tail": np.inf}, 3, "asrl_c on some table")
    for axes in figure.subfigs[0].axes[:2]:
        points = axes.collections[0].get_offsets()
        assert len(points) <= min(count, 10_000)
        assert ranked["residual"][0] in points[:, 1]
    figure.draw_without_rendering()
