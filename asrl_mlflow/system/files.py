"""Files that several processes share: one at a time, and made whole or not at all."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

LOCK_SUFFIX = ".flock"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file's lock, which the system frees with its holder: none is ever left behind.

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
def opened_alone(path: Path, mode: str) -> Iterator[IO[bytes]]:
    """Open a file that others write and remove, unbuffered: until it is closed none of them does.

    Parameters
    ----------
    path : Path
        The file; all that write or remove it open it so.
    mode : str
        As of `open`, for bytes.

    Raises
    ------
    OSError
        It cannot be opened.
    """
    while True:
        with path.open(mode, buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # Whoever held it before may have removed it.
            if _is_at(file, path):
                yield file
                return


def _is_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def created_whole(path: Path, create: Callable[[Path], object]) -> None:
    """Make sure that a file exists, made once under another name, whoever else wants it too.

    Parameters
    ----------
    path : Path
        Where it shall be; one that is there and not empty stays.
    create : callable
        Makes the file at the path that it is given. Where it is killed nothing has happened.

    Raises
    ------
    OSError
        No file can be written there.
    """
    if _is_there(path):
        return
    with locked(path):
        if _is_there(path):
            return
        unfinished = path.with_name(f"{path.name}.unfinished")
        unfinished.unlink(missing_ok=True)
        create(unfinished)
        unfinished.replace(path)


def _is_there(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0
