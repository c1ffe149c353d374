"""Keep studies in a journal file that a kill cannot damage."""

from __future__ import annotations

import json
import logging
import time
from contextlib import AbstractContextManager
from pathlib import Path

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from asrl_mlflow.errors import InputError
from asrl_mlflow.system.files import hold_lock

_logger = logging.getLogger(__name__)

# How a journal begins, also where it was torn at once.
_FIRST_WORD = b'{"op_code"'


class _Lock(JournalFileOpenLock):
    """A lock that ends with its holder, where Optuna's own files stay behind and are waited for.

    Whoever gets it finds the journal whole: what a killed or full disk's writer left of a line
    would otherwise become one with the next line.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path
        self._holding: AbstractContextManager[None] | None = None

    def acquire(self) -> bool:
        holding = hold_lock(self._path)
        holding.__enter__()
        self._holding = holding
        try:
            _finish_last_line(self._path)
        except BaseException:
            # Nobody else would release it: this process would wait for itself.
            self.release()
            raise
        return True

    def release(self) -> None:
        if self._holding is not None:
            holding, self._holding = self._holding, None
            holding.__exit__(None, None, None)


def open_journal(path: Path) -> JournalStorage:
    """Open a journal file as a storage of Optuna's, or make it.

    Raises
    ------
    InputError
        The file holds something else.
    OSError
        It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with hold_lock(path):
        path.touch()
        _check_lines(path)
    left_behind = path.with_name(f"{path.name}.lock")
    if left_behind.is_symlink() or left_behind.exists():
        _logger.warning(
            "%s: a lock file of another program; not waited for, remove it where none runs.",
            left_behind,
        )
    return JournalStorage(JournalFileBackend(str(path), lock_obj=_Lock(path)))


def _finish_last_line(path: Path) -> None:
    """End the last line where it is a whole record without its end; cut it where it is not whole."""
    try:
        with path.open("rb") as file:
            if not file.seek(0, 2):
                return
            file.seek(-1, 2)
            if file.read(1) == b"\n":
                return
            file.seek(0)
            content = file.read()
    except FileNotFoundError:
        return
    begin = content.rfind(b"\n") + 1
    if _is_record(content[begin:]):
        _end_line(path)
    else:
        _cut(path, begin)


def _end_line(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\n")


def _check_lines(path: Path) -> None:
    """Cut the last line where it is no record, end it; refuse a file with others like it."""
    begin, bad, last = 0, None, b"\n"
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if bad is not None:
                msg = (
                    f"{path}: a journal needs a JSON record in every line; got something else in line "
                    f"{bad}; restore the file, or name another with --storage."
                )
                raise InputError(msg)
            last = line
            if _is_record(line):
                begin += len(line)
            else:
                bad = number
    if bad is not None and begin == 0 and not last.startswith(_FIRST_WORD):
        msg = (
            f"{path}: a journal needs JSON records; got another file; name another with --storage."
        )
        raise InputError(msg)
    if bad is not None:
        _cut(path, begin)
    elif not last.endswith(b"\n"):
        _end_line(path)


def _is_record(line: bytes) -> bool:
    # A part of an object is none: what can be read is whole, also where the line's end is missing.
    try:
        record = json.loads(line)
    except ValueError:
        return False
    return isinstance(record, dict) and "op_code" in record


def _cut(path: Path, end: int) -> None:
    """Move what stands from a byte on into a file beside it, and say so."""
    with path.open("rb+") as file:
        file.seek(end)
        rest = file.read()
        copy = path.with_name(f"{path.name}.torn-{time.time_ns()}")
        copy.write_bytes(rest)
        file.truncate(end)
    _logger.warning(
        "%s: its last line was not finished; went on without these %d bytes, a copy is in %s.",
        path,
        len(rest),
        copy.name,
    )
