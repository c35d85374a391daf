"""Watchers and stop texts, for every engine; pure."""

from __future__ import annotations

from collections.abc import Sequence

from kit.errors import EngineError
from kit.sampling import Chunk, OnChunk


def show(on_chunk: OnChunk, chunk: Chunk) -> bool:
    """Whether the watcher ends the attempt after this chunk.

    Raises: EngineError for whatever the watcher raises.
    """
    try:
        return on_chunk(chunk)
    # the caller's own code: it may cost this attempt but not the thread
    except Exception as error:
        raise EngineError(f"the watcher of this attempt broke: {error!r}") from error


def end_of_stop(text: str, stop: Sequence[str]) -> int | None:
    """Where the first complete stop text ends; None without one."""
    return min((text.index(one) + len(one) for one in stop if one in text), default=None)
