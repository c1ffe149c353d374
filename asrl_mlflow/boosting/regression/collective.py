"""The workers of a training in several processes: XGBoost's collective."""

from __future__ import annotations

import numpy as np
import xgboost
from packaging.version import Version
from xgboost import collective

from asrl_mlflow.errors import InputError
from asrl_mlflow.residuals.shared.workers import ALONE, Numbers, Workers

# Reductions that keep shapes, and workers that end with an error where another one has died.
LEAST_VERSION = "3.4"


class Collective:
    """The workers of the collective that this one is in."""

    @property
    def count(self) -> int:
        """How many there are."""
        return int(collective.get_world_size())

    @property
    def rank(self) -> int:
        """Which of them this is, in [0, count)."""
        return int(collective.get_rank())

    def sum(self, values: Numbers) -> Numbers:
        """Sum arrays of one shape and type over the workers."""
        return collective.allreduce(values, collective.Op.SUM)

    def largest(self, value: float) -> float:
        """Find the largest of the workers' numbers."""
        return float(collective.allreduce(np.array([value], np.float64), collective.Op.MAX)[0])


def workers() -> Workers:
    """Find those who have a part of the rows, now and here: of a collective, or this process alone.

    Raises
    ------
    InputError
        A collective of an XGBoost that is too old.

    Examples
    --------
    >>> workers().count
    1
    """
    if collective.get_world_size() <= 1:
        return ALONE
    check_version()
    return Collective()


def check_version() -> None:
    """Refuse an XGBoost whose collectives have faults.

    Raises
    ------
    InputError
        It is older than 3.4.
    """
    if Version(xgboost.__version__) < Version(LEAST_VERSION):
        msg = (
            f"Training on several workers needs XGBoost {LEAST_VERSION}, whose collectives end where a worker "
            f"dies; got {xgboost.__version__}; install a newer one on all workers, or train in one process."
        )
        raise InputError(msg)
