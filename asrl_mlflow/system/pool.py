"""Work on many independent things in parallel processes.

By joblib, for what takes seconds each and needs none of what a study's workers are for (one table of folds
each, results as they come in, trials that are pruned). A worker that dies is noticed, the others' work goes on,
and workers end soon after the process that started them.
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
    died: Callable[[Item], Result] | None = None,
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
    died : callable, optional
        The result of an item whose process dies, of memory that is too short perhaps. Items that were worked on
        when a process died are begun again, one at a time: what kills a process alone is given to `died`.

    Raises
    ------
    InputError
        A process died, and no `died` was given; or what `work` raises.

    Examples
    --------
    >>> sorted(work_on_all(abs, [-1, 2, -3], jobs=1))
    [1, 2, 3]
    """
    workers = max(1, min(jobs or cpu_count(), len(items)))
    left = dict(enumerate(items))
    while left:
        begun: list[int] = []
        try:
            for number, result in _parallel(work, left, workers, goes_on, begun):
                del left[number]
                yield result
        except TerminatedWorkerError as error:
            if died is None:
                msg = (
                    f"Parallel work needs worker processes that live; got one that died, of {workers}; give it "
                    "fewer --jobs, or more memory."
                )
                raise InputError(msg) from error
        else:
            return
        for number in [each for each in begun if each in left]:
            if not goes_on():
                return
            item = left.pop(number)
            try:
                # Of two processes one has nothing to do: with one it would be this process.
                ((_, result),) = _parallel(work, {number: item}, 2, lambda: True, [])
            except TerminatedWorkerError:
                result = died(item)
            yield result


def _parallel(
    work: Callable[[Item], Result],
    items: dict[int, Item],
    workers: int,
    goes_on: Callable[[], bool],
    begun: list[int],
) -> Iterator[tuple[int, Result]]:
    """Work on items until a process dies; write down the numbers of those that are begun."""

    def begin() -> Iterator[tuple[int, Item]]:
        for number, item in itertools.takewhile(lambda _: goes_on(), list(items.items())):
            begun.append(number)
            yield number, item

    # No item waits in a queue, where nobody could ask whether to go on.
    pool = Parallel(
        n_jobs=workers, batch_size=1, pre_dispatch=workers, return_as="generator_unordered"
    )
    # Ctrl-C reaches every process of a terminal: workers are begun here, deaf to it, and end with this one.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if workers > 1 else None
    try:
        results = pool(delayed(_numbered)(work, number, item) for number, item in begin())
    finally:
        if workers > 1:
            signal.signal(signal.SIGINT, before)
    with closing(results):
        try:
            yield from results
        finally:
            # A signal's exit shall not be raised again while workers are ended.
            stop_repeating()


def _numbered(work: Callable[[Item], Result], number: int, item: Item) -> tuple[int, Result]:
    """A result with the number of its item: results come in any order."""
    return number, work(item)
