"""What stands before MLflow's scoring server: bodies have a limit, errors are short and show no data."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel, scoring_server

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_logger = logging.getLogger(__name__)

# The scorer begins its lines so. (To import that file would set it as the model to log.)
MARK = "Model input: "
_BAD, _NOWHERE, _SLOW, _LARGE, _KIND, _FAILED = 400, 404, 408, 413, 415, 500
_PATHS = {"/invocations", "/ping", "/health", "/version"}
# A few kilobytes of it can unfold to gigabytes.
_PARQUET = b"parquet"
_SECONDS_TO_WAIT = 30
_MOST_CHARACTERS = 1_000
_MOST_FORGOTTEN = 1 << 30
_ERRORS = {
    _BAD: "The body must be JSON with one of dataframe_split, dataframe_records, instances and inputs, "
    'and optionally {"params": {"interval": 0.9}}; or CSV with a header; got something else.',
    _NOWHERE: "There are POST /invocations, GET /ping, GET /health and GET /version; got another path.",
    405: "POST to /invocations; GET the others.",
    _SLOW: "A body must come without long pauses.",
    _KIND: "The content type must be application/json or text/csv.",
}


def guarded(model: PyFuncModel, most_bytes: int) -> App:
    """MLflow's scoring server for a model, as an ASGI app, behind a guard.

    Parameters
    ----------
    model : PyFuncModel
        As `registry.load` gives it.
    most_bytes : int
        Longer bodies are refused with 413, and not kept.
    """
    return Guard(scoring_server.init(_Strict(model)), most_bytes)  # type: ignore[arg-type]  # all of a model that it asks for


class _Strict:
    """A model as the server knows it, which refuses what MLflow would pass over."""

    def __init__(self, model: PyFuncModel) -> None:
        self._model, self.metadata = model, model.metadata

    def predict(self, data: Any, params: Any = None) -> Any:  # noqa: ANN401 - MLflow's signature
        known = isinstance(params, dict) and set(params) <= {"interval"}
        level = params.get("interval") if known else None
        if params and (not known or isinstance(level, str | bool | list | dict)):
            rule = "params may have an interval, a level in (0, 1)"
            raise _refused(rule, "something else", 'pass {"interval": 0.9}')
        if not len(data):
            rule, remedy = "needs rows", "send CSV with its line breaks (--data-binary)"
            raise _refused(rule, "none", remedy)
        return self._model.predict(data, params=params)


def _refused(rule: str, got: str, remedy: str) -> MlflowException:
    refusal: MlflowException = MlflowException.invalid_parameter_value(
        f"{MARK}{rule}; got: {got}; {remedy}."
    )
    return refusal


class Guard:
    """An ASGI app before another one.

    Whatever status of 400 or more the other answers with, or raises, becomes {"error": "one line"}
    of at most 1,000 characters, without paths, tracebacks or data.

    Parameters
    ----------
    app : ASGI app
        The other one.
    most_bytes : int
        Longer bodies are refused with 413, and not kept.
    """

    def __init__(self, app: App, most_bytes: int) -> None:
        self._app, self._most = app, most_bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"] not in _PATHS:
            await _answer(send, _NOWHERE, _ERRORS[_NOWHERE])
            return
        if scope["query_string"]:
            line = 'Params go into the body, as {"params": {"interval": 0.9}}; got a query.'
            await _answer(send, _BAD, line, then=partial(_forget, receive))
            return
        if _PARQUET in dict(scope["headers"]).get(b"content-type", b""):
            await _answer(send, _KIND, _ERRORS[_KIND], then=partial(_forget, receive))
            return
        try:
            body = await self._body(scope, receive)
        except TimeoutError:
            await _answer(send, _SLOW, _ERRORS[_SLOW])
            return
        if body is None:
            line = f"A body may have {self._most} bytes; got more; send fewer rows at a time."
            await _answer(send, _LARGE, line, then=partial(_forget, receive))
            return
        status, headers, content = await self._asked(scope, body)
        if status < _BAD:
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": content})
        else:
            await _answer(send, status, _short(status, content))

    async def _body(self, scope: Message, receive: Receive) -> bytes | None:
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if not announced.isdigit() or int(announced) > self._most:
            return None
        body = bytearray()
        while True:
            message = await asyncio.wait_for(receive(), _SECONDS_TO_WAIT)
            body += message.get("body", b"")
            if len(body) > self._most:
                return None
            if not message.get("more_body"):
                return bytes(body)

    async def _asked(self, scope: Message, body: bytes) -> tuple[int, Any, bytes]:
        """What the other app answers: status, headers, content."""
        told = iter([{"type": "http.request", "body": body, "more_body": False}])
        status, headers, content = _FAILED, [], bytearray()

        async def receive() -> Message:
            return next(told, {"type": "http.disconnect"})

        async def keep(message: Message) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status, headers = message["status"], message["headers"]
            content.extend(message.get("body", b""))

        try:
            await self._app(scope, receive, keep)
        except Exception as error:  # noqa: BLE001 - a body can make the parsers fail in any way
            _logger.warning("A request failed: %s", type(error).__name__)
            return (_FAILED if isinstance(error, MemoryError) else _BAD), [], b""
        return status, headers, bytes(content)


def _short(status: int, content: bytes) -> str:
    """The scorer's own line, where that is the cause; else what can be said without data."""
    try:
        message = str(json.loads(content)["message"])
    except (ValueError, TypeError, KeyError):
        message = ""
    # MLflow puts the data before, in which line breaks are escaped.
    _, mark, line = message.rpartition(f"\nError: {MARK}")
    if mark:
        return f"{MARK}{line}"[:_MOST_CHARACTERS]
    return _ERRORS.get(status, _ERRORS[_BAD] if status < _FAILED else "The request failed.")


async def _answer(
    send: Send, status: int, line: str, then: Callable[[], Awaitable[None]] | None = None
) -> None:
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


async def _forget(receive: Receive) -> None:
    """Let a client finish what it sends: many read no answer before."""
    forgotten = 0
    while forgotten < _MOST_FORGOTTEN:
        try:
            message = await asyncio.wait_for(receive(), _SECONDS_TO_WAIT)
        except TimeoutError:
            return
        forgotten += len(message.get("body", b""))
        if not message.get("more_body"):
            return
