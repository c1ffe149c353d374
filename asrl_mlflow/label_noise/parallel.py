"""Judge cells in parallel processes.

By joblib: cells are independent of one another, take seconds each, and need none of what a study's workers
are for (one table of folds each, results as they come in, trials that are pruned). A worker that dies is
noticed, and workers end soon after the process that started them.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import closing

from joblib import Parallel, cpu_count, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError

from asrl_mlflow.errors import InputError
from asrl_mlflow.label_noise.cells import Cell, Comparison, Judged, judge
from asrl_mlflow.system.signals import stop_repeating


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
        Processes, of one thread each; one a core by default. With 1 it is this process.

    Raises
    ------
    InputError
        A process died, for lack of memory perhaps; or what `judge` raises.
    """
    workers = min(jobs or cpu_count(), len(cells))
    pool = Parallel(n_jobs=workers, batch_size=1, return_as="generator_unordered")
    # Ctrl-C reaches every process of a terminal: workers are begun here, deaf to it, and end with this one.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if workers > 1 else None
    try:
        judged = pool(delayed(judge)(comparison, cell) for cell in cells)
    finally:
        if workers > 1:
            signal.signal(signal.SIGINT, before)
    with closing(judged):
        try:
            yield from judged
        except TerminatedWorkerError as error:
            msg = (
                f"label_noise needs worker processes that live; got one that died, of {workers}; give it "
                "fewer --jobs, or more memory."
            )
            raise InputError(msg) from error
        finally:
            # A signal's exit shall not be raised again while workers are ended.
            stop_repeating()
