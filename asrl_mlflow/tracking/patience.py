"""How long a tracking store is waited for: a few seconds where somebody waits, however many runs there are.

MLflow by itself asks a server that has gone for four minutes, and one that takes connections and never
answers for twenty, in every call anew.
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

# An answer that takes longer counts as none, unless MLflow's own variable says otherwise.
_SECONDS_FOR_AN_ANSWER = 8
# A store that has been silent for so long has gone, and is asked again so much later.
_SECONDS_OF_SILENCE, _SECONDS_BETWEEN_LOOKS = 6.0, 30.0
_SECONDS_BEFORE_RETRY = 0.5
# What is sent is given so much more time.
_BYTES_A_SECOND = 1_000_000

_VARIABLES = (MLFLOW_HTTP_REQUEST_MAX_RETRIES, MLFLOW_HTTP_REQUEST_TIMEOUT)


@dataclass
class _Store:
    """What this process knows of the store: since when it has been silent, and when to ask again."""

    patience: float = _SECONDS_OF_SILENCE
    silent_since: float | None = None
    asked_again_at: float = 0.0

    def begin(self) -> None:
        self.patience = _SECONDS_OF_SILENCE
        self.answered()

    def answered(self) -> None:
        self.silent_since, self.asked_again_at = None, 0.0

    def was_silent(self, since: float) -> None:
        if self.silent_since is None:
            self.silent_since = since

    def is_silent_for_long(self) -> bool:
        since = self.silent_since
        return since is not None and time.monotonic() - since >= self.patience

    def has_gone(self) -> bool:
        return time.monotonic() < self.asked_again_at

    def give_up(self) -> None:
        self.asked_again_at = time.monotonic() + _SECONDS_BETWEEN_LOOKS


_store = _Store()
_lock = threading.Lock()
_inside = 0
_before: list[str | None] = []


@contextmanager
def short(seconds: int = _SECONDS_FOR_AN_ANSWER) -> Iterator[None]:
    """Let MLflow ask once and wait for seconds; how often it is asked is for `ask` to say.

    MLflow reads that from its environment variables only, so that it holds for the whole process. A
    time-out that the user has set stays, and so does that of an outer `short`.
    """
    global _inside  # noqa: PLW0603 - as the variables are the process's
    with _lock:
        _inside += 1
        if _inside == 1:
            _store.begin()
            _before[:] = [variable.get_raw() for variable in _VARIABLES]
            MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(0)
            if not MLFLOW_HTTP_REQUEST_TIMEOUT.is_set():
                MLFLOW_HTTP_REQUEST_TIMEOUT.set(seconds)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                for variable, before in zip(_VARIABLES, _before, strict=True):
                    if before is None:
                        variable.unset()
                    else:
                        variable.set(before)


@contextmanager
def long_enough_for(size: int) -> Iterator[None]:
    """Inside `short`: wait longer where many bytes are sent."""
    more = size // _BYTES_A_SECOND
    before = MLFLOW_HTTP_REQUEST_TIMEOUT.get()
    if not more:
        yield
        return
    MLFLOW_HTTP_REQUEST_TIMEOUT.set(before + more)
    try:
        yield
    finally:
        MLFLOW_HTTP_REQUEST_TIMEOUT.set(before)


def ask(question: Callable[[], Answer]) -> Answer:
    """Ask the store, again where it fails: once, or for seconds where it does not answer at all.

    Once it has been silent for so long nobody asks it for a while, whatever there is to ask.

    Parameters
    ----------
    question : callable
        A call of MLflow that may be made twice: two processes that log the same data set at the same
        moment trip over each other.

    Raises
    ------
    ConnectionError
        It has gone, as was found out a moment ago.
    Exception
        Whatever MLflow raised at last.
    """
    if _store.has_gone():
        msg = "the tracking store did not answer a moment ago"
        raise ConnectionError(msg)
    pause, failed = _SECONDS_BEFORE_RETRY, False
    while True:
        try:
            return ask_once(question)
        except Exception as error:
            if not is_silence(error):
                if failed:
                    raise
                failed = True
            elif _store.is_silent_for_long():
                _store.give_up()
                raise
            elif _store.has_gone():
                raise
        time.sleep(pause)
        pause *= 2


def ask_once(question: Callable[[], Answer]) -> Answer:
    """Ask the store, whatever is known of it."""
    began = time.monotonic()
    try:
        answer = question()
    except Exception as error:
        if is_silence(error):
            _store.was_silent(began)
        raise
    _store.answered()
    return answer


def is_silence(error: BaseException | None) -> bool:
    """Whether a store did not answer, rather than refused.

    Examples
    --------
    >>> is_silence(ConnectionError()), is_silence(ValueError())
    (True, False)
    """
    while error is not None:
        silent = (requests.exceptions.ConnectionError, requests.exceptions.Timeout, ConnectionError)
        if isinstance(error, silent):
            return True
        error = error.__cause__ or error.__context__
    return False


def hurry() -> None:
    """From here on ask an unreachable store no longer than seconds: somebody wants to leave."""
    _store.patience = 0.0
    MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(0)
    MLFLOW_HTTP_REQUEST_TIMEOUT.set(2)
    # It reports a cursor that was left in the middle of its rows, with a traceback.
    logging.getLogger("sqlalchemy").setLevel(logging.CRITICAL)
