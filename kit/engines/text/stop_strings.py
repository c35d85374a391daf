"""What every engine does for those who watch and stop its texts. Pure; knows no model and no tokens."""

from __future__ import annotations

from collections.abc import Sequence

from kit.errors import EngineError
from kit.sampling import Chunk, OnChunk


def show(on_chunk: OnChunk, chunk: Chunk) -> bool:
    """What the watcher says to a chunk.

    Raises: EngineError for whatever it raises.
    """
    try:
        return on_chunk(chunk)
    # the caller's own code: whatever breaks in it must cost this one attempt and not the thread it runs in
    except Exception as error:
        raise EngineError(f"the watcher of this attempt broke: {error!r}") from error


def end_of_stop(text: str, stop: Sequence[str]) -> int | None:
    """Where the first stop text to be complete ends, or None: the length of the shortest beginning that holds one."""
    return min((text.index(one) + len(one) for one in stop if one in text), default=None)
