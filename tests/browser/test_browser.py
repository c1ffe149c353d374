"""What people look at, in a real browser: MLflow's pages of what `main` wrote, reports, cards, documentation.

Each test leaves screenshots in the folder that ASRL_SCREENSHOTS names. Errors on the console are asked of pages
that are ours (files, and reports inside MLflow's frame); MLflow's own scripts and calls have some of theirs.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import mlflow
import numpy as np
import pytest

from asrl_mlflow import losses, registry
from asrl_mlflow.comparisons import Comparison
from tests.processes import ROOT
from tests.stores import runs

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed (group browser)"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("a browser test needs Chromium, which is not installed", allow_module_level=True)

SCREENSHOTS = os.environ.get("ASRL_SCREENSHOTS")
PAGES = os.environ.get("ASRL_PAGES")
# MLflow's pages ask the server several times before they show anything.
SECONDS = 60
MODELS = "workflowType=machine_learning"
WIDE, PHONE = {"width": 1200, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder with the store that `main` wrote, and the last line that it printed."""
    folder = tmp_path_factory.mktemp("browser")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    done = subprocess.run(
        [sys.executable, "-m", "asrl_mlflow", "main", "--trials=1", "--figures=false"],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    yield folder, done.stdout.splitlines()[-1]
    mlflow.set_tracking_uri(None)


@pytest.fixture(scope="module")
def server(written):
    """The address of `mlflow ui` on that store."""
    folder, _ = written
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "ui", "--workers=1", f"--port={port}"]
    with (folder / "ui.log").open("w") as log:
        process = subprocess.Popen(
            [*command, f"--backend-store-uri=sqlite:///{folder}/mlflow.db"],
            cwd=folder,
            env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + SECONDS
    while True:
        with contextlib.suppress(OSError):
            urlopen(f"{address}/health", timeout=5).close()  # noqa: S310 - the address is ours
            break
        assert time.monotonic() < deadline, (folder / "ui.log").read_text()
        time.sleep(0.1)
    yield address
    os.killpg(process.pid, signal.SIGTERM)
    process.wait()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        # A sandbox needs another user than root.
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser):
    """Open a page; at the end our pages must have no error, and no request for what lies elsewhere."""
    contexts, errors, requests = [], [], []

    def open_(address, viewport=WIDE, scheme="light"):
        context = browser.new_context(viewport=viewport, color_scheme=scheme)
        context.set_default_timeout(1000 * SECONDS)
        contexts.append(context)
        opened = context.new_page()
        opened.on("console", lambda said: said.type == "error" and errors.append(said.location))
        opened.on("pageerror", lambda error: errors.append({"url": f"{error.stack}"}))
        opened.on("request", lambda request: requests.append(request.url))
        opened.goto(address)
        return opened

    yield open_
    for context in contexts:
        context.close()
    assert [
        each for each in errors if not re.match(r"http://|.*static-files", each["url"], re.DOTALL)
    ] == []
    assert {re.split(r"[:/]+", url)[1] for url in requests if url.startswith("http")} <= {
        "127.0.0.1"
    }


def shoot(page, name):
    """Keep a picture of what is seen, for people."""
    if SCREENSHOTS:
        Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
        page.wait_for_timeout(1000)  # charts move into their places
        page.screenshot(path=f"{SCREENSHOTS}/{name}.png")


def see(page, *texts):
    """Wait until the page shows each of these texts."""
    for text in texts:
        page.get_by_text(text).first.wait_for()


def found(written, name):
    store = mlflow.MlflowClient()
    parents, children = runs(store)
    return next(run for run in parents + children if run.info.run_name == name)


def address_of(server, run, tab=""):
    return f"{server}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}{tab}?{MODELS}"


def test_the_last_line_leads_to_the_runs_and_their_children(page, server, written):
    path = re.search(r"127\.0\.0\.1:5000(\S+)\)", written[1])[1]
    seen = page(f"{server}{path}", {"width": 1600, "height": 900})
    see(seen, "main diabetes")
    seen.locator(".ag-row button").first.click()  # a plus without a name
    see(seen, "huber, 20% spoiled", "asrl_c auto")
    shoot(seen, "runs")


def test_the_parent_run_has_a_name_a_description_and_metrics(page, server, written):
    seen = page(
        address_of(server, found(written, "main diabetes")), {"width": 1600, "height": 1100}
    )
    see(seen, "main diabetes", "mae.asrl_c auto", "labels as they are", "Child runs")
    shoot(seen, "parent_run")


def test_a_child_run_has_a_chart_of_each_round(page, server, written):
    run = found(written, "asrl_c")
    seen = page(address_of(server, run, "/model-metrics"), {"width": 1600, "height": 1100})
    see(seen, "Model metrics")
    seen.get_by_placeholder("Search metric charts").fill("train.mae")
    see(seen, "train.mae")
    shoot(seen, "charts")


def test_the_runs_of_trials_are_named_by_their_levels(page, server, written):
    run = next(
        each for each in runs(mlflow.MlflowClient())[1] if "tune asrl_c" in each.info.run_name
    )
    seen = page(address_of(server, run), {"width": 1600, "height": 1100})
    see(seen, "best.q_high", "trial 0: q_low=0.5, q_high=0.9")
    shoot(seen, "study_run")


def test_the_report_is_read_among_the_artifacts(page, server, written):
    run = found(written, "main diabetes")
    seen = page(address_of(server, run, "/artifacts/report.html"), {"width": 1600, "height": 1100})
    frame = seen.frame_locator("iframe").first
    frame.get_by_role("heading", name="main diabetes").wait_for()
    assert "squared_error has a test MAE of" in frame.locator(".verdict").inner_text()
    # The figures are drawn, which their buttons and lists say.
    frame.locator("figure .controls > *").first.wait_for()
    shoot(seen, "report_among_artifacts")


def test_the_model_and_its_version_say_what_they_are(page, server, written):
    seen = page(f"{server}/#/models/asrl-diabetes?{MODELS}")
    see(seen, "asrl-diabetes", "XGBoost models of disease_progression", "Version 1")
    shoot(seen, "model")
    seen = page(f"{server}/#/models/asrl-diabetes/versions/1?{MODELS}")
    see(seen, "on diabetes (442 rows", "challenger", "asrl.loss")
    shoot(seen, "version")


def fits(seen):
    """Nothing but what scrolls by itself is wider than the window."""
    return seen.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_a_report_from_disk_is_readable(page, written, tmp_path, viewport, scheme):
    run = found(written, "main diabetes")
    file = mlflow.artifacts.download_artifacts(
        f"runs:/{run.info.run_id}/report.html", dst_path=str(tmp_path)
    )
    seen = page(Path(file).as_uri(), viewport, scheme)
    see(seen, "What to do next", "Both scenes")
    assert fits(seen)
    ink, paper = seen.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    assert abs(brightness(ink) - brightness(paper)) > 150
    assert (brightness(paper) > brightness(ink)) == (scheme == "light")
    # Sorted anew, the largest first.
    heading = seen.locator("thead button").nth(1)
    heading.click()
    heading.click()
    order = seen.locator("table").first.locator("tbody td:nth-child(2)").all_inner_texts()
    assert order == sorted(order, key=float, reverse=True)
    see(seen, ", sorted by test MAE, as they are, descending")
    shoot(seen, f"report_{'phone' if viewport == PHONE else 'wide'}_{scheme}")


def brightness(colour):
    return np.mean([float(each) for each in re.findall(r"[\d.]+", colour)[:3]])


@pytest.mark.parametrize(
    ("ink", "paper"), [("#111", "#fff"), ("#eee", "#111")], ids=["light", "dark"]
)
def test_cards_have_the_ink_of_their_page(page, written, tmp_path, ink, paper):
    scores = {"huber": {"mae": [1.0, 2.0]}, "asrl_c": {"mae": [0.5, 1.0]}}
    for each in scores.values():
        each.update({key: [1.0, 2.0] for key in ("medae", "rmse", "r2", "recall", "seconds")})
    cards = [
        losses.auto(),
        losses.ASRL(),
        losses.LogLoss(),
        Comparison("mine", "regression", scores, "run"),
        registry.find("models:/asrl-diabetes/1"),
    ]
    html = "".join(card._repr_html_() for card in cards)
    style = f"background: {paper}; color: {ink}; font: 14px sans-serif"
    file = tmp_path / "cards.html"
    file.write_text(
        f'<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">'
        f'<body style="{style}">{html}',
        encoding="utf-8",
    )
    seen = page(file.as_uri())
    inks = seen.evaluate(
        "[...document.querySelectorAll('.asrl-card td, .asrl-card svg text')].map("
        "each => getComputedStyle(each)[each.tagName === 'text' ? 'fill' : 'color'])"
    )
    assert len(inks) > 100
    expected = seen.evaluate("getComputedStyle(document.body).color")
    assert set(inks) == {expected}
    assert fits(seen)
    shoot(seen, f"cards_{'light' if paper == '#fff' else 'dark'}")


@pytest.mark.skipif(PAGES is None, reason="ASRL_PAGES names no folder with the built pages")
@pytest.mark.parametrize(
    ("viewport", "scheme"), [(WIDE, "light"), (PHONE, "dark")], ids=["wide, light", "phone, dark"]
)
def test_the_documentation_is_readable(page, viewport, scheme):
    notebooks = [f"notebooks/{path.stem}" for path in (ROOT / "docs/notebooks").glob("*.ipynb")]
    for name in ("index", "tutorial", "reference/losses", "reference/mlflow", *notebooks):
        seen = page((Path(PAGES) / f"{name}.html").as_uri(), viewport, scheme)
        seen.locator("h1").first.wait_for()
        assert fits(seen), name
        where = f"{'phone' if viewport == PHONE else 'wide'}_{scheme}"
        shoot(seen, f"docs_{name.replace('/', '_')}_{where}")
