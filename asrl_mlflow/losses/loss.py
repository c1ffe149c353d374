"""What a loss is: a frozen value that adapts to residual statistics and becomes a pointwise loss.

Conventions, stated once, for every loss of this package:

* r is the residual, target minus prediction, in target units; arrays have shape (n,), float64.
* value rho(r): even, 0 at 0. influence psi(r) = d rho / d r. weight w(r) = psi(r) / r, at r = 0 its
  limit. By the prediction the gradient is -psi(r) = -w(r) r.
* The hessian handed to XGBoost is w, not rho''. Where w does not increase with |r| it is a
  majoriser: no tree can raise the loss at fixed thresholds. rho'' is 0 or negative outside the
  core, and a small floor under it explodes.
* On the way to XGBoost both are divided by the weight of one full row, w(0), so that hessians
  count rows and `lambda` and `min_child_weight` keep their meaning.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, overload

import numpy as np
import numpy.typing as npt

from asrl_mlflow import kernel
from asrl_mlflow.errors import InputError
from asrl_mlflow.losses.segments import Segments
from asrl_mlflow.losses.space import Point, SearchSpace
from asrl_mlflow.residuals import FloatArray, Residuals, blocks, row_counts

if TYPE_CHECKING:
    from collections.abc import Mapping

Array = npt.NDArray[np.float64]

# Groups of a pointwise loss's fields: a field that has one is logged each round as <group>.<name>.
THRESHOLD: Mapping[str, str] = {"group": "threshold"}
WEIGHT: Mapping[str, str] = {"group": "weight"}

# The least weight, relative to w(0). float32 ends near 2**-149; this far out the floor lets even a
# residual of 1e36 core widths pull no harder than one inside the core, and leaves sample weights
# room down to 2**-29.
FLOOR = 2.0**-120


# A threshold or spread this small beside the quantile of |r| it is measured with counts as zero.
NEGLIGIBLE = 1e-6


class Statistics(Protocol):
    """What a loss may ask of a round's residuals; where the rows live is the answerer's secret."""

    @property
    def count(self) -> int:
        """How many rows the statistics speak for."""

    @overload
    def quantile_abs(self, q: float) -> float: ...
    @overload
    def quantile_abs(self, q: Sequence[float] | FloatArray) -> Array: ...
    def quantile_abs(self, q: float | Sequence[float] | FloatArray) -> float | Array:
        """Quantiles of |r| at levels in [0, 1]."""

    def iqr_abs(self) -> float:
        """Interquartile range of |r|."""

    def variance(self) -> float:
        """Population variance of r."""

    def median(self) -> float:
        """Median of r."""

    def mad(self) -> float:
        """Unscaled median absolute deviation of r from its median."""


@dataclasses.dataclass(frozen=True)
class PointwiseLoss(ABC):
    """One round's loss: thresholds and weights are fixed, what is left is a function of r.

    Fields are this round's numbers; `dataclasses.asdict` gives them for the record.
    """

    @abstractmethod
    def value(self, r: npt.ArrayLike) -> Array:
        """rho(r), shape (n,)."""

    @property
    @abstractmethod
    def segments(self) -> Segments | None:
        """w(r) = psi(r) / r, segment by segment; None where `weight` says it otherwise."""

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
    @abstractmethod
    def regions(self) -> Mapping[str, float]:
        """Region names from the inside out, each with the largest |r| that belongs to it.

        Quadratic is "core", linear "middle", logarithmic "tail".
        """

    @property
    def row_weight(self) -> float:
        """The weight that counts as one row in XGBoost: w(0)."""
        return float(self.weight(np.zeros(1))[0]) if self.segments is None else self.segments.core

    def relative_weight(self, r: npt.ArrayLike) -> tuple[Array, int]:
        """w(r) / w(0), held above 2**-120, and how many rows that floor held up.

        XGBoost keeps hessians in float32, where a farther tail would underflow to an illegal 0.
        """
        weight = self.weight(r) / self.row_weight
        low = weight < FLOOR
        floored = int(np.count_nonzero(low))
        return (np.where(low, FLOOR, weight) if floored else weight), floored


@dataclasses.dataclass(frozen=True)
class Loss(ABC):
    """A loss and its parameters: frozen, comparable, hashable, the same in every round.

    Subclasses are frozen dataclasses whose fields are the parameters. `XGBOOST_OBJECTIVE` names
    XGBoost's own objective for the two losses that have one; `asrl_mlflow.train` uses it.
    """

    name: ClassVar[str]
    XGBOOST_OBJECTIVE: ClassVar[str | None] = None

    @abstractmethod
    def adapt(self, stats: Statistics) -> PointwiseLoss:
        """The pointwise loss for residuals with these statistics.

        Ask them here and now: after this call their rows may be overwritten.
        """

    @classmethod
    def search_space(cls, target: Statistics) -> SearchSpace:  # noqa: ARG003 - few losses have units
        """Where good parameters lie, by name; empty where there are none to choose.

        Parameters
        ----------
        target : Statistics
            Of the training target's distances from its median, for what is in target units.
        """
        return {}

    @classmethod
    def at(cls, point: Point) -> Self:
        """The loss at a point of its search space."""
        return cls(**point)

    @classmethod
    def starts(cls, target: Statistics) -> Sequence[Point]:  # noqa: ARG003 - few losses have units
        """Points of the search space that have often been good, the most promising first."""
        return ()

    def _gradient_pair(
        self, target: npt.ArrayLike, prediction: npt.ArrayLike, sample_weight: npt.ArrayLike | None
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        y, prediction = np.asarray(target), np.asarray(prediction)
        if y.shape != prediction.shape:
            msg = (
                f"{type(self).__name__} needs one target a row and one prediction a target; got "
                f"shapes {y.shape} and {prediction.shape}."
            )
            raise InputError(msg)
        r = y - prediction
        counts = row_counts(sample_weight, r.size)
        hessian, _ = weigh(self.adapt(Residuals(r, counts)), r, counts.values)
        return gradient(r, hessian), hessian

    def objective(
        self,
        predt: npt.NDArray[Any],
        dtrain: Any,  # noqa: ANN401 - a DMatrix; this floor knows numpy only
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Gradient and hessian for `xgboost.train(obj=loss.objective)`.

        Parameters
        ----------
        predt : array of shape (n,)
            Predictions so far, in target units.
        dtrain : xgboost.DMatrix
            Its labels and weights are used; XGBoost itself would drop the weights.

        Notes
        -----
        XGBoost leaves `base_score` at 0.5 for custom objectives: set it, to the median of the
        target, or the first rounds walk there. `asrl_mlflow.train` does that and more.
        """
        if not hasattr(dtrain, "get_label"):
            msg = (
                f"{type(self).__name__}.objective is for xgboost.train; got a "
                f"{type(dtrain).__name__} for the matrix; XGBRegressor takes sklearn_objective."
            )
            raise InputError(msg)
        return self._gradient_pair(dtrain.get_label(), predt, dtrain.get_weight())

    def sklearn_objective(
        self,
        y_true: npt.ArrayLike,
        y_pred: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Gradient and hessian for `XGBRegressor(objective=loss.sklearn_objective)`.

        Parameters
        ----------
        y_true, y_pred : arrays of shape (n,)
            Targets and predictions, in target units.
        sample_weight : array of shape (n,), optional
            Read as `asrl_mlflow.residuals.row_counts` says.

        Notes
        -----
        `base_score` stays 0.5 unless it is passed: `XGBRegressor(base_score=np.median(y), ...)`.
        """
        return self._gradient_pair(y_true, y_pred, sample_weight)


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
        positive: XGBoost would make nonsense of them without a word.
    """
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
            "they are not; look for sample weights or targets of extreme size."
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


def check_level(loss: Loss, name: str, remedy: str) -> None:
    """Raise InputError unless the parameter is a quantile level in the open interval (0, 1)."""
    level = getattr(loss, name)
    if not (_is_real(level) and 0 < level < 1):
        msg = (
            f"{type(loss).__name__} needs 0 < {name} < 1; got {name}={_plain(level)}; try {remedy}."
        )
        raise InputError(msg)


def check_levels(loss: Loss, q_low: float, q_high: float) -> None:
    """Raise InputError unless 0 < q_low < q_high < 1."""
    check_level(loss, "q_low", "0.5")
    check_level(loss, "q_high", "0.9")
    if not q_low < q_high:
        msg = (
            f"{type(loss).__name__} needs 0 < q_low < q_high < 1; got q_low={q_low}, "
            f"q_high={q_high}; swap them or widen the gap."
        )
        raise InputError(msg)


def check_positive(loss: Loss, name: str, remedy: str) -> None:
    """Raise InputError unless the parameter is a number in [1e-100, 1e100].

    The bounds keep products with float32 thresholds inside float64.
    """
    number = getattr(loss, name)
    if not (_is_real(number) and 1e-100 <= number <= 1e100):  # noqa: PLR2004 - as documented
        msg = (
            f"{type(loss).__name__} needs 1e-100 <= {name} <= 1e100; got {name}={_plain(number)}; "
            f"try {remedy}."
        )
        raise InputError(msg)


def _is_real(number: object) -> bool:
    return isinstance(number, int | float | np.integer | np.floating) and not isinstance(
        number, bool
    )


def _plain(number: object) -> str:
    return repr(number.item() if isinstance(number, np.generic) else number)[:40]


def widened(threshold: float, stats: Statistics) -> tuple[float, int]:
    """A threshold, or a wider one where it is as good as zero; and 1 where that was needed.

    A threshold of zero (most residuals 0 but for noise in their last digits, as with zero-inflated
    targets) would take all weight from every other row, and training would stop without a word. In
    its place comes the 0.95 quantile of |r|; where that is 0, the standard deviation; and where all
    residuals are 0, so that there is nothing to weigh, 1.
    """
    wide = stats.quantile_abs(0.95) or math.sqrt(stats.variance()) or 1.0
    return (threshold, 0) if threshold > NEGLIGIBLE * wide else (wide, 1)
