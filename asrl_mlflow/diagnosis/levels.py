"""Derive levels to begin with for `asrl_c` from the gross outliers and the tails of residuals."""

from __future__ import annotations

from scipy import stats

from asrl_mlflow.losses import ContinuousASRL
from asrl_mlflow.residuals.outliers import Outliers

# Thresholds in scales of right targets' residuals; under normal noise 87% and 97% of these lie below.
LOW, HIGH = 1.5, 2.2
# Of right targets that the levels assume, however many outliers there are.
_FEWEST_RIGHT = 0.1
_DIGITS = 3


def starting_levels(outliers: Outliers) -> ContinuousASRL:
    """Choose levels by a rule that was measured (docs/explanation/doctor.md): a start for those who want `asrl_c` with levels of its own.

    `q_low` is the share of rows whose residuals lie within 1.5 scales of those of right targets, `q_high` that
    within 2.2, by the Student distribution that was fitted to these. Shares are of right targets; of outliers
    that are on one side half of their share is taken off too, as they draw predictions to that side.

    Parameters
    ----------
    outliers : Outliers
        Of out-of-fold residuals.

    Notes
    -----
    So q_high is below 1 - share, and lower the heavier the tails are. Without outliers and with normal noise
    levels are 0.86 and 0.97; with 20% of the targets wrong on one side 0.6 and 0.68.

    Examples
    --------
    >>> import numpy as np
    >>> for above in (0.0, 0.2):
    ...     noise = Outliers(above, 0.0, center=0.0, scale=1.0, degrees=60.0, probability=np.empty(0))
    ...     print(starting_levels(noise))
    ContinuousASRL(q_low=0.861, q_high=0.968, tail=1.0, floor=0.0)
    ContinuousASRL(q_low=0.603, q_high=0.678, tail=1.0, floor=0.0)
    """
    one_sided = abs(outliers.above - outliers.below)
    right = max(1 - outliers.share - one_sided / 2, _FEWEST_RIGHT)
    student = stats.t(outliers.degrees)
    low, high = (
        round(right * float(1 - 2 * student.sf(scales)), _DIGITS) for scales in (LOW, HIGH)
    )
    return ContinuousASRL(low, high)
