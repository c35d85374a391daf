"""Which depth each row of a running batch asked for; pure, so that it is tested without vLLM."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kit.engines.vllm.plugin.names import DEPTH
from kit.trm.config import check_depth


def asked_depth(extra: Mapping[str, Any] | None) -> int | None:
    """The depth in a request's extra arguments; None: it names none.

    Raises: InputError for one that makes no sense.
    """
    if not extra or DEPTH not in extra:
        return None
    value = extra[DEPTH]
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON's numbers may arrive as floats
    return check_depth(value)


class RowDepths:
    """Rows by number, as they are added, removed and moved; a row that is not listed has the default."""

    def __init__(self) -> None:
        self._by_row: dict[int, int] = {}

    @property
    def is_empty(self) -> bool:
        """Whether no row has a depth of its own."""
        return not self._by_row

    def add(self, row: int, depth: int | None) -> None:
        """A request took this row, whoever had it before."""
        if depth is None:
            self._by_row.pop(row, None)
        else:
            self._by_row[row] = depth

    def remove(self, rows: Iterable[int]) -> None:
        """Rows became empty."""
        for row in rows:
            self._by_row.pop(row, None)

    def move(self, source: int, target: int, *, is_swap: bool) -> None:
        """A row was moved onto another, or the two changed places."""
        moved, other = self._by_row.pop(source, None), self._by_row.pop(target, None)
        self.add(target, moved)
        if is_swap:
            self.add(source, other)

    def of(self, num_rows: int, default: int) -> list[int]:
        """The depth of each of the first rows."""
        return [self._by_row.get(row, default) for row in range(num_rows)]
