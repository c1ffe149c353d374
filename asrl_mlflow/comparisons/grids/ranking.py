"""Rank methods over all comparisons of a grid: Friedman's test, and Nemenyi's after it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

ALPHA = 0.05
_FEWEST_METHODS, _FEWEST_BLOCKS = 3, 2


@dataclass(frozen=True)
class Ranking:
    """Mean ranks of methods, and which of them differ.

    Parameters
    ----------
    ranks : Series
        Mean rank of each method over the blocks, the best first; 1 is the smallest error.
    p : float
        Of Friedman's test that all methods are alike.
    differ : DataFrame
        Of Nemenyi's test of each pair, p corrected for their number.
    critical_difference : float
        By how much the mean ranks of two methods differ at least where Nemenyi's p is below 0.05.
    blocks : int
        How many comparisons there are.
    """

    ranks: pd.Series[float]
    p: float
    differ: pd.DataFrame
    critical_difference: float
    blocks: int

    def describe(self) -> str:
        """Say in a sentence what the test comes to."""
        over = f"over {self.blocks} comparisons of {len(self.ranks)} methods"
        if self.p >= ALPHA:
            return f"Ranks {over}: no difference is shown (Friedman, p = {self.p:.2g})."
        best = str(self.ranks.index[0])
        alike = [str(name) for name in self.ranks.index[1:] if self.differ.loc[best, name] >= ALPHA]
        if len(alike) == len(self.ranks) - 1:
            beside = ", but clearly before none of the others"
        elif alike:
            beside = f", not clearly before {', '.join(alike)}"
        else:
            beside = ", clearly before all others"
        return (
            f"Ranks {over}: the methods differ (Friedman, p = {self.p:.2g}); {best} is first{beside} "
            f"(Nemenyi: mean ranks {self.critical_difference:.2f} apart)."
        )


def rank(errors: pd.DataFrame) -> Ranking | None:
    """Rank methods by their errors; None where there are too few methods or blocks for a test.

    Parameters
    ----------
    errors : DataFrame
        A row a block, which every method has; a column a method.

    References
    ----------
    J. Demsar, Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7, 2006.

    Examples
    --------
    >>> found = rank(pd.DataFrame({"a": [1, 1, 1, 1], "b": [2, 2, 3, 2], "c": [3, 3, 2, 3]}))
    >>> [float(each) for each in found.ranks], round(found.p, 3), round(found.critical_difference, 2)
    ([1.0, 2.25, 2.75], 0.039, 1.66)
    """
    blocks, methods = errors.shape
    if methods < _FEWEST_METHODS or blocks < _FEWEST_BLOCKS:
        return None
    # Here, not above: they take more than a second to import.
    from scikit_posthocs import posthoc_nemenyi_friedman  # noqa: PLC0415 - see above
    from scipy.stats import friedmanchisquare, studentized_range  # noqa: PLC0415 - see above

    ranks = errors.rank(axis=1).mean().sort_values(kind="stable")
    quantile = studentized_range.isf(ALPHA, methods, math.inf) / math.sqrt(2)
    return Ranking(
        ranks,
        float(friedmanchisquare(*(errors[name] for name in errors)).pvalue),
        posthoc_nemenyi_friedman(errors),
        float(quantile * math.sqrt(methods * (methods + 1) / (6 * blocks))),
        blocks,
    )
