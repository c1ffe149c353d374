"""Scales: how large a residual is ordinary, as a number or as the residuals of each round tell."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from asrl_mlflow.errors import InputError
from asrl_mlflow.losses.checks import is_positive, shorten
from asrl_mlflow.losses.regression.loss import Loss, widened
from asrl_mlflow.losses.regression.pointwise import PointwiseLoss
from asrl_mlflow.losses.search_space import Interval, Point, SearchSpace
from asrl_mlflow.losses.statistics import Statistics
from asrl_mlflow.residuals.statistics import NORMAL

# A parameter that is a number, or that each round's residuals tell.
Automatic = float | Literal["auto"]
AUTO: Literal["auto"] = "auto"


def robust_scale(stats: Statistics) -> tuple[float, int]:
    """The robust scale of residuals: 1.4826 times the median of |r|.

    Parameters
    ----------
    stats : Statistics
        Of the residuals.

    Returns
    -------
    float, in (0, inf)
        In target units; of normal residuals about zero it is the standard deviation.
    {0, 1}
        1 where the median was zero, or almost, and a wider quantile took its place, as `widened` says.

    Examples
    --------
    >>> from asrl_mlflow.residuals import Residuals
    >>> robust_scale(Residuals([-1.0, 2.0, 3.0]))
    (2.9652, 0)
    """
    scale, fallback = widened(stats.quantile_abs(0.5), stats)
    return NORMAL * scale, fallback


def scale_of(given: Automatic, stats: Statistics, share: float = 1.0) -> tuple[float, int]:
    """The scale of a round.

    Parameters
    ----------
    given : float or "auto"
        A number is the scale itself, in target units; "auto" is `share` robust scales of the residuals.
    stats : Statistics
        Of the round's residuals.
    share : float, in (0, inf)
        See above.

    Returns
    -------
    float, in (0, inf)
        In target units.
    {0, 1}
        1 where a wider scale took its place: a number under a millionth of the 0.95 quantile of |r|
        would leave almost every row without weight, and training would stop without a word.

    Examples
    --------
    >>> from asrl_mlflow.residuals import Residuals
    >>> stats = Residuals([-1.0, 2.0, 3.0])
    >>> scale_of(0.5, stats), scale_of("auto", stats, 0.1), scale_of(1e-9, stats)
    ((0.5, 0), (0.29652, 0), (2.9, 1))
    """
    if given == AUTO:
        scale, fallback = robust_scale(stats)
        return share * scale, fallback
    return widened(float(given), stats)


@dataclass(frozen=True)
class ScaledLoss(Loss):
    """Base class of losses that have one scale, which is fixed or follows the residuals.

    A subclass has a field of the name `SCALE`, a number or "auto", and says by `_pointwise` what it
    becomes. With "auto" the loss does not depend on the target's unit. A number is in target units: such
    a loss is exempt from every statement that losses here do not depend on units, as `Huber` is.
    """

    SCALE: ClassVar[str] = "scale"
    # What "auto" means, in robust scales.
    SHARE: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        check_automatic(self, self.SCALE)

    @classmethod
    def search_space(cls, target: Statistics) -> SearchSpace:  # noqa: D102 - Loss says it
        scale = cls.SHARE * robust_scale(target)[0]
        return {cls.SCALE: Interval(0.01 * scale, 10 * scale, log=True)}

    @classmethod
    def starts(cls, target: Statistics) -> Sequence[Point]:  # noqa: D102 - Loss says it
        scale = cls.SHARE * robust_scale(target)[0]
        # Were the model to leave a half, or a tenth, of the scale.
        return tuple({cls.SCALE: share * scale} for share in (0.5, 0.1, 1.0))

    def adapt(self, stats: Statistics) -> PointwiseLoss:
        """The scale is the only thing that may follow the residuals."""
        return self._pointwise(*scale_of(getattr(self, self.SCALE), stats, self.SHARE))

    @abstractmethod
    def _pointwise(self, scale: float, fallback: int) -> PointwiseLoss:
        """What the loss is at this scale, which may have come from a fallback."""


def check_automatic(loss: Loss, name: str) -> None:
    """Raise InputError unless the parameter is a number in [1e-100, 1e100] or "auto"."""
    number = getattr(loss, name)
    if not (number == AUTO or is_positive(number)):
        msg = (
            f"{type(loss).__name__} needs 1e-100 <= {name} <= 1e100, or 'auto'; got "
            f"{name}={shorten(number)}; try 'auto', which follows the residuals."
        )
        raise InputError(msg)
