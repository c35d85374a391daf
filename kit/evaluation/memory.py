"""Out of memory while an evaluation draws or loads: what to lower."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kit.errors import EngineError, is_out_of_memory


def check_memory(error: BaseException, *, batch_size: int) -> None:
    """Raise EngineError, with what to lower, where this error says that memory ran out."""
    if is_out_of_memory(error):
        fix = "lower --max-new-tokens" if batch_size == 1 else f"lower --batch-size, which is {batch_size}"
        raise EngineError(
            f"out of memory while drawing: {fix}; the same command goes on where it was ({error})"
        ) from error


@contextmanager
def explained_loading() -> Iterator[None]:
    """Says what to do where a model does not fit into memory.

    Raises: EngineError in that case.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise EngineError(
            "out of memory while loading the model: take a smaller one, or half the bytes of each weight with "
            f"--set engine.dtype=bfloat16 ({error})"
        ) from error
