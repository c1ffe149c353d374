"""Losses for PyTorch: the values of rows as a tensor that can be differentiated."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

from asrl_mlflow.errors import InputError
from asrl_mlflow.losses.regression.pointwise import PointwiseLoss


def value_of(pointwise: PointwiseLoss, residual: Any) -> Any:  # noqa: ANN401 - tensors, without torch
    """The values of rows, whose derivative by the residual is the influence.

    Parameters
    ----------
    pointwise : PointwiseLoss
        Whose numbers are fixed.
    residual : torch.Tensor of any shape
        Target minus prediction; of any floating type, on any device.

    Returns
    -------
    torch.Tensor of the same shape
        Values and gradients are computed by numpy, in float64, and come back in the type of `residual`.

    Raises
    ------
    InputError
        PyTorch is not installed.
    """
    return _function().apply(residual, pointwise)


@cache
def _function() -> Any:  # noqa: ANN401 - a class of torch
    """The function of PyTorch, made where it is first asked for: torch takes seconds to import."""
    try:
        torch: Any = importlib.import_module("torch")
    except ImportError as error:
        msg = (
            "Losses for PyTorch need PyTorch; got no module torch that can be imported; install it by "
            "pip install torch."
        )
        raise InputError(msg) from error

    class Value(torch.autograd.Function):  # type: ignore[misc]  # torch may be missing, and untyped
        """rho, with psi as its derivative."""

        @staticmethod
        def forward(ctx: Any, residual: Any, pointwise: PointwiseLoss) -> Any:  # noqa: ANN401 - torch's
            r = residual.detach().cpu().double().numpy()
            flat = r.reshape(-1)
            ctx.save_for_backward(
                torch.from_numpy(pointwise.influence(flat).reshape(r.shape)).to(residual)
            )
            return torch.from_numpy(pointwise.value(flat).reshape(r.shape)).to(residual)

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> tuple[Any, None]:  # noqa: ANN401 - torch's
            (influence,) = ctx.saved_tensors
            return gradient * influence, None

    return Value
