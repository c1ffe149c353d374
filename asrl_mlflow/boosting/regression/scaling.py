"""Scale and shift targets so that float32 keeps enough digits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from asrl_mlflow.errors import InputError
from asrl_mlflow.losses.regression.loss import NEGLIGIBLE
from asrl_mlflow.residuals.statistics import NORMAL, Residuals

# XGBoost refuses splits that gain less than about 1e-6, an absolute number in target units squared.
# Below this robust scale that is felt, so objective and regularisation are scaled up together.
_TINY = 1 / 16
# A gain is a sum of squared residuals, in float32: the largest residual may grow to 2**40, and the
# hessian to 2**120.
_MOST_BITS, _MOST_DOUBLINGS = 40, 60
# Robust scales outside of which float32 gains overflow or vanish whatever is done.
_LEAST_SCALE, _MOST_SCALE = 1e-18, 1e15
# So many robust scales from zero a margin's last digit, which each round rounds to, begins to be
# felt (2**-24 of the margin each time). Nearer, trees are to the bit those of XGBoost itself.
_FAR = 64


@dataclass(frozen=True)
class Scaling:
    """How a target is prepared for float32.

    Parameters
    ----------
    factor : float
        The power of four by which gradients, hessians and regularisation are multiplied; 1 for
        targets of ordinary size.
    centre : float
        What is taken from targets and margins while trees are built; 0 for targets near zero.
    scale : float
        The robust scale, in target units; 0 for a constant target.
    most : float
        The largest factor that leaves the largest residual within float32.
    """

    factor: float
    centre: float
    scale: float
    most: float

    @classmethod
    def of(cls, target: Residuals) -> Scaling:
        """What a target needs.

        Raises
        ------
        InputError
            Its robust scale is outside [1e-18, 1e15].
        """
        median = target.median()
        mad, wide, largest = target.quantile_abs([0.5, 0.95, 1.0], centre=median)
        # Where most targets are equal but for noise in their last digits, the others give the scale.
        scale = NORMAL * mad if mad > NEGLIGIBLE * wide else (wide or math.sqrt(target.variance()))
        if scale and not _LEAST_SCALE <= scale <= _MOST_SCALE:
            msg = (
                f"train needs a target whose robust scale is in [{_LEAST_SCALE:g}, {_MOST_SCALE:g}], "
                f"which is as far as float32 reaches; got {scale:.3g}; change its unit."
            )
            raise InputError(msg)
        headroom = max(0, min(_MOST_BITS - math.frexp(largest)[1], _MOST_DOUBLINGS))
        is_tiny = 0 < scale < _TINY
        doublings = max(0, min(1 - math.frexp(scale)[1], headroom)) if is_tiny else 0
        is_far = abs(median) > _FAR * scale > 0
        centre = float(np.float32(median)) if is_far else 0.0
        return cls(4.0**doublings, centre, scale, 4.0**headroom)
