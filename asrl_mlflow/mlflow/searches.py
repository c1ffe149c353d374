"""Know whether a search of scikit-learn is under way, in any thread."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sklearn.model_selection._search import BaseSearchCV

_lock = threading.Lock()
_under_way = 0


def is_searching() -> bool:
    """Check whether a search is under way, here or in another thread: it may train in threads of its own.

    Searches that MLflow's autolog for scikit-learn records count too.

    Examples
    --------
    >>> is_searching()
    False
    """
    if _under_way:
        return True
    found = sys.modules.get("mlflow.sklearn")
    session = None if found is None else found._SklearnTrainingSession.get_current_session()  # noqa: SLF001 - publicly nothing says it
    return session is not None and isinstance(session.estimator, BaseSearchCV)


@contextmanager
def searching() -> Iterator[None]:
    """Count a search as under way."""
    global _under_way  # noqa: PLW0603 - a search's own threads have nothing else in common with it
    with _lock:
        _under_way += 1
    try:
        yield
    finally:
        with _lock:
            _under_way -= 1
