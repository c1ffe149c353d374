"""Work on many independent things in parallel processes.

By joblib, for what takes seconds each and needs none of what a study's workers are for (one table of folds
each, results as they come in, trials that are pruned). A worker that dies is noticed, and workers end soon
after the process that started them.
"""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import TypeVar

from joblib import Parallel, cpu_count, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError

from asrl_mlflow.errors import InputError
from asrl_mlflow.system.signals import stop_repeating

Item = TypeVar("Item")
Result = TypeVar("Result")


def work_on_all(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    jobs: int | None = None,
    *,
    goes_on: Callable[[], bool] = lambda: True,
) -> Iterator[Result]:
    """Work on items; yield each result as soon as it is there, in whatever order.

    Parameters
    ----------
    work : callable
        What is done with an item; another process imports it by its name.
    items : sequence
        What to work on.
    jobs : int, >= 1, optional
        Processes, of one thread each; one a core by default. With 1 it is this process.
    goes_on : callable
        Asked before an item is handed to a process; after a False no other is begun.

    Raises
    ------
    InputError
        A process died, for lack of memory perhaps; or what `work` raises.

    Examples
    --------
    >>> sorted(work_on_all(abs, [-1, 2, -3], jobs=1))
    [1, 2, 3]
    """
    workers = max(1, min(jobs or cpu_count(), len(items)))
    # No item waits in a queue, where nobody could ask whether to go on.
    pool = Parallel(
        n_jobs=workers, batch_size=1, pre_dispatch=workers, return_as="generator_unordered"
    )
    # Ctrl-C reaches every process of a terminal: workers are begun here, deaf to it, and end with this one.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if workers > 1 else None
    try:
        begun = itertools.takewhile(lambda _: goes_on(), items)
        results = pool(delayed(work)(item) for item in begun)
    finally:
        if workers > 1:
            signal.signal(signal.SIGINT, before)
    with closing(results):
        try:
            yield from results
        except TerminatedWorkerError as error:
            msg = (
                f"Parallel work needs worker processes that live; got one that died, of {workers}; give it "
                "fewer --jobs, or more memory."
            )
            raise InputError(msg) from error
        finally:
            # A signal's exit shall not be raised again while workers are ended.
            stop_repeating()
