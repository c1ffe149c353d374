"""Processes: which one owns a piece of work, and whether it is still alive.

A process of this host is identified by its number and its start time, as the system uses numbers again.
A process of another host cannot be seen. It renews a mark in the store instead, and counts as dead when
the mark has not changed for some time by the clock of the process that watches; clocks of two hosts are
never compared.
"""

from __future__ import annotations

import os
import platform
import random
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
    """Identity of a process that owns a piece of work.

    Parameters
    ----------
    host : str
        Name of the host, id of its boot, and process namespace of the container: within one such
        string process numbers are unique.
    pid : int
        Process number on that host.
    started : str
        Start time as the host's system writes it; empty where there is no such process.
    """

    host: str
    pid: int
    started: str

    @classmethod
    def here(cls) -> Owner:
        """Identify the calling process."""
        return cls(_host(), os.getpid(), _started(os.getpid()))

    @classmethod
    def from_json(cls, record: Any) -> Owner | None:  # noqa: ANN401 - whatever a store holds
        """Make the owner that `vars` described; None where the record is not one."""
        try:
            return cls(str(record["host"]), int(record["pid"]), str(record["started"]))
        except (TypeError, KeyError, ValueError):
            return None

    def is_alive(self) -> bool | None:
        """Check whether the process is alive; None where it belongs to another host."""
        if self.host != _host():
            return None
        return _started(self.pid) == self.started


class Watch:
    """Find marks that have not changed for too long.

    Parameters
    ----------
    patience : float
        Time without a change after which a mark is stale, in seconds.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._seen: dict[Hashable, tuple[object, float]] = {}

    def is_stale(self, what: Hashable, mark: object) -> bool:
        """Check whether `what` has shown the same mark for `patience` seconds or longer."""
        now = time.monotonic()
        before, since = self._seen.get(what, (None, now))
        if what not in self._seen or before != mark:
            self._seen[what] = (mark, now)
            return False
        return now - since >= self._patience


def pause_at_random(shortest: float = 0.2, longest: float = 1.0) -> None:
    """Sleep for a random time, so that processes that failed together do not try again together.

    Parameters
    ----------
    shortest, longest : float
        Interval of the time, in seconds.
    """
    time.sleep(random.uniform(shortest, longest))  # noqa: S311 - nothing secret depends on it


@cache
def _host() -> str:
    """Name this host, its boot and the container's process namespace."""
    parts = [platform.node()]
    # Containers of one host may share its name.
    with suppress(OSError):
        parts.append((_PROC / "sys/kernel/random/boot_id").read_text().strip())
        parts.append(str((_PROC / "self/ns/pid").readlink()))
    return "/".join(parts)


def _started(pid: int) -> str:
    """Read when a process of this host started; empty where there is none."""
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
