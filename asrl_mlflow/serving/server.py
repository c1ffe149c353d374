"""Protect MLflow's scoring server: limit request bodies, and answer errors in one line without data."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any

import pyarrow as pa
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel, scoring_server

from asrl_mlflow.errors import InputError
from asrl_mlflow.serving import bodies

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_logger = logging.getLogger(__name__)

# Equal to `ERROR_PREFIX` of model.py, which a test checks: importing that file would call `set_model`.
ERROR_PREFIX = "Model input: "
_BAD, _NOWHERE, _SLOW, _LARGE, _KIND, _FAILED, _BUSY = 400, 404, 408, 413, 415, 500, 503
_PATHS = {"/invocations", "/ping", "/health", "/version"}
# Parquet is refused: a few kilobytes of it can decompress to gigabytes.
_PARQUET, _CSV = b"parquet", b"text/csv"
# The longest pause, and the lowest average speed, so that no client can keep a connection for ever.
_SECONDS_TO_WAIT, _LEAST_BYTES_A_SECOND = 30, 1 << 15
# Larger bodies are predicted one at a time, and at most eight are in memory; it is freed afterwards.
_MOST_IN_PASSING, _MOST_HELD = 1 << 18, 8
_SECONDS_TO_GIVE_BACK = 1.0
# Options of glibc's mallopt: freed blocks of a megabyte go back to the system, and all threads share
# two heaps.
_MALLOPT = {-3: 1 << 20, -8: 2}
_MOST_CHARACTERS = 1_000
_MOST_FORGOTTEN = 1 << 30
_ERRORS = {
    _BAD: "The body must be JSON with one of dataframe_split, dataframe_records, instances and inputs, "
    'and optionally {"params": {"interval": 0.9}}; or CSV with a header; got something else.',
    _NOWHERE: "There are POST /invocations, GET /ping, GET /health and GET /version; got another path.",
    405: "POST to /invocations; GET the others.",
    _SLOW: "A body must come without long pauses.",
    _BUSY: "The server is at its limit, or ends; send it again later.",
    _KIND: "The content type must be application/json or text/csv.",
}


def create_app(model: PyFuncModel, most_bytes: int) -> App:
    """Create the ASGI app that serves a model: MLflow's scoring server behind `LimitingApp`.

    Parameters
    ----------
    model : PyFuncModel
        A model from `registry.load`.
    most_bytes : int
        The longest body in bytes; longer ones are answered with 413 and not kept in memory.
    """
    with suppress(AttributeError):  # another C library
        for option, value in _MALLOPT.items():
            ctypes.CDLL(None).mallopt(option, value)
    known = len((model.metadata.metadata or {})["asrl.columns"])
    return LimitingApp(scoring_server.init(_StrictModel(model)), most_bytes, known)  # type: ignore[arg-type]  # all of a model that it asks for


class _StrictModel:
    """A model that refuses parameters and empty tables that MLflow would ignore."""

    def __init__(self, model: PyFuncModel) -> None:
        self._model, self.metadata = model, model.metadata
        self._classes = bool((model.metadata.metadata or {})["asrl"]["data"].get("classes"))

    def predict(self, data: Any, params: Any = None) -> Any:  # noqa: ANN401 - MLflow's signature
        name = "set" if self._classes else "interval"
        switches = () if self._classes else ("clean", "adaptive")
        known = isinstance(params, dict) and set(params) <= {name, *switches}
        if params and (
            not known
            or isinstance(params.get(name), str | bool | list | dict)
            or not all(isinstance(params.get(each), bool | None) for each in switches)
        ):
            more = "" if self._classes else ", and clean and adaptive, true or false"
            rule = f"params may have {name}, a level in (0, 1){more}"
            raise _input_error(rule, "something else", f'pass {{"{name}": 0.9}}')
        if not len(data):
            rule, remedy = "needs rows", "send CSV with its line breaks (--data-binary)"
            raise _input_error(rule, "none", remedy)
        return self._model.predict(data, params=params)


def _input_error(rule: str, got: str, remedy: str) -> MlflowException:
    """Make the error for input that breaks a rule, worded as the model's own errors."""
    refusal: MlflowException = MlflowException.invalid_parameter_value(
        f"{ERROR_PREFIX}{rule}; got: {got}; {remedy}."
    )
    return refusal


class LimitingApp:
    """An ASGI app that limits the requests to another app, and shortens that app's errors.

    Every answer with a status of 400 or more, and every exception, becomes {"error": "one line"} of
    at most 1,000 characters, without paths, tracebacks or data.

    Parameters
    ----------
    app : ASGI app
        The app that answers valid requests.
    most_bytes : int
        The longest body in bytes; longer ones are answered with 413 and not kept in memory.
    known : int
        The number of columns that the model learned from; tables with far more are refused.
    """

    def __init__(self, app: App, most_bytes: int, known: int) -> None:
        self._app, self._most, self._known = app, most_bytes, known
        self._held, self._turn = 0, asyncio.Semaphore()
        self._giving_back: asyncio.TimerHandle | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            await self._handle(scope, receive, send)
        except asyncio.CancelledError:
            # The server is stopping while this client still sends its body.
            with suppress(asyncio.CancelledError, Exception):
                await _send_error(send, _BUSY, _ERRORS[_BUSY])

    async def _handle(self, scope: Message, receive: Receive, send: Send) -> None:
        """Refuse what is wrong without reading the body; else read and predict it."""
        if scope["path"] not in _PATHS:
            await _send_error(send, _NOWHERE, _ERRORS[_NOWHERE])
            return
        if scope["query_string"]:
            line = 'Params go into the body, as {"params": {"interval": 0.9}}; got a query.'
            await _send_error(send, _BAD, line, then=partial(_discard_body, receive))
            return
        if _PARQUET in dict(scope["headers"]).get(b"content-type", b""):
            await _send_error(send, _KIND, _ERRORS[_KIND], then=partial(_discard_body, receive))
            return
        body = bytearray()
        try:
            await self._predict(scope, receive, send, body)
        finally:
            if large := _size_if_large(body):
                self._held -= large
                self._release_memory_soon()

    async def _predict(self, scope: Message, receive: Receive, send: Send, body: bytearray) -> None:
        """Read the body, have the other app answer, and send the answer or one line."""
        try:
            failed = await self._read_body(scope, receive, body)
        except TimeoutError:
            failed = _SLOW
        if failed == _LARGE:
            line = f"A body may have {self._most} bytes; got more; send fewer rows at a time."
            await _send_error(send, _LARGE, line, then=partial(_discard_body, receive))
            return
        if failed:
            await _send_error(send, failed, _ERRORS[failed])
            return
        async with self._turn if _size_if_large(body) else nullcontext():
            status, headers, content = await self._forward(scope, bytes(body))
        if status < _BAD:
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": content})
        else:
            await _send_error(send, status, _error_line(status, content))

    def _release_memory_soon(self) -> None:
        """Free memory in a second, once for all large bodies until then; connections still hold them now."""
        loop = asyncio.get_running_loop()
        if self._giving_back is None or self._giving_back.when() < loop.time():
            self._giving_back = loop.call_later(
                _SECONDS_TO_GIVE_BACK, loop.run_in_executor, None, _release_memory
            )

    async def _read_body(self, scope: Message, receive: Receive, body: bytearray) -> int:
        """Read the request into `body`; return 0, or the HTTP status of what is wrong with it."""
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if not announced.isdigit() or int(announced) > self._most:
            return _LARGE
        patience = _Deadline()
        while True:
            message = await patience.wait(receive, len(body))
            if message["type"] == "http.disconnect":
                return _SLOW
            self._held -= _size_if_large(body)
            body += message.get("body", b"")
            self._held += _size_if_large(body)
            if len(body) > self._most:
                return _LARGE
            if _size_if_large(body) and self._held > _MOST_HELD * self._most:
                return _BUSY
            if not message.get("more_body"):
                return 0

    async def _forward(self, scope: Message, body: bytes) -> tuple[int, Any, bytes]:
        """Ask the other app for its answer: status, headers and content."""
        told = iter([{"type": "http.request", "body": body, "more_body": False}])
        status, headers, content = _FAILED, [], bytearray()

        async def receive() -> Message:
            return next(told, {"type": "http.disconnect"})

        async def keep(message: Message) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status, headers = message["status"], message["headers"]
            content.extend(message.get("body", b""))

        is_csv = _CSV in dict(scope["headers"]).get(b"content-type", b"")
        try:
            await asyncio.to_thread(bodies.check_body, body, is_csv=is_csv, known=self._known)
            await self._app(scope, receive, keep)
        except InputError as error:
            return _BAD, [], json.dumps({"error": str(error)}).encode()
        except Exception as error:  # noqa: BLE001 - a body can make the parsers fail in any way
            _logger.warning("A request failed: %s", type(error).__name__)
            return (_FAILED if isinstance(error, MemoryError) else _BAD), [], b""
        return status, headers, bytes(content)


class _Deadline:
    """The time that a client has to send its body: without a long pause, and not too slowly on average."""

    def __init__(self) -> None:
        self._began = asyncio.get_running_loop().time()

    async def wait(self, receive: Receive, came: int) -> Message:
        """Wait for the next message after `came` bytes; raise TimeoutError if it is late."""
        passed = asyncio.get_running_loop().time() - self._began
        left = _SECONDS_TO_WAIT + came / _LEAST_BYTES_A_SECOND - passed
        return await asyncio.wait_for(receive(), min(left, _SECONDS_TO_WAIT))


def _size_if_large(body: bytearray) -> int:
    """Give the length of a large body, and 0 for a small one."""
    return len(body) if len(body) > _MOST_IN_PASSING else 0


def _release_memory() -> None:
    """Return the memory of large bodies to the system; the allocators would keep it."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    with suppress(AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _error_line(status: int, content: bytes) -> str:
    """Choose the line for an error: the model's or the body check's own, else one without data."""
    try:
        found = json.loads(content)
        message = str(found.get("error") or found["message"])
    except (ValueError, TypeError, KeyError, AttributeError):
        message = ""
    if message.startswith("Body: "):
        return message
    # MLflow writes the data, with its line breaks escaped, before the model's line.
    _, mark, line = message.rpartition(f"\nError: {ERROR_PREFIX}")
    if mark:
        return f"{ERROR_PREFIX}{line}"[:_MOST_CHARACTERS]
    return _ERRORS.get(status, _ERRORS[_BAD] if status < _FAILED else "The request failed.")


async def _send_error(
    send: Send, status: int, line: str, then: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Answer with one line of JSON; `then` runs before the answer ends."""
    content = json.dumps({"error": line}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content, "more_body": True})
    if then is not None:
        await then()
    await send({"type": "http.response.body", "body": b""})


async def _discard_body(receive: Receive) -> None:
    """Read and discard the rest of a body: many clients read no answer before they have sent it all."""
    forgotten, patience = 0, _Deadline()
    while forgotten < _MOST_FORGOTTEN:
        try:
            message = await patience.wait(receive, forgotten)
        except TimeoutError:
            return
        forgotten += len(message.get("body", b""))
        if not message.get("more_body"):
            return
