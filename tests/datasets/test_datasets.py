"""Data sets: which table is meant, what its columns are for, what is refused or warned of."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

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


def test_the_digest_knows_values_and_names():
    first = datasets.load(write("a,b,y\n" + rows()))
    same = datasets.load(write("a,b,y\n" + rows(), "other.csv"))
    value = datasets.load(write("a,b,y\n" + rows().replace("19,9.5", "19,9.6"), "value.csv"))
    name = datasets.load(write("a,c,y\n" + rows(), "name.csv"))
    assert first.digest == same.digest
    assert len({first.digest, value.digest, name.digest}) == 3


GOOD = "a,b,y\n" + rows(25)
SITES = "site,day,w,a,y\n" + "".join(
    f"s{i % 7},2024-01-{1 + i // 3:02},{1 + i % 2},{i},{i * 3}\n" for i in range(60)
)


def test_columns_with_a_role_are_no_features():
    table = datasets.load(write(SITES), weight="w", group="site", drop=["day"])
    assert list(table.rows.features.columns) == ["a"]
    assert table.target_name == "y"
    assert list(table.rows.weight[:3]) == [1, 2, 1]
    assert table.rows.blocks.count == 7
    assert not table.rows.blocks.in_time
    assert table.describe() == (
        "table: 60 rows, 1 features, target 'y', weight 'w', groups by 'site'"
    )


def test_the_target_is_the_last_column_that_has_no_other_role():
    table = datasets.load(write(SITES.replace("a,y", "y,t")), time="t", drop=["day", "site"])
    assert table.target_name == "y"
    assert table.rows.blocks.in_time


@pytest.mark.parametrize(
    "times",
    [
        [f"2024-01-{1 + i // 3:02}" for i in range(60)],
        [f"2024-01-01 10:{i // 3:02}:00" for i in range(60)],
        [f"{10 + i // 30}:{i % 30 // 3:02}:00" for i in range(60)],
        [i // 3 for i in range(60)],
        [i // 3 / 7 - 1 for i in range(60)],
    ],
    ids=["dates", "timestamps", "times of day", "integers", "decimals"],
)
def test_a_time_is_anything_that_has_an_order(times):
    lines = [f"{time},{i},{i}" for i, time in enumerate(times)]
    table = datasets.load(write("\n".join(["t,a,y", *lines[::-1]]) + "\n"), time="t")
    np.testing.assert_array_equal(table.rows.blocks.codes, np.arange(60)[::-1] // 3)


REFUSED = {
    "no such file": (
        None,
        {"data": "tabel.csv"},
        "Data needs a .csv or .parquet file; got no such file: tabel.csv; check the path.",
    ),
    "misspelt name": (
        None,
        {"data": "califronia"},
        "Data needs a .csv or .parquet file or one of diabetes, breast_cancer, wine, "
        "digits, california, concrete, gas_turbine, power_plant, airfoil, airquality_co; got 'califronia'; did you "
        "mean 'california'?",
    ),
    "no such target": (
        GOOD,
        {"target": "z"},
        "table.csv: needs the names of its columns; got 'z'; it has 'a', 'b', 'y'.",
    ),
    "misspelt drop": (
        SITES,
        {"drop": ["stie"]},
        "table.csv: needs the names of its columns; got 'stie'; did you mean 'site'? "
        "It has 'site', 'day', 'w', 'a', 'y'.",
    ),
    "misspelt drop of the embedded table": (
        None,
        {"data": "diabetes", "drop": ["bmj"]},
        "sklearn.datasets.load_diabetes: needs the names of its columns; got 'bmj'; did you mean "
        "'bmi'? It has 'age', 'sex', 'bmi', 'bp', 's1' and 6 more.",
    ),
    "two roles": (
        SITES,
        {"weight": "w", "drop": ["w"]},
        "A column can have one role; got 'w' in several; decide for one.",
    ),
    "group and time": (
        SITES,
        {"group": "site", "time": "day"},
        "A split goes by group or by time; got group 'site' and time 'day'; leave one of them out.",
    ),
    "nothing left for the target": (
        "w,g\n" + "1,2\n" * 30,
        {"weight": "w", "group": "g"},
        "table.csv: needs a target; got none beside 'w', 'g'; drop fewer columns.",
    ),
    "no feature": (
        "w,y\n" + "1,2\n" * 30,
        {"weight": "w"},
        "table.csv: needs a feature beside the target; got no column but 'y'.",
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
    "target beyond float32": (
        GOOD.replace("4,2.0,12", "4,2.0,1e300"),
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
    "feature beyond float32": (
        GOOD.replace("4,2.0,12", "4,1e39,12"),
        {},
        "table.csv: features must be missing or below 3.4e38 (float32); got infinite values in 'b'; "
        "leave them empty, or cap them.",
    ),
    "missing weight": (
        SITES.replace("01,1,0,0", "01,,0,0"),
        {"weight": "w", "drop": ["site", "day"]},
        "table.csv: the weight 'w' must be finite (float32); got 1 missing or infinite values, the "
        "first in row 1; remove those rows.",
    ),
    "negative weight": (
        SITES.replace("01,2,1,3", "01,-2,1,3"),
        {"weight": "w", "drop": ["site", "day"]},
        "table.csv: the weight 'w' must not be negative; got -2 in row 2; weight 0 leaves a row out.",
    ),
    "no row that counts": (
        SITES.replace(",1,", ",0,").replace(",2,", ",0,"),
        {"weight": "w", "drop": ["site", "day"]},
        "table.csv: the weight 'w' must count some row; got 0 in every one.",
    ),
    "missing group": (
        SITES.replace("s1,2024-01-01", ",2024-01-01"),
        {"group": "site", "drop": ["day"]},
        "table.csv: every row needs a group; got 1 without one in 'site', the first in row 2; fill "
        "them in, or remove those rows.",
    ),
    "missing time": (
        SITES.replace("s1,2024-01-01", "s1,"),
        {"time": "day", "drop": ["site"]},
        "table.csv: every row needs a time; got 1 without one in 'day', the first in row 2; fill "
        "them in, or remove those rows.",
    ),
    "time in words": (
        SITES,
        {"time": "site", "drop": ["day"]},
        "table.csv: the time 'site' must be numbers, or dates as 2024-01-31 or 2024-01-31 10:00:00; "
        "got 's0' in row 1; write it so.",
    ),
    "two groups": (
        "g,a,y\n" + "1,2,3\n2,3,4\n" * 20,
        {"group": "g"},
        "table.csv: a split by group needs at least 3 different values, one for each part; got 2 in "
        "'g'; split by rows.",
    ),
    "few rows": (
        "a,b,y\n" + rows(19),
        {},
        "table.csv: needs at least 20 rows to split; got 19.",
    ),
    "name for XGBoost": (
        "a[0],b,y\n" + rows(),
        {},
        "table.csv: XGBoost refuses [, ] and < in names; got 'a[0]'; rename them.",
    ),
}


@pytest.mark.parametrize(("text", "call", "line"), REFUSED.values(), ids=REFUSED)
def test_data_that_cannot_be_used_is_refused_in_one_line(text, call, line):
    if text is not None:
        write(text)
    with pytest.raises(InputError) as caught:
        datasets.load(**{"data": "table.csv", **call})
    assert str(caught.value) == line


WARNED = {
    "empty column": (
        "a,b,y\n" + "".join(f"{i},,{i}\n" for i in range(30)),
        "'b': no values, so nothing to learn from; leave out with --drop.",
    ),
    "constant column": (
        "a,b,y\n" + "".join(f"{i},{'' if i % 2 else 7},{i}\n" for i in range(30)),
        "'b': the same in every row that has a value; leave out with --drop.",
    ),
    "constant target": (
        "a,y\n" + "".join(f"{i},7\n" for i in range(30)),
        "'y': the target is the same in every row; there is nothing to learn.",
    ),
    "target in coarse steps": (
        "a,y\n" + "".join(f"{i},{10**9 + i}\n" for i in range(30)),
        "'y': the target is read in steps of 64 (float32), which is coarse beside its spread; "
        "subtract a constant first.",
    ),
    "no header": (
        "0,0.5,7\n" + "".join(f"{i},{i * i},{i}\n" for i in range(1, 30)),
        "all columns have numbers for names ('7'): if the first row is no header, write one above it.",
    ),
    "ids": (
        "id,a,y\n" + "".join(f"{2**24 + i},{i},{i}\n" for i in range(30)),
        "'id': 30 different integers, some above 2**24, of which XGBoost (float32) can tell 15 "
        "apart; if it is an id, leave it out with --drop.",
    ),
}


@pytest.mark.parametrize(("text", "line"), WARNED.values(), ids=WARNED)
def test_what_is_legal_but_hardly_meant_is_warned_of(text, line):
    assert datasets.load(write(text)).warnings == (line,)


def test_a_group_too_large_for_its_part_is_warned_of():
    text = "g,a,y\n" + "".join(f"{max(i - 29, 0)},{i},{i}\n" for i in range(60))
    assert datasets.load(write(text), group="g").warnings == (
        "one group has 50% of the rows, and is not parted; so the parts cannot be near 60%, 20% and "
        "20%.",
    )


def test_ids_beyond_double_precision_are_counted_as_they_are(tmp_path):
    ids = 2**60 + np.arange(30)
    pd.DataFrame({"id": ids, "a": range(30), "y": range(30)}).to_parquet("ids.parquet")
    (line,) = datasets.load("ids.parquet").warnings
    assert line.startswith("'id': 30 different integers, some above 2**24")


def test_ids_that_not_even_float64_holds_are_no_number_of_different_ones():
    text = "id,a,y\n" + "".join(f"{2**60 + 64 * i},{i},{i}\n" for i in range(30))
    (line,) = datasets.load(write(text)).warnings
    assert line.startswith(
        "'id': integers above 2**53, of which XGBoost (float32) can tell 1 apart"
    )


def test_times_that_are_text_are_read_as_dates():
    days = [f"2024-01-{day:02}" for day in range(1, 31)]
    frame = pd.DataFrame({"day": days, "a": range(30), "y": range(30)})
    frame.assign(day=frame["day"].astype("category")).to_parquet("days.parquet")
    codes = datasets.load("days.parquet", time="day").rows.blocks.codes
    np.testing.assert_array_equal(codes, np.arange(30))


def test_large_integers_that_float32_tells_apart_are_no_reason_to_warn():
    text = "a,b,y\n" + "".join(f"{2**25 + 4 * i},{10.5**i},{i}\n" for i in range(30))
    assert datasets.load(write(text)).warnings == ()


def with_truth(truth):
    return write("a,y,right\n" + "".join(f"{i},{i},{truth(i)}\n" for i in range(40)))


def test_rows_whose_truth_is_unknown_are_learned_from_and_judge_nothing():
    table = datasets.load(with_truth(lambda i: "" if i % 2 else 2 * i), target="y", truth="right")
    assert list(table.rows.features) == ["a"]
    parts = datasets.split(table.rows, 0)
    assert (len(parts.train), len(parts.valid)) == (24, 8)
    assert set(parts.train.numbers % 2) == {0, 1}
    assert set(parts.test.numbers % 2) == {0}
    np.testing.assert_array_equal(parts.test.target, 2.0 * parts.test.numbers)
    both = datasets.join(parts.train, parts.valid)
    np.testing.assert_array_equal(both.target, both.numbers)
    assert len(both.truth) == 32
    spoiled = datasets.contaminate(parts, "sym", 0.5, 0)
    assert spoiled.test is parts.test


@pytest.mark.parametrize(
    ("truth", "said"),
    [
        (lambda i: "", "must be known of some rows; got none"),
        (lambda i: "inf", "the truth 'right' must be finite"),
        (lambda i: "a" if i else 1, "must hold numbers"),
    ],
)
def test_a_truth_that_says_nothing_is_refused(truth, said):
    with pytest.raises(InputError) as refused:
        datasets.load(with_truth(truth), target="y", truth="right")
    assert said in str(refused.value)


def test_classes_have_no_truth_and_test_rows_need_one():
    path = write("a,y,right\n" + "".join(f"{i},{'xy'[i % 2]},1\n" for i in range(40)))
    with pytest.raises(InputError, match="truth is for targets that are numbers"):
        datasets.load(path, target="y", truth="right")
    table = datasets.from_arrays(np.zeros((40, 1)), np.arange(40.0), truth=[1.0, *[np.nan] * 39])
    with pytest.raises(InputError, match="got none in all 8 rows to test"):
        for seed in range(40):
            datasets.split(table.rows, seed)
