"""The catalogue: losses that users register, and what every part of the project knows of them."""

from __future__ import annotations

import dataclasses
import importlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xgboost

from asrl_mlflow import losses, train
from asrl_mlflow.boosting import recorded_loss
from asrl_mlflow.datasets.splits import Rows
from asrl_mlflow.errors import InputError
from asrl_mlflow.experiments.trials import Assignment, Contest
from asrl_mlflow.experiments.trials.worker import Worker
from tests.conftest import PARAMS
from tests.stores import runs

ROOT = Path(__file__).parents[2]

HILL = """
from dataclasses import dataclass

import numpy as np

from asrl_mlflow import losses
from asrl_mlflow.losses.search_space import Interval


@dataclass(frozen=True)
class HillAt(losses.PointwiseLoss):
    c: float

    def value(self, r):
        return self.c**2 / 2 * np.log1p(np.square(r) / self.c**2)

    def weight(self, r):
        return 1 / (1 + np.square(r) / self.c**2)

    @property
    def regions(self):
        return {"hill": self.c, "slope of it": 3 * self.c, "plain": np.inf}


@dataclass(frozen=True)
class Hill(losses.Loss):
    name = "hill"
    q: float = 0.8

    @classmethod
    def search_space(cls, target):
        return {"q": Interval(0.5, 0.95)}

    def adapt(self, stats):
        return HillAt(stats.quantile_abs(self.q))
"""


@pytest.fixture
def installed(tmp_path, monkeypatch, forgetful):
    """Install a distribution in a folder on Python's path: its module, and its entry points."""
    folder = tmp_path / "site"
    (folder / "hill_loss-1.0.dist-info").mkdir(parents=True)
    (folder / "hill_loss-1.0.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: hill-loss\nVersion: 1.0\n"
    )
    (folder / "hill_loss.py").write_text(HILL)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "hill_loss", raising=False)

    def install(line):
        entries = folder / "hill_loss-1.0.dist-info/entry_points.txt"
        entries.write_text(f"[{losses.ENTRY_POINTS}]\n{line}\n")
        importlib.invalidate_caches()
        return folder

    return install


def test_a_registered_loss_is_found_by_its_name_and_comes_back_from_its_config(forgetful):
    @losses.register
    @dataclass(frozen=True)
    class Own(losses.Huber):
        name = "own"

    assert losses.loss_class("own") is losses.register(Own) is Own
    assert losses.from_config(losses.to_config(Own(2.0))) == Own(2.0)
    assert "own" not in losses.LOSSES


def test_a_class_that_a_notebook_defines_again_takes_the_place_of_the_older_one(forgetful):
    def cell(default):
        @losses.register
        @dataclass(frozen=True)
        class Own(losses.Huber):
            name = "own"
            delta: float = default

        return Own

    cell(1.0)
    newer = cell(2.0)
    assert losses.from_config({"name": "own"}) == newer(2.0)


@dataclass(frozen=True)
class Twin(losses.Huber):
    name = "asrl"


@dataclass(frozen=True)
class Nameless(losses.Huber):
    pass


@dataclass(frozen=True)
class Shapeless(losses.Loss):
    name = "shapeless"


@dataclass(frozen=True)
class Worded(losses.Huber):
    name = "worded"
    kind: str = "left"


@dataclass(frozen=True)
class Demanding(losses.Huber):
    name = "demanding"
    delta: float = dataclasses.field()


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (
            lambda: losses.register(Twin),
            "Twin needs a name of its own, by which models record it; got 'asrl', which is ASRL's; "
            "choose another.",
        ),
        (
            lambda: losses.register(Nameless),
            "Nameless needs a name of its own, by which models record it; got none in its class; add "
            'name: ClassVar[str] = "nameless".',
        ),
        (
            lambda: losses.register(Shapeless),
            "Shapeless must define adapt, by which a loss follows the rows; got a class without "
            "it; define it as losses.Loss says.",
        ),
        (
            lambda: losses.register(Worded),
            "Worded takes numbers, which configs and tuning can hold; got kind='left'; make it a "
            "number, or a loss of its own.",
        ),
        (
            lambda: losses.register(losses.Huber()),
            "losses.register takes a subclass of losses.Loss or losses.ClassificationLoss; got "
            "Huber(delta=1.0); pass the class itself.",
        ),
        (
            lambda: losses.from_config({"name": losses.register(Demanding).name}),
            "Demanding takes delta; got no delta, which has no default; give it one.",
        ),
        (
            lambda: losses.from_config({"name": "zzz"}),
            f"A loss needs one of the names {', '.join([*losses.LOSSES, 'auto', *losses.CLASSIFICATION_LOSSES])}; got 'zzz'; register a loss of "
            "your own by losses.register, or by an entry point of the group asrl_mlflow.losses.",
        ),
    ],
)
def test_what_cannot_be_registered_or_found_is_refused_in_one_line(forgetful, make, line):
    with pytest.raises(InputError) as caught:
        make()
    assert str(caught.value) == line


def test_a_loss_of_an_entry_point_is_found_by_its_name(installed):
    installed("hill = hill_loss:Hill")
    assert losses.from_config({"name": "hill"}).q == 0.8
    with pytest.raises(InputError, match=r"got 'hilt'; did you mean 'hill'\?$"):
        losses.from_config({"name": "hilt"})


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        (
            "hill = hill_loss:Hilt",
            "The loss class hill_loss:Hilt must be importable; got AttributeError: module "
            "'hill_loss' has no attribute 'Hilt'; mend its module, or uninstall the distribution "
            "that offers it.",
        ),
        (
            "slope = hill_loss:Hill",
            "The entry point slope = hill_loss:Hill needs the name of its loss; got a class of "
            "another name; let both be the same.",
        ),
    ],
)
def test_an_entry_point_that_is_wrong_is_refused_in_one_line(installed, entry, line):
    installed(entry)
    with pytest.raises(InputError) as caught:
        losses.loss_class(entry.partition(" ")[0])
    assert str(caught.value) == line


def test_a_model_trained_with_a_registered_loss_tells_it_and_goes_on_with_it(installed):
    installed("hill = hill_loss:Hill")
    loss = losses.from_config({"name": "hill", "params": {"q": 0.7}})
    rng = np.random.default_rng(0)
    dtrain = xgboost.QuantileDMatrix(rng.normal(size=(60, 2)), label=rng.normal(size=60))
    booster = train(PARAMS, dtrain, 3, loss=loss)
    assert recorded_loss(booster) == loss
    assert train(PARAMS, dtrain, 2, loss=loss, xgb_model=booster).num_boosted_rounds() == 5
    with pytest.raises(InputError, match=r"it records Hill\(q=0.7\), got Hill\(q=0.8\)"):
        train(PARAMS, dtrain, 2, loss=type(loss)(), xgb_model=booster)


def test_a_worker_process_judges_a_loss_that_only_its_parent_has_registered(installed, table):
    installed("")
    loss = losses.register(importlib.import_module("hill_loss").Hill)()
    x, y = table
    part = Rows(pd.DataFrame(x), y)
    worker = Worker()
    try:
        worker.prepare(Contest(((part, part),), PARAMS, 1, None, "mae"))
        assert worker.inbox.recv() == ("ready",)
        worker.judge(Assignment.of(loss, {}, {}))
        said = [worker.inbox.recv()]
        while said[-1][0] == "rounds":
            said.append(worker.inbox.recv())
        assert said[-1][0] == "done"
    finally:
        worker.close()


def test_a_loss_that_no_worker_process_could_import_is_refused_in_one_line(forgetful):
    @losses.register
    @dataclass(frozen=True)
    class Local(losses.Huber):
        name = "local"

    with pytest.raises(InputError) as caught:
        losses.import_path(Local)
    assert str(caught.value) == (
        "Local must be found by worker processes, which import it; got a class that is defined in a "
        "function; move it into a module of its own and import it from there, or give it an entry "
        "point of the group asrl_mlflow.losses."
    )


@pytest.mark.parametrize("flow", ["train", "tune"])
def test_a_flow_takes_a_loss_of_an_installed_distribution(installed, store, flow):
    folder = installed("hill = hill_loss:Hill")
    more = {
        "train": ["--rounds=5"],
        "tune": ["--trials=2", "--jobs=1"],
    }
    done = subprocess.run(
        [sys.executable, "-m", f"flows.{flow}", "--loss=hill", *more[flow]],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr
    assert "Hill(q=" in done.stdout
    (run,), _ = runs(store)
    assert run.data.params["loss.name"] == "hill"
    if flow == "train":
        assert {"share.valid.hill", "share.valid.slope of it"} <= set(run.data.metrics)
