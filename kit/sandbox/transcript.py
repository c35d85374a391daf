"""What a program wrote, in bounded memory: its first bytes, its last, and a count of those between.

In: pieces of any size. Out: one text of at most the limit and a line. Decoding never fails.
"""

from __future__ import annotations


class Transcript:
    """Keeps `limit_bytes` of what is added: half from the beginning, half from the end."""

    def __init__(self, limit_bytes: int) -> None:
        self._head_bytes = limit_bytes // 2
        self._tail_bytes = limit_bytes - self._head_bytes
        self._head = bytearray()
        self._tail = bytearray()
        self._cut_bytes = 0

    @property
    def is_cut(self) -> bool:
        """Some of it was dropped."""
        return self._cut_bytes > 0

    def add(self, piece: bytes) -> None:
        """Add what was written next."""
        room = self._head_bytes - len(self._head)
        self._head += piece[:room]
        self._tail += piece[room:]
        excess = len(self._tail) - self._tail_bytes
        if excess > 0:
            del self._tail[:excess]
            self._cut_bytes += excess

    def text(self) -> str:
        """All that was kept, with a line between head and tail where something was dropped.

        Bytes that are not UTF-8 become replacement characters; a character broken by the cut is left out.
        """
        if not self.is_cut:
            return bytes(self._head + self._tail).decode(errors="replace")
        head = _without_broken_end(bytes(self._head)).decode(errors="replace")
        tail = _without_broken_start(bytes(self._tail)).decode(errors="replace")
        return f"{head}\n[... {self._cut_bytes} bytes left out ...]\n{tail}"


def _is_continuation(byte: int) -> bool:
    """A byte inside a UTF-8 character, not its first."""
    return byte & 0xC0 == 0x80


def _without_broken_start(data: bytes) -> bytes:
    begin = 0
    while begin < min(3, len(data)) and _is_continuation(data[begin]):
        begin += 1
    return data[begin:]


def _without_broken_end(data: bytes) -> bytes:
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if _is_continuation(byte):
            continue
        length = 1 if byte < 0x80 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
        return data[:-back] if length > back else data
    return data
