"""Targets that name classes: which they are, what their labels become, what is refused or warned of."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn.datasets
from hypothesis import given
from hypothesis import strategies as st

from asrl_mlflow import datasets
from asrl_mlflow.datasets.embedded import EMBEDDED
from asrl_mlflow.errors import InputError

X = np.arange(80.0).reshape(40, 2)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """An empty working folder and cache, and no data folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("ASRL_DATA_DIR", raising=False)


def csv(*targets, rows=40):
    """Write a table whose target takes these cells in turn."""
    lines = [f"{i},{targets[i % len(targets)]}\n" for i in range(rows)]
    Path("table.csv").write_text("a,y\n" + "".join(lines))
    return "table.csv"


@pytest.mark.parametrize(
    ("name", "line", "classes"),
    [
        (
            "breast_cancer",
            "breast_cancer: 569 rows, 30 features, target 'diagnosis', 2 classes",
            ("benign", "malignant"),
        ),
        (
            "wine",
            "wine: 178 rows, 13 features, target 'cultivar', 3 classes",
            ("class_0", "class_1", "class_2"),
        ),
        ("digits", "digits: 1797 rows, 64 features, target 'digit', 10 classes", tuple(range(10))),
    ],
)
def test_the_embedded_tables_have_readable_classes(name, line, classes):
    table = datasets.load(name)
    assert table.describe() == line
    assert table.classes == table.rows.classes == classes
    bunch = getattr(sklearn.datasets, f"load_{name}")()
    ours = np.array(classes)[table.rows.target.astype(int)]
    np.testing.assert_array_equal(ours, bunch.target_names[bunch.target])
    assert table.source == f"sklearn.datasets.load_{name}"


@pytest.mark.parametrize("name", EMBEDDED)
def test_an_embedded_table_is_the_same_from_the_data_folder(name, tmp_path, monkeypatch):
    EMBEDDED[name].load().to_csv(tmp_path / f"{name}.csv", index=False)
    monkeypatch.setenv("ASRL_DATA_DIR", str(tmp_path))
    ours, theirs = datasets.load(name), EMBEDDED[name].load()
    assert ours.source == str(tmp_path / f"{name}.csv")
    assert bool(ours.classes) == EMBEDDED[name].classes
    assert ours.target_name == theirs.columns[-1]
    np.testing.assert_array_equal(ours.rows.features, theirs.iloc[:, :-1])


def test_digits_are_numbers_where_that_is_asked_for():
    table = datasets.load("digits", classes=False)
    assert table.classes == ()
    assert list(table.rows.target[:3]) == [0, 1, 2]


def test_another_column_of_a_table_with_classes_is_a_number():
    table = datasets.load("wine", target="alcohol", drop=["cultivar"])
    assert table.classes == ()


CATEGORIES = pd.Series(["no", "yes"] * 20, dtype=pd.CategoricalDtype(["yes", "no", "never"]))


@pytest.mark.parametrize(
    ("y", "labels"),
    [
        (["b", "a"] * 20, ("a", "b")),
        ([True, False] * 20, (False, True)),
        (CATEGORIES, ("no", "yes")),
        (pd.Categorical([5, 3] * 20), (3, 5)),
        (pd.Series(pd.Categorical([5, 3] * 20)), (3, 5)),
        (np.array(["b", "a"] * 20, dtype=object), ("a", "b")),
        (pd.Series([True, False] * 20, dtype="boolean"), (False, True)),
    ],
    ids=[
        "text",
        "booleans",
        "categories",
        "integers",
        "a series of integers",
        "objects",
        "nullable",
    ],
)
def test_what_can_only_name_classes_does_so_by_default(y, labels):
    table = datasets.from_arrays(X, y)
    assert table.classes == labels
    assert json.loads(json.dumps(table.classes)) == list(labels)
    assert [type(label) for label in table.classes] == [type(label) for label in labels]
    assert [labels[int(code)] for code in table.rows.target] == list(y)
    assert table.rows.target.dtype == np.float64


@pytest.mark.parametrize("dtype", ["int8", "int64", "float32", "float64", "Int64", "object"])
def test_whole_numbers_name_classes_only_where_that_is_asked_for(dtype):
    y = pd.Series([10, 9, -1, 9] * 10).astype(dtype)
    assert datasets.from_arrays(X, y).classes == ()
    table = datasets.from_arrays(X, y, classes=True)
    assert table.classes == (-1, 9, 10)
    assert {type(label) for label in table.classes} == {int}
    assert list(table.rows.target[:4]) == [2, 1, 0, 1]


@pytest.mark.parametrize("y", [[True, False] * 20, [0, 1] * 20, [0.5, 1.5] * 20])
def test_booleans_and_numbers_are_numbers_where_that_is_asked_for(y):
    table = datasets.from_arrays(X, y, classes=False)
    assert table.classes == ()
    np.testing.assert_array_equal(table.rows.target, np.asarray(y, float))


@given(st.lists(st.text("abcäz 09", min_size=1), min_size=2, max_size=6, unique=True), st.randoms())
def test_codes_and_labels_give_the_column_back(labels, random):
    y = labels * 10
    random.shuffle(y)
    table = datasets.from_arrays(np.zeros((len(y), 1)), y, classes=True)
    assert table.classes == tuple(sorted(labels))
    assert [table.classes[int(code)] for code in table.rows.target] == y


@pytest.mark.parametrize(
    ("cells", "classes", "labels"),
    [
        (["yes", "no"], None, ("no", "yes")),
        (["true", "false"], None, (False, True)),
        (["1", "0"], None, ()),
        (["1", "0"], True, (0, 1)),
        (["1.0", "2.0"], True, (1, 2)),
        # Mostly numbers: a mistake in a number, but not in a name.
        (["1", "2", "3x"], True, ("1", "2", "3x")),
        (["3x", "4x", "1"], None, ("1", "3x", "4x")),
        (['"1,5"', '"2,5"'], True, ("1,5", "2,5")),
        (["NA", "EU"], None, ("EU", "NA")),
    ],
)
def test_a_csv_files_target_may_name_classes(cells, classes, labels):
    assert datasets.load(csv(*cells), classes=classes).classes == labels


def test_a_csv_files_target_need_not_be_the_last_column_to_be_text():
    Path("table.csv").write_text("y,a,w\n" + "yes,1.5,1\nno,2,2\n" * 20)
    table = datasets.load("table.csv", target="y", weight="w")
    assert table.classes == ("no", "yes")
    assert datasets.load("table.csv", target="y").rows.features.shape == (40, 2)


def test_decimal_commas_are_read_beside_labels():
    Path("table.csv").write_text("a;y\n" + "1,5;yes\n2,5;no\n" * 20)
    table = datasets.load("table.csv")
    assert list(table.rows.features["a"][:2]) == [1.5, 2.5]
    assert table.classes == ("no", "yes")


def test_a_parquet_files_target_may_be_text_booleans_or_categories():
    frame = pd.DataFrame({"a": range(40), "text": ["b", "a"] * 20, "flag": [True, False] * 20})
    frame["size"] = pd.Series([5, 3] * 20, dtype="category")
    frame.to_parquet("table.parquet")
    for target, labels in (("text", ("a", "b")), ("flag", (False, True)), ("size", (3, 5))):
        others = [name for name in ("text", "flag", "size") if name != target]
        assert datasets.load("table.parquet", target=target, drop=others).classes == labels


REFUSED = {
    "missing text": (
        ["yes", "no", ""],
        {},
        "must name the class of every row; got 13 missing, the first in row 3; fill them in, or remove "
        "those rows.",
    ),
    "missing number": (
        ["1", "2", ""],
        {"classes": True},
        "must name the class of every row; got 13 missing, the first in row 3; fill them in, or remove "
        "those rows.",
    ),
    "one class": (["yes"], {}, "must name at least 2 classes; got 'yes' in every row."),
    "rare class": (
        [*range(9)],
        {"classes": True},
        "needs at least 5 rows of each class, some for each part of a split; got fewer of 4, 5, 6 and 2 "
        "more; leave those rows out, join classes, or take a loss for numbers if the target is a number.",
    ),
    "fraction": (
        ["1", "2.5"],
        {"classes": True},
        "must name classes by whole numbers; got 2.5 in row 2; write labels as text or whole numbers, or "
        "take a loss for numbers if the target is a number.",
    ),
    "infinite": (
        ["1", "inf"],
        {"classes": True},
        "must name classes by whole numbers; got inf in row 2; write labels as text or whole numbers, or "
        "take a loss for numbers if the target is a number.",
    ),
    "integers that float64 cannot tell apart": (
        [2**60, 2**60 + 1],
        {"classes": True},
        "must name classes by whole numbers; got 1.15292e+18 in row 1; write labels as text or whole "
        "numbers, or take a loss for numbers if the target is a number.",
    ),
    "text as a number": (
        ["yes", "no"],
        {"classes": False},
        "must be numbers; got 'yes'; encode them, or take a loss for classes, such as --loss=log_loss.",
    ),
}


@pytest.mark.parametrize(("cells", "call", "line"), REFUSED.values(), ids=REFUSED)
def test_targets_that_name_no_classes_are_refused_in_one_line(cells, call, line):
    with pytest.raises(InputError) as caught:
        datasets.load(csv(*cells), **call)
    assert str(caught.value) == f"table.csv: the target 'y' {line}"


def test_more_than_a_thousand_classes_are_refused():
    y = np.arange(1001).repeat(5)
    with pytest.raises(InputError) as caught:
        datasets.from_arrays(np.zeros((y.size, 1)), y, classes=True)
    assert str(caught.value) == (
        "table: the target 'target' may name at most 1000 classes; got 1001; join classes, or take a "
        "loss for numbers if the target is a number."
    )
    kept = y < 1000
    assert len(datasets.from_arrays(np.zeros((5000, 1)), y[kept], classes=True).classes) == 1000


@pytest.mark.parametrize("classes", [None, True, False])
@pytest.mark.parametrize(
    "y", [["a", 1] * 20, pd.date_range("2024-01-31", periods=2).repeat(20)], ids=["mixed", "dates"]
)
def test_targets_that_are_neither_numbers_nor_labels_are_refused_in_one_line(y, classes):
    y = y if isinstance(y, pd.DatetimeIndex) else np.array(y, dtype=object)
    with pytest.raises(InputError, match=r"^table: the target 'target' must [^\n]*; got [^\n]*$"):
        datasets.from_arrays(X, y, classes=classes)


def test_a_target_that_is_mostly_numbers_is_refused_at_the_cell_that_is_none():
    with pytest.raises(InputError, match="column 'y' must hold numbers; got '3x' in row 3"):
        datasets.load(csv("1", "2", "3x"))


def test_text_in_a_feature_is_refused_beside_classes_too():
    Path("table.csv").write_text("b,y\n" + "u,yes\nv,no\n" * 20)
    with pytest.raises(InputError, match="column 'b' must hold numbers or categories; got text"):
        datasets.load("table.csv")


def test_weights_that_are_text_are_refused_in_one_line():
    with pytest.raises(
        InputError, match=r"the weight 'weight' must be numbers; got 'a'; encode them\.$"
    ):
        datasets.from_arrays(X, X[:, 0], sample_weight=["a"] * 40)


def test_rare_classes_and_one_that_has_nearly_all_rows_are_warned_of():
    y = ["no"] * 2000 + ["yes"] * 19
    assert datasets.from_arrays(np.arange(2019.0)[:, None], y).warnings == (
        "'target': fewer than 20 rows of 'yes'; the test part has four or fewer of each, so measures of "
        "them vary much; join classes, or add rows.",
        "'target': 99.06% of the rows are 'no'; to predict it always has a small error: look at "
        "balanced_accuracy and auc.",
    )


def test_classes_have_none_of_the_warnings_of_numbers():
    y = np.array([10**9, 10**9 + 1] * 20)
    assert datasets.from_arrays(X, y, classes=True).warnings == ()
    assert "coarse" in datasets.from_arrays(X, y).warnings[0]
