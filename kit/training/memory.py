"""Where memory runs out in training: which setting to lower."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kit.errors import EngineError, TrainingError, is_out_of_memory, memory_words
from kit.training.settings import TrainSettings


@contextmanager
def within_memory(settings: TrainSettings) -> Iterator[None]:
    """Says what to do where memory does not suffice; what a model says that does not load passes.

    Raises: TrainingError in that case.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, EngineError) or not is_out_of_memory(error):
            raise
        raise TrainingError(
            f"out of memory at batch_size {settings.batch_size} and max_length {settings.max_length}: end what else "
            "holds memory; or halve batch_size and double gradient_accumulation, which gives the same updates; then "
            f"lower max_length ({memory_words(error)})"
        ) from error
