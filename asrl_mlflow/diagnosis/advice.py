"""Advise which loss, and which levels, to begin with, from the gross outliers and the tails of residuals."""

from __future__ import annotations

from dataclasses import dataclass

from asrl_mlflow.diagnosis.levels import HIGH, LOW, starting_levels
from asrl_mlflow.losses import MM, Cauchy, Loss, SquaredError, auto, to_config
from asrl_mlflow.losses.regression.scale import AUTO
from asrl_mlflow.residuals.outliers import Outliers

# Of gross outliers, from which on they need a loss that leaves them out; fewer need one that bears them.
_FEW = 0.01
# Share of rows with the same target from which on these are not the middle of anything.
_SPIKE = 0.2
# Scales of the noise beyond which a single target spoils squared error, though it makes no share to speak of.
_FAR = 20.0
# Degrees of freedom below which tails alone spoil squared error: the variance is infinite up to 2.
VERY_HEAVY = 2.3


@dataclass(frozen=True)
class Advice:
    """A loss to begin with.

    Parameters
    ----------
    name : str
        What `--loss` takes.
    loss : Loss
        The loss itself.
    reason : str
        Why, in a sentence.
    """

    name: str
    loss: Loss
    reason: str

    def __str__(self) -> str:
        """The loss as one would name it: auto, or a name with parameters."""
        return f"{self.name}({self.params})" if self.params else self.name

    @property
    def params(self) -> str:
        """What `--loss-params` takes; empty where the loss needs none."""
        if self.name == AUTO:
            return ""
        return ",".join(f"{key}={value}" for key, value in to_config(self.loss)["params"].items())


def advise(outliers: Outliers, most_frequent: float, farthest: float) -> Advice:
    """Choose a loss by rules that were measured (docs/explanation/doctor.md), not by trying losses.

    Parameters
    ----------
    outliers : Outliers
        Of out-of-fold residuals.
    most_frequent : float, in (0, 1]
        Share of the rows that have the target's most frequent value.
    farthest : float, >= 0
        Distance of the farthest residual from the center of the others, in their scales.

    Examples
    --------
    >>> import numpy as np
    >>> from asrl_mlflow.residuals.outliers import find_outliers
    >>> noise = np.random.default_rng(0).normal(size=1000)
    >>> advise(find_outliers(noise), 0.001, 3.5).name
    'squared_error'
    >>> advise(find_outliers(np.where(np.arange(1000) % 10 == 0, 40.0, noise)), 0.1, 41.0).name
    'auto'
    """
    if most_frequent > _SPIKE:
        reason = (
            f"{most_frequent:.0%} of the rows have one and the same target: to a robust loss the others would be "
            "outliers, so what is said of outliers here means nothing"
        )
        return Advice(SquaredError.name, SquaredError(), reason)
    if outliers.share >= _FEW:
        sides = f"{outliers.above:.1%} above, {outliers.below:.1%} below"
        reason = f"{outliers.share:.1%} of the targets are gross outliers ({sides}), and it needs no tuning"
        return Advice(AUTO, auto(), reason)
    if outliers.degrees < VERY_HEAVY:
        reason = (
            f"no targets are far from the others, but all have tails that squares cannot bear (Student with "
            f"{outliers.degrees:.1f} degrees of freedom)"
        )
        return Advice(Cauchy.name, Cauchy(AUTO), reason)
    if outliers.share > 0:
        reason = f"only {outliers.share:.1%} of the targets are gross outliers, which it leaves out in the end"
        return Advice(MM.name, MM(), reason)
    if farthest > _FAR:
        reason = (
            f"too few targets are outliers to tell a share, but the farthest is {farthest:.0f} scales of the noise away, "
            "which squares cannot bear; it leaves it out in the end"
        )
        return Advice(MM.name, MM(), reason)
    reason = "no gross outliers and no very heavy tails: a robust loss would gain little"
    return Advice(SquaredError.name, SquaredError(), reason)


def advise_levels(outliers: Outliers, most_frequent: float) -> Advice | None:
    """Advise levels of `asrl_c` to start from, for those who do not want them automatic.

    Parameters
    ----------
    outliers, most_frequent
        As `advise` takes them.

    Returns
    -------
    Advice or None
        None where what is said of outliers means nothing.

    Examples
    --------
    >>> import numpy as np
    >>> noise = Outliers(0.2, 0.0, center=0.0, scale=1.0, degrees=60.0, probability=np.empty(0))
    >>> advise_levels(noise, 0.001).params
    'q_low=0.603,q_high=0.678,tail=1.0,floor=0.0'
    """
    if most_frequent > _SPIKE:
        return None
    reason = (
        f"the shares of all residuals within {LOW:g} and {HIGH:g} scales of the noise, if {1 - outliers.share:.1%} of the "
        "targets are right; where to start from if levels are chosen by hand"
    )
    loss = starting_levels(outliers)
    return Advice(loss.name, loss, reason)
