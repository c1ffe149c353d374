"""Open journal files, in which Optuna keeps studies, and repair their last line after a kill."""

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

# How a journal begins, even where its first line was cut off.
_FIRST_WORD = b'{"op_code"'


class _Lock(JournalFileOpenLock):
    """Lock of a journal that the system frees when its holder dies, which Optuna's own lock files are not.

    Each holder finds the journal whole: a line that a kill or a full disk has cut off would otherwise
    run into the next line.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path
        self._holding: AbstractContextManager[None] | None = None

    def acquire(self) -> bool:
        """Wait for the lock, and repair the last line."""
        holding = hold_lock(self._path)
        holding.__enter__()
        self._holding = holding
        try:
            _finish_last_line(self._path)
        except BaseException:
            # Otherwise this process would wait for itself the next time.
            self.release()
            raise
        return True

    def release(self) -> None:
        """Free the lock."""
        if self._holding is not None:
            holding, self._holding = self._holding, None
            holding.__exit__(None, None, None)


def open_journal(path: Path) -> JournalStorage:
    """Open a journal file as a storage of Optuna; create it where there is none.

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
    """Add the end of the last line where only that is missing; cut the line off where more is."""
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
    """Add the end of the last line."""
    with path.open("ab") as file:
        file.write(b"\n")


def _check_lines(path: Path) -> None:
    """Repair the last line; refuse a file in which another line is no record."""
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
    """Check whether a line holds a whole record; the end of the line may be missing."""
    # A part of a JSON object is no JSON: what can be parsed is whole.
    try:
        record = json.loads(line)
    except ValueError:
        return False
    return isinstance(record, dict) and "op_code" in record


def _cut(path: Path, end: int) -> None:
    """Move all bytes from a position on into a file beside the journal, and say so."""
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
