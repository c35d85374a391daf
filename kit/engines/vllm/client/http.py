"""Requests to one server over HTTP: JSON out; JSON, a stream of it, or an error of one of two kinds back.

`RefusedError`: the request is at fault. `BrokenError`: the server or the way to it is; another try may help. Leaving a
stream closes it, which ends the request on the server.

Each request has its own connection: on loopback one costs a fraction of a token's time, and closing it is the one abort
that all servers know. No proxy is asked. h11 and not httpx, which leaves an asynchronous generator open when a stream
is left half-way; trio warns of that.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Self
from urllib.parse import SplitResult, urlsplit

import h11
import trio

from kit.engines.vllm.client.faults import BrokenError, RefusedError
from kit.engines.vllm.client.replies import (
    LEAST_ERROR,
    JsonObject,
    error_of,
    is_error,
    json_object,
    message_of,
    status_in,
)
from kit.engines.vllm.client.sse import EventDecoder
from kit.errors import InputError

_PORTS = {"http": 80, "https": 443}
_OK = 200
_OWN_FAULT = 500  # of the server: an error within a stream that tells no status
_DONE = "[DONE]"
_SAYS_NOTHING = frozenset({"", "null", "[]", "ping", "pong", "keep-alive", "keepalive", "heartbeat"})
"""What servers send as the data of an event so that the connection stays open, in small letters."""
_RECEIVE_BYTES = 1 << 16
_SHOWN_BYTES = 200  # of an answer that is no stream
_BROKEN = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError)
_ENDED = (h11.DONE, h11.MUST_CLOSE, h11.CLOSED)  # a body, by the state of its sender


class HttpClient:
    """Asks servers; from trio. key: sent as a bearer's token; empty for none."""

    def __init__(self, *, key: str = "") -> None:
        self._key = key

    async def get_text(self, url: str, *, timeout_s: float) -> str:
        """The page at an address.

        Raises: RefusedError, BrokenError.
        """
        return await self._ask("GET", url, None, timeout_s=timeout_s)

    async def get_json(self, url: str, *, timeout_s: float) -> Any:
        """The JSON object at an address.

        Raises: RefusedError, BrokenError.
        """
        return json_object(await self.get_text(url, timeout_s=timeout_s))

    async def post_json(self, url: str, body: JsonObject, *, timeout_s: float) -> Any:
        """The JSON object that answers a request.

        Raises: RefusedError, BrokenError.
        """
        return json_object(await self._ask("POST", url, body, timeout_s=timeout_s))

    @asynccontextmanager
    async def stream(self, url: str, body: JsonObject) -> AsyncIterator[Events]:
        """The events of a streamed answer, each a JSON object; the connection is closed on leaving.

        Raises: RefusedError, BrokenError, also for an error within the stream and for one that ends before its time.
        """
        async with self._reply("POST", url, body) as reply:
            if reply.status != _OK:
                raise error_of(reply.status, await reply.text(), reply.retry_after_s)
            yield Events(reply)

    async def _ask(self, method: str, url: str, body: JsonObject | None, *, timeout_s: float) -> str:
        with trio.move_on_after(timeout_s if math.isfinite(timeout_s) else math.inf):
            async with self._reply(method, url, body) as reply:
                text = await reply.text()
                if reply.status != _OK:
                    raise error_of(reply.status, text, reply.retry_after_s)
                return text
        raise BrokenError(f"{url}: no answer within {timeout_s:.1f} s")

    @asynccontextmanager
    async def _reply(self, method: str, url: str, body: JsonObject | None) -> AsyncIterator[Reply]:
        target = urlsplit(url)
        if target.scheme not in _PORTS or not target.hostname:
            raise InputError(f"a server's address must begin with http:// or https://, got {url!r}")
        stream = await _connected(target, url)
        try:
            yield await Reply.to(_request(method, target, body, key=self._key), stream, url=url)
        finally:
            await trio.aclose_forcefully(stream)


class Reply:
    """What a server answers, as it comes."""

    def __init__(self, stream: trio.abc.Stream, *, url: str) -> None:
        self._stream = stream
        self._url = url
        self._connection = h11.Connection(our_role=h11.CLIENT)
        self.status = 0
        self.retry_after_s: float | None = None

    @classmethod
    async def to(cls, request: bytes, stream: trio.abc.Stream, *, url: str) -> Self:
        """The beginning of the answer to a request.

        Raises: BrokenError.
        """
        reply = cls(stream, url=url)
        # the receiving side has to know what it is an answer to
        reply._connection.send(h11.Request(method="GET", target="/", headers=[("host", "-")]))
        reply._connection.send(h11.EndOfMessage())
        try:
            await stream.send_all(request)
        except _BROKEN as error:
            raise BrokenError(f"{url}: {error}") from error
        event = await reply._next_event()
        while isinstance(event, h11.InformationalResponse):
            event = await reply._next_event()
        assert isinstance(event, h11.Response)
        reply.status = event.status_code
        reply.retry_after_s = _seconds(dict(event.headers).get(b"retry-after", b""))
        return reply

    async def read(self) -> bytes | None:
        """The next bytes of the body; None at its end, and ever after.

        Raises: BrokenError, also for a body that ends before its time.
        """
        if self._connection.their_state in _ENDED:
            return None  # h11 would tell of the connection from now on, and the server may leave that open
        event = await self._next_event()
        return bytes(event.data) if isinstance(event, h11.Data) else None

    async def text(self) -> str:
        """All of the body.

        Raises: BrokenError.
        """
        pieces = []
        while (piece := await self.read()) is not None:
            pieces.append(piece)
        return b"".join(pieces).decode(errors="replace")

    async def _next_event(self) -> object:
        try:
            while (event := self._connection.next_event()) is h11.NEED_DATA:
                self._connection.receive_data(bytes(await self._stream.receive_some(_RECEIVE_BYTES)))
        except _BROKEN as error:
            raise BrokenError(f"{self._url}: {error or type(error).__name__}") from error
        return event


class Events:
    """The events of a streamed answer, up to the server's `[DONE]`.

    Keep-alives, which hold no data or say nothing, are passed over. An answer that is one JSON object and no stream, as
    some servers send their errors, is one event. The last event may lack its empty line.
    """

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._decoder = EventDecoder()
        self._waiting: deque[str] = deque()
        self._has_begun = False
        self._start = b""  # of the answer, as long as it is no event

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> JsonObject:
        while not self._waiting:
            received = await self._reply.read()
            self._waiting += self._last() if received is None else await self._read(received)
        data = self._waiting.popleft()
        if data == _DONE:
            raise StopAsyncIteration
        event = json_object(data)
        if is_error(event):
            raise error_of(status_in(event) or _OWN_FAULT, data)
        return event

    def _last(self) -> list[str]:
        """At the end of the answer: an event that was not ended.

        Raises: BrokenError if there is none.
        """
        last = _told(self._decoder.feed(b"\n\n"))
        if not last:
            told = f"; it began with {self._start.decode(errors='replace')!r}" if self._start.strip() else ""
            raise BrokenError(f"the stream ended before its time{told}")
        return last

    async def _read(self, received: bytes) -> list[str]:
        if not self._has_begun and received.strip():
            self._has_begun = True
            if received.lstrip().startswith(b"{"):
                return [await self._whole(received), _DONE]
        found = _told(self._decoder.feed(received))
        self._start = b"" if found else (self._start + received)[:_SHOWN_BYTES]
        return found

    async def _whole(self, received: bytes) -> str:
        text = received.decode(errors="replace") + await self._reply.text()
        event = json_object(text)
        status = status_in(event) or 0
        if status >= LEAST_ERROR:
            raise error_of(status, text, self._reply.retry_after_s)
        if "choices" not in event or is_error(event):
            raise RefusedError(f"the server answered: {message_of(text)}")
        return text


def _told(events: Iterable[str]) -> list[str]:
    """The data of those that are no keep-alives."""
    return [data for each in events if (data := each.strip()).lower() not in _SAYS_NOTHING]


async def _connected(target: SplitResult, url: str) -> trio.abc.Stream:
    host, port = target.hostname or "", target.port or _PORTS[target.scheme]
    try:
        if target.scheme == "http":
            return await trio.open_tcp_stream(host, port)
        stream = await trio.open_ssl_over_tcp_stream(host, port, https_compatible=True)
        await stream.do_handshake()
    except (OSError, trio.BrokenResourceError) as error:
        raise BrokenError(f"{url}: {error.__cause__ or error}") from error
    return stream


def _request(method: str, target: SplitResult, body: JsonObject | None, *, key: str) -> bytes:
    data = b"" if body is None else json.dumps(body).encode()
    headers = [
        ("host", target.netloc.rpartition("@")[2]),
        ("connection", "close"),
        ("accept", "*/*"),
        ("content-type", "application/json"),
        ("content-length", str(len(data))),
        *([("authorization", f"Bearer {key}")] if key else []),
    ]
    path = f"{target.path or '/'}{'?' + target.query if target.query else ''}"
    sender = h11.Connection(our_role=h11.CLIENT)
    parts = [h11.Request(method=method, target=path, headers=headers), h11.Data(data=data), h11.EndOfMessage()]
    return b"".join(sender.send(part) or b"" for part in parts)


def _seconds(header: bytes) -> float | None:
    """What a `retry-after` says; None for a date, which nobody's server sends here, or for none."""
    try:
        seconds = float(header)
    except ValueError:
        return None
    return seconds if 0 <= seconds < math.inf else None
