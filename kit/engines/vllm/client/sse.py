"""Server-sent events: bytes in, the data of each event out. Pure; names, ids and retries are ignored.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream, without lines that end
in a lone carriage return.
"""

from __future__ import annotations

_BOM = "\N{ZERO WIDTH NO-BREAK SPACE}".encode()


class EventDecoder:
    """Splits a stream into events, wherever the network has cut it."""

    def __init__(self) -> None:
        self._has_begun = False
        self._rest = bytearray()
        self._data: list[str] = []

    def feed(self, received: bytes) -> list[str]:
        """The data of the events that these bytes complete."""
        self._rest += received
        # the last piece is a line not yet ended, or empty
        *lines, rest = bytes(self._rest).split(b"\n")
        self._rest = bytearray(rest)
        return [data for line in lines if (data := self._line(line.removesuffix(b"\r"))) is not None]

    def _line(self, line: bytes) -> str | None:
        if not self._has_begun:
            self._has_begun, line = True, line.removeprefix(_BOM)
        if line:
            name, _, value = line.partition(b":")
            if name == b"data":
                self._data.append(value.removeprefix(b" ").decode(errors="replace"))
            return None
        data, self._data = self._data, []
        return "\n".join(data) if data else None
