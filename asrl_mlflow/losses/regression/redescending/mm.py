"""MM: a start that leaves no row alone, then bisquare with the scale that the start has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from asrl_mlflow.losses.checks import check_positive, check_share
from asrl_mlflow.losses.loss import Formulas
from asrl_mlflow.losses.regression.loss import Loss
from asrl_mlflow.losses.regression.pointwise import PointwiseLoss
from asrl_mlflow.losses.regression.redescending.bisquare import EFFICIENT, PointwiseBisquare
from asrl_mlflow.losses.regression.scale import robust_scale
from asrl_mlflow.losses.regression.smooth.charbonnier import Charbonnier
from asrl_mlflow.losses.search_space import Interval, Point, SearchSpace
from asrl_mlflow.losses.statistics import Statistics


@dataclass(frozen=True)
class MM(Loss):
    """Two stages: absolute error until most of the signal is learned, then bisquare with a fixed scale.

    The first stage is `Charbonnier` (smooth absolute error), in which every row pulls, so that no region
    of the features is given up. When the product of (1 - learning rate) over the rounds has fallen to
    `left`, the robust scale of the residuals, 1.4826 times the median of |r|, is taken once and for all, and `Bisquare` with it leaves
    alone the rows that are still far away.

    Parameters
    ----------
    limit : float, in [1e-100, 1e100]
        Of the second stage, in units of the scale: rows with a larger |r| weigh 0. With 4.685 it is 95%
        as efficient as squared error on normal noise.
    left : float, in [0, 1]
        When the second stage begins: with 0.05 after 29 rounds of learning rate 0.1, or 9 of 0.3; never
        before the first round.

    Raises
    ------
    InputError
        A parameter outside its interval.

    Notes
    -----
    The scale is fixed, as residuals of training rows shrink below the noise of new rows. On California
    (XGBoost 3.4.1, 100 rounds, learning rates 0.1 and 0.3, two seeds) R2 over that of squared error on
    clean labels is 0.98 to 1.01 on clean labels, 0.99 with 20% of the labels wrong on one side, 0.91 to
    0.98 with 40% on both, and below -1 with 40% on one: there it breaks down, `losses.auto` does not.
    Where no training tells the rounds (`objective`, `sklearn_objective`), every round is of the first
    stage. A training
    that goes on from a model with the same loss goes on in its stage, and with its scale. A training that
    is too short for the second stage ends in the first, without a warning, as it may be gone on with, or be
    one of many in a search: the booster's attribute "asrl_progress" has a "left" above `left` then.

    References
    ----------
    X. Ju, M. Salibian-Barrera, Robust boosting for regression problems, arXiv 2002.02054 (RRBoost); V. J.
    Yohai, High breakdown-point and high efficiency robust estimates for regression, Annals of Statistics
    15, 1987, doi:10.1214/aos/1176350366. Their first stage minimises an M-scale; ours the absolute error.

    Examples
    --------
    >>> from asrl_mlflow.residuals import Residuals
    >>> from asrl_mlflow.residuals.progress import Progress
    >>> r = [-1.0, 2.0, -3.0, 90.0]
    >>> for left in (1.0, 0.01):
    ...     print(MM().adapt(Residuals(r, progress=Progress(left))).weight([90.0]).round(3))
    [0.011]
    [0.]
    """

    name: ClassVar[str] = "mm"
    FORMULAS: ClassVar[Formulas] = Formulas(
        core="first `charbonnier`, then `bisquare`", thresholds="adaptive, then fixed"
    )
    limit: float = EFFICIENT
    left: float = 0.05

    def __post_init__(self) -> None:
        check_positive(self, "limit", str(EFFICIENT))
        check_share(self, "left", "0.05")

    @classmethod
    def search_space(cls, target: Statistics) -> SearchSpace:  # noqa: ARG003, D102 - Loss says it
        return {"limit": Interval(1.5, 12.0, log=True), "left": Interval(0.005, 0.5, log=True)}

    @classmethod
    def starts(cls, target: Statistics) -> tuple[Point, ...]:  # noqa: ARG003, D102 - Loss says it
        pairs = ((cls.limit, cls.left), (cls.limit, 0.2), (2.5, cls.left), (8.0, cls.left))
        return tuple({"limit": limit, "left": left} for limit, left in pairs)

    def adapt(self, stats: Statistics) -> PointwiseLoss:
        """Which stage it is follows from the progress of the training."""
        if not stats.progress.reached(self.left):
            return Charbonnier().adapt(stats)
        once = stats.progress.once
        scale = once("mm.scale", lambda: robust_scale(stats)[0])
        fallback = int(once("mm.fallback", lambda: robust_scale(stats)[1]))
        return PointwiseBisquare(scale, self.limit, fallback)
