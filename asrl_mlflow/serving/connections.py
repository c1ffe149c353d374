"""Close a connection whose client sends no request."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

_SECONDS_TO_ASK = 10.0


class Connection(H11Protocol):
    """uvicorn's connection with a time limit: uvicorn waits for ever for a request and its headers."""

    _asked: object = None
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - uvicorn narrows it
        """Begin, and check every ten seconds whether the client does something."""
        super().connection_made(transport)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop checking."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        """Close the connection if two checks found no complete request and no byte of an answer read."""
        is_waiting = self.cycle is None or self.cycle.response_complete
        now = (self.cycle, self.transport.get_write_buffer_size()) if is_waiting else None
        if now is not None and now == self._asked:
            self.transport.abort()
            return
        self._asked = now
        self._timer = self.loop.call_later(_SECONDS_TO_ASK, self._look)
