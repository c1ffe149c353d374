"""Download public tables: the paper's five, checked to be the right ones, and one whose errors are known.

They are public: california is the 1990 census as scikit-learn derives it (StatLib), the others are
sets 165, 551, 294 and 291 of the UCI Machine Learning Repository (CC BY 4.0). airquality_co is from set 360
(CC BY 4.0), as a benchmark of label errors has it.
"""

from __future__ import annotations

import hashlib
import tempfile
import textwrap
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pandas as pd
from tqdm import tqdm

from asrl_mlflow.errors import InputError
from asrl_mlflow.system.files import write_atomically

_SECONDS_TO_WAIT = 120.0
_SECONDS_BETWEEN_REFRESHES = 0.2


@dataclass(frozen=True)
class PublishedTable:
    """A public table, how to download it, and how to recognise it.

    Parameters
    ----------
    origin : str
        Who publishes it, for messages.
    fetch : callable
        Downloads it; columns may have any names and order, rows are in the published order.
    rows : int
        The number of rows that it must have.
    columns : tuple of str
        Our names: features, then the target.
    digest, digest_in_order : str
        What `values_digest` must give.
    """

    origin: str
    fetch: Callable[[], pd.DataFrame]
    rows: int
    columns: tuple[str, ...]
    digest: str
    digest_in_order: str


@dataclass(frozen=True)
class TableWithTruth:
    """A public table with real errors in its target, and the true targets beside them.

    Parameters
    ----------
    origin : str
        Who publishes it, for messages.
    fetch : callable
        Downloads one fixed version of it, and checks its columns.
    target, truth : str
        The columns of targets as they are given, and of true ones.
    """

    origin: str
    fetch: Callable[[], pd.DataFrame]
    target: str
    truth: str


def fetch_table(name: str, folder: Path) -> Path:
    """Download one of `PUBLISHED` or `WITH_TRUTH`, check it, and write it as `<name>.csv` into a folder.

    Raises
    ------
    InputError
        The download failed or took over two minutes, or the table is not the one that the paper used.
        The message says where to put the file by hand.
    """
    table = PUBLISHED.get(name) or WITH_TRUTH[name]
    columns = (
        "features first, target last"
        if isinstance(table, PublishedTable)
        else f"{table.target}, {table.truth} and features"
    )
    remedy = f"put {name}.csv ({columns}) into {folder} or ASRL_DATA_DIR."
    try:
        frame = _fetch_with_progress(table.fetch, f"{name} from {table.origin}")
        if isinstance(table, PublishedTable):
            frame = _name_columns(frame, table.columns)
    except Exception as error:
        reason = textwrap.shorten(f"{type(error).__name__}: {error}", 200)
        msg = f"Data set {name!r} must be fetched from {table.origin} once; got {reason}; {remedy}"
        raise InputError(msg) from error
    if name in PUBLISHED and (differs := describe_difference(name, frame)):
        msg = f"Data set {name!r} from {table.origin} must be {differs}; {remedy}"
        raise InputError(msg)
    place = folder / f"{name}.csv"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with write_atomically(place) as unfinished:
            frame.to_csv(unfinished, index=False)
    except OSError as error:
        msg = f"Data set {name!r} must be kept in {folder}; got {error}; {remedy}"
        raise InputError(msg) from error
    return place


def describe_difference(name: str, frame: pd.DataFrame) -> str | None:
    """Describe how a table differs from the one that the paper used; None if it does not.

    The order of the rows does not matter.

    Parameters
    ----------
    name : str
        One of `PUBLISHED`.
    frame : DataFrame
        Features, then the target.
    """
    table = PUBLISHED[name]
    found = f"{len(frame)} rows, {len(frame.columns)} columns"
    expected = f"{table.rows} rows, {len(table.columns)} columns"
    if found == expected:
        found += f", values {values_digest(frame)}"
        expected += f", values {table.digest}"
    if found == expected:
        return None
    return f"the one that the paper used ({expected}); got {found}"


def has_published_order(name: str, frame: pd.DataFrame) -> bool:
    """Check whether the rows are in the published order, from which the README's figures come."""
    return values_digest(frame, in_order=True) == PUBLISHED[name].digest_in_order


def _name_columns(frame: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    """Give columns our names, by name or else by position; a wrong table shows later in the digest."""
    if set(columns) <= set(frame.columns):
        return frame[list(columns)]
    return frame.set_axis(list(columns), axis=1) if len(frame.columns) == len(columns) else frame


def values_digest(frame: pd.DataFrame, *, in_order: bool = False) -> str:
    """Compute a digest over values, 16 hexadecimal digits; by default the order of rows does not matter.

    Values are rounded to five significant digits, as copies of california differ from the eleventh on.

    Examples
    --------
    >>> import pandas as pd
    >>> one, other = pd.DataFrame({"x": [0.1, 2.0]}), pd.DataFrame({"y": [2.0000001, 0.1]})
    >>> values_digest(one) == values_digest(other)
    True
    """
    try:
        values = frame.to_numpy(dtype=float).tolist()
    except ValueError:
        return "that are not numbers"
    lines = [",".join(f"{value:.5g}" for value in row) for row in values]
    if not in_order:
        lines.sort()
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _fetch_with_progress(fetch: Callable[[], pd.DataFrame], what: str) -> pd.DataFrame:
    """Download in a thread, to show the time that passes and to give up after two minutes.

    Neither scikit-learn nor ucimlrepo reports progress or accepts a time limit.
    """
    frames: list[pd.DataFrame] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            frames.append(fetch())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    ticks = int(_SECONDS_TO_WAIT / _SECONDS_BETWEEN_REFRESHES)
    with tqdm(
        total=ticks,
        desc=f"Fetching {what}",
        bar_format="{desc}: {elapsed}",
        leave=False,
        disable=None,
    ) as bar:
        for _ in range(ticks):
            thread.join(_SECONDS_BETWEEN_REFRESHES)
            if not thread.is_alive():
                break
            bar.update()
    if thread.is_alive():
        msg = f"no answer within {_SECONDS_TO_WAIT:g} s"
        raise TimeoutError(msg)
    if errors:
        error = errors[0]
        raise error if isinstance(error, Exception) else RuntimeError(repr(error))
    return frames[0]


def _fetch_california() -> pd.DataFrame:
    # Here, not above: scikit-learn takes a second to import and is needed once a machine.
    from sklearn.datasets import fetch_california_housing  # noqa: PLC0415 - see above

    with tempfile.TemporaryDirectory() as folder:
        frame: pd.DataFrame = fetch_california_housing(
            data_home=folder, as_frame=True, n_retries=1
        ).frame
    return frame


def _fetch_uci(number: int) -> pd.DataFrame:
    # Here, not above: it is needed once a machine.
    from ucimlrepo import fetch_ucirepo  # noqa: PLC0415 - see above

    frame: pd.DataFrame = fetch_ucirepo(id=number).data.original
    return frame


# A commit of a repository: what is there can never be another table.
_BENCHMARK = (
    "https://raw.githubusercontent.com/cleanlab/regression-label-error-benchmark/"
    "10f55e2f35dc78a149b8fdd9679141dd887f9d6d/dataset"
)
_SENSORS = ("PT08.S2(NMHC)", "PT08.S3(NOx)", "PT08.S4(NO2)", "PT08.S5(O3)")
_IN_ORDER = {
    "time_slot": ("night", "morning", "afternoon", "evening"),
    "day_of_week": (
        *("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
    ),
}


def _fetch_air_quality() -> pd.DataFrame:
    """Carbon monoxide by a cheap sensor, beside what a certified analyser measured at the same place and hour."""
    labels = ["given_label", "true_label"]
    numbers = ["T", "RH", "AH", *_SENSORS]
    try:
        with urlopen(f"{_BENCHMARK}/airquality_co.csv") as answer:  # noqa: S310 - the address is fixed
            frame = pd.read_csv(answer, usecols=[*_IN_ORDER, *numbers, *labels])
    except HTTPError as error:
        error.close()
        raise
    for name, order in _IN_ORDER.items():
        frame[name] = pd.Categorical(frame[name], order).codes
    return frame[[*_IN_ORDER, *numbers, *reversed(labels)]]


def _uci_table(number: int, rows: int, columns: str, *digests: str) -> PublishedTable:
    origin = f"the UCI Machine Learning Repository (set {number})"
    return PublishedTable(
        origin, partial(_fetch_uci, number), rows, tuple(columns.split()), *digests
    )


PUBLISHED: Mapping[str, PublishedTable] = {
    "california": PublishedTable(
        "StatLib, by scikit-learn",
        _fetch_california,
        20640,
        (
            *("MedInc", "HouseAge", "AveRooms", "AveBedrms", "Population"),
            *("AveOccup", "Latitude", "Longitude", "MedHouseVal"),
        ),
        "e478e93023e649b4",
        "4079b2d8890d75fe",
    ),
    "concrete": _uci_table(
        165,
        1030,
        "cement blast_furnace_slag fly_ash water superplasticizer coarse_aggregate fine_aggregate "
        "age compressive_strength",
        "1ace260fa7cc8d82",
        "a6bf9d4158577a93",
    ),
    "gas_turbine": _uci_table(
        551,
        36733,
        "AT AP AH AFDP GTEP TIT TAT CDP CO NOX TEY",
        "fc6ecba73e37c0b8",
        "b50847e8038d6b60",
    ),
    "power_plant": _uci_table(294, 9568, "AT V AP RH PE", "d6147e6876b47515", "427cb85e1446b205"),
    "airfoil": _uci_table(
        291,
        1503,
        "frequency angle_of_attack chord_length free_stream_velocity "
        "suction_side_displacement_thickness scaled_sound_pressure",
        "6fc99a7ab9de2747",
        "fac7f8d0bcb2c669",
    ),
}

WITH_TRUTH: Mapping[str, TableWithTruth] = {
    "airquality_co": TableWithTruth(
        "GitHub (cleanlab/regression-label-error-benchmark)",
        _fetch_air_quality,
        target="given_label",
        truth="true_label",
    ),
}
