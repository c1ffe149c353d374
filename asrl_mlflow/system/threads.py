"""Choose how many threads XGBoost uses for a table."""

from __future__ import annotations

import os

# A round on a smaller table takes one thread milliseconds. Several wait for one another after each of
# its many steps: idle cores save little of that, and busy ones cost the time that the system gives to
# others, tens of milliseconds a step.
CELLS_FOR_ALL = 1_000_000


def thread_count(rows: int, features: int) -> int:
    """XGBoost's `nthread` for a table: 1 for a small one, 0 (as many as there are) for others.

    Parameters
    ----------
    rows, features : int, >= 0
        Its size.

    Returns
    -------
    int
        0 too where OMP_NUM_THREADS is set: then its user has said how many.

    Examples
    --------
    >>> thread_count(442, 10)
    1
    """
    if "OMP_NUM_THREADS" in os.environ or rows * features >= CELLS_FOR_ALL:
        return 0
    return 1
