"""JSON that came from outside, read with one kind of error.

In: a text. Out: what it holds. Python's own reader raises RecursionError for what is nested as deep as its stack, which
no caller expects, and hands out what is nested nearly as deep, on which whoever walks it fails later.
"""

from __future__ import annotations

import json
from typing import Any

MAX_DEPTH = 100
"""Lists and objects within each other, more than any file or answer that the kit reads has."""


def read_json(text: str | bytes) -> Any:
    """Raises: ValueError for what is not JSON, not UTF-8, or nested deeper than MAX_DEPTH."""
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError(_too_deep()) from None
    level = [content]
    for _ in range(MAX_DEPTH + 1):
        level = [value for container in level for value in _within(container)]
        if not level:
            return content
    raise ValueError(_too_deep())


def _within(content: Any) -> Any:
    """The lists and objects right in one, if it is one."""
    values = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    return (value for value in values if isinstance(value, dict | list))


def _too_deep() -> str:
    return f"nested deeper than {MAX_DEPTH} lists or objects"
