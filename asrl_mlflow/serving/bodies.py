"""Check how large a table a request's body describes, before that table is made.

A few bytes of a body can describe a whole column, or a row of a thousand cells. To make such a table
could take minutes, or all memory.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from typing import Any

from asrl_mlflow.errors import InputError

# Clients may send all columns of their table, of which the model uses some.
MORE_COLUMNS = 1_000
# Shorter bodies cannot describe a large table.
_SMALL = 4_096
_FEW_CELLS = 1_000_000
_FORMS = {"dataframe_split", "dataframe_records", "instances", "inputs"}
# With one of these keys MLflow takes the whole body for one table.
_PROMPTS = {"messages", "prompt", "input"}
_BREAK = re.compile(rb"\r\n?|\n")
_RULE = (
    "Body: needs JSON with one of dataframe_split, dataframe_records, instances and inputs, or CSV with "
    "a header; got something else."
)


def check_body(body: bytes, *, is_csv: bool, known: int) -> None:
    r"""Refuse a body whose table would be far larger than the body itself.

    Parameters
    ----------
    body : bytes
        The body of a request.
    is_csv : bool
        Whether the body is CSV; else it is JSON.
    known : int
        The number of columns that the model learned from.

    Raises
    ------
    InputError
        The table has over 1,000 columns more than the model, or most of its cells are missing; or the
        body is not JSON, or holds no table.

    Examples
    --------
    >>> check_body(b"a,b\n1,2\n" * 1000, is_csv=True, known=2)
    >>> check_body(b"a," * 3000, is_csv=True, known=2)
    Traceback (most recent call last):
        ...
    asrl_mlflow.errors.InputError: Body: a table may have 1002 columns; got more; leave out those
    that the model does not know.
    """
    if len(body) <= _SMALL:
        return
    most = known + MORE_COLUMNS
    try:
        rows, columns = _shape_of_csv(body, most) if is_csv else _shape_of_json(body)
    except InputError:
        raise
    except (ValueError, RecursionError, csv.Error) as error:
        raise InputError(_RULE) from error
    if columns > most:
        raise _too_wide_error(most)
    if not columns:
        raise InputError(_RULE)
    # No cell takes less than a byte, unless it is left out.
    if rows * columns > max(len(body), _FEW_CELLS):
        msg = "Body: rows need their cells; got most of them missing; send fewer rows at a time."
        raise InputError(msg)


def _too_wide_error(most: int) -> InputError:
    msg = f"Body: a table may have {most} columns; got more; leave out those that the model does not know."
    return InputError(msg)


def _shape_of_csv(body: bytes, most: int) -> tuple[int, int]:
    """Count rows and columns, never too few; columns as in the header or first row, the longer one."""
    rows = max(body.count(b"\n"), body.count(b"\r")) + 1
    return rows, max(_record_widths(body, most), default=0)


def _record_widths(body: bytes, most: int) -> Iterator[int]:
    """Count the fields of the first two records; stop at a record with too many."""
    commas = 0

    def counted(line: bytes) -> str:
        nonlocal commas
        commas += line.count(b",")
        if commas > most:
            raise _too_wide_error(most)
        return line.decode("latin-1")

    def lines() -> Iterator[str]:
        start = 0
        for found in _BREAK.finditer(body):
            yield counted(body[start : found.end()])
            start = found.end()
        yield counted(body[start:])

    left = 2
    for record in csv.reader(lines()):
        # pandas skips empty lines, too.
        if len(record) > 1 or "".join(record).strip():
            yield len(record)
            left -= 1
        if not left:
            return
        commas = 0


def _shape_of_json(body: bytes) -> tuple[int, int]:
    content = json.loads(body)
    if not isinstance(content, dict) or _PROMPTS & content.keys():
        raise InputError(_RULE)
    (form,) = _FORMS & content.keys()
    table = content[form]
    if isinstance(table, list):
        names: set[str] = set()
        for row in table:
            if isinstance(row, dict):
                names.update(row)
        return len(table), max([len(names), *map(_count_cells, table)])
    if not isinstance(table, dict):
        raise InputError(_RULE)
    if form == "inputs":
        return max(map(_count_cells, table.values()), default=0), len(table)
    data = table.get("data")
    if form != "dataframe_split" or not isinstance(data, list):
        raise InputError(_RULE)
    width = max(map(_count_cells, data), default=0)
    return max(len(data), _count_labels(table.get("index"))), max(
        width, _count_labels(table.get("columns"))
    )


def _count_cells(value: Any) -> int:  # noqa: ANN401 - whatever JSON has
    return len(value) if isinstance(value, list | dict) else 1


def _count_labels(labels: Any) -> int:  # noqa: ANN401 - whatever JSON has
    """Count the labels of rows or columns, which may have several levels."""
    return sum(map(_count_cells, labels)) if isinstance(labels, list | dict) else 0
