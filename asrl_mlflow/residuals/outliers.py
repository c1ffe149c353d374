"""Tell gross outliers among residuals from the tails that residuals of right targets have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from asrl_mlflow.errors import InputError
from asrl_mlflow.residuals.statistics import NORMAL

Array = npt.NDArray[np.float64]

# As many rows as the mixture is fitted to; shares are known to within half a point then.
_MOST_FITTED = 5_000
_FEWEST = 30
# Distances from the center, in scales, at which nearly all of a kind of outlier begins, and at which the
# search looks for them first.
_NEAREST, _FIRST, _FARTHEST = 4.0, 6.0, 1e100
# How wide a kind of outlier is: the standard deviation of the logarithm of its distance.
_NARROWEST, _WIDEST, _FIRST_WIDTH = 0.2, 0.7, 0.5
_DEGREES = np.geomspace(1.0, 60.0, 30)
_MOST_STEPS, _CLOSE = 400, 1e-9
# Outliers stand apart: by the logarithm of the distance, bins of one of these widths have fewer rows before they
# have more again, by so many standard deviations of the difference.
_BINS, _APART, _MOST_BINS = (0.35, 0.6, 0.9), 2.2, 700
# Numbers that each kind of outlier adds to the description of the residuals: share, place, width.
_NUMBERS = 3


@dataclass(frozen=True)
class Outliers:
    """Gross outliers among residuals, and what the others are like.

    Parameters
    ----------
    above, below : float, in [0, 1]
        Shares of rows whose target is a gross outlier, above and below what was predicted.
    center, scale : float
        Of the other residuals, in target units: a Student distribution.
    degrees : float, in [1, 60]
        Its degrees of freedom: 1 has the tails of a Cauchy distribution, 60 those of a normal one.
    probability : float64 array of shape (n,), in [0, 1]
        How probably each row's target is a gross outlier.
    """

    above: float
    below: float
    center: float
    scale: float
    degrees: float
    probability: Array

    @property
    def share(self) -> float:
        """Share of rows whose target is a gross outlier, in [0, 1]."""
        return self.above + self.below


class _Side(NamedTuple):
    """A kind of outlier: those on one side, whose distances have a log-normal distribution."""

    sign: float
    share: float
    place: float
    width: float

    def density(self, away: Array) -> Array:
        distance = np.maximum(self.sign * away, 1e-300)
        z = (np.log(distance) - self.place) / self.width
        found = np.exp(-0.5 * z * z) / (distance * self.width * math.sqrt(2 * math.pi))
        return np.where(self.sign * away > 0, self.share * found, 0.0)

    def fitted(self, away: Array, weight: Array, total: float) -> _Side:
        mine = float(weight.sum())
        if mine <= 0:
            return self._replace(share=0.0)
        size = np.log(np.maximum(self.sign * away, 1e-300))
        mean = float(weight @ size) / mine
        width = math.sqrt(float(weight @ (size - mean) ** 2) / mine)
        width = min(max(width, _NARROWEST), _WIDEST)
        # Nearer ones would be the tail of right targets.
        place = max(mean, math.log(_NEAREST) + 2 * width)
        return _Side(self.sign, mine / total, place, width)


class _Fit(NamedTuple):
    """The Student distribution of right targets, the kinds of outliers, and how probable rows are."""

    center: float
    scale: float
    degrees: float
    sides: tuple[_Side, ...]
    log_likelihood: float

    def density(self, away: Array) -> Array:
        nu, share = self.degrees, 1 - sum(side.share for side in self.sides)
        constant = math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2) - 0.5 * math.log(nu * math.pi)
        z = (away - self.center) / self.scale
        return share / self.scale * np.exp(constant - (nu + 1) / 2 * np.log1p(z * z / nu))

    def probability(self, away: Array) -> Array:
        """How probably each row is an outlier of any kind."""
        outlying = sum((side.density(away) for side in self.sides), np.zeros(away.shape))
        total = outlying + self.density(away)
        # Where both are too small for a number, a row is as far as no right target is.
        found: Array = np.divide(outlying, total, out=np.ones(away.shape), where=total > 0)
        return found if self.sides else np.zeros(away.shape)


def find_outliers(residual: npt.ArrayLike, counts: npt.ArrayLike | None = None) -> Outliers:
    """Find which share of targets are gross outliers, on which side, and how probably each row is one.

    Residuals of right targets are taken to have a Student distribution, whose tails may be as heavy as
    Cauchy's, and gross outliers on either side a log-normal distance of which nearly all is more than 4
    scales. The mixture is fitted by expectation and maximisation. A side is left out where its farthest rows
    do not stand apart from the others, as in the tail of a skewed distribution, and dropped where it does not
    lower the Bayesian information criterion.

    Parameters
    ----------
    residual : array of shape (n,)
        Target minus the prediction of a model that did not learn from the row, in target units.
    counts : array of shape (n,), optional
        Sample weights as numbers of rows; rows with 0 do not count.

    Raises
    ------
    InputError
        A residual that is not finite.

    Notes
    -----
    With fewer than 30 residuals, or where most of them are equal, none is called an outlier.

    References
    ----------
    D. Peel and G. McLachlan, Robust mixture modelling using the t distribution, 2000, section 4.

    Examples
    --------
    >>> residual = np.random.default_rng(0).standard_t(4, 1000)
    >>> residual[::10] += 30
    >>> found = find_outliers(residual)
    >>> round(found.above, 3), round(found.below, 3)
    (0.1, 0.0)
    """
    r = np.asarray(residual, np.float64)
    if not np.isfinite(r).all():
        bad = int(np.count_nonzero(~np.isfinite(r)))
        msg = f"Outliers are found among finite residuals; got {bad} of {r.size} that are not; leave them out."
        raise InputError(msg)
    times = np.ones(r.shape) if counts is None else np.asarray(counts, np.float64)
    known = np.flatnonzero(times > 0)
    chosen = known
    if known.size > _MOST_FITTED:
        chosen = np.random.default_rng(0).choice(known, _MOST_FITTED, replace=False)
    center = float(np.median(r[chosen])) if chosen.size else 0.0
    unit = NORMAL * float(np.median(np.abs(r[chosen] - center))) if chosen.size else 0.0
    if chosen.size < _FEWEST or unit <= np.finfo(np.float64).tiny:
        return Outliers(0.0, 0.0, center, unit, float(_DEGREES[-1]), np.zeros(r.shape))
    with np.errstate(over="ignore"):
        # Squares of what is farther would be no numbers.
        all_away = np.clip((r - center) / unit, -_FARTHEST, _FARTHEST)
    away, weight = all_away[chosen], times[chosen] * chosen.size / times[chosen].sum()
    signs = [sign for sign in (1.0, -1.0) if _stands_apart(sign * away, weight)]
    fits = [_fit(away, weight, given) for given in _subsets(signs)]
    # Bayesian information criterion, halved.
    best = min(
        fits,
        key=lambda fit: (
            0.5 * _NUMBERS * len(fit.sides) * math.log(chosen.size) - fit.log_likelihood
        ),
    )
    shares = {side.sign: side.share for side in best.sides}
    return Outliers(
        above=shares.get(1.0, 0.0),
        below=shares.get(-1.0, 0.0),
        center=center + unit * best.center,
        scale=unit * best.scale,
        degrees=best.degrees,
        probability=best.probability(all_away),
    )


def _stands_apart(away: Array, weight: Array) -> bool:
    """Whether the farthest rows of a side are more than a tail that grows thinner all the way."""
    if not (away > _FIRST).any():
        return False
    beyond = away > 1
    size = np.log(away[beyond])
    for width in _BINS:
        place = np.minimum((size / width).astype(np.intp), _MOST_BINS)
        rows = np.bincount(place, weights=weight[beyond])
        least = np.minimum.accumulate(rows)
        apart = (rows - least) / np.sqrt(np.maximum(rows + least, 1))
        if (apart[int(math.log(_FIRST) / width) :] > _APART).any():
            return True
    return False


def _subsets(signs: Sequence[float]) -> list[tuple[float, ...]]:
    """Every choice among the sides, none of them first."""
    return [(), *((sign,) for sign in signs)] + ([tuple(signs)] if len(signs) > 1 else [])


def _fit(away: Array, weight: Array, signs: Sequence[float]) -> _Fit:
    """Fit the mixture with outliers on the given sides, to distances in robust scales."""
    total = float(weight.sum())
    sides = []
    for sign in signs:
        first = _Side(sign, 0.0, math.log(_FIRST) + 2 * _FIRST_WIDTH, _FIRST_WIDTH)
        sides.append(first.fitted(away, weight * (sign * away > _FIRST), total))
    fit = _Fit(0.0, 1.0, 5.0, tuple(sides), -math.inf)
    for step in range(_MOST_STEPS):
        core, outlying = fit.density(away), [side.density(away) for side in fit.sides]
        density = np.maximum(sum(outlying, core), 1e-300)
        likelihood = float(weight @ np.log(density))
        if likelihood - fit.log_likelihood < _CLOSE * total and step > 0:
            break
        right = weight * core / density
        sides = [
            side.fitted(away, weight * found / density, total)
            for side, found in zip(fit.sides, outlying, strict=True)
        ]
        nu = fit.degrees
        pull = right * (nu + 1) / (nu + ((away - fit.center) / fit.scale) ** 2)
        center = float(pull @ away) / float(pull.sum())
        scale = math.sqrt(float(pull @ (away - center) ** 2) / float(right.sum()))
        fit = _Fit(
            center, scale, _degrees(away, right, center, scale, nu), tuple(sides), likelihood
        )
    return fit


def _degrees(away: Array, right: Array, center: float, scale: float, before: float) -> float:
    """The degrees of freedom, of a few dozen near those of the step before, that make right targets most probable."""
    square, total = ((away - center) / scale) ** 2, float(right.sum())

    def likelihood(nu: float) -> float:
        constant = math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2) - 0.5 * math.log(nu)
        return total * constant - (nu + 1) / 2 * float(right @ np.log1p(square / nu))

    at = int(np.argmin(np.abs(_DEGREES - before)))
    return float(max(_DEGREES[max(at - 1, 0) : at + 2], key=likelihood))
