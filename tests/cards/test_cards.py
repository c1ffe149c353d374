"""What notebooks show: whatever names are, a card is text in tables, without a script, on any background."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrl_mlflow import losses, registry
from asrl_mlflow.cards import Card, CardTable
from asrl_mlflow.comparisons import Comparison
from asrl_mlflow.records.record import Record
from asrl_mlflow.studies import Study, open_storage
from tests.processes import ROOT

TAGS = {"div", "style", "p", "strong", "br", "table", "caption", "thead", "tbody", "tr", "th", "td"}
HOSTILE = st.one_of(
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            '"><img src=x onerror=alert(1)>',
            "</style></table>",
            "{{ 7 * 7 }}",
            "&lt;b&gt;",
        ]
    ),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1),
)


class Reader(HTMLParser):
    """The tags of a card, their attributes, and its text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.cells = set(), set(), []
        self.feed(html)
        self.close()
        self.cells = [cell.strip() for cell in self.cells]

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.cells.append("")

    def handle_data(self, data):
        if self.cells:
            self.cells[-1] += data


@given(HOSTILE, HOSTILE, HOSTILE)
def test_hostile_text_stands_in_a_card_as_it_is(title, name, value):
    table = CardTable(value, [name], [[title]])
    read = Reader(Card(title, name, {name: value}, [table]).html())
    assert read.tags <= TAGS
    assert read.attributes <= {"class", "scope"}
    assert {title.strip(), value.strip()} <= set(read.cells)
    assert name.strip() in read.cells


@given(HOSTILE)
def test_hostile_names_of_versions_and_comparisons_are_text(name):
    metrics = dict.fromkeys(("mae", "medae", "rmse", "r2", "recall", "seconds"), 1.0)
    data = {"name": name, "rows": 7, "target": name, "digest": "d"}
    loss = losses.to_config(losses.Huber())
    record = Record(loss, {}, 1, 0.0, None, 1.0, data, metrics, {"asrl-mlflow": "0"})
    version = registry.RegisteredVersion(name, "1", name, record)
    scores = {name: {key: [value] for key, value in metrics.items()}}
    for shown in (version, Comparison(name, "regression", scores, name)):
        read = Reader(shown._repr_html_())
        assert read.tags <= TAGS
        assert any(name.strip() in cell for cell in read.cells)


@pytest.mark.parametrize("kind", [*losses.LOSSES.values(), *losses.CLASSIFICATION_LOSSES.values()])
def test_every_loss_shows_its_parameters_and_a_small_picture(kind):
    html = kind()._repr_html_()
    cells = Reader(html).cells
    for field in dataclasses.fields(kind):
        assert getattr(kind(), field.name) is None or field.name in cells
    assert kind.name in cells
    assert html.count("<svg") == 1
    assert len(html) < 40_000
    assert not re.search(r"<script|<link|<img|url\((?!#)|(?:src|href)=\"(?!#)", html)
    # Ink is the page's, so that it can be read on black and on white; no rule reaches other pictures.
    assert html.count("currentColor") > 10
    assert "#000000" not in html
    assert html.count("<style") == 1


def test_a_picture_is_the_same_each_time_and_only_drawn_when_asked_for():
    assert losses.auto()._repr_html_() == losses.auto()._repr_html_()
    check = "import sys; from asrl_mlflow import losses; losses.auto(); print('matplotlib' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "False"


def test_a_study_shows_its_best_trials_by_the_names_of_the_loss(tmp_path):
    with open_storage(f"journal:{tmp_path}/j") as storage:
        kind = losses.ContinuousASRL
        study = Study("<b>", storage, kind.search_space(None), 0)
        assert "0 complete or pruned" in study._repr_html_()
        for value in (2.0, 1.0):
            trial = study.claim(2)
            study.leases.write(
                trial, {"asrl.loss": losses.to_config(kind.at(trial.params)), "asrl.rounds": 3}
            )
            assert study.complete(trial, value)
        html = study._repr_html_()
    read = Reader(html)
    assert {"study <b>", "trial 1, 3 rounds", "q_high"} <= set(read.cells)
    assert "gap" not in read.cells
    assert read.cells.index("1", 20) < read.cells.index("0", 20)


def test_only_the_base_of_losses_asks_the_package_s_face_for_a_room_above():
    asking = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "asrl_mlflow").rglob("*.py"))
        if re.search(r"^\s*import asrl_mlflow$", path.read_text(), flags=re.MULTILINE)
    ]
    assert asking == ["asrl_mlflow/losses/loss.py"]
