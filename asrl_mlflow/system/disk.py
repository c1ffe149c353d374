"""A disk that takes no more, whoever tells of it: the system, a database, or MLflow in words."""

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
def insisting_on_space() -> Iterator[None]:
    """Around what writes files or into a store; also as a decorator. Other errors pass.

    Raises
    ------
    StorageError
        A disk was full, or took nothing for another reason; the line says which.

    Examples
    --------
    >>> with insisting_on_space():
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
        words = _words_of(error)
        if words is None:
            raise
        msg = (
            f"Storage must take what is written; got: {words}; free some room (of the store, or in "
            "TMPDIR) and run the same again: what was there before is whole."
        )
        raise StorageError(msg) from error


def _words_of(error: BaseException | None) -> str | None:
    """What an error, or one that it came from, says of a disk."""
    while error is not None:
        for words in _WORDS:
            if words in str(error):
                return words
        error = error.__cause__ or error.__context__
    return None
