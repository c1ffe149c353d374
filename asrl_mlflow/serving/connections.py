"""A connection to the server, closed by it where the client asks for nothing."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

_SECONDS_TO_ASK = 10.0


class Connection(H11Protocol):
    """uvicorn's, which itself waits for ever for the first request, and for the end of its headers."""

    _asked: object = None
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - uvicorn narrows it
        """Begin, and look from time to time whether something is asked or taken."""
        super().connection_made(transport)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        """Close it where no request was whole at two looks, and no byte of an answer taken between."""
        is_waiting = self.cycle is None or self.cycle.response_complete
        now = (self.cycle, self.transport.get_write_buffer_size()) if is_waiting else None
        if now is not None and now == self._asked:
            self.transport.abort()
            return
        self._asked = now
        self._timer = self.loop.call_later(_SECONDS_TO_ASK, self._look)
