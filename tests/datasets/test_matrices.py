"""Tables in batches: the same rows as in one piece, on disk instead of in memory."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xgboost

from asrl_mlflow import losses, train
from asrl_mlflow.datasets.matrices import ParquetBatches
from asrl_mlflow.errors import InputError
from tests.conftest import PARAMS
from tests.every_loss import EVERY_LOSS

BINS = PARAMS | {"max_bin": 64}


@pytest.fixture
def files(table, tmp_path):
    """The table in three files of unequal length, as a user's job may have left it."""
    x, y = table
    frame = pd.DataFrame(x, columns=[f"x{place}" for place in range(x.shape[1])])
    frame["counts"] = (np.arange(len(y)) % 3).astype(np.int64)
    frame["y"] = y
    folder = tmp_path / "rows"
    folder.mkdir()
    for number, (start, stop) in enumerate([(0, 250), (250, 251), (251, len(y))]):
        frame.iloc[start:stop].to_parquet(folder / f"{number}.parquet", row_group_size=100)
    return folder


def batches_of(iterator):
    """What XGBoost would be handed, all at once."""
    handed = []
    iterator.reset()
    while iterator.next(lambda **batch: handed.append(batch)):
        pass
    return handed


@pytest.mark.parametrize(
    ("loss", "weight"),
    # XGBoost 3.2 refits the weighted leaves of its own absolute and quantile errors otherwise on disk.
    [
        (loss, weight)
        for loss in EVERY_LOSS
        for weight in (None, "counts")
        if not (weight and isinstance(loss, losses.AbsoluteError | losses.Quantile))
    ],
    ids=str,
)
def test_training_on_disk_builds_the_trees_of_training_in_memory(files, tmp_path, loss, weight):
    def iterator(cache):
        drop = [] if weight else ["counts"]
        return ParquetBatches(files, "y", weight=weight, drop=drop, cache=cache, batch_rows=200)

    on_disk = xgboost.ExtMemQuantileDMatrix(iterator(tmp_path / "cache"), max_bin=64)
    in_memory = xgboost.QuantileDMatrix(iterator(None), max_bin=64)
    before = on_disk.get_weight()
    here, there = (train(BINS, matrix, 10, loss=loss) for matrix in (on_disk, in_memory))
    # Histograms are summed up page by page, in another order.
    np.testing.assert_allclose(here.predict(on_disk), there.predict(in_memory), rtol=1e-5)
    assert here.feature_names[0] == "x0"
    np.testing.assert_array_equal(on_disk.get_weight(), before)


def test_a_model_trained_on_disk_stops_early_and_goes_on(files, tmp_path):
    def batches(name):
        return ParquetBatches(files, "y", cache=tmp_path / name, batch_rows=200)

    dtrain = xgboost.ExtMemQuantileDMatrix(batches("train"), max_bin=64)
    dvalid = xgboost.ExtMemQuantileDMatrix(batches("valid"), max_bin=64, ref=dtrain)
    rounds, loss = [], losses.ContinuousASRL()
    evals = [(dvalid, "valid")]
    booster = train(
        BINS, dtrain, 5, loss=loss, evals=evals, early_stopping_rounds=3, on_round=rounds.append
    )
    more = train(BINS, dtrain, 5, loss=loss, xgb_model=booster)
    assert more.num_boosted_rounds() == 10
    assert rounds[-1].valid == pytest.approx(rounds[-1].train)


@pytest.mark.parametrize("batch_rows", [1, 99, 100, 250, 10_000])
def test_batches_are_the_rows_of_the_files_in_order(files, table, batch_rows):
    x, y = table
    handed = batches_of(ParquetBatches(files, "y", weight="counts", batch_rows=batch_rows))
    assert {len(batch["label"]) for batch in handed[:-1]} <= {batch_rows}
    np.testing.assert_array_equal(
        np.concatenate([batch["label"] for batch in handed]), y.astype("f4")
    )
    data = np.concatenate([batch["data"] for batch in handed])
    np.testing.assert_array_equal(data, x.astype(np.float32))
    weight = np.concatenate([batch["weight"] for batch in handed])
    np.testing.assert_array_equal(weight, np.arange(len(y)) % 3)


def test_missing_cells_truth_values_and_whole_numbers_are_numbers(tmp_path):
    frame = pd.DataFrame(
        {
            "whole": pd.array([1, None, 3], "Int64"),
            "truth": pd.array([True, None, False], "boolean"),
            "empty": [None] * 3,
            "y": [1, 2, 3],
        }
    )
    frame.to_parquet(tmp_path / "a.parquet")
    (batch,) = batches_of(ParquetBatches(tmp_path / "a.parquet", "y"))
    nan = np.nan
    np.testing.assert_array_equal(batch["data"], [[1, 1, nan], [nan, nan, nan], [3, 0, nan]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": "z"}, "target and weight must be columns that are kept; got 'z'; choose from"),
        ({"target": "y", "weight": "w"}, "must be columns that are kept; got 'w'; choose from"),
        ({"target": "y", "drop": ["y"]}, "must be columns that are kept; got 'y'; choose from"),
        ({"target": "y", "drop": ["no"]}, "'no'"),
        ({"target": "y", "batch_rows": 0}, "at least 1 row; got batch_rows=0; try 100000"),
        ({"target": "y", "weight": "y"}, "columns of their own; got target 'y', weight 'y' and"),
        ({"target": "y", "drop": ["x", "kind", "text"]}, "weight None and 0 features"),
        ({"target": "y"}, "got categories in column 'kind'; encode it as numbers, or drop it"),
        (
            {"target": "y", "drop": ["kind"]},
            "column 'text' must hold numbers or categories; got text",
        ),
    ],
    ids=["target", "weight", "dropped", "unknown", "rows", "same", "none", "categories", "text"],
)
def test_columns_that_are_no_numbers_are_refused_in_one_line(tmp_path, arguments, message):
    frame = pd.DataFrame({"x": [1.0, 2.0], "kind": ["a", "b"], "text": ["a", "b"], "y": [0.0, 1.0]})
    frame["kind"] = frame["kind"].astype("category")
    if "text" not in arguments.get("drop", []) and "must hold" not in message:
        frame = frame.drop(columns="text")
    if "must hold" not in message and "categories" not in message:
        frame = frame.assign(kind=0.0)
    frame.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError) as refused:
        ParquetBatches(tmp_path / "a.parquet", **arguments)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_targets_that_are_no_finite_numbers_are_counted(tmp_path, bad):
    pd.DataFrame({"x": [1.0, 2.0, 3.0], "y": [bad, 1.0, bad]}).to_parquet(tmp_path / "a.parquet")
    batches = ParquetBatches(tmp_path / "a.parquet", "y", cache=tmp_path / "cache")
    with pytest.raises(InputError, match="got 2 in column 'y' that are missing, infinite"):
        xgboost.ExtMemQuantileDMatrix(batches)


def test_what_a_table_refuses_batches_refuse_too(tmp_path):
    def refused(frame, **how):
        frame.to_parquet(tmp_path / "a.parquet", **how)
        with pytest.raises(InputError) as caught:
            ParquetBatches(tmp_path / "a.parquet", "y")
        return str(caught.value)

    rows = pd.DataFrame({"x": [1.0, 2.0, 3.0, 4.0], "y": [1.0, 2.0, 3.0, 4.0]})
    assert "a pandas index" in refused(rows.iloc[[0, 1, 3]])
    numbered = rows.assign(kind=pd.Categorical([7, 3, 7, 3]))
    assert "got categories in column 'kind'" in refused(numbered)
    assert "at least one row is needed; got none" in refused(rows.iloc[:0].reset_index(drop=True))
    (tmp_path / "b.parquet").write_bytes(b"no table")
    with pytest.raises(InputError, match=r"b\.parquet: must be a readable parquet file"):
        ParquetBatches(tmp_path / "b.parquet", "y")
    with pytest.raises(InputError, match=r"c\.parquet"):
        ParquetBatches(tmp_path / "c.parquet", "y")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("x", np.inf, "infinite or larger ones in column 'x'"),
        ("x", 1e300, "infinite or larger ones in column 'x'"),
        ("w", -1.0, "weights must not be negative; got -1 in column 'w'"),
        ("w", np.nan, "weights must be finite numbers below 3e38; got 1 in column 'w'"),
    ],
)
def test_cells_that_xgboost_would_refuse_at_length_are_refused_in_one_line(
    tmp_path, column, value, message
):
    frame = pd.DataFrame({"x": [1.0, np.nan], "w": [1.0, 2.0], "y": [1.0, 2.0]})
    frame.loc[0, column] = value
    frame.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError) as refused:
        xgboost.QuantileDMatrix(ParquetBatches(tmp_path / "a.parquet", "y", weight="w"))
    assert message in str(refused.value)


def test_a_name_alone_is_no_collection_and_a_cache_needs_a_folder(files, tmp_path):
    with pytest.raises(InputError, match=r"pass \['counts'\]"):
        ParquetBatches(files, "y", drop="counts")
    with pytest.raises(InputError, match="folder that exists"):
        ParquetBatches(files, "y", cache=tmp_path / "no" / "cache")
