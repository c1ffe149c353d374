"""What rows weigh in one round, in the numbers that XGBoost takes."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from asrl_mlflow import kernel
from asrl_mlflow.errors import InputError
from asrl_mlflow.losses.pointwise import FLOOR, Array, PointwiseLoss
from asrl_mlflow.residuals import FloatArray, blocks


@dataclasses.dataclass(frozen=True)
class Weighed:
    """What the rows of one round weigh together.

    Parameters
    ----------
    mean : float
        Mean weight of a row relative to a full one, before scale and sample weights are multiplied
        in; rows count as often as their sample weight says.
    floored : int
        Rows whose weight was held up by the floor of 2**-120.
    """

    mean: float
    floored: int


def weigh(
    pointwise: PointwiseLoss,
    r: FloatArray,
    counts: Array | None = None,
    scale: float = 1.0,
    *,
    out: npt.NDArray[np.float32] | None = None,
) -> tuple[npt.NDArray[np.float32], Weighed]:
    """Hessians as XGBoost takes them: each row's weight relative to a full one.

    Parameters
    ----------
    pointwise : PointwiseLoss
        This round's.
    r : array of shape (n,), n >= 1
        Residuals, float32 where bits must be those of `reg:squarederror`.
    counts : array of shape (n,), optional
        Sample weights as numbers of rows; where they are 0 the hessian may be 0 too.
    scale : float
        Multiplied in.
    out : float32 array of shape (n,), optional
        Where to put the hessians.

    Raises
    ------
    InputError
        Rows (the message counts them) whose gradient is not finite or whose hessian is not
        positive: XGBoost would make nonsense of them without a word. A loss whose weight at 0 is not
        positive.
    """
    if not 0 < pointwise.row_weight < math.inf:
        msg = (
            f"A loss needs a positive weight at r = 0, by which all others are divided; got "
            f"{pointwise.row_weight} of {pointwise}; define its row_weight."
        )
        raise InputError(msg)
    hessian = np.empty(r.shape, np.float32) if out is None else out
    segments = pointwise.segments
    if kernel.native is not None and segments is not None and r.dtype == np.float32:
        total, floored, unsound = kernel.native.weigh(
            np.ascontiguousarray(r),
            segments,
            pointwise.row_weight,
            FLOOR,
            None if counts is None else np.ascontiguousarray(counts, np.float64),
            scale,
            hessian,
        )
    else:
        total, floored, unsound = _weighed_by_numpy(pointwise, r, counts, scale, hessian)
    if unsound:
        msg = (
            f"Gradients must be finite and hessians positive; got {unsound} of {r.size} rows where "
            "they are not; look for sample weights, targets or a loss's weights of extreme size."
        )
        raise InputError(msg)
    whole = r.size if counts is None else float(counts.sum())
    return hessian, Weighed(total / whole, floored)


def _weighed_by_numpy(
    pointwise: PointwiseLoss,
    r: FloatArray,
    counts: Array | None,
    scale: float,
    out: npt.NDArray[np.float32],
) -> tuple[float, int, int]:
    """Fill the hessians; return the sum of the weights, and how many are floored and unsound."""
    total, floored, unsound = 0.0, 0, 0
    for rows in blocks(r.size):
        weight, held_up = pointwise.relative_weight(r[rows])
        floored += held_up
        times = None if counts is None else counts[rows]
        if times is not None:
            weight *= times
        total += float(weight.sum())
        # Rounded to float32 before the product with r, as XGBoost does it: the trees are to the bit
        # those that it builds from weights. What is beyond float32 becomes infinite.
        with np.errstate(over="ignore"):
            out[rows] = weight * scale
        hessian, slope = out[rows], gradient(r[rows], out[rows])
        sound = np.isfinite(slope) & np.isfinite(hessian)
        sound &= hessian > 0 if times is None else (hessian > 0) | (times == 0)
        unsound += int(np.count_nonzero(~sound))
    return total, floored, unsound


def gradient(r: FloatArray, hessian: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """-w r, the gradient by the prediction, as XGBoost takes it."""
    with np.errstate(over="ignore", invalid="ignore"):
        return (-r * hessian).astype(np.float32, copy=False)
