"""Statistics on a GPU are those of the processor; a stand-in for CuPy, as no GPU is here."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import xgboost

from asrl_mlflow import losses, train
from asrl_mlflow.boosting import arguments
from asrl_mlflow.boosting.regression import learner
from asrl_mlflow.errors import InputError
from asrl_mlflow.residuals import Residuals, row_counts
from asrl_mlflow.residuals.device import DeviceResiduals
from tests.device import Device
from tests.residuals.test_shared import RESIDUALS, WEIGHTS, ask

RNG = np.random.default_rng(2)
X = RNG.normal(size=(600, 3)).astype(np.float32)
Y = (X[:, 0] + RNG.standard_t(2, 600)).astype(np.float32)


@pytest.mark.parametrize("weighted", WEIGHTS)
@pytest.mark.parametrize("kind", RESIDUALS)
def test_statistics_on_a_device_are_those_of_the_processor_to_the_bit(kind, weighted):
    r, xp = RESIDUALS[kind].astype(np.float32), Device()
    counts = row_counts(WEIGHTS[weighted], r.size)
    own = None if counts.values is None else xp.asarray(counts.values)
    there, here = DeviceResiduals(xp.asarray(r), own, counts.rule, xp), Residuals(r, counts)
    assert ask(there) == ask(here)
    for name in ("variance", "mean_abs", "mean_square"):
        found, expected = (getattr(stats, name)() for stats in (there, here))
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-300)
    assert there.mean_smallest(0.8) == pytest.approx(here.mean_smallest(0.8), rel=1e-12)


def test_residuals_on_a_device_that_are_not_finite_are_refused():
    xp = Device()
    with pytest.raises(InputError, match="must be finite; got 2 that are not in 3 rows"):
        DeviceResiduals(xp.asarray(np.float32([np.nan, 1, np.inf])), None, "none", xp)


@pytest.mark.filterwarnings("ignore:.*No visible GPU", "ignore:.*changed from GPU to CPU")
@pytest.mark.parametrize("weight", [None, RNG.uniform(0.1, 3, 600)], ids=["none", "weighted"])
@pytest.mark.parametrize("loss", [losses.auto(), losses.ContinuousASRL(), losses.MM()], ids=str)
def test_a_training_whose_statistics_are_on_a_device_gives_the_same_model(
    loss, weight, monkeypatch
):
    matrix, xp = xgboost.QuantileDMatrix(X, label=Y, weight=weight), Device()
    expected = train({}, matrix, 6, loss=loss, evals=[(matrix, "train")])
    monkeypatch.setattr(learner, "array_module", lambda: xp)
    monkeypatch.setattr(arguments, "_device_of", lambda device: device)
    found = train({"device": "cuda"}, matrix, 6, loss=loss, evals=[(matrix, "train")])
    assert xp.copied > 6, "residuals of every round were sent"
    assert found.get_dump() == expected.get_dump()


def test_without_cupy_the_processor_computes_statistics(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "cupy", None)
    # By its own name: a command that ran before in this process sets the level of the package's.
    with caplog.at_level("INFO", logger=learner.__name__):
        assert learner.array_module() is None
    assert "CuPy is not installed" in caplog.text


@pytest.mark.parametrize("loss", [losses.ContinuousASRL(), losses.LogLoss()], ids=str)
def test_a_gpu_that_is_not_there_is_refused_in_one_line(loss):
    if arguments._device_of("cuda") != "cpu":
        pytest.skip("here is a GPU")
    matrix = xgboost.DMatrix(X, label=Y > 0)
    with pytest.raises(InputError, match=r"device='cuda:0' needs a GPU .*; got none here"):
        train({"device": "cuda:0"}, matrix, 1, loss=loss)
