"""Judge a batch of rows by exact and by chi-squared tests against the rows that a model was measured on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from asrl_mlflow.records.distribution import count_bins
from asrl_mlflow.residuals.conformal import half_width

Array = npt.NDArray[np.float64]

# How the names of checks of features begin.
FEATURE = "feature."

_TENTHS = 10
# Rows that each bin should have in the smaller of two samples, for the chi-squared test to hold.
_FEWEST_IN_A_BIN = 5.0


@dataclass(frozen=True)
class Reference:
    """What a model was measured on.

    Parameters
    ----------
    errors : float64 array of shape (n,)
        Errors of rows that it did not learn from: absolute residuals, in target units; of classes minus the
        logarithm of the probability that the row's class was given.
    thresholds : mapping of name to float
        Thresholds of its loss, in target units; none of classes.
    features : mapping of name to mapping
        The distribution of each feature, as `describe_distribution` gives it; empty where it is not known.
    level : float, in (0, 1)
        The level of the intervals, or sets, whose coverage is checked.
    residual : float64 array of shape (n,), optional
        Target minus prediction of the same rows; None of classes, and of models that kept no sides.
    """

    errors: Array
    thresholds: Mapping[str, float]
    features: Mapping[str, Mapping[str, Any]]
    level: float = 0.9
    residual: Array | None = None


@dataclass(frozen=True)
class Check:
    """One comparison of a batch with the reference.

    Parameters
    ----------
    name : str
        What is compared: `coverage`, `beyond.<threshold>`, `shift`, `errors`, or `feature.<name>`.
    expected, observed : float
        A share of rows, in the reference and in the batch; of `shift` a probability; of `errors` and features 0
        and the population stability index.
    p_value : float, in [0, 1]
        How probable a difference as large is by chance.
    """

    name: str
    expected: float
    observed: float
    p_value: float


@dataclass(frozen=True)
class Batch:
    """A batch and its checks.

    Parameters
    ----------
    name : str
        What its rows have in common: a day, say.
    rows : int
        How many there are.
    checks : tuple of Check
        All comparisons.
    """

    name: str
    rows: int
    checks: tuple[Check, ...]

    def alarms(self, rate: float) -> list[Check]:
        """The checks that differ more than chance allows, by Holm's rule for all checks of the batch.

        Parameters
        ----------
        rate : float, in (0, 1)
            How often a batch that is like the reference may have an alarm, at most.
        """
        found = []
        ordered = sorted(self.checks, key=lambda check: check.p_value)
        for place, check in enumerate(ordered):
            if check.p_value * (len(ordered) - place) > rate:
                break
            found.append(check)
        return found


def judge(
    name: str,
    features: pd.DataFrame,
    errors: Array | None,
    reference: Reference,
    residual: Array | None = None,
) -> Batch:
    """Compare a batch with the reference.

    Coverage is checked by the beta-binomial distribution, which is exact for split-conformal intervals;
    shares beyond thresholds by Fisher's exact test; a shift to one side by the rank test of Mann and Whitney, of
    which the probability is told that a residual of the batch is above one of the reference; errors and features
    by a chi-squared test on tenths of the reference, whose population stability index is told.

    Parameters
    ----------
    name : str
        The batch.
    features : DataFrame of shape (m, features)
        Its rows.
    errors : float64 array of shape (k,), k <= m, optional
        Errors of its rows that the model can predict, measured as those of the reference; None where outcomes are
        not known yet.
    reference : Reference
        What the model was measured on.
    residual : float64 array of shape (k,), optional
        Target minus prediction of the same rows; without it, or without the reference's, sides are not compared.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> reference = Reference(np.abs(rng.normal(size=500)), {"delta_high": 1.5}, {})
    >>> like, other = (np.abs(rng.normal(size=200)) * times for times in (1, 2))
    >>> [check.name for check in judge("monday", pd.DataFrame(), like, reference).alarms(0.01)]
    []
    >>> sorted(check.name for check in judge("tuesday", pd.DataFrame(), other, reference).alarms(0.01))
    ['beyond.delta_high', 'coverage', 'errors']
    """
    checks = []
    if errors is not None and errors.size and reference.errors.size:
        checks += [
            _check_coverage(errors, reference),
            *(
                _check_threshold(threshold, limit, errors, reference.errors)
                for threshold, limit in reference.thresholds.items()
            ),
            _check_errors(errors, reference.errors),
        ]
    known = reference.residual
    if residual is not None and residual.size and known is not None and known.size:
        checks.append(_check_shift(residual, known))
    for feature, described in reference.features.items():
        counts = np.array(count_bins(features[feature], described))
        checks.append(_check_counts(f"{FEATURE}{feature}", np.array(described["counts"]), counts))
    rows = max(len(features), 0 if errors is None else errors.size)
    return Batch(name, rows, tuple(checks))


def _check_coverage(errors: Array, reference: Reference) -> Check:
    count, rows = reference.errors.size, errors.size
    ordered = np.sort(reference.errors)
    half = half_width(ordered, reference.level)
    inside = int(np.count_nonzero(errors <= half))
    if math.isinf(half):
        return Check("coverage", 1.0, 1.0, 1.0)
    # With ties more of the reference's rows lie inside than the rank that was asked for.
    rank = int(np.searchsorted(ordered, half, side="right"))
    expected = rank / (count + 1)
    # Of rows like the reference's, so many of m lie inside the k-th of n errors.
    chance = stats.betabinom(rows, rank, count + 1 - rank)
    tail = min(chance.cdf(inside), chance.sf(inside - 1))
    return Check("coverage", expected, inside / rows, min(1.0, 2 * float(tail)))


def _check_threshold(name: str, limit: float, errors: Array, known: Array) -> Check:
    beyond, were = (int(np.count_nonzero(each > limit)) for each in (errors, known))
    table = [[beyond, errors.size - beyond], [were, known.size - were]]
    p_value = float(stats.fisher_exact(table).pvalue)
    return Check(f"beyond.{name}", were / known.size, beyond / errors.size, p_value)


def _check_shift(residual: Array, known: Array) -> Check:
    found = stats.mannwhitneyu(residual, known, method="asymptotic")
    above = float(found.statistic) / (residual.size * known.size)
    return Check("shift", 0.5, above, float(found.pvalue))


def _check_errors(errors: Array, known: Array) -> Check:
    levels = np.arange(1, _TENTHS) / _TENTHS
    edges = np.unique(np.quantile(known, levels, method="inverted_cdf"))
    before, after = (
        np.bincount(np.searchsorted(edges, each), minlength=len(edges) + 1)
        for each in (known, errors)
    )
    return _check_counts("errors", before, after)


def _check_counts(name: str, before: npt.NDArray[Any], after: npt.NDArray[Any]) -> Check:
    """Compare two samples in the same bins."""
    index = _stability_index(before, after)
    before, after = _merged(before, after)
    if len(before) == 1:
        return Check(name, 0.0, index, 1.0)
    p_value = float(stats.chi2_contingency([before, after], correction=False).pvalue)
    return Check(name, 0.0, index, p_value)


def _stability_index(before: npt.NDArray[Any], after: npt.NDArray[Any]) -> float:
    """The population stability index; half a row stands in for none."""
    old, new = (np.maximum(each, 0.5) / max(each.sum(), 1) for each in (before, after))
    return float(((new - old) * np.log(new / old)).sum())


def _merged(
    before: npt.NDArray[Any], after: npt.NDArray[Any]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Put neighbouring bins together until each is expected to have enough rows of both samples."""
    share = min(before.sum(), after.sum()) / max(before.sum() + after.sum(), 1)
    merged: list[list[float]] = []
    open_bin = [0.0, 0.0]
    for old, new in zip(before, after, strict=True):
        open_bin = [open_bin[0] + old, open_bin[1] + new]
        if sum(open_bin) * share >= _FEWEST_IN_A_BIN:
            merged.append(open_bin)
            open_bin = [0.0, 0.0]
    if merged:
        merged[-1] = [merged[-1][0] + open_bin[0], merged[-1][1] + open_bin[1]]
    else:
        merged = [open_bin]
    both = np.array(merged)
    return both[:, 0], both[:, 1]
