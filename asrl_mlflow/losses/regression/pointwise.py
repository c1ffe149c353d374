"""One round's loss, as a function of the residual alone."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from asrl_mlflow.errors import InputError
from asrl_mlflow.losses.regression.segments import Segments

Array = npt.NDArray[np.float64]

# Groups of a pointwise loss's fields: a field that has one is logged each round as <group>.<name>.
THRESHOLD: Mapping[str, str] = {"group": "threshold"}
WEIGHT: Mapping[str, str] = {"group": "weight"}
SHAPE: Mapping[str, str] = {"group": "shape"}

# The least weight, relative to w(0). float32 ends near 2**-149; this far out the floor lets even a
# residual of 1e36 core widths pull no harder than one inside the core, and leaves sample weights
# room down to 2**-29.
FLOOR = 2.0**-120


@dataclasses.dataclass(frozen=True)
class PointwiseLoss(ABC):
    """One round's loss: thresholds and weights are fixed, what is left is a function of r.

    Fields are this round's numbers; `dataclasses.asdict` gives them for the record. A subclass says
    what rows weigh by `segments` or, where that form is too narrow, by `weight`; and names its
    `regions`, by any names, for the shares that are logged each round ({} for none).

    XGBoost is given w(r) / w(0), so that a full row counts as one: w(0) must be above 0. Where the two
    sides of 0 differ (`is_even` is False), w(0) has no limit, and `row_weight` says what a full row
    weighs. Segments are functions of |r|, so such a loss defines `weight`; regions are those of |r| too.

    Attributes
    ----------
    is_even : bool
        Whether r and -r cost and weigh the same.
    """

    is_even: ClassVar[bool] = True

    def __init_subclass__(cls) -> None:
        """Drop inherited segments where a subclass defines its own weight."""
        if "weight" in vars(cls) and "segments" not in vars(cls):
            cls.segments = PointwiseLoss.segments  # type: ignore[method-assign]  # a property as well

    @abstractmethod
    def value(self, r: npt.ArrayLike) -> Array:
        """rho(r), shape (n,)."""

    @property
    def segments(self) -> Segments | None:
        """w(r) = psi(r) / r, segment by segment; None where `weight` says it otherwise."""
        return None

    def weight(self, r: npt.ArrayLike) -> Array:
        """w(r) = psi(r) / r, shape (n,); at r = 0 the limit."""
        if self.segments is None:
            msg = f"{type(self).__name__} has no segments, so it must define weight"
            raise NotImplementedError(msg)
        return self.segments.weight(r)

    def influence(self, r: npt.ArrayLike) -> Array:
        """psi(r) = d rho / d r, shape (n,)."""
        return self.weight(r) * np.asarray(r, dtype=np.float64)

    @property
    def regions(self) -> Mapping[str, float]:
        """Region names from the inside out, each with the largest |r| that belongs to it.

        Quadratic is "core", linear "middle", logarithmic "tail"; there are none where one formula serves
        all r.
        """
        return {}

    @property
    def row_weight(self) -> float:
        """The weight that counts as one row in XGBoost: w(0)."""
        return float(self.weight(np.zeros(1))[0]) if self.segments is None else self.segments.core

    def relative_weight(self, r: npt.ArrayLike) -> tuple[Array, int]:
        """w(r) / w(0), held above 2**-120, and how many rows that floor held up.

        XGBoost keeps hessians in float32, where a farther tail would underflow to an illegal 0. A
        negative weight is no weight: it becomes NaN, which `weigh` refuses.
        """
        weight = self.weight(r) / self.row_weight
        if weight.shape != np.shape(r):
            msg = (
                f"{type(self).__name__} needs one weight a row; got shape {weight.shape} for "
                f"{np.size(r)} rows; have weight return an array of the shape of r."
            )
            raise InputError(msg)
        low = weight < FLOOR
        floored = int(np.count_nonzero(low))
        if not floored:
            return weight, 0
        return np.where(low, np.where(weight < 0, np.nan, FLOOR), weight), floored
