"""Retry calls to the tracking store, and wait only seconds for a store that does not answer.

Left to itself MLflow repeats every call to a server that is down for four minutes, and every call to a
server that takes connections and never answers for twenty.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import requests.exceptions
from mlflow.environment_variables import (
    MLFLOW_HTTP_REQUEST_MAX_RETRIES,
    MLFLOW_HTTP_REQUEST_TIMEOUT,
)

Answer = TypeVar("Answer")

_logger = logging.getLogger(__name__)

# An answer that takes longer counts as none, unless MLflow's own variable says otherwise.
_SECONDS_FOR_AN_ANSWER = 8
# A store that has not answered for so long is given up, and called again so much later.
_SECONDS_OF_SILENCE, _SECONDS_BEFORE_NEXT_CALL = 6.0, 30.0
_SECONDS_BEFORE_RETRY = 0.5
# Time-outs grow by a second for so many bytes that are sent.
_BYTES_A_SECOND = 1_000_000

_VARIABLES = (MLFLOW_HTTP_REQUEST_MAX_RETRIES, MLFLOW_HTTP_REQUEST_TIMEOUT)


@dataclass
class _Store:
    """Since when the store has not answered, how long that is tolerated, when to call again.

    Parameters
    ----------
    seconds_to_wait : float
        How long the store may be silent before it is given up.
    silent_since : float, optional
        By the monotonic clock; None where the store has answered the last call.
    given_up_until : float
        By the monotonic clock; no call is made before.
    """

    seconds_to_wait: float = _SECONDS_OF_SILENCE
    silent_since: float | None = None
    given_up_until: float = 0.0

    def reset(self) -> None:
        """Forget what was known of the store."""
        self.seconds_to_wait = _SECONDS_OF_SILENCE
        self.note_answer()

    def note_answer(self) -> None:
        """Note that the store has answered."""
        self.silent_since, self.given_up_until = None, 0.0

    def note_silence(self, since: float) -> None:
        """Note that the store has not answered a call that was made at a moment."""
        if self.silent_since is None:
            self.silent_since = since

    def is_silent_too_long(self) -> bool:
        """Check whether the store has been silent for longer than is tolerated."""
        since = self.silent_since
        return since is not None and time.monotonic() - since >= self.seconds_to_wait

    def give_up(self) -> None:
        """Make no call for a while."""
        self.given_up_until = time.monotonic() + _SECONDS_BEFORE_NEXT_CALL

    def is_given_up(self) -> bool:
        """Check whether no call is to be made at present."""
        return time.monotonic() < self.given_up_until


_store = _Store()
_lock = threading.Lock()
_depth = 0
_values_before: list[str | None] = []


@contextmanager
def limit_waiting(seconds: int = _SECONDS_FOR_AN_ANSWER) -> Iterator[None]:
    """Let MLflow send each request once and wait some seconds for its answer; `retry` repeats calls.

    MLflow reads both from environment variables only, so this holds for the whole process. A time-out
    that the user has set stays, and so does that of an outer `limit_waiting`.

    Parameters
    ----------
    seconds : int, > 0
        How long to wait for an answer.
    """
    global _depth  # noqa: PLW0603 - the environment is the whole process's too
    with _lock:
        _depth += 1
        if _depth == 1:
            _store.reset()
            _values_before[:] = [variable.get_raw() for variable in _VARIABLES]
            MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(0)
            if not MLFLOW_HTTP_REQUEST_TIMEOUT.is_set():
                MLFLOW_HTTP_REQUEST_TIMEOUT.set(seconds)
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                for variable, before in zip(_VARIABLES, _values_before, strict=True):
                    if before is None:
                        variable.unset()
                    else:
                        variable.set(before)


@contextmanager
def extend_timeout(size: int) -> Iterator[None]:
    """Wait longer for the answer to a request that sends many bytes.

    Parameters
    ----------
    size : int, >= 0
        How many bytes are sent.
    """
    more = size // _BYTES_A_SECOND
    if not more:
        yield
        return
    before = MLFLOW_HTTP_REQUEST_TIMEOUT.get()
    MLFLOW_HTTP_REQUEST_TIMEOUT.set(before + more)
    try:
        yield
    finally:
        MLFLOW_HTTP_REQUEST_TIMEOUT.set(before)


def retry(call: Callable[[], Answer]) -> Answer:
    """Call the store, and repeat the call where it fails.

    A call that the store refuses is repeated once. A call that it does not answer is repeated for some
    seconds; then the store is given up, and for a while every call fails at once.

    Parameters
    ----------
    call : callable
        A call of MLflow that may be made twice. Refused calls are repeated because two processes that
        log the same data set at the same moment disturb each other.

    Raises
    ------
    ConnectionError
        The store was given up a moment ago.
    Exception
        What MLflow raised at the last call.
    """
    if _store.is_given_up():
        msg = "the tracking store did not answer a moment ago"
        raise ConnectionError(msg)
    pause, was_refused = _SECONDS_BEFORE_RETRY, False
    while True:
        try:
            return call_once(call)
        except Exception as error:
            if not is_unanswered(error):
                if was_refused:
                    raise
                was_refused = True
            elif _store.is_silent_too_long():
                _store.give_up()
                _logger.info(
                    "The tracking store has not answered for %g s, and is called again in %g s: %s",
                    _store.seconds_to_wait,
                    _SECONDS_BEFORE_NEXT_CALL,
                    type(error).__name__,
                )
                raise
            elif _store.is_given_up():
                raise
            _logger.info(
                "A call to the tracking store is repeated in %g s: %s", pause, type(error).__name__
            )
        time.sleep(pause)
        pause *= 2


def call_once(call: Callable[[], Answer]) -> Answer:
    """Call the store even where it was given up, and note whether it has answered."""
    began = time.monotonic()
    try:
        answer = call()
    except Exception as error:
        if is_unanswered(error):
            _store.note_silence(began)
        raise
    _store.note_answer()
    return answer


def is_unanswered(error: BaseException | None) -> bool:
    """Check whether an error means that the store did not answer, rather than that it refused.

    Examples
    --------
    >>> is_unanswered(ConnectionError()), is_unanswered(ValueError())
    (True, False)
    """
    while error is not None:
        silent = (requests.exceptions.ConnectionError, requests.exceptions.Timeout, ConnectionError)
        if isinstance(error, silent):
            return True
        error = error.__cause__ or error.__context__
    return False


def stop_waiting() -> None:
    """Give a silent store up at its next call: the process was asked to end."""
    _store.seconds_to_wait = 0.0
    MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(0)
    MLFLOW_HTTP_REQUEST_TIMEOUT.set(2)
    # It reports a cursor that was left in the middle of its rows, with a traceback.
    logging.getLogger("sqlalchemy").setLevel(logging.CRITICAL)
