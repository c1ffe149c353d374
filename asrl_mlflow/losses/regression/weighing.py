"""Gradients and hessians of one round, computed from the weights of its rows."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from asrl_mlflow.errors import InputError
from asrl_mlflow.losses.regression.pointwise import FLOOR, Array, PointwiseLoss
from asrl_mlflow.residuals import kernel
from asrl_mlflow.residuals.shared.workers import ALONE, Workers
from asrl_mlflow.residuals.statistics import FloatArray, blocks

# XGBoost sums gradients up and squares the sum, in float32 on some of its versions: beyond this no
# split has a finite gain, and the model stays a constant without a word.
STEEPEST = math.sqrt(np.finfo(np.float32).max)


@dataclasses.dataclass(frozen=True)
class Weighed:
    """Gradients and hessians of one round, and sums over its rows.

    Parameters
    ----------
    gradient, hessian : float32 arrays of shape (n,)
        -w r and w, relative to a full row, with scale and sample weights multiplied in.
    mean : float
        Mean weight of a row relative to a full one, before scale and sample weights are multiplied
        in; rows count as often as their sample weight says. As what follows, of the rows of all workers.
    floored : int
        Rows whose weight was held up by the floor of 2**-120.
    steepness : float
        The sum of the gradients' sizes.
    """

    gradient: npt.NDArray[np.float32]
    hessian: npt.NDArray[np.float32]
    mean: float
    floored: int
    steepness: float


def weigh(
    pointwise: PointwiseLoss,
    r: FloatArray,
    counts: Array | None = None,
    scale: float = 1.0,
    *,
    hessian: npt.NDArray[np.float32] | None = None,
    gradient: npt.NDArray[np.float32] | None = None,
    workers: Workers = ALONE,
) -> Weighed:
    """Compute gradients and hessians for XGBoost from each row's weight relative to w(0).

    Parameters
    ----------
    pointwise : PointwiseLoss
        This round's.
    r : array of shape (n,)
        Residuals, float32 where bits must be those of `reg:squarederror`.
    counts : array of shape (n,), optional
        Sample weights as numbers of rows; where they are 0 the hessian may be 0 too.
    scale : float
        Multiplied in.
    hessian, gradient : float32 arrays of shape (n,), optional
        Where to put them; the gradient may be written over r.
    workers : Workers, optional
        Who have the other rows, and weigh them at the same time.

    Raises
    ------
    InputError
        Rows (the message counts them) whose gradient is not finite or whose weight is negative, or
        zero at r = 0: XGBoost would make nonsense of them without a word. Gradients whose sum is
        beyond what XGBoost can square.
    """
    if not 0 < pointwise.row_weight < math.inf:
        bad = int(np.count_nonzero(~(pointwise.weight(r) > 0)))
        msg = (
            f"A loss needs a positive weight at r = 0, by which all others are divided; got "
            f"{pointwise.row_weight} of {pointwise}, and {bad} of {r.size} rows without a positive "
            "weight; define its row_weight."
        )
        raise InputError(msg)
    hessian = np.empty(r.shape, np.float32) if hessian is None else hessian
    gradient = np.empty(r.shape, np.float32) if gradient is None else gradient
    segments = pointwise.segments
    if kernel.native is not None and segments is not None and r.dtype == np.float32:
        total, steepness, floored, unsound = kernel.native.weigh(
            np.ascontiguousarray(r),
            segments,
            pointwise.row_weight,
            FLOOR,
            None if counts is None else np.ascontiguousarray(counts, np.float64),
            scale,
            hessian,
            gradient,
        )
    else:
        total, steepness, floored, unsound = _weighed_by_numpy(
            pointwise, r, counts, scale, hessian, gradient
        )
    whole = r.size if counts is None else float(counts.sum())
    own = np.array([total, steepness, floored, unsound, whole, r.size], np.float64)
    total, steepness, floored, unsound, whole, size = workers.sum(own).tolist()
    if unsound:
        msg = (
            f"Gradients must be finite and weights not negative; got {unsound:.0f} of {size:.0f} rows where "
            "they are not; look for sample weights, targets or a loss's weights of extreme size."
        )
        raise InputError(msg)
    if steepness > STEEPEST:
        msg = (
            f"The gradients of a round must sum up to at most {STEEPEST:.2g}, whose square float32 "
            f"still holds; got more in {size:.0f} rows; look for targets or a loss's weights "
            "of extreme size, or change the target's unit."
        )
        raise InputError(msg)
    return Weighed(gradient, hessian, total / whole, int(floored), steepness)


def _weighed_by_numpy(
    pointwise: PointwiseLoss,
    r: FloatArray,
    counts: Array | None,
    scale: float,
    hessian: npt.NDArray[np.float32],
    gradient: npt.NDArray[np.float32],
) -> tuple[float, float, int, int]:
    """Fill both arrays; return sums of weights and of |gradients|, and counts of floored and illegal rows."""
    total, steepness, floored, unsound = 0.0, 0.0, 0, 0
    for rows in blocks(r.size):
        weight, held_up = pointwise.relative_weight(r[rows])
        floored += held_up
        times = None if counts is None else counts[rows]
        if times is not None:
            weight *= times
        total += float(weight.sum())
        # The weight is rounded to float32 before the product with r, as XGBoost does it: the trees
        # are to the bit those that it builds from weights. What is beyond float32 becomes infinite.
        with np.errstate(over="ignore", invalid="ignore"):
            hessian[rows] = weight * scale
            gradient[rows] = -r[rows] * hessian[rows]
        sound = np.isfinite(gradient[rows]) & np.isfinite(hessian[rows])
        positive = hessian[rows] > 0
        sound &= positive if times is None else positive | ((hessian[rows] == 0) & (times == 0))
        unsound += int(np.count_nonzero(~sound))
        steepness += float(np.abs(gradient[rows]).sum(dtype=np.float64))
    return total, steepness, floored, unsound
