"""The page of a run: valid, complete in one file, with the numbers of the store."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from statistics import mean, stdev

import mlflow
import pytest

from asrl_mlflow import datasets, reports, tracking
from asrl_mlflow.metrics import TASKS
from asrl_mlflow.reports.comparison import conclude
from asrl_mlflow.reports.content import Cell, Figure, Page, Recipe, Section, Table
from asrl_mlflow.reports.rendering import render
from tests.stores import artifacts, runs

QUICK = ("--figures=false", "--rounds=5")
VOID = {"meta", "link", "input", "br", "hr", "img"}
LOADING = {"src", "href", "srcset", "action", "data", "poster"}
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


class Reader(HTMLParser):
    """Reads a page strictly: every element is closed in its order, every id is there once."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []
        ids = [attributes["id"] for _, attributes, _ in self.elements if "id" in attributes]
        assert len(ids) == len(set(ids))
        for _, attributes, _ in self.elements:
            assert attributes.get("aria-labelledby", ids[0]) in ids

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        assert len(names) == len(set(names)), tag
        self.elements.append((tag, dict(attributes), len(self.texts)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((tuple(self.open), data))

    def named(self, *tags):
        return [attributes for tag, attributes, _ in self.elements if tag in tags]

    def text(self, tag):
        """The text of each element of that name, in which there are only inline ones."""
        inside = itertools.groupby(self.texts, key=lambda each: tag in each[0])
        return ["".join(data for _, data in group) for found, group in inside if found]


def cells(page):
    """The rows of each table, as texts; the first row has the headings."""
    tables = re.findall(r"<table>(.*?)</table>", page, flags=re.DOTALL)
    return [
        [
            [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row)]
            for row in re.findall(r"<tr>(.*?)</tr>", table, flags=re.DOTALL)
        ]
        for table in tables
    ]


def report_of(run, store):
    assert "report.html" in artifacts(store, run.info.run_id)
    return mlflow.artifacts.load_text(f"{run.info.artifact_uri}/report.html")


def a_page(**changes):
    table = Table("mine", ["loss", "test MAE"], [[Cell("a", "a"), Cell("1.0", 1.0)]], 1)
    figure = Figure("bars", "Errors", "a has 1.", {"metrics": [], "losses": [], "groups": []})
    values = {
        "title": "compare mine",
        "verdict": ["a is best."],
        "facts": {"data": "mine"},
        "sections": [Section("Losses", figures=[figure], tables=[table])],
        "recipes": [Recipe("Again", "asrl compare")],
        "settings": {"seed": "0"},
    }
    return render(Page(**{**values, **changes}))


@pytest.fixture
def compared(flow, store):
    code, out, err = flow(
        "compare", "--losses=huber,asrl_c,squared_error", "--repeats=3", "--seed=5", *QUICK
    )
    assert (code, err.count("Traceback")) == (0, 0)
    (parent,), children = runs(store)
    return parent, children, out


def test_a_comparison_s_page_has_the_printed_table_in_its_order_and_the_store_s_numbers(
    compared, store
):
    parent, children, out = compared
    page = report_of(parent, store)
    Reader(page)
    table = next(each for each in cells(page) if each[0][1] == "test MAE")
    lines = [re.split(r"  +", line.strip()) for line in out.splitlines()]
    printed = [line for line in lines if line[0] in ("huber", "asrl_c", "squared_error")]
    assert table[1:] == printed
    for name, *shown in table[1:]:
        values = [
            run.data.metrics["test.mae"] for run in children if run.data.params["loss.name"] == name
        ]
        assert len(values) == 3
        number, spread = shown[0].split("±")
        assert float(number) == pytest.approx(mean(values), rel=1e-3)
        assert float(spread) == pytest.approx(stdev(values), rel=0.05)
    means = [float(row[1].split("±")[0]) for row in table[1:]]
    assert means == sorted(means)
    data = json.loads(re.search(r'<script type="application/json">(.*?)</script>', page)[1])
    best = [each["name"] for each in data["losses"]].index(table[1][0])
    drawn = data["groups"][0]["values"]["mae"][best]
    assert sorted(drawn) == sorted(
        run.data.metrics["test.mae"]
        for run in children
        if run.data.params["loss.name"] == table[1][0]
    )


def test_a_page_says_what_came_out_how_to_repeat_it_and_how_to_register_it(compared, store):
    parent, children, _ = compared
    page = report_of(parent, store)
    best = cells(page)[-1][1][0]
    assert f"{best} has the smallest test MAE, " in page
    assert "on average over 3 seeds" in page
    command = (
        "asrl compare --seed=5 --losses=huber,asrl_c,squared_error --repeats=3 "
        "--rounds=5 --figures=false"
    )
    assert f"<code>{tracking.runner()}{command}</code>" in page
    assert parent.data.tags["asrl.command"] == command
    first = next(
        run
        for run in children
        if run.data.params["loss.name"] == best and run.data.params["seed"] == "5"
    )
    assert f"asrl register --run-id={first.info.run_id}" in page
    assert all("asrl.command" not in run.data.tags for run in children)


def test_report_writes_the_same_page_again_and_into_a_file(compared, store, flow, tmp_path):
    parent, _, _ = compared
    first = report_of(parent, store)
    code, out, _ = flow("report", f"--run-id={parent.info.run_id}", "--out=page.html")
    assert code == 0
    assert f"Logged as report.html with run {parent.info.run_id}." in out
    assert (tmp_path / "page.html").read_text() == first == report_of(parent, store)
    assert store.get_run(parent.info.run_id).info.status == "FINISHED"


def test_report_refuses_what_has_no_page_in_one_line(compared, flow):
    _, children, _ = compared
    child = children[0]
    code, _, err = flow("report", f"--run-id={child.info.run_id}")
    assert code == 2
    assert err.count("\n") == 1
    assert f"pass that of its parent, {child.data.tags['mlflow.parentRunId']}." in err
    code, _, err = flow("report", "--run-id=nothing")
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("report: report needs the run 'nothing' in this tracking store; got ")
    code, _, err = flow("report")
    assert (code, err.count("\n")) == (2, 1)


def test_the_page_of_classes_has_their_metrics(flow, store):
    code, out, _ = flow("compare", "--data=wine", "--losses=log_loss,focal", *QUICK)
    assert code == 0
    (parent,), _ = runs(store)
    table = next(each for each in cells(report_of(parent, store)) if each[0][1] == "test log loss")
    lines = [re.split(r"  +", line.strip()) for line in out.splitlines()]
    assert table[1:] == [line for line in lines if line[0] in ("log_loss", "focal")]
    assert table[0] == [
        "loss",
        "test log loss",
        "test error",
        "bal. acc.",
        "AUC",
        "Brier",
        "ECE",
        "seconds",
    ]


def test_a_study_s_page_has_its_trials_from_the_best_on(flow, store):
    code, out, _ = flow("tune", "--trials=3", "--jobs=1", *QUICK)
    assert code == 0
    parents, children = runs(store)
    page = report_of(parents[0], store)
    Reader(page)
    trials, tested = cells(page)
    assert trials[0][:4] == ["trial", "objective", "q_low", "q_high"]
    objectives = sorted(
        (run.data.metrics["objective"], run.data.tags["asrl.trial"]) for run in children
    )
    assert [row[:2] for row in trials[1:]] == [
        [number, f"{value:.5g}"] for value, number in objectives
    ]
    assert tested[1] == re.split(
        r"  +", next(line for line in out.splitlines() if line.startswith("asrl_c tuned"))
    )
    assert f"The best of 3 complete trials is trial {objectives[0][1]} (" in page
    assert "; with its defaults asrl_c has " in page
    assert "asrl register --study=asrl_c-diabetes-" in page


def test_main_s_page_has_both_scenes_and_says_what_main_said(flow, store):
    code, out, _ = flow("main", "--trials=1", "--jobs=1", *QUICK)
    assert code == 0
    (parent,), _ = runs(store)
    page = report_of(parent, store)
    Reader(page)
    table = cells(page)[0]
    printed = [re.split(r"  +", line.rstrip()) for line in out.splitlines()]
    names = {row[0] for row in table[1:]}
    assert len(names) == 9
    assert table[1:] == [row for row in printed if row[0] in names and len(row) == 5]
    said = next(line for line in out.splitlines() if line.startswith("So: "))
    assert said.removeprefix("So: w") in page
    assert f"--run-id={parent.data.tags['asrl.chosen']}" in page


def test_a_page_loads_nothing_from_elsewhere():
    page = a_page()
    reader = Reader(page)
    for _, attributes, _ in reader.elements:
        for name in LOADING & set(attributes):
            assert attributes[name].startswith("data:"), attributes
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert "sourceMappingURL" not in page
    ours = (Path(reports.__file__).parent / "page.js").read_text()
    assert not re.search(r"https?:|fetch\(|import\(|localStorage|document\.cookie", ours)
    assert len(page) < 300_000


def test_a_page_can_be_read_and_used_without_seeing_it():
    reader = Reader(a_page())
    assert reader.named("html")[0]["lang"] == "en"
    assert all(each.get("scope") in ("col", "row") for each in reader.named("th"))
    assert len(reader.text("caption")) == len(reader.named("table")) == 1
    assert [each.get("aria-sort") for each in reader.named("th")] == [None, "ascending", None]
    assert all(each["type"] == "button" for each in reader.named("button"))
    (canvas,) = reader.named("canvas")
    assert (canvas["role"], canvas["aria-label"]) == ("img", "Errors. a has 1.")
    levels = [int(tag[1]) for tag, _, _ in reader.elements if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    scroll = next(each for each in reader.named("div") if each.get("class") == "scroll")
    assert scroll["tabindex"] == "0"


def luminance(colour):
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in shares
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_stands_out_from_every_ground_by_4_5_to_1_in_light_and_in_dark():
    style = (Path(reports.__file__).parent / "page.css").read_text()
    light, dark = (
        dict(re.findall(r"--(\w+): (#\w{6})", block))
        for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    )
    for colours in (light, dark):
        for text, ground in itertools.product(
            ("text", "muted", "accent"), ("page", "card", "soft")
        ):
            low, high = sorted(luminance(colours[each]) for each in (text, ground))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground)


def test_what_users_can_name_is_shown_as_text():
    bad = "</script><img src=x onerror=alert(1)>"
    figure = Figure("bars", bad, bad, {"losses": [{"name": bad, "value": float("nan")}]})
    page = a_page(
        title=bad, verdict=[bad], facts={bad: bad}, sections=[Section(bad, bad, [figure])]
    )
    reader = Reader(page)
    assert reader.named("img") == []
    data = re.search(r'<script type="application/json">(.*?)</script>', page)[1]
    assert json.loads(data) == {"losses": [{"name": bad, "value": None}]}


def test_a_command_in_a_tag_has_no_secret(flow, store):
    frame = datasets.load().rows.features.assign(**{"token=abc": 1.0, "y": range(442)})
    frame.to_csv("mine.csv", index=False)
    code, _, _ = flow("compare", "--data=mine.csv", "--drop=token=abc", "--losses=huber", *QUICK)
    assert code == 0
    (parent,), _ = runs(store)
    assert parent.data.tags["asrl.command"] == (
        "asrl compare --data=mine.csv '--drop=token=***' --losses=huber --rounds=5 --figures=false"
    )


def test_a_verdict_names_what_is_no_clearly_worse():
    scores = {
        "a": {"mae": [1.0, 2.0, 3.0]},
        "b": {"mae": [1.5, 1.6, 3.1]},
        "c": {"mae": [4.0, 5.0, 6.0]},
    }
    assert conclude(scores, TASKS["regression"]) == (
        "a has the smallest test MAE, 2 on average over 3 seeds; b has 2.067 (more with 2 of 3 seeds). "
        "No clear difference from a, by one standard error: b."
    )
    one = {"a": {"mae": [1.0]}, "squared_error": {"mae": [3.0]}, "b": {"mae": [2.0]}}
    assert conclude(one, TASKS["regression"]) == (
        "a has the smallest test MAE, 1; b has 2; squared_error has 3. With one seed, small differences may "
        "be chance: --repeats=5 tells more."
    )


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_in_a_browser_s_sandbox_every_figure_is_drawn_and_tables_sort(compared, store, tmp_path):
    parent, _, _ = compared
    clicks = "<script>document.querySelectorAll('table')[1].querySelectorAll('thead button')[0].click();</script>"
    page = report_of(parent, store).replace("</body>", f"{clicks}</body>")
    (tmp_path / "page.html").write_text(page)
    shown = subprocess.run(
        [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile",
         "--virtual-time-budget=5000", "--dump-dom", (tmp_path / "page.html").as_uri()],
        capture_output=True, text=True, check=True, timeout=240,
    ).stdout  # fmt: skip
    assert shown.count("<figure") == shown.count("data-drawn") == 2
    names = [row[0] for row in cells(shown)[1][1:]]
    assert names == ["asrl_c", "huber", "squared_error"]
    assert 'aria-sort="ascending"><button type="button">loss' in shown
    assert "Sorted by loss" in shown
