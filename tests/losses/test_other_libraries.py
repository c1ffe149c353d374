"""Losses in LightGBM and PyTorch, where these are installed: the same numbers as in XGBoost."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from asrl_mlflow import losses
from asrl_mlflow.errors import InputError
from asrl_mlflow.residuals.statistics import Residuals
from tests.every_loss import EVERY_LOSS

EVERY = pytest.mark.parametrize("loss", EVERY_LOSS, ids=str)
RNG = np.random.default_rng(5)
SAMPLE = 4 * RNG.standard_t(3, 200)


@EVERY
@pytest.mark.parametrize("weighted", [False, True])
def test_lightgbm_is_given_the_gradients_of_the_scikit_learn_door(loss, weighted):
    lightgbm = pytest.importorskip("lightgbm")
    y = SAMPLE.astype(np.float32)
    weight = np.arange(200) % 3 if weighted else None
    data = lightgbm.Dataset(RNG.normal(size=(200, 2)), label=y, weight=weight).construct()
    start = np.full(200, 0.5)
    here = loss.lightgbm_objective(start, data)
    there = loss.sklearn_objective(y, start, weight)
    for mine, expected in zip(here, there, strict=True):
        np.testing.assert_allclose(mine, expected, rtol=1e-6)


@pytest.mark.parametrize("loss", [losses.Bisquare(), losses.ContinuousASRL(0.6, 0.75)], ids=str)
def test_lightgbm_trains_with_a_robust_loss(loss):
    lightgbm = pytest.importorskip("lightgbm")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 3))
    clean = 20 + 5 * x[:, 0]
    y = clean + rng.normal(size=2000)
    y[::5] += 100
    start = np.full(2000, np.median(y))
    data = lightgbm.Dataset(x, label=y, init_score=start)
    params = {"objective": loss.lightgbm_objective, "verbosity": -1, "num_threads": 1}
    booster = lightgbm.train(params, data, 100)
    assert np.abs(booster.predict(x) + start - clean).mean() < 1


@EVERY
def test_pytorch_has_the_values_and_gradients_of_the_loss(loss):
    torch = pytest.importorskip("torch")
    r = torch.tensor(SAMPLE, requires_grad=True)
    values = loss.torch(r)
    values.sum().backward()
    point = loss.adapt(Residuals(SAMPLE))
    np.testing.assert_array_equal(values.detach().numpy(), point.value(SAMPLE))
    np.testing.assert_array_equal(r.grad.numpy(), point.influence(SAMPLE))


def test_pytorch_checks_the_gradient_and_keeps_the_type():
    torch = pytest.importorskip("torch")
    pointwise = losses.Cauchy(2.0)
    r = torch.tensor(SAMPLE[:20], requires_grad=True)
    assert torch.autograd.gradcheck(pointwise.torch, (r,))
    single = r.detach().float()
    assert pointwise.torch(single).dtype == torch.float32


def test_without_pytorch_a_line_says_how_to_install_it():
    if importlib.util.find_spec("torch") is not None:
        pytest.skip("PyTorch is installed")

    class Tensor:
        """What is asked of a tensor before PyTorch is."""

        def detach(self):
            return self

        def cpu(self):
            return self

        def numpy(self):
            return SAMPLE

    with pytest.raises(InputError) as caught:
        losses.Cauchy().torch(Tensor())
    assert str(caught.value) == (
        "Losses for PyTorch need PyTorch; got no module torch that can be imported; install it by pip "
        "install torch."
    )
