"""Judge cells in parallel processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from asrl_mlflow.label_noise.cells import Cell, Comparison, Judged, judge
from asrl_mlflow.system.pool import work_on_all


def judge_all(
    comparison: Comparison, cells: Sequence[Cell], jobs: int | None = None
) -> Iterator[Judged]:
    """Judge cells; yield each result as soon as it is there, in whatever order.

    Parameters
    ----------
    comparison : Comparison
        What they have in common.
    cells : sequence of Cell
        What to judge.
    jobs : int, >= 1, optional
        As for `work_on_all`.
    """
    return work_on_all(partial(judge, comparison), cells, jobs)
