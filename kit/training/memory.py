"""Where memory runs out in training: which setting to lower."""

from __future__ import annotations

from contextlib import AbstractContextManager

from kit.errors import TrainingError, out_of_memory_as
from kit.training.settings import TrainSettings


def within_memory(settings: TrainSettings) -> AbstractContextManager[None]:
    """Says what to do where memory does not suffice, as a TrainingError; a model that does not load tells its own."""
    return out_of_memory_as(
        lambda words: TrainingError(
            f"out of memory at batch_size {settings.batch_size} and max_length {settings.max_length}: end what else "
            "holds memory; or halve batch_size and double gradient_accumulation, which gives the same updates, and "
            f"resume; then begin a new run with a lower max_length ({words})"
        )
    )
