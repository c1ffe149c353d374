"""The paper's tables fetched over HTTP, from a local server that speaks as their publishers do."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn.datasets._california_housing
import ucimlrepo.fetch

from asrl_mlflow import datasets
from asrl_mlflow.datasets import published
from asrl_mlflow.errors import InputError

DATA_DIR = os.environ.get("ASRL_DATA_DIR")
NUMBERS = {"concrete": 165, "gas_turbine": 551, "power_plant": 294, "airfoil": 291}

needs_tables = pytest.mark.skipif(
    DATA_DIR is None, reason="ASRL_DATA_DIR names no folder with the paper's tables"
)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and no data folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("ASRL_DATA_DIR", raising=False)
    return tmp_path / "asrl-mlflow"


class Pages(dict):
    """Path to bytes, and the address where they are served."""

    url = ""


@pytest.fixture
def server(monkeypatch):
    """A dict of path to bytes, served; the UCI client and scikit-learn are pointed there."""
    pages = Pages()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            content = pages.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *args):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    pages.url = f"http://127.0.0.1:{httpd.server_port}"
    monkeypatch.setattr(ucimlrepo.fetch, "API_BASE_URL", f"{pages.url}/api/dataset")
    yield pages
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def published_by_uci(server, name, frame):
    """What the UCI repository's interface answers for a set."""
    number = NUMBERS[name]
    variables = [
        {"name": column, "role": "Target" if column == frame.columns[-1] else "Feature"}
        for column in frame.columns
    ]
    description = {
        "uci_id": number,
        "name": name,
        "data_url": f"{server.url}/static/public/{number}/data.csv",
        "variables": variables,
        "additional_info": None,
        "intro_paper": None,
    }
    answer = {"status": 200, "data": description}
    server[f"/api/dataset?id={number}"] = json.dumps(answer).encode()
    server[f"/static/public/{number}/data.csv"] = frame.to_csv(index=False).encode()


def own(name):
    return pd.read_csv(Path(DATA_DIR, f"{name}.csv"))


def as_uci_has_it(name):
    """The same table under the publisher's names: another order, a column more, rows turned round."""
    frame = own(name)
    if name == "gas_turbine":
        frame = frame[[*frame.columns[:7], "TEY", *frame.columns[7:-1]]].assign(year=2011)[::-1]
    elif name == "concrete":
        frame.columns = [column.replace("_", " ").capitalize() for column in frame.columns]
    elif name == "airfoil":
        frame.columns = [column.replace("_", "-") for column in frame.columns]
    return frame


@needs_tables
@pytest.mark.parametrize("name", NUMBERS)
def test_a_table_is_fetched_once_verified_and_read_from_the_cache_ever_after(cache, server, name):
    published_by_uci(server, name, as_uci_has_it(name))
    table = datasets.load(name)
    server.clear()
    again = datasets.load(name)
    assert table.digest == again.digest
    assert table.source == str(cache / f"{name}.csv")
    assert [file.name for file in cache.iterdir()] == [f"{name}.csv"]
    expected = own(name)
    assert [*table.rows.features.columns, table.target_name] == list(expected.columns)
    found = pd.read_csv(cache / f"{name}.csv")
    by = list(expected.columns)
    pd.testing.assert_frame_equal(
        found.sort_values(by, ignore_index=True), expected.sort_values(by, ignore_index=True)
    )


@needs_tables
def test_california_is_fetched_as_scikit_learn_derives_it(cache, server, monkeypatch):
    frame = own("california")
    # Back to the census file, whose columns are sums over a block and its households.
    households = (frame["Population"] / frame["AveOccup"]).round()
    census = np.column_stack(
        [
            *(frame["Longitude"], frame["Latitude"], frame["HouseAge"]),
            (frame["AveRooms"] * households).round(),
            (frame["AveBedrms"] * households).round(),
            *(frame["Population"], households, frame["MedInc"], frame["MedHouseVal"] * 100_000),
        ]
    )
    text = io.StringIO()
    np.savetxt(text, census, delimiter=",", fmt="%.10g")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        member = tarfile.TarInfo("CaliforniaHousing/cal_housing.data")
        member.size = len(text.getvalue())
        tar.addfile(member, io.BytesIO(text.getvalue().encode()))
    server["/cal_housing.tgz"] = archive.getvalue()
    module = sklearn.datasets._california_housing
    there = module.ARCHIVE._replace(
        url=f"{server.url}/cal_housing.tgz",
        checksum=hashlib.sha256(archive.getvalue()).hexdigest(),
    )
    monkeypatch.setattr(module, "ARCHIVE", there)
    table = datasets.load("california")
    assert table.source == str(cache / "california.csv")
    np.testing.assert_allclose(table.rows.features, frame.iloc[:, :-1], rtol=1e-8)


@needs_tables
@pytest.mark.parametrize(
    ("spoil", "got"),
    [
        (lambda frame: frame[:-1], "1502 rows, 6 columns"),
        (lambda frame: frame.assign(more=1), "1503 rows, 7 columns"),
        (lambda frame: frame.replace(0.3048, 0.3049), "1503 rows, 6 columns, values "),
        (
            lambda frame: frame.astype(str) + "x",
            "1503 rows, 6 columns, values that are not numbers",
        ),
    ],
    ids=["rows", "columns", "values", "text"],
)
def test_another_table_is_refused_and_not_kept(cache, server, spoil, got):
    published_by_uci(server, "airfoil", spoil(as_uci_has_it("airfoil")))
    with pytest.raises(InputError) as caught:
        datasets.load("airfoil")
    line = str(caught.value)
    assert line.startswith(
        "Data set 'airfoil' from the UCI Machine Learning Repository (set 291) must be the one that "
        "the paper used (1503 rows, 6 columns"
    )
    assert f"got {got}" in line
    assert line.endswith(
        f"put airfoil.csv (features first, target last) into {cache} or ASRL_DATA_DIR."
    )
    assert "\n" not in line
    assert not cache.exists()


@pytest.mark.parametrize("name", ["concrete", "california"])
def test_without_a_network_one_line_says_where_to_put_the_file(cache, monkeypatch, name):
    nowhere = "http://127.0.0.1:9/nothing"
    monkeypatch.setattr(ucimlrepo.fetch, "API_BASE_URL", nowhere)
    module = sklearn.datasets._california_housing
    monkeypatch.setattr(module, "ARCHIVE", module.ARCHIVE._replace(url=nowhere))
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(InputError) as caught:
        datasets.load(name)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(
        f"put {name}.csv (features first, target last) into {cache} or ASRL_DATA_DIR."
    )
    assert "must be fetched from" in str(caught.value)


def test_a_silent_server_is_left(cache, monkeypatch):
    silent = threading.Event()
    table = published.PublishedTable("nobody", silent.wait, 1, ("a", "y"), "", "")
    monkeypatch.setattr(published, "PUBLISHED", {"concrete": table})
    monkeypatch.setattr(published, "_SECONDS_TO_WAIT", 0.4)
    try:
        with pytest.raises(InputError, match=r"got TimeoutError: no answer within 0.4 s; put"):
            published.fetch_table("concrete", cache)
    finally:
        silent.set()


def test_a_terminal_sees_that_something_is_being_fetched(cache, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    waited = threading.Event()
    frame = pd.DataFrame({"a": [1.0], "y": [2.0]})

    def fetch():
        waited.wait(0.5)
        return frame

    table = published.PublishedTable(
        "far away", fetch, 1, ("a", "y"), published.values_digest(frame), ""
    )
    monkeypatch.setattr(published, "PUBLISHED", {"concrete": table})
    assert published.fetch_table("concrete", cache).read_text() == "a,y\n1.0,2.0\n"
    assert "Fetching concrete from far away: 00:00" in capsys.readouterr().err


def air_quality(rows=60):
    """A table of the benchmark's form."""
    rng = np.random.default_rng(0)
    names = ["T", "RH", "AH", "PT08.S2(NMHC)", "PT08.S3(NOx)", "PT08.S4(NO2)", "PT08.S5(O3)"]
    true = rng.normal(size=rows).round(3)
    frame = pd.DataFrame(rng.normal(size=(rows, 7)), columns=names)
    frame.insert(0, "time_slot", np.resize(["night", "evening"], rows))
    frame.insert(1, "day_of_week", np.resize(["sunday", "monday", "tuesday"], rows))
    given = np.where(np.arange(rows) % 4, true, true + 2)
    return frame.assign(true_label=true, given_label=given, true_error=given != true)


def test_a_table_whose_errors_are_known_is_learned_as_given_and_judged_by_the_truth(
    cache, server, monkeypatch
):
    monkeypatch.setattr(published, "_BENCHMARK", f"{server.url}/some-commit")
    server["/some-commit/airquality_co.csv"] = air_quality().to_csv().encode()
    table = datasets.load("airquality_co")
    server.clear()
    assert datasets.load("airquality_co").digest == table.digest
    assert list(table.rows.features)[:3] == ["time_slot", "day_of_week", "T"]
    assert set(table.rows.features["time_slot"]) == {0, 3}
    assert table.rows.features.shape == (60, 9)
    assert table.describe().endswith(
        "target 'given_label', true targets 'true_label' known of 60, other than given in 15"
    )
    parts = datasets.split(table.rows, 0)
    own = air_quality()
    for part, label in ((parts.train, "given_label"), (parts.test, "true_label")):
        np.testing.assert_allclose(part.target, own[label][part.numbers])


def test_a_table_with_truth_that_is_not_there_or_is_another_one_is_refused(
    cache, server, monkeypatch
):
    monkeypatch.setattr(published, "_BENCHMARK", f"{server.url}/some-commit")
    with pytest.raises(
        InputError, match=r"HTTP Error 404.* \(given_label, true_label and features\)"
    ):
        datasets.load("airquality_co")
    server["/some-commit/airquality_co.csv"] = b"a,b\n1,2\n"
    with pytest.raises(InputError, match="Usecols do not match columns"):
        datasets.load("airquality_co")
