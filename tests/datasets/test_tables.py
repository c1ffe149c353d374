"""Parquet files and folders of them, categories, and what reading costs in memory."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from asrl_mlflow import datasets
from asrl_mlflow.errors import InputError


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)


def frame(count=25, **columns):
    return pd.DataFrame({"a": np.arange(count), **columns, "y": np.arange(count) * 1.5})


def test_the_index_of_a_frame_is_a_column_of_its_parquet_file():
    frame = pd.DataFrame({"a": np.arange(25) ** 2, "y": np.arange(25.0)})
    frame.set_index("a").to_parquet("indexed.parquet")
    assert set(datasets.load("indexed.parquet", target="y").rows.features.columns) == {"a"}


def test_a_parquet_file_is_read():
    frame = pd.DataFrame({"a": np.arange(25), "y": np.arange(25.0)})
    frame.to_parquet("table.parquet")
    assert datasets.load("table.parquet").rows.features.shape == (25, 1)


def test_an_index_without_a_name_is_no_feature_by_accident():
    frame(30).sample(25, random_state=0).to_parquet("table.parquet")
    with pytest.raises(
        InputError, match="got '__index_level_0__', a pandas index that was written"
    ):
        datasets.load("table.parquet", target="y")
    table = datasets.load("table.parquet", drop=["__index_level_0__"])
    assert list(table.rows.features.columns) == ["a"]


def test_a_folder_of_parquet_files_is_one_table(tmp_path):
    folder = tmp_path / "parts"
    (folder / "_temporary").mkdir(parents=True)
    (folder / "_SUCCESS").touch()
    (folder / "_temporary/half.parquet").write_bytes(b"PAR1")
    frame(20).to_parquet(folder / "part-0.parquet")
    # Whole numbers in one file, decimals in the next.
    frame(10).astype({"a": float}).to_parquet(folder / "part-1.parquet")
    table = datasets.load("parts")
    assert (table.name, len(table.rows)) == ("parts", 30)
    np.testing.assert_array_equal(table.rows.features["a"], [*range(20), *range(10)])
    assert table.source == str(folder)


def test_the_folders_of_a_partitioned_table_are_columns():
    for city, year in (("Berlin", 2023), ("Paris", 2024)):
        place = Path(f"parts/city={city}/year={year}")
        place.mkdir(parents=True)
        frame(15).to_parquet(place / "0.parquet")
    table = datasets.load("parts", target="y")
    assert sorted(table.rows.features["year"].unique()) == [2023, 2024]
    assert list(table.rows.features["city"].cat.categories) == ["Berlin", "Paris"]


def test_files_of_a_folder_need_the_same_columns():
    Path("parts").mkdir()
    frame().to_parquet("parts/0.parquet")
    frame(b=1).to_parquet("parts/1.parquet")
    with pytest.raises(InputError) as caught:
        datasets.load("parts")
    assert str(caught.value) == (
        "parts/1.parquet: files of a folder need the same columns; got 'b' in only one of it and "
        "0.parquet; write them anew, or read one file."
    )


def test_the_last_column_of_the_files_is_the_target_of_a_partitioned_table_too():
    place = Path("parts/year=2023")
    place.mkdir(parents=True)
    frame(30).to_parquet(place / "0.parquet")
    assert datasets.load("parts").target_name == "y"


def test_a_folder_with_other_files_is_refused_and_the_case_of_a_suffix_is_none():
    Path("parts").mkdir()
    frame().to_parquet("parts/0.PARQUET")
    assert len(datasets.load("parts").rows) == 25
    Path("parts/1.csv").write_text("a,y\n1,2\n")
    with pytest.raises(InputError) as caught:
        datasets.load("parts")
    assert str(caught.value) == (
        "parts: a folder needs .parquet files and no others; got '1.csv'; rename or move them."
    )


def test_files_of_a_folder_need_columns_of_one_kind_unless_dropped():
    Path("parts").mkdir()
    frame(b=1).to_parquet("parts/0.parquet")
    frame(b="one").to_parquet("parts/1.parquet")
    with pytest.raises(
        InputError, match=r"^parts/1.parquet: files of a folder need columns of one"
    ):
        datasets.load("parts")
    assert len(datasets.load("parts", drop=["b"]).rows) == 50


@pytest.mark.parametrize("role", ["group", "time"])
def test_lists_tell_no_rows_apart(role):
    frame(c=[[i] for i in range(25)]).to_parquet("lists.parquet")
    with pytest.raises(InputError, match="column 'c' must hold numbers or categories; got list"):
        datasets.load("lists.parquet", **{role: "c"})


COLOURS = ["red", "green", "blue", "green", "red"] * 40


@pytest.fixture
def coloured():
    """200 rows whose target hangs on a category, as a Parquet file."""
    rng = np.random.default_rng(0)
    colour = pd.Series(COLOURS, dtype=pd.CategoricalDtype(["red", "green", "blue"]))
    size = pd.Series(rng.choice([3, 5], 200), dtype="category")
    y = colour.map({"red": 10.0, "green": -20.0, "blue": 50.0}).astype(float) + rng.normal(size=200)
    whole = pd.DataFrame({"colour": colour, "size": size, "x": rng.normal(size=200), "y": y})
    whole.to_parquet("coloured.parquet")
    return whole


def test_pandas_categories_stay_categories(coloured):
    features = datasets.load("coloured.parquet").rows.features
    assert list(features["colour"].cat.categories) == ["red", "green", "blue"]
    assert sorted(features["size"].cat.categories) == [3, 5]
    assert list(features["colour"]) == COLOURS


def test_categories_differ_between_files_of_a_folder(coloured):
    Path("parts").mkdir()
    for number, half in enumerate((coloured[:100], coloured[100:][::-1])):
        colour = half["colour"].astype(str).astype("category")
        half.assign(colour=colour).to_parquet(f"parts/{number}.parquet", index=False)
    features = datasets.load("parts").rows.features
    assert list(features["colour"]) == COLOURS[:100] + COLOURS[100:][::-1]


def test_a_column_that_is_categories_in_one_file_is_so_in_all(coloured):
    Path("parts").mkdir()
    first, second = coloured[:100], coloured[100:]
    first.assign(size=first["size"].astype(int)).to_parquet("parts/0.parquet", index=False)
    second.to_parquet("parts/1.parquet", index=False)
    sizes = datasets.load("parts").rows.features["size"]
    assert sorted(sizes.cat.categories) == [3, 5]
    assert list(sizes) == list(coloured["size"])


def test_decimals_are_numbers():
    table = pa.Table.from_pandas(frame(d=[Decimal(f"{i}.25") for i in range(25)]))
    pa.parquet.write_table(table, "decimals.parquet")
    assert datasets.load("decimals.parquet").rows.features["d"][3] == 3.25


TEXT = (
    "encode it as numbers, save it in Parquet as a pandas category column, or leave it out with "
    "--drop."
)
REFUSED = {
    "text": (
        {"c": "red"},
        f"column 'c' must hold numbers or categories; got text ('red'); {TEXT}",
    ),
    "lists": (
        {"c": [[1, 2]] * 25},
        f"column 'c' must hold numbers or categories; got list<element: int64> ('[1, 2]'); {TEXT}",
    ),
    "dates": (
        {"c": pd.Timestamp("2024-01-31")},
        "column 'c' must hold numbers; got dates or times; turn them into numbers (days since a "
        "date, month, hour), split by them with --time, or leave them out with --drop.",
    ),
    "several dates": (
        {"c": pd.Timestamp("2024-01-31"), "d": pd.Timestamp("2024-01-31")},
        "columns 'c', 'd' must hold numbers; got dates or times; turn them into numbers (days since "
        "a date, month, hour), split by them with --time, or leave them out with --drop.",
    ),
    "several texts": (
        dict.fromkeys("cdefgh", "red"),
        "columns 'c', 'd', 'e', 'f', 'g' and 1 more must hold numbers or categories; got text "
        "('red'); encode them as numbers, save them in Parquet as a pandas category column, or leave "
        "them out with --drop.",
    ),
    "dates and text": (
        {"c": "red", "d": pd.Timestamp("2024-01-31")},
        "columns 'd', 'c' must hold numbers or categories; got dates or times in 'd' and other types "
        "in 'c'; turn them into numbers, save text in Parquet as pandas category columns, split by a "
        "date with --time, or leave them out with --drop.",
    ),
    "categories of decimals": (
        {"c": pd.Categorical([1.5] * 25)},
        "categories must be text or whole numbers; got double in column 'c'; convert them, or leave "
        "the column out with --drop.",
    ),
}


@pytest.mark.parametrize(("columns", "line"), REFUSED.values(), ids=REFUSED)
def test_columns_that_cannot_be_used_are_refused_in_one_line(columns, line):
    frame(**columns).to_parquet("table.parquet")
    with pytest.raises(InputError) as caught:
        datasets.load("table.parquet")
    assert str(caught.value) == f"table.parquet: {line}"
    assert len(datasets.load("table.parquet", drop=list(columns)).rows) == 25


def test_categories_are_no_target_that_is_a_number(coloured):
    with pytest.raises(InputError) as caught:
        datasets.load("coloured.parquet", target="colour", classes=False)
    assert str(caught.value) == (
        "coloured.parquet: the target 'colour' must be numbers; got categories; encode them, or take a "
        "loss for classes, such as --loss=log_loss."
    )


def test_a_broken_parquet_file_is_refused_in_one_line():
    Path("broken.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match=r"^broken.parquet: must be a readable [^\n]*$"):
        datasets.load("broken.parquet")


def test_a_folder_without_parquet_files_is_refused_in_one_line():
    Path("folder").mkdir()
    with pytest.raises(
        InputError, match=r"folder: a folder needs \.parquet files; got none; check"
    ):
        datasets.load("folder")


MEASURE = """
import resource, sys
from asrl_mlflow import datasets
import pyarrow.csv, pyarrow.dataset
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
table = datasets.load(sys.argv[1])
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
raw = (table.rows.features.shape[1] + 1) * len(table.rows) * 8
print((after - before) * 1024 / raw)
"""


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_five_million_rows_are_read_within_three_times_their_size_in_memory(suffix):
    rng = np.random.default_rng(0)
    table = pa.table({name: rng.normal(size=5_000_000).astype(np.float32) for name in "aby"})
    if suffix == "csv":
        pa.csv.write_csv(table, "big.csv")
    else:
        table = table.cast(pa.schema([(name, pa.float64()) for name in "aby"]))
        pa.parquet.write_table(table, "big.parquet")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, f"big.{suffix}"], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 3
