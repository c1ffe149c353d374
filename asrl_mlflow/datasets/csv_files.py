"""Read CSV files: find encoding, delimiter and decimal sign, and refuse what is ambiguous."""

from __future__ import annotations

import csv
import itertools
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from asrl_mlflow.datasets.names import check_column_names, check_columns_exist, check_model_columns
from asrl_mlflow.datasets.roles import Roles
from asrl_mlflow.errors import InputError

# Tried in this order where several cut a file into equally many columns.
_DELIMITERS = (",", ";", "\t")
# Not supported, but recognised, so that the error can name the delimiter.
_OTHER_DELIMITERS = ("|", ":", " ")
_ROWS_LOOKED_AT = 20
_BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}
_BLOCK_BYTES = 4 << 20
# pyarrow counts the header as row 1.
_FIRST_ROW = 2

_BAD_CELL = re.compile(
    r"In CSV column #(\d+): Row #(\d+): CSV conversion error to (\w+).*: invalid value '(.*)'",
    flags=re.DOTALL,
)
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d*,\d+([eE][+-]?\d+)?\s*")
_THOUSANDS = re.compile(r"\s*[+-]?[1-9]\d{0,2},\d{3}\s*")


def read_header(path: Path) -> list[str]:
    """Read the names of a CSV file's columns, as `read_csv` finds them.

    Raises
    ------
    InputError
        The file is empty or not such text.
    """
    return _find_delimiter(path, _find_encoding(path))[1]


def read_csv(path: Path, roles: Roles, *, labels: bool = False) -> pa.Table:
    """Read a CSV file into a table whose numbers are float64.

    Parameters
    ----------
    path : Path
        Encoded as UTF-8, or as UTF-16 with a byte order mark. Delimited by comma, semicolon or tab,
        whichever cuts header and rows into the same number of fields. Numbers have a decimal point
        or, throughout the file, a decimal comma.
    roles : Roles
        The column for groups is read as text, whatever it holds; that for time may hold dates, times or
        text; columns to drop are not read.
    labels : bool
        Whether the target names classes, so that some of its text may look like numbers.

    Raises
    ------
    InputError
        The file is empty or not such text, a column has no name or the name of another one, a row has
        more or fewer fields than the header, or a cell in a column of numbers is no number. The message
        names the column and the row, counted from 1 below the header.
    """
    encoding = _find_encoding(path)
    delimiter, names = _find_delimiter(path, encoding)
    check_column_names(names, path)
    check_columns_exist(roles.drop, names, path)
    kept = [name for name in names if name not in roles.drop]
    # Text in these columns is no mistake.
    free = {roles.group, roles.time, roles.target_among(kept, str(path)) if labels else None}
    reader = _CsvReader(path, encoding, delimiter, kept)
    decimal_point, types = ".", reader.types(".")
    if reader.has_decimal_commas(_text_columns(types, free)):
        decimal_point, types = ",", reader.types(",")
    _refuse_text_with_numbers(reader, _text_columns(types, free), decimal_point)
    wide = {
        name: pa.string() if name == roles.group else _widest_type(kind)
        for name, kind in types.items()
    }
    return reader.table(wide, decimal_point)


def stream_csv(
    path: Path,
    numbers: Collection[str],
    text: Collection[str],
    learned: Collection[str],
    file: BinaryIO,
) -> Iterator[pa.RecordBatch]:
    """Read some columns of a CSV file in batches of some megabytes.

    Parameters
    ----------
    path : Path
        As for `read_csv`.
    numbers : collection of str
        Columns of numbers, or of true and false.
    text : collection of str
        Columns that are read as text.
    learned : collection of str
        The columns among both that a model learned from.
    file : binary file
        The same file, open; its position shows the progress.

    Raises
    ------
    InputError
        As for `read_csv`, or a column is missing.
    """
    encoding = _find_encoding(path)
    delimiter, names = _find_delimiter(path, encoding)
    check_column_names(names, path)
    check_model_columns(learned, names, path)
    check_columns_exist([*numbers, *text], names, path)
    remedy = "correct it, or leave it empty"
    reader = _CsvReader(path, encoding, delimiter, [*numbers, *text], remedy)
    types = reader.types(".")
    commas = reader.has_decimal_commas(
        [name for name in numbers if pa.types.is_string(types[name])]
    )
    decimal_point = "," if commas else "."
    kinds = {
        name: kind if pa.types.is_boolean(kind) else pa.float64() for name, kind in types.items()
    }
    return reader.batches(kinds | dict.fromkeys(text, pa.string()), decimal_point, file)


class _CsvReader:
    """A reader of one CSV file with known encoding and delimiter, by pyarrow.

    pandas is not used: it takes a surplus field of a row for an index, and silently shifts all columns.
    """

    def __init__(
        self,
        path: Path,
        encoding: str,
        delimiter: str,
        names: Sequence[str],
        remedy: str = "correct it, leave it empty, or leave the column out with --drop",
    ) -> None:
        self.path, self._names, self._remedy = path, list(names), remedy
        self._surplus: list[pyarrow.csv.InvalidRow] = []
        self._heads: dict[str, pa.Table] = {}
        # One thread: only then does pyarrow report the number of a bad row.
        self._read = pyarrow.csv.ReadOptions(
            use_threads=False, block_size=_BLOCK_BYTES, encoding=encoding.removesuffix("-sig")
        )
        self._parse = pyarrow.csv.ParseOptions(
            delimiter=delimiter, newlines_in_values=True, invalid_row_handler=self._note_bad_row
        )

    def _note_bad_row(self, row: pyarrow.csv.InvalidRow) -> str:
        self._surplus.append(row)
        return "error"

    def _convert_options(
        self, decimal_point: str, types: Mapping[str, pa.DataType] | None = None
    ) -> pyarrow.csv.ConvertOptions:
        return pyarrow.csv.ConvertOptions(
            decimal_point=decimal_point,
            column_types=types,
            include_columns=self._names,
            # Only while looking: in a column of names, NA may be one.
            strings_can_be_null=types is None,
        )

    def _explain(self, error: pa.ArrowInvalid) -> InputError:
        if self._surplus:
            row = self._surplus[0]
            remedy = "quote a value that holds the delimiter, and close every quote"
            if row.number == _FIRST_ROW:
                remedy += "; remove a first line that is no header"
            return InputError(
                f"{self.path}: every row needs the header's {row.expected_columns} fields; got "
                f"{row.actual_columns} in row {row.number - 1}; {remedy}."
            )
        if found := _BAD_CELL.fullmatch(str(error)):
            column, row, kind, cell = found.groups()
            return self.bad_cell_error(self._names[int(column)], int(row) - 1, cell, kind)
        got = str(error).splitlines()[0]
        if "straddling" in got:
            got = "a quote that is never closed, or a cell of megabytes"
        return InputError(f"{self.path}: must be a readable CSV file; got: {got}")

    def bad_cell_error(self, column: str, row: int, cell: str, kind: str) -> InputError:
        """Make the error for a cell that does not fit the type of its column."""
        kinds = {"double": "numbers", "bool": "true or false"}
        what = kinds.get(kind, "dates or times in one form")
        return InputError(
            f"{self.path}: column {column!r} must hold {what}; got {cell!r:.40} in row {row}; "
            f"{self._remedy}."
        )

    def head(self, decimal_point: str) -> pa.Table:
        """Read the first megabytes with pyarrow's own types, once for each decimal sign."""
        if decimal_point not in self._heads:
            self._heads[decimal_point] = self._first_batch(decimal_point)
        return self._heads[decimal_point]

    def _first_batch(self, decimal_point: str) -> pa.Table:
        try:
            with pyarrow.csv.open_csv(
                self.path, self._read, self._parse, self._convert_options(decimal_point)
            ) as batches:
                return pa.Table.from_batches([batches.read_next_batch()])
        except StopIteration:  # a header without rows
            return pa.table({name: pa.array([], pa.float64()) for name in self._names})
        except pa.ArrowInvalid as error:
            raise self._explain(error) from error

    def types(self, decimal_point: str) -> dict[str, pa.DataType]:
        """Infer the types of the columns from the first megabytes."""
        schema = self.head(decimal_point).schema
        return dict(zip(schema.names, schema.types, strict=True))

    def has_decimal_commas(self, text: Sequence[str]) -> bool:
        """Check whether text columns are numbers with a decimal comma.

        Raises
        ------
        InputError
            The comma could also separate thousands, as in 1,234.
        """
        head, ambiguous = self.head("."), None
        for name in text:
            cells = head.column(name).drop_null().to_pylist()
            commas = list(filter(_DECIMAL_COMMA.fullmatch, cells))
            if not all(map(_THOUSANDS.fullmatch, commas)):
                # One unambiguous column decides for the whole file.
                return True
            if commas and ambiguous is None:
                ambiguous = (name, commas[0])
        if ambiguous is not None:
            msg = (
                f"{self.path}: column {ambiguous[0]!r} must have one meaning; got {ambiguous[1]!r}, "
                "which may be a decimal comma or thousands; write decimals with a point and thousands "
                "without a sign."
            )
            raise InputError(msg)
        return False

    def table(self, types: Mapping[str, pa.DataType], decimal_point: str) -> pa.Table:
        """Read the whole file with the given types."""
        try:
            return pyarrow.csv.read_csv(
                self.path, self._read, self._parse, self._convert_options(decimal_point, types)
            )
        except pa.ArrowInvalid as error:
            raise self._explain(error) from error

    def batches(
        self, types: Mapping[str, pa.DataType], decimal_point: str, file: BinaryIO
    ) -> Iterator[pa.RecordBatch]:
        """Read the whole file in batches of some megabytes."""
        try:
            with pyarrow.csv.open_csv(
                file, self._read, self._parse, self._convert_options(decimal_point, types)
            ) as found:
                yield from found
        except pa.ArrowInvalid as error:
            raise self._explain(error) from error


def _text_columns(types: Mapping[str, pa.DataType], free: Collection[str | None]) -> list[str]:
    text = [name for name, kind in types.items() if pa.types.is_string(kind)]
    return [name for name in text if name not in free]


def _widest_type(kind: pa.DataType) -> pa.DataType:
    # Further down, integers may have decimals or missing values, and empty columns may have numbers.
    numbers = pa.types.is_integer(kind) or pa.types.is_null(kind)
    return pa.float64() if numbers else kind


def _refuse_text_with_numbers(
    reader: _CsvReader, text: Collection[str], decimal_point: str
) -> None:
    """Refuse a text column that is mostly numbers, and name the cell that is no number."""
    for name in text:
        cells = reader.head(decimal_point).column(name).to_pandas().astype(object)
        points = pd.to_numeric(cells, errors="coerce")
        if decimal_point == "," and points.notna().any():
            row = int(np.flatnonzero(points.notna())[0])
            msg = (
                f"{reader.path}: decimals need one sign throughout; got {cells.iloc[row]!r:.40} in "
                f"column {name!r}, row {row + 1}, and a decimal comma elsewhere; decide for one."
            )
            raise InputError(msg)
        numbers = pd.to_numeric(cells.str.replace(decimal_point, "."), errors="coerce")
        bad = np.flatnonzero(cells.notna() & numbers.isna())
        if numbers.notna().sum() > bad.size > 0:
            raise reader.bad_cell_error(name, int(bad[0]) + 1, cells.iloc[bad[0]], "double")


def _find_encoding(path: Path) -> str:
    """Find the encoding by the byte order mark; refuse an empty or binary file."""
    with path.open("rb") as file:
        start = file.read(4096)
    if not start.removeprefix(b"\xef\xbb\xbf").strip():
        msg = f"{path}: must be a readable CSV file; got an empty file; write it again."
        raise InputError(msg)
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if start.startswith(mark):
            return encoding
    if b"\0" in start:
        msg = (
            f"{path}: must be text in UTF-8, or UTF-16 with a byte order mark; got zero bytes; save "
            "it as UTF-8."
        )
        raise InputError(msg)
    return "utf-8"


def _find_delimiter(path: Path, encoding: str) -> tuple[str, list[str]]:
    """Find the delimiter that gives the rows as many fields as the header; also return the header."""

    def rows(delimiter: str) -> list[list[str]]:
        # The csv module refuses long texts by default.
        limit = csv.field_size_limit(sys.maxsize)
        try:
            with path.open(encoding=encoding, newline="") as file:
                lines = csv.reader(file, delimiter=delimiter)
                return list(itertools.islice(filter(None, lines), _ROWS_LOOKED_AT))
        except csv.Error as error:
            msg = f"{path}: must be a readable CSV file; got: {error}"
            raise InputError(msg) from error
        finally:
            csv.field_size_limit(limit)

    def fit(delimiter: str) -> tuple[bool, int]:
        header, *others = rows(delimiter) or [[]]
        return len(header) > 1 and all(len(row) == len(header) for row in others), len(header)

    try:
        best = max(_DELIMITERS, key=fit)
        names = next(iter(rows(best)), [])
    except UnicodeError as error:
        msg = f"{path}: must be UTF-8; got bytes that are not; save it as UTF-8."
        raise InputError(msg) from error
    if len(names) == 1:
        likely = max((*_OTHER_DELIMITERS, *_DELIMITERS), key=lambda sign: max(map(len, rows(sign))))
        if max(map(len, rows(likely))) > 1:
            msg = (
                f"{path}: needs a feature beside the target; 1 column found; did you mean "
                f"{likely!r}? Save it with comma, semicolon or tab between all columns, the header's "
                "too."
            )
            raise InputError(msg)
    return best, names
