"""Variants of a loss that leave something of it out: what each choice of its design is worth.

They are trained by an objective in Python, as `asrl_mlflow.train` has no such choices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost

from asrl_mlflow.comparisons.grids.methods.boosters import (
    XGBoostMethod,
    fit_booster,
    fitted_booster,
    xgboost_params,
)
from asrl_mlflow.comparisons.grids.methods.method import Boosting, Fitted
from asrl_mlflow.datasets import Rows
from asrl_mlflow.errors import InputError
from asrl_mlflow.losses import ASRL, BaseLoss, ContinuousASRL, PointwiseLoss
from asrl_mlflow.losses.regression.segmented.asrl import PointwiseASRL
from asrl_mlflow.losses.search_space import Point
from asrl_mlflow.residuals import Residuals, distances
from asrl_mlflow.residuals.sample_weights import row_counts
from asrl_mlflow.tracking import loss_params

HESSIANS = ("weight", "second", "one")
# Of the second derivative, which is 0 or negative outside the core: a share of that at 0, below which none falls.
_LEAST = 0.01
# Of a residual's size, over which the influence is differentiated.
_STEP = 1e-4


@dataclass(frozen=True)
class Variant(XGBoostMethod):
    """A loss with its parameters as they are, and choices of its design.

    Parameters
    ----------
    loss : ASRL or ContinuousASRL
        The loss, with levels that are numbers.
    hessian : {"weight", "second", "one"}
        What XGBoost divides by: the weight psi(r)/r, which is a majoriser; the second derivative, at least 1% of
        that at 0; or 1 for every row.
    regions : {"on", "off"}
        Whether the regions of `ASRL` have weights of their own (equations 5 to 7), or all 1.
    refresh : int, >= 0
        Thresholds follow the residuals every so many rounds; with 0 they stay what they are in the first one.

    Raises
    ------
    InputError
        Another loss, or a choice that there is not.

    Examples
    --------
    >>> from asrl_mlflow.losses import ContinuousASRL
    >>> Variant(ContinuousASRL(), hessian="one").params({})["method.hessian"]
    'one'
    """

    loss: ASRL | ContinuousASRL
    hessian: str = "weight"
    regions: str = "on"
    refresh: int = 1

    def __post_init__(self) -> None:
        if self.hessian not in HESSIANS or self.regions not in ("on", "off") or self.refresh < 0:
            msg = (
                f"A variant takes hessian={'|'.join(HESSIANS)}, regions=on|off, refresh=<rounds>; got "
                f"hessian={self.hessian}, regions={self.regions}, refresh={self.refresh}."
            )
            raise InputError(msg)

        if self.regions == "off" and not isinstance(self.loss, ASRL):
            msg = (
                f"Only asrl has weights of its regions to leave out; got regions=off of {self.loss.name}; take "
                "asrl/regions=off."
            )
            raise InputError(msg)

    @classmethod
    def at(cls, loss: BaseLoss, choices: Sequence[str]) -> Variant:
        """The variant that texts such as "hessian=one" say.

        Raises
        ------
        InputError
            Another loss, or a choice that there is not.
        """
        # Losses of two stages would remain in their first one.
        if not isinstance(loss, ASRL | ContinuousASRL) or loss.label != loss.name:
            msg = f"There are variants of asrl and asrl_c; got {loss.label}; take one of those."
            raise InputError(msg)
        pairs = dict(each.split("=", 1) for each in choices if "=" in each)
        known = [field.name for field in fields(cls)][1:]
        if len(pairs) < len(choices) or not set(pairs) <= set(known):
            msg = (
                f"A variant takes {', '.join(known)}, each as name=value; got {'/'.join(choices)}."
            )
            raise InputError(msg)
        rounds = pairs.get("refresh", "1")
        refresh = int(rounds) if rounds.isdecimal() else -1
        return cls(loss, **{**pairs, "refresh": refresh})  # type: ignore[arg-type]  # checked by itself

    def params(self, point: Point) -> Mapping[str, object]:  # noqa: ARG002, D102 - Method says it
        chosen = {field.name: getattr(self, field.name) for field in fields(self)[1:]}
        return {
            **loss_params(self.loss),
            **{f"method.{name}": value for name, value in chosen.items()},
        }

    def fit(  # noqa: D102 - Method says it
        self, point: Point, learned: Rows, judged: Rows | None, boosting: Boosting
    ) -> Fitted:
        params = {
            **xgboost_params(point, boosting),
            "base_score": self.loss.base_score(learned.target, learned.weight),
        }
        gradients = _Objective(self).gradients
        return fitted_booster(*fit_booster(params, learned, judged, boosting, obj=gradients))

    def adapt(
        self, r: npt.NDArray[Any], y: npt.NDArray[Any], weight: npt.NDArray[Any]
    ) -> PointwiseLoss:
        """The pointwise loss for residuals of a round."""
        counts = row_counts(weight if weight.size else None, r.size)
        point: PointwiseLoss = self.loss.adapt(
            Residuals(r, counts, start=partial(distances, y, counts))
        )
        if self.regions == "off" and isinstance(point, PointwiseASRL):
            point = replace(point, alpha=1.0, beta=1.0, gamma=1.0)
        return point


class _Objective:
    """Gradients of a variant in one training, which remembers the thresholds between rounds."""

    def __init__(self, variant: Variant) -> None:
        self._variant = variant
        self._point: PointwiseLoss | None = None
        self._round = 0

    def gradients(
        self, predt: npt.NDArray[Any], dtrain: xgboost.DMatrix
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Gradient and hessian, both divided by the weight of a row whose residual is 0."""
        y, weight = dtrain.get_label().astype(np.float64), dtrain.get_weight()
        r = y - predt
        variant = self._variant
        due = variant.refresh > 0 and self._round % variant.refresh == 0
        if self._point is None or due:
            self._point = variant.adapt(r, y, weight)
        self._round += 1
        point = self._point
        full = float(np.asarray(point.weight(np.zeros(1)))[0])
        rows = weight if weight.size else 1.0
        gradient = -np.asarray(point.influence(r)) / full
        return gradient * rows, _hessian(point, r, full, variant.hessian) * rows


def _hessian(
    point: PointwiseLoss, r: npt.NDArray[np.float64], full: float, choice: str
) -> npt.NDArray[np.float64]:
    """The hessian of each row, before sample weights."""
    if choice == "one":
        return np.ones(r.size)
    if choice == "weight":
        return np.asarray(point.weight(r)) / full
    step = _STEP * max(float(np.abs(r).mean()), np.finfo(float).tiny)
    slope = np.asarray(point.influence(r + step)) - np.asarray(point.influence(r - step))
    return np.maximum(slope / (2 * step * full), _LEAST)
