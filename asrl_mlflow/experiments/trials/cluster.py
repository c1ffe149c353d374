"""A pool of the workers of a Dask cluster. Loaded where it is asked for: needs the extra `dask`."""

from __future__ import annotations

import itertools
import pickle
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from distributed import Client, Future, Scheduler, get_worker

from asrl_mlflow.errors import ClusterError
from asrl_mlflow.experiments.trials.assignment import ENDS, Assignment, Message
from asrl_mlflow.experiments.trials.judging import Contest, Judge
from asrl_mlflow.experiments.trials.pool import MOST_DEATHS_IN_A_ROW
from asrl_mlflow.system.clusters import ask, send

_SECONDS_BETWEEN_COUNTS = 1.0
# Workers that are started anew, by a nanny or a queue of jobs, take a while.
_SECONDS_WITHOUT_WORKERS = 60.0


def count_threads(client: Client) -> int:
    """How many trials the workers of a cluster can judge at once: as many as they have threads.

    Raises
    ------
    ClusterError
        The scheduler does not answer.
    """
    return sum(_threads_of(client).values())


def _check_scheduler(client: Client) -> None:
    if client.status != "running":
        raise ClusterError(_tell_needs("no answer of the scheduler"))


def _threads_of(client: Client) -> Mapping[str, int]:
    """How many threads each worker of a cluster has now, by its address."""
    _check_scheduler(client)
    try:
        found: Mapping[str, int] = ask(client.nthreads)
    except OSError as error:
        raise ClusterError(_tell_needs(str(error))) from error
    return found


@dataclass(eq=False)
class _Thread:
    """A thread of a worker of Dask's, which judges one trial at a time; see `pool.Worker`.

    Parameters
    ----------
    pool : ClusterPool
        Which hears what it tells.
    address : str
        Of the worker.
    number : int
        Tells it from the others of the pool.
    judge_here : Future
        The study's judge, with matrices of its own, in the memory of the worker.
    trials : int
        How many it was given.
    trial : Future, optional
        The last of them.
    """

    pool: ClusterPool
    address: str
    number: int
    judge_here: Future[Judge]
    trials: int = 0
    trial: Future[None] | None = None

    def judge(self, assignment: Assignment) -> None:
        """Begin a trial; see `pool.Worker`."""
        self.trials += 1
        self.trial = self.pool.submit(
            self.address,
            _work,
            self.judge_here,
            assignment,
            self.pool.topic,
            self.number,
            self.trials,
        )
        self.trial.add_done_callback(partial(self.pool.hear_end, self))

    def release(self) -> None:
        """Let the worker of Dask's end the trial, and forget the rows."""
        for future in (self.trial, self.judge_here):
            if future is not None:
                future.release()


@dataclass(eq=False)
class ClusterPool:
    """Workers of a Dask cluster, a trial for each of their threads; see `pool.Pool`.

    Each trial is a task of one worker, so that a death is this pool's to notice: another trial with the same
    point is done then, as anywhere else. Workers that join while the study is worked on are used too.

    Parameters
    ----------
    client : Client
        Of the cluster. Its workers need asrl-mlflow too.
    """

    client: Client
    topic: str = field(default_factory=lambda: f"asrl-trials-{uuid.uuid4().hex}")
    _rows: Future[Contest] | None = None
    _count: int = 0
    _threads: dict[int, _Thread] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    # What was heard, by other threads of this process: a message, or that a future has ended.
    _heard: SimpleQueue[tuple[int, int, bytes | None]] = field(default_factory=SimpleQueue)
    _taken: list[tuple[int, int, bytes | None]] = field(default_factory=list)
    _counted_at: float = 0.0
    _had_workers_at: float = 0.0
    _died_in_a_row: int = 0

    def start(self, contest: Contest, count: int) -> None:
        """Send the rows, and let so many threads make their matrices; see `Pool`."""
        self.client.subscribe_topic(self.topic, lambda event: self._heard.put(tuple(event[1])))
        self._rows = send(self.client, contest)
        self._count = count
        self._had_workers_at = time.monotonic()
        self._take_threads(self._find_threads())

    def wait(self, seconds: float) -> None:
        """Wait for a message; see `Pool`."""
        try:
            self._taken.append(self._heard.get(timeout=min(seconds, _SECONDS_BETWEEN_COUNTS)))
        except Empty:
            return

    def receive(self) -> Sequence[tuple[_Thread, Message]]:
        """What was told, and which threads are gone; see `Pool`."""
        received = []
        taken, self._taken = self._taken, []
        while not self._heard.empty():
            taken.append(self._heard.get())
        for number, trial, content in taken:
            thread = self._threads.get(number)
            # Of a thread that was given up, or of a trial that has told its end.
            if thread is None or trial != thread.trials:
                continue
            message = self._read_end(thread) if content is None else pickle.loads(content)  # noqa: S301 - our own
            if message is None:
                continue
            if message[0] in ENDS:
                self._died_in_a_row = 0
            received.append((thread, message))
        if time.monotonic() - self._counted_at > _SECONDS_BETWEEN_COUNTS:
            received += [(thread, ("died",)) for thread in self._replace()]
        return received

    def close(self) -> None:
        """Let all trials end, and forget the rows; see `Pool`."""
        for thread in self._threads.values():
            thread.release()
        self._threads.clear()
        if self._rows is None or self.client.status != "running":
            return
        self._rows.release()
        self.client.unsubscribe_topic(self.topic)
        # The scheduler would keep a thousand messages, for whoever asks later.
        with suppress(OSError):  # of a scheduler that is gone, or frozen
            ask(self.client.run_on_scheduler, _forget, self.topic)

    def submit(self, address: str, *work: Any) -> Future[Any]:  # noqa: ANN401 - any function
        """Let a worker of Dask's, and no other, call a function with arguments."""
        return self.client.submit(*work, workers=[address], allow_other_workers=False, pure=False)

    def hear_end(self, thread: _Thread, future: Future[Any]) -> None:  # noqa: ARG002 - a callback's
        """Note that the judge of a thread is made, or that its trial has ended; in another thread."""
        self._heard.put((thread.number, thread.trials, None))

    def _read_end(self, thread: _Thread) -> Message | None:
        """What the end of a thread's last task means."""
        future = thread.trial or thread.judge_here
        if future.status == "finished":
            # A trial has told its end itself.
            return None if thread.trial else ("ready",)
        if future.status == "error":
            error = future.exception()
            raise ClusterError(_tell_needs(f"{type(error).__name__}: {error}")) from error
        # Cancelled: its worker is gone, which is noticed by itself, or the scheduler is.
        _check_scheduler(self.client)
        return None

    def _find_threads(self) -> Mapping[str, int]:
        """The threads of the workers that are there; ends where there were none for a while."""
        self._counted_at = time.monotonic()
        found = _threads_of(self.client)
        if found:
            self._had_workers_at = self._counted_at
        elif self._counted_at - self._had_workers_at > _SECONDS_WITHOUT_WORKERS:
            raise ClusterError(_tell_needs("none"))
        return found

    def _replace(self) -> list[_Thread]:
        """Give up the threads of workers that are gone, take others; those that were given up."""
        found = self._find_threads()
        gone = [thread for thread in self._threads.values() if thread.address not in found]
        for thread in gone:
            del self._threads[thread.number]
            thread.release()
        self._died_in_a_row += len({thread.address for thread in gone})
        if self._died_in_a_row >= MOST_DEATHS_IN_A_ROW:
            raise ClusterError(_tell_needs(f"{self._died_in_a_row} in a row that died"))
        self._take_threads(found)
        return gone

    def _take_threads(self, found: Mapping[str, int]) -> None:
        """Take free threads up to the count, of all workers alike."""
        taken = Counter(thread.address for thread in self._threads.values())
        while len(self._threads) < self._count:
            free = [address for address, threads in found.items() if taken[address] < threads]
            if not free:
                return
            address = min(free, key=lambda each: taken[each])
            taken[address] += 1
            thread = _Thread(
                self, address, next(self._numbers), self.submit(address, Judge, self._rows)
            )
            self._threads[thread.number] = thread
            thread.judge_here.add_done_callback(partial(self.hear_end, thread))


def _work(judge: Judge, assignment: Assignment, topic: str, number: int, trial: int) -> None:
    """Judge a trial, in a thread of a worker of Dask's."""
    worker = get_worker()
    key = worker.get_current_task()

    def tell(message: Message) -> None:
        task = worker.state.tasks.get(key)
        if task is None or task.state == "cancelled":
            msg = "nobody waits for this trial any more"
            raise ConnectionAbortedError(msg)
        worker.log_event(topic, (number, trial, pickle.dumps(message)))

    assignment.work(judge, tell)


def _forget(topic: str, dask_scheduler: Scheduler) -> None:
    dask_scheduler._broker.truncate(topic)  # noqa: SLF001 - nothing public does it


def _tell_needs(got: str) -> str:
    return (
        "tune --engine=dask needs a scheduler, and workers that live and have this package; got: "
        f"{' '.join(got.split())[:200]}; start them, and the same command again, which goes on."
    )
