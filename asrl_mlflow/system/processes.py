"""Who works on something that outlives him in a store, and whether he is still there.

On this host a process is told by its number and the moment it started, as numbers are used again. A
process on another host cannot be seen, only what it does: it renews a mark, and is given up when
the mark has stayed the same for a while by the clock of whoever watches, so that no two clocks are
compared.
"""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_PROC = Path("/proc")


@dataclass(frozen=True)
class Owner:
    """A process.

    Parameters
    ----------
    host : str
        Where process numbers mean what they mean here: host, boot, and namespace of a container.
    pid : int
        Its number there.
    started : str
        When it started, as its system tells it.
    """

    host: str
    pid: int
    started: str

    @classmethod
    def here(cls) -> Owner:
        """The process that asks."""
        return cls(_host(), os.getpid(), _started(os.getpid()))

    @classmethod
    def from_json(cls, record: Any) -> Owner | None:  # noqa: ANN401 - whatever a store holds
        """The owner that `vars` described; None where there is none."""
        try:
            return cls(str(record["host"]), int(record["pid"]), str(record["started"]))
        except (TypeError, KeyError, ValueError):
            return None

    def is_alive(self) -> bool | None:
        """Whether the process runs; None where that cannot be seen from here."""
        if self.host != _host():
            return None
        return _started(self.pid) == self.started


class Watch:
    """Tells what has stayed the same for too long.

    Parameters
    ----------
    patience : float
        How many seconds are too long.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._seen: dict[Hashable, tuple[object, float]] = {}

    def is_stale(self, what: Hashable, mark: object) -> bool:
        """Whether `what` has shown this same mark since `patience` seconds ago."""
        now = time.monotonic()
        before, since = self._seen.get(what, (None, now))
        if what not in self._seen or before != mark:
            self._seen[what] = (mark, now)
            return False
        return now - since >= self._patience


@cache
def _host() -> str:
    parts = [platform.node()]
    # Containers of one host may share its name.
    with suppress(OSError):
        parts.append((_PROC / "sys/kernel/random/boot_id").read_text().strip())
        parts.append(str((_PROC / "self/ns/pid").readlink()))
    return "/".join(parts)


def _started(pid: int) -> str:
    """When a process of this host started; empty where there is none."""
    if _PROC.is_dir():
        try:
            stat = (_PROC / str(pid) / "stat").read_text()
        except OSError:
            return ""
        # Behind the name, which is in brackets and may hold anything: state, ..., start time.
        state, *fields = stat.rpartition(")")[2].split()
        return "" if state == "Z" else fields[18]
    asked = ["ps", "-o", "lstart=", "-p", str(pid)]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603 - no shell
