"""Full or broken disks: recognise them in errors of the system, of a database and of MLflow."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from asrl_mlflow.errors import StorageError

# MLflow passes on the words of an error, seldom the error itself.
_WORDS = (
    *(os.strerror(each) for each in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)),
    # SQLite's own.
    "database or disk is full",
    "disk I/O error",
)


@contextmanager
def require_space() -> Iterator[None]:
    """Raise StorageError where a disk cannot be written to; other errors pass unchanged.

    A context manager or a decorator for code that writes files or into a store.

    Raises
    ------
    StorageError
        A disk is full, over its quota, read-only or broken; the message says which.

    Examples
    --------
    >>> with require_space():
    ...     raise OSError(errno.ENOSPC, "No space left on device", "booster.ubj")
    Traceback (most recent call last):
        ...
    asrl_mlflow.errors.StorageError: Storage must take what is written; got: No space left on device;
    free some room (of the store, or in TMPDIR) and run the same again: what was there before is whole.
    """
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        words = _find_words(error)
        if words is None:
            raise
        msg = (
            f"Storage must take what is written; got: {words}; free some room (of the store, or in "
            "TMPDIR) and run the same again: what was there before is whole."
        )
        raise StorageError(msg) from error


def _find_words(error: BaseException | None) -> str | None:
    """Find what an error, or one that caused it, says about a disk; None where it says nothing."""
    while error is not None:
        for words in _WORDS:
            if words in str(error):
                return words
        error = error.__cause__ or error.__context__
    return None
