"""Losses for classes: values to the digit, derivatives, what is nowhere below, corrected probabilities."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrl_mlflow.errors import InputError
from asrl_mlflow.losses import (
    CLASSIFICATION_LOSSES,
    ClassificationLoss,
    Focal,
    FullL,
    FullM,
    GeneralizedCrossEntropy,
    LLoss,
    LogLoss,
    MLoss,
    Poly1,
    SmoothHinge,
    SoftmaxCrossEntropy,
    SquaredHinge,
    from_config,
    to_config,
)
from asrl_mlflow.losses.classification.loss import class_shares, softmax
from tests.every_class_loss import BINARY, EVERY_CLASS_LOSS, SOFTMAX

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())
KINDS = {
    "bce": LogLoss,
    "focal": Focal,
    "poly1": Poly1,
    "full_m": FullM,
    "full_l": FullL,
    "squared_hinge": SquaredHinge,
    "smooth_hinge": SmoothHinge,
    "softmax_ce": SoftmaxCrossEntropy,
    "m_loss": MLoss,
    "l_loss": LLoss,
    "softmax_focal": Focal,
    "softmax_poly1": Poly1,
    "full_m_softmax": FullM,
    "full_l_softmax": FullL,
}
MARGINS = np.concatenate([np.linspace(-12, 12, 49), [-29.0, -20.0, 20.0, 40.0]])
RNG = np.random.default_rng(0)


def name_of(loss):
    params = to_config(loss)["params"]
    return f"{loss.name}{''.join(f'-{value}' for value in params.values() if value is not None)}"


def built(entry):
    names = {"eps": "epsilon"}
    params = {names.get(key, key): float(value) for key, value in entry["params"].items()}
    return KINDS[entry["loss"]](**params)


@pytest.mark.parametrize("name", KINDS)
def test_values_and_derivatives_are_the_golden_ones(name):
    entries = [
        each for part in ("binary", "softmax") for each in VECTORS[part] if each["loss"] == name
    ]
    assert len(entries) >= 10
    for entry in entries:
        z = np.asarray(entry["z"], np.float64)
        terms = built(entry).terms([entry["y"]], z[None])
        # A sum over all classes loses digits where its parts cancel.
        rtol = (
            1e-9 if name.startswith("full_l_") else 1e-11 if name.startswith("full_m_") else 1e-12
        )
        for key, got in (
            ("value", terms.value),
            ("grad", terms.gradient),
            ("hess_boost", terms.hessian),
        ):
            if key in entry:
                np.testing.assert_allclose(
                    got[0], entry[key], rtol=rtol, atol=1e-50, err_msg=str(entry)
                )
        if "hess_boost" not in entry:
            assert (terms.hessian[0] >= np.asarray(entry["hess_true_diag"]) - 1e-9).all()


@pytest.mark.parametrize("loss", BINARY, ids=name_of)
@pytest.mark.parametrize("label", [0.0, 1.0, 0.3])
def test_gradients_are_the_slopes_of_values_with_one_output(loss, label):
    step = 1e-5
    z = MARGINS[np.abs(MARGINS) <= 20] + 0.0123
    y = np.full(z.shape, label)
    slope = (loss.value(y, z + step) - loss.value(y, z - step)) / (2 * step)
    found = loss.terms(y, z).gradient
    np.testing.assert_allclose(found, slope, rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("loss", SOFTMAX, ids=name_of)
@pytest.mark.parametrize("classes", [2, 3, 6])
def test_gradients_are_the_slopes_of_values_with_softmax(loss, classes):
    step = 1e-5
    z = RNG.normal(size=(40, classes)) * 2
    y = RNG.integers(0, classes, 40)
    found = loss.terms(y, z).gradient
    for k in range(classes):
        shift = step * (np.arange(classes) == k)
        slope = (loss.value(y, z + shift) - loss.value(y, z - shift)) / (2 * step)
        np.testing.assert_allclose(found[:, k], slope, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", SOFTMAX, ids=name_of)
@pytest.mark.parametrize("classes", [2, 4])
def test_the_diagonal_for_xgboost_is_nowhere_below_the_true_hessian(loss, classes):
    step = 1e-4
    for _ in range(60):
        z = RNG.normal(size=(1, classes)) * 2
        y = [int(RNG.integers(classes))]
        true = np.empty((classes, classes))
        for k in range(classes):
            shift = step * (np.arange(classes) == k)
            pair = [loss.terms(y, z + sign * shift).gradient[0] for sign in (1, -1)]
            true[k] = (pair[0] - pair[1]) / (2 * step)
        diagonal = loss.terms(y, z).hessian[0]
        size = max(1.0, diagonal.max())
        assert np.linalg.eigvalsh(np.diag(diagonal) - (true + true.T) / 2).min() >= -1e-5 * size


@pytest.mark.parametrize("loss", BINARY, ids=name_of)
def test_the_hessian_with_one_output_is_positive_and_nowhere_below_the_true_one(loss):
    step = 1e-4
    s = MARGINS[np.abs(MARGINS) <= 20] + 0.0123
    y = np.ones(s.shape)
    slope = (loss.terms(y, s + step).gradient - loss.terms(y, s - step).gradient) / (2 * step)
    found = np.maximum(loss.terms(y, s).hessian, loss.FLOOR)
    assert (found > 0).all()
    assert (found >= slope - 1e-4 * np.maximum(1, found)).all()


@pytest.mark.parametrize("loss", BINARY, ids=name_of)
@given(share=st.floats(0.02, 0.98))
def test_at_the_best_margin_the_corrected_probability_is_the_share_of_class_1(loss, share):
    # The start of generalised cross-entropy is that of log loss.
    z = ClassificationLoss.start(loss, [1 - share, share])
    np.testing.assert_allclose(loss.predict(z), [[1 - share, share]], atol=1e-5)


@pytest.mark.parametrize("loss", SOFTMAX, ids=name_of)
@given(shares=st.lists(st.floats(0.05, 1), min_size=2, max_size=5))
def test_at_the_best_margins_the_corrected_probabilities_are_the_shares_of_the_classes(
    loss, shares
):
    shares = np.asarray(shares) / np.sum(shares)
    classes = np.arange(len(shares))
    z = np.zeros(len(shares))
    for _ in range(4000):
        found = loss.terms(classes, np.tile(z, (len(shares), 1)))
        step = (shares @ found.gradient) / (shares @ found.hessian)
        z = z - step
        if np.abs(step).max() < 1e-10:
            break
    expected = loss.softmax_probabilities(softmax(z[None]))
    np.testing.assert_allclose(expected, shares[None], atol=1e-4)


@pytest.mark.parametrize("loss", EVERY_CLASS_LOSS, ids=name_of)
def test_probabilities_are_in_0_to_1_sum_to_1_and_rise_with_the_margin(loss):
    if loss in BINARY:
        found = loss.predict(MARGINS[np.argsort(MARGINS)])
        assert (np.diff(found[:, 1]) >= -1e-12).all()
    else:
        found = loss.predict(np.stack([np.sort(MARGINS), np.zeros(MARGINS.size)], axis=1))
        assert (np.diff(found[:, 0]) >= -1e-12).all()
    assert ((found >= 0) & (found <= 1)).all()
    np.testing.assert_allclose(found.sum(axis=1), 1)


@given(z=st.floats(-15, 15))
def test_the_full_m_loss_has_sigma_of_twice_the_margin_and_the_m_loss_softmax_of_twice(z):
    one = 1 / (1 + np.exp(-2 * z))
    np.testing.assert_allclose(FullM().predict(np.array([z]))[0, 1], one, rtol=1e-9)
    np.testing.assert_allclose(
        MLoss().predict(np.array([[0.0, z, 1.0]])),
        softmax(2 * np.array([[0.0, z, 1.0]])),
        rtol=1e-9,
    )


@pytest.mark.parametrize("loss", [*EVERY_CLASS_LOSS, Focal(gamma=20.0)], ids=name_of)
def test_extreme_margins_give_finite_gradients_positive_hessians_and_probabilities(loss):
    one = np.array([-1e4, -700.0, -37.0, -30.1, 0.0, 30.1, 37.0, 700.0, 1e4])
    three = np.stack([one, np.zeros(one.size), -one], axis=1)
    only_softmax, only_binary = set(SOFTMAX) - set(BINARY), set(BINARY) - set(SOFTMAX)
    forms = [one] * (loss not in only_softmax) + [three] * (loss not in only_binary)
    for z in forms:
        np.testing.assert_allclose(loss.predict(z).sum(axis=1), 1)
        for label in (0, 1):
            gradient, hessian, weight = loss.gradient_pair(np.full(len(z), label), z, None)
            assert np.isfinite(gradient).all()
            assert (hessian > 0).all()
            assert np.isfinite(weight)


def test_a_row_whose_label_is_not_believed_pulls_less_only_under_losses_that_give_it_up():
    sure = {loss.name: loss.weight([1], [-5.0])[0] for loss in BINARY}
    assert sure["log_loss"] == 1
    assert sure["full_m"] > 100
    assert sure["generalized_cross_entropy"] < 0.1


def test_soft_labels_cost_what_their_parts_cost():
    for loss in BINARY:
        zero, one = loss.balance
        expected = 0.3 * loss.value([1], [1.5]) + 0.7 * loss.value([0], [1.5])
        np.testing.assert_allclose(loss.value([0.3], [1.5]), expected)
        assert zero > 0 < one


def test_what_has_no_form_for_the_outputs_is_refused_with_the_form_that_has():
    for loss, outputs, remedy in (
        (MLoss(), 1, "FullM"),
        (LLoss(), 1, "FullL"),
        (SquaredHinge(), 3, "LogLoss"),
        (SmoothHinge(), 3, "GeneralizedCrossEntropy"),
        (Focal(alpha=0.25), 3, "sample weights"),
    ):
        with pytest.raises(InputError, match=remedy):
            loss.check_outputs(outputs)


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        (Focal, {"gamma": -1}),
        (Focal, {"alpha": 0}),
        (Focal, {"alpha": "none"}),
        (Poly1, {"epsilon": -1.1}),
        (GeneralizedCrossEntropy, {"q": 0}),
        (GeneralizedCrossEntropy, {"q": 1}),
        (SmoothHinge, {"gamma": float("nan")}),
    ],
)
def test_parameters_outside_their_intervals_are_refused_in_one_line(kind, params):
    with pytest.raises(InputError, match=r"needs .* got .*; try") as caught:
        kind(**params)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("loss", EVERY_CLASS_LOSS, ids=name_of)
def test_configs_of_losses_for_classes_lead_back_to_them(loss):
    config = json.loads(json.dumps(to_config(loss)))
    assert from_config(config) == loss
    assert CLASSIFICATION_LOSSES[loss.name] is type(loss)


def test_every_loss_for_classes_is_in_the_list_of_the_laws():
    assert {type(loss) for loss in EVERY_CLASS_LOSS} == set(CLASSIFICATION_LOSSES.values())


def test_an_absent_class_counts_as_half_a_row():
    np.testing.assert_allclose(class_shares([0, 0, 2], None, 3), np.array([2, 0.5, 1]) / 3.5)
