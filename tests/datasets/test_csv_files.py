"""CSV as it comes: what is read, and what is refused in which words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st

from asrl_mlflow import datasets
from asrl_mlflow.errors import InputError
from tests.datasets.test_datasets import GOOD, rows, write


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)


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


def test_a_header_may_hold_a_line_break_between_quotes():
    table = datasets.load(write('"a\nx";b;y\n' + rows(20, ";")))
    assert list(table.rows.features.columns) == ["a\nx", "b"]


GERMAN = "a;b;y\n" + "".join(f"{i};{i},5;{3 * i}\n" for i in range(25))


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_decimal_commas_are_read_as_decimals(delimiter):
    table = datasets.load(write(GERMAN.replace(";", delimiter)))
    np.testing.assert_array_equal(table.rows.features["b"], np.arange(25) + 0.5)
    np.testing.assert_array_equal(table.rows.target, 3.0 * np.arange(25))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le-bom"])
def test_byte_order_marks_say_how_a_file_is_encoded(encoding):
    text = GOOD.replace("a,b,y", "größe,b,y")
    content = (
        b"\xff\xfe" + text.encode("utf-16-le")
        if encoding.endswith("bom")
        else text.encode(encoding)
    )
    Path("table.csv").write_bytes(content)
    assert list(datasets.load("table.csv").rows.features.columns) == ["größe", "b"]


def test_integers_may_turn_into_decimals_or_gaps_megabytes_further_down():
    count = 700_000
    Path("big.csv").write_text(
        "a,b,y\n" + "".join(f"{i},{i},{i}\n" for i in range(count)) + "0.5,,1.5\n"
    )
    table = datasets.load("big.csv")
    assert table.rows.features.iloc[-1]["a"] == 0.5
    assert np.isnan(table.rows.features.iloc[-1]["b"])
    assert len(table.rows) == count + 1


def test_a_bad_cell_is_found_megabytes_further_down():
    count = 700_000
    Path("big.csv").write_text(
        "a,b,y\n" + "".join(f"{i},{i},{i}\n" for i in range(count)) + "1,two,3\n"
    )
    with pytest.raises(
        InputError, match=f"column 'b' must hold numbers; got 'two' in row {count + 1};"
    ):
        datasets.load("big.csv")


def test_a_dropped_column_may_hold_anything():
    text = GOOD.replace("4,2.0,12", "4,two,12")
    assert list(datasets.load(write(text), drop=["b"]).rows.features.columns) == ["a"]


def test_one_cell_that_is_surely_a_decimal_comma_settles_the_file():
    text = "a;b;y\n" + "".join(f"1,{500 + i};{i},5;{i}\n" for i in range(25))
    table = datasets.load(write(text))
    assert table.rows.features["a"][3] == 1.503


def test_cells_longer_than_the_csv_modules_limit_are_read_over():
    text = "a,b,y\n" + "".join(f"{i},{'x' * 200_000},{i}\n" for i in range(20))
    assert list(datasets.load(write(text), drop=["b"]).rows.features.columns) == ["a"]


def test_groups_with_leading_zeros_are_told_apart():
    text = "g,a,y\n" + "".join(f"{'0' * (i % 4)}1,{i},{i}\n" for i in range(40))
    blocks = datasets.load(write(text), group="g").rows.blocks
    assert len(set(blocks.codes)) == 4


CORRECT = "correct it, leave it empty, or leave the column out with --drop."
ENCODE = (
    "encode it as numbers, save it in Parquet as a pandas category column, or leave it out with "
    "--drop."
)
REFUSED = {
    "empty file": ("", "must be a readable CSV file; got an empty file; write it again."),
    "blank file": ("\n \n", "must be a readable CSV file; got an empty file; write it again."),
    "byte order mark alone": (
        b"\xef\xbb\xbf",
        "must be a readable CSV file; got an empty file; write it again.",
    ),
    "header without rows": ("a,b,y\n", "needs at least 20 rows to split; got 0."),
    "names twice": (
        "a,a,y\n" + rows(),
        "column names must differ; got 'a' more than once; rename them.",
    ),
    "unnamed index": (
        ",b,y\n" + rows(),
        "every column needs a name; got none for column 1; name it, or save without an index "
        "(index=False) and without delimiters at the ends of lines.",
    ),
    "surplus field": (
        GOOD.replace("4,2.0,12", "4,2.0,12,99"),
        "every row needs the header's 3 fields; got 4 in row 5; quote a value that holds the "
        "delimiter, and close every quote.",
    ),
    "surplus field in every row": (
        "a,b\n" + rows(),
        "every row needs the header's 2 fields; got 3 in row 1; quote a value that holds the "
        "delimiter, and close every quote; remove a first line that is no header.",
    ),
    "field too few": (
        GOOD.replace("4,2.0,12", "4,2.0"),
        "every row needs the header's 3 fields; got 2 in row 5; quote a value that holds the "
        "delimiter, and close every quote.",
    ),
    "a quote that is never closed": (
        GOOD.replace("4,2.0,12", '4,"2.0,12'),
        "every row needs the header's 3 fields; got 2 in row 5; quote a value that holds the "
        "delimiter, and close every quote.",
    ),
    "one column": ("y\n" + "1\n" * 30, "needs a feature beside the target; got no column but 'y'."),
    "another delimiter": (
        GOOD.replace(",", "|"),
        "needs a feature beside the target; 1 column found; did you mean '|'? Save it with comma, "
        "semicolon or tab between all columns, the header's too.",
    ),
    "header with another delimiter": (
        "y\n" + rows(25, ";"),
        "needs a feature beside the target; 1 column found; did you mean ';'? Save it with comma, "
        "semicolon or tab between all columns, the header's too.",
    ),
    "text in few cells": (
        GOOD.replace("4,2.0,12", "4,n.a.,12").replace("7,3.5,21", "7,12 kg,21"),
        f"column 'b' must hold numbers; got 'n.a.' in row 5; {CORRECT}",
    ),
    "text in few cells of the target": (
        GOOD.replace("4,2.0,12", "4,2.0,twelve"),
        f"column 'y' must hold numbers; got 'twelve' in row 5; {CORRECT}",
    ),
    "text with a line break": (
        GOOD.replace("4,2.0,12", '4,"two\nlines",12'),
        f"column 'b' must hold numbers; got 'two\\nlines' in row 5; {CORRECT}",
    ),
    "text in few cells with decimal commas": (
        GERMAN.replace("4;4,5;12", "4;four;12"),
        f"column 'b' must hold numbers; got 'four' in row 5; {CORRECT}",
    ),
    "text column": (
        "a,b,y\n" + "".join(f"{i},red,{i}\n" for i in range(25)),
        f"column 'b' must hold numbers or categories; got text ('red'); {ENCODE}",
    ),
    "dates": (
        "d,a,y\n" + "2024-01-31,1,2\n" * 20,
        "column 'd' must hold numbers; got dates or times; turn them into numbers (days since a "
        "date, month, hour), split by them with --time, or leave them out with --drop.",
    ),
    "decimal commas and points": (
        GERMAN.replace("4;4,5;12", "4;4,5;12.5"),
        "decimals need one sign throughout; got '0' in column 'y', row 1, and a decimal comma "
        "elsewhere; decide for one.",
    ),
    "thousands": (
        "a;b;y\n" + "".join(f"{i};1,{500 + i};{i}\n" for i in range(25)),
        "column 'b' must have one meaning; got '1,500', which may be a decimal comma or thousands; "
        "write decimals with a point and thousands without a sign.",
    ),
    "UTF-16 without a mark": (
        GOOD.encode("utf-16-le"),
        "must be text in UTF-8, or UTF-16 with a byte order mark; got zero bytes; save it as UTF-8.",
    ),
    "latin-1": (
        "größe,b,y\n".encode("latin-1") + rows().encode(),
        "must be UTF-8; got bytes that are not; save it as UTF-8.",
    ),
}


@pytest.mark.parametrize(("content", "line"), REFUSED.values(), ids=REFUSED)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(content, line):
    Path("table.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError) as caught:
        datasets.load("table.csv")
    assert str(caught.value) == f"table.csv: {line}"


def test_another_suffix_is_refused():
    with pytest.raises(InputError) as caught:
        datasets.load(write(GOOD, "table.xlsx"))
    assert str(caught.value) == (
        "Data needs a .csv or .parquet file; got table.xlsx; rename or convert it."
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
