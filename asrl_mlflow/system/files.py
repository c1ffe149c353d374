"""Files that several processes share: locks, and files that are written whole or not at all."""

from __future__ import annotations

import fcntl
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

LOCK_SUFFIX = ".flock"


@contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Hold the lock of a file; the system frees it when the process that holds it ends.

    Raises
    ------
    OSError
        The lock file beside it cannot be written.
    """
    # A file of its own, never removed: with the removal of a lock file two could hold the lock.
    with path.with_name(path.name + LOCK_SUFFIX).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def open_exclusively(path: Path, mode: str) -> Iterator[IO[bytes]]:
    """Open a file, without a buffer, that no other process opens in this way until it is closed.

    Parameters
    ----------
    path : Path
        The file. All processes that write or remove it must open it by this function.
    mode : str
        A binary mode of `open`, such as "rb" or "ab+".

    Raises
    ------
    OSError
        The file cannot be opened.
    """
    while True:
        with path.open(mode, buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # The process that held it before may have removed it.
            if _is_at(file, path):
                yield file
                return


def _is_at(file: IO[bytes], path: Path) -> bool:
    """Check whether an open file is the one at a path."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def create_atomically(path: Path, create: Callable[[Path], object]) -> None:
    """Create a file unless it exists; of several processes only one creates it.

    Parameters
    ----------
    path : Path
        The file; one that exists and is not empty stays as it is.
    create : callable
        Writes the file at the path that it is given, a temporary one.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    if _has_content(path):
        return
    with hold_lock(path):
        if _has_content(path):
            return
        with write_atomically(path) as unfinished:
            create(unfinished)


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Give a temporary path beside a file; what is written there takes the file's place at the end.

    Parameters
    ----------
    path : Path
        The file. After an exception it is as it was before.

    Raises
    ------
    OSError
        The file cannot be replaced.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "numbers.txt")
    ...     with write_atomically(file) as unfinished:
    ...         _ = unfinished.write_text("1 2 3")
    ...     file.read_text(), len(list(Path(folder).iterdir()))
    ('1 2 3', 1)
    """
    # Processes of two hosts may have the same number.
    unfinished = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.unfinished")
    # A process that was killed, and had the same number, may have left one.
    unfinished.unlink(missing_ok=True)
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _has_content(path: Path) -> bool:
    """Check whether a file exists and is not empty."""
    return path.exists() and path.stat().st_size > 0
