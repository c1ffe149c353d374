"""Gradients that splits are chosen by, apart from those that leaves are computed from.

XGBoost has this since 3.2 for trees with a value a target, and calls it experimental.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost
from xgboost.objective import TreeObjective

Float32Array = npt.NDArray[np.float32]


class SplitGradients(TreeObjective):
    """Gradients of a round, and what each target's count when splits are chosen.

    A gain is the sum over the targets of G**2 / (H + lambda): multiplying a target's gradients alone
    multiplies what it adds by the square, while hessians go on counting rows.

    Parameters
    ----------
    gradient, hessian : float32 arrays of shape (n, k)
        What leaves are computed from.
    times : float32 array of shape (k,)
        By which gradients are multiplied when splits are chosen.
    """

    def __init__(self, gradient: Float32Array, hessian: Float32Array, times: Float32Array) -> None:
        self._gradient, self._hessian, self._times = gradient, hessian, times

    def __call__(
        self,
        iteration: int,  # noqa: ARG002 - XGBoost's signature
        y_pred: Any,  # noqa: ANN401, ARG002 - XGBoost's signature
        dtrain: xgboost.DMatrix,  # noqa: ARG002 - XGBoost's signature
    ) -> tuple[Float32Array, Float32Array]:
        """What leaves are computed from."""
        return self._gradient, self._hessian

    def split_grad(
        self,
        iteration: int,  # noqa: ARG002 - XGBoost's signature
        grad: Any,  # noqa: ANN401 - XGBoost's signature
        hess: Any,  # noqa: ANN401 - XGBoost's signature
    ) -> tuple[Float32Array, Float32Array]:
        """What splits are chosen by."""
        return grad * self._times, hess
