"""Data: what can be read, what is refused in which words, splitting, spoiling."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st

from asrl_mlflow import datasets
from asrl_mlflow.errors import InputError

PAPER_SHAPES = {
    "california": (20640, 8, 2.069, 1.332),
    "concrete": (1030, 8, 35.818, 279.08),
    "gas_turbine": (36733, 10, 133.506, 243.94),
    "power_plant": (9568, 4, 454.365, 291.28),
    "airfoil": (1503, 5, 124.836, 47.591),
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """An empty working folder and cache, and no data folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("ASRL_DATA_DIR", raising=False)


def write(text, name="table.csv"):
    Path(name).write_text(text, encoding="utf-8")
    return name


def rows(count=20, delimiter=","):
    return "".join(f"{i}{delimiter}{i / 2}{delimiter}{i * 3}\n" for i in range(count))


def test_the_embedded_table_is_scikit_learns_diabetes():
    table = datasets.load()
    assert (table.name, table.rows.features.shape) == ("diabetes", (442, 10))
    assert table.target_name == "disease_progression"
    assert table.rows.target.mean() == pytest.approx(152.13, abs=0.01)


DATA_DIR = os.environ.get("ASRL_DATA_DIR")


@pytest.mark.skipif(
    DATA_DIR is None, reason="ASRL_DATA_DIR names no folder with the paper's tables"
)
@pytest.mark.parametrize("name", PAPER_SHAPES)
def test_the_papers_tables_have_the_rows_columns_and_targets_they_should(name, monkeypatch):
    monkeypatch.setenv("ASRL_DATA_DIR", DATA_DIR)
    table = datasets.load(name)
    count, features, mean, variance = PAPER_SHAPES[name]
    assert table.rows.features.shape == (count, features)
    assert table.rows.target.mean() == pytest.approx(mean, abs=5e-4)
    assert table.rows.target.var() == pytest.approx(variance, rel=1e-3)
    assert table.source.endswith(f"{name}.csv")


@pytest.mark.parametrize("name", ["concrete", "diabetes"])
def test_a_named_table_comes_from_the_data_folder_before_anything_else(name, tmp_path, monkeypatch):
    for folder, value in (("cache/asrl-mlflow", 1), ("data", 2)):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / f"{name}.csv").write_text("a,y\n" + f"0,{value}\n" * 20)
    assert datasets.load(name).rows.target[0] == 1
    monkeypatch.setenv("ASRL_DATA_DIR", str(tmp_path / "data"))
    assert datasets.load(name).rows.target[0] == 2


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_csv_is_read_whatever_its_delimiter(delimiter):
    path = write(delimiter.join(["a", "b", "y"]) + "\n" + rows(30, delimiter))
    table = datasets.load(path)
    assert (table.name, table.target_name) == ("table", "y")
    assert list(table.rows.features.columns) == ["a", "b"]
    np.testing.assert_array_equal(table.rows.target, 3.0 * np.arange(30))
    assert datasets.load(path, target="b").rows.target[3] == 1.5


def test_a_header_may_hold_other_delimiters_between_quotes():
    table = datasets.load(write('"a;b,c";"d";y\n' + rows(20, ";")))
    assert list(table.rows.features.columns) == ["a;b,c", "d"]


def test_missing_features_stay_missing_and_booleans_are_numbers():
    body = "".join(f"{'' if i % 3 else i},{'true' if i % 2 else 'false'},{i}\n" for i in range(24))
    features = datasets.load(write("a,b,y\n" + body)).rows.features
    assert features["a"].isna().sum() == 16
    assert features["b"].dtype == bool


def test_empty_columns_and_booleans_with_gaps_are_numbers_too():
    body = "".join(f",{'' if i % 2 else 'true'},{i}\n" for i in range(24))
    features = datasets.load(write("a,b,y\n" + body)).rows.features
    assert features["a"].isna().all()
    assert features["b"].sum() == 12
    xgboost.DMatrix(features, label=np.arange(24))


def test_a_folder_is_not_a_file(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="got a folder: folder; check the path"):
        datasets.load("folder")


def test_a_header_that_is_not_utf_8_is_refused():
    Path("latin.csv").write_bytes("größe,y\n".encode("latin-1") + b"1,2\n" * 20)
    with pytest.raises(InputError, match=r"latin.csv: must be UTF-8; got bytes that are not"):
        datasets.load("latin.csv")


def test_a_header_may_hold_a_line_break_between_quotes():
    table = datasets.load(write('"a\nx";b;y\n' + rows(20, ";")))
    assert list(table.rows.features.columns) == ["a\nx", "b"]


def test_a_broken_parquet_file_is_refused_in_one_line():
    Path("broken.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match=r"^broken.parquet: must be a readable [^\n]*$"):
        datasets.load("broken.parquet")


def test_the_index_of_a_frame_is_a_column_of_its_parquet_file():
    frame = pd.DataFrame({"a": np.arange(25) ** 2, "y": np.arange(25.0)})
    frame.set_index("a").to_parquet("indexed.parquet")
    assert set(datasets.load("indexed.parquet", target="y").rows.features.columns) == {"a"}


def test_a_parquet_file_is_read():
    frame = pd.DataFrame({"a": np.arange(25), "y": np.arange(25.0)})
    frame.to_parquet("table.parquet")
    assert datasets.load("table.parquet").rows.features.shape == (25, 1)


def test_the_digest_knows_values_and_names():
    first = datasets.load(write("a,b,y\n" + rows()))
    same = datasets.load(write("a,b,y\n" + rows(), "other.csv"))
    value = datasets.load(write("a,b,y\n" + rows().replace("19,9.5", "19,9.6"), "value.csv"))
    name = datasets.load(write("a,c,y\n" + rows(), "name.csv"))
    assert first.digest == same.digest
    assert len({first.digest, value.digest, name.digest}) == 3


GOOD = "a,b,y\n" + rows(25)
REFUSED = {
    "no such file": (
        None,
        {"data": "tabel.csv"},
        "Data needs a .csv or .parquet file; got no such file: tabel.csv; check the path.",
    ),
    "misspelt name": (
        None,
        {"data": "califronia"},
        "Data needs a .csv or .parquet file or one of diabetes, california, concrete, gas_turbine, "
        "power_plant, airfoil; got 'califronia'; did you mean 'california'?",
    ),
    "other suffix": (
        GOOD,
        {"data": "table.xlsx"},
        "Data needs a .csv or .parquet file; got table.xlsx; rename or convert it.",
    ),
    "no such column": (
        GOOD,
        {"target": "z"},
        "table.csv: the target must be a column; got 'z'; it has 'a', 'b', 'y'.",
    ),
    "missing target": (
        GOOD.replace("4,2.0,12", "4,2.0,").replace("7,3.5,21", "7,3.5,"),
        {},
        "table.csv: the target 'y' must be finite (float32); got 2 missing or infinite values, the "
        "first in row 5; remove those rows.",
    ),
    "infinite target": (
        GOOD.replace("4,2.0,12", "4,2.0,inf"),
        {},
        "table.csv: the target 'y' must be finite (float32); got 1 missing or infinite values, the "
        "first in row 5; remove those rows.",
    ),
    "infinite feature": (
        GOOD.replace("4,2.0,12", "4,-inf,12"),
        {},
        "table.csv: features must be missing or below 3.4e38 (float32); got infinite values in 'b'; "
        "leave them empty, or cap them.",
    ),
    "target beyond float32": (
        GOOD.replace("4,2.0,12", "4,2.0,1e300"),
        {},
        "table.csv: the target 'y' must be finite (float32); got 1 missing or infinite values, the "
        "first in row 5; remove those rows.",
    ),
    "feature beyond float32": (
        GOOD.replace("4,2.0,12", "4,1e39,12"),
        {},
        "table.csv: features must be missing or below 3.4e38 (float32); got infinite values in 'b'; "
        "leave them empty, or cap them.",
    ),
    "text column": (
        GOOD.replace("4,2.0,12", "4,two,12"),
        {},
        "table.csv: columns must hold numbers; got text or dates in 'b' ('0.0'); encode as numbers, "
        "or remove the column.",
    ),
    "text target": (
        GOOD.replace("4,2.0,12", "4,2.0,twelve"),
        {},
        "table.csv: columns must hold numbers; got text or dates in 'y' ('0'); encode as numbers, "
        "or remove the column.",
    ),
    "date column": (
        "d,y\n" + "2024-01-31,1\n" * 20,
        {},
        "table.csv: columns must hold numbers; got text or dates in 'd' ('2024-01-31'); encode as "
        "numbers, or remove the column.",
    ),
    "few rows": (
        "a,b,y\n" + rows(19),
        {},
        "table.csv: needs at least 20 rows to split; got 19.",
    ),
    "no rows": ("a,b,y\n", {}, "table.csv: needs at least 20 rows to split; got 0."),
    "names twice": (
        "a,a,y\n" + rows(),
        {},
        "table.csv: column names must differ; got 'a' more than once; rename them.",
    ),
    "surplus field": (
        GOOD.replace("4,2.0,12", "4,2.0,12,99"),
        {},
        "table.csv: every row needs the header's 3 fields; got 4 in line 6; quote a value that "
        "holds the delimiter.",
    ),
    "surplus field in every row": (
        "a,b\n" + rows(),
        {},
        "table.csv: every row needs the header's 2 fields; got 3 in line 2; quote a value that "
        "holds the delimiter.",
    ),
    "one column": (
        "y\n" + "1\n" * 30,
        {},
        "table.csv: needs a feature beside the target; got the one column 'y'.",
    ),
    "name for XGBoost": (
        "a[0],b,y\n" + rows(),
        {},
        "table.csv: XGBoost refuses [, ] and < in names; got 'a[0]'; rename them.",
    ),
    "empty file": ("", {}, "table.csv: must be a readable csv file; got: Empty CSV file"),
}


@pytest.mark.parametrize(("text", "call", "line"), REFUSED.values(), ids=REFUSED)
def test_data_that_cannot_be_used_is_refused_in_one_line(text, call, line):
    if text is not None:
        write(text, call.get("data", "table.csv"))
    with pytest.raises(InputError) as caught:
        datasets.load(call.get("data", "table.csv"), call.get("target"))
    assert str(caught.value) == line


def test_a_named_table_that_is_nowhere_says_where_to_put_it(tmp_path):
    with pytest.raises(InputError) as caught:
        datasets.load("concrete")
    assert str(caught.value) == (
        "Data set 'concrete' needs the file concrete.csv (features first, target last); got none "
        f"in ASRL_DATA_DIR=(unset) and {tmp_path}/cache/asrl-mlflow; put it there."
    )


NUMBER = st.one_of(st.integers(), st.floats(), st.booleans(), st.just(""))


@given(
    st.one_of(
        st.text(max_size=200),
        st.lists(st.lists(NUMBER, min_size=3, max_size=3), min_size=20, max_size=25).map(
            lambda lines: "a,b,y\n" + "".join(",".join(map(str, line)) + "\n" for line in lines)
        ),
    )
)
def test_no_text_in_a_csv_leads_to_anything_but_a_table_or_one_line(text):
    path = write(text, "fuzz.csv")
    try:
        table = datasets.load(path)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        xgboost.DMatrix(table.rows.features, label=table.rows.target)


def test_a_split_is_60_20_20_without_overlap_and_moves_with_the_seed():
    table = datasets.load().rows
    parts = datasets.split(table, 3)
    assert [len(part) for part in (parts.train, parts.valid, parts.test)] == [265, 88, 89]
    together = pd.concat([parts.train.features, parts.valid.features, parts.test.features])
    pd.testing.assert_frame_equal(
        together.sort_values(list(together)).reset_index(drop=True),
        table.features.sort_values(list(together)).reset_index(drop=True),
    )
    again, other = datasets.split(table, 3), datasets.split(table, 4)
    np.testing.assert_array_equal(parts.test.target, again.test.target)
    assert not np.array_equal(parts.test.target, other.test.target)


@pytest.mark.parametrize(("kind", "lowest"), [("asym", 3.0), ("sym", -10.0)])
def test_contamination_moves_a_share_of_train_and_valid_and_never_the_test_rows(kind, lowest):
    parts = datasets.split(datasets.load().rows, 0)
    spoiled = datasets.contaminate(parts, kind, 0.2, 1)
    deviation = np.concatenate([parts.train.target, parts.valid.target]).std()
    for before, after in ((parts.train, spoiled.train), (parts.valid, spoiled.valid)):
        moved = (after.target - before.target) / deviation
        hit = moved[moved != 0]
        assert len(hit) == round(0.2 * len(before))
        assert lowest <= hit.min()
        assert hit.max() <= 10
        assert np.abs(hit).min() >= 3
        assert (hit.min() < 0) == (kind == "sym")
    assert spoiled.test is parts.test


def test_cauchy_contamination_moves_every_row_by_a_tenth_of_the_deviation():
    parts = datasets.split(datasets.load().rows, 0)
    spoiled = datasets.contaminate(parts, "cauchy", 0.0, 1)
    deviation = np.concatenate([parts.train.target, parts.valid.target]).std()
    moved = (spoiled.train.target - parts.train.target) / deviation
    assert (moved != 0).all()
    # The median of |standard Cauchy| is 1.
    assert np.median(np.abs(moved)) == pytest.approx(0.1, rel=0.25)
    assert spoiled.test is parts.test


def test_no_contamination_changes_nothing():
    parts = datasets.split(datasets.load().rows, 0)
    assert datasets.contaminate(parts, "none", 0.0, 1) is parts
