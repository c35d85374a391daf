"""The kit's errors. Each is also the standard error it refines, so callers may catch either.

    KitError
    ├── InputError     (ValueError)    a file or value the user gave is wrong
    │   └── SettingError               a setting is unknown, of the wrong kind or out of range
    ├── MissingError   (FileNotFoundError)  a file the user named, or that a run needs, is not there
    ├── StorageError   (OSError)       a folder cannot be written, or the disk is full
    ├── EngineError    (RuntimeError)  an engine could not produce a sample
    └── TrainingError  (ArithmeticError)  a loss or gradient is not finite; the last checkpoint is good

A message says what was expected, what came, and what to do about it.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory")
"""How libraries say so whose errors have no class of their own for it, torch's allocator on the CPU among them."""


class KitError(Exception):
    """Any fault that the kit explains itself; a shell prints its text without a traceback."""


class InputError(KitError, ValueError):
    """A file or value the user gave is wrong."""


class SettingError(InputError):
    """A setting is unknown, of the wrong kind or out of range. name: which, as far as whoever raises it knows."""

    def __init__(self, message: str, *, name: str) -> None:
        super().__init__(message)
        self.name = name


class MissingError(KitError, FileNotFoundError):
    """A file that the user named, or that a run needs, is not there."""


class StorageError(KitError, OSError):
    """A folder cannot be written, or the disk is full."""


def check_fields(config: object, checks: Iterable[tuple[str, bool, str]]) -> None:
    """Raise SettingError for the first check, (field, whether it holds, what was expected), that does not hold."""
    for name, holds, expected in checks:
        if not holds:
            raise SettingError(f"{name} must be {expected}, got {getattr(config, name)!r}", name=name)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The question that names the nearest known name, or nothing where none is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else ""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this error, or one that it came from, says that memory ran out: the GPU's or the machine's."""
    return any(_says_out_of_memory(each) for each in _with_causes(error))


def memory_words(error: BaseException) -> str:
    """What the library said that ran out of memory, in a line: CUDA goes on with lines on how to debug it."""
    first = [each for each in _with_causes(error) if _says_out_of_memory(each)][-1]
    return str(first).partition("\n")[0] or type(first).__name__


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__


def _says_out_of_memory(error: BaseException) -> bool:
    is_kind = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return is_kind or any(sign in str(error).lower() for sign in _OUT_OF_MEMORY)


def cannot_write(path: Path, error: OSError) -> StorageError:
    """The StorageError for a failed write at `path`, with the fix that fits its cause."""
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    fix = "free some disk" if is_full else "choose another folder, or fix its rights"
    return StorageError(f"{path}: cannot write ({error.strerror or error}); {fix}")


class EngineError(KitError, RuntimeError):
    """An engine could not produce a sample, which the solver counts and goes on; or memory does not hold its model."""


class TrainingError(KitError, ArithmeticError):
    """Training cannot go on: a loss or a gradient is not finite, or memory ran out. What was saved before is good."""


@contextmanager
def out_of_memory_as(explain: Callable[[str], KitError]) -> Iterator[None]:
    """Raises what `explain` makes of the library's words where memory runs out inside; other errors pass.

    So does an EngineError, which has told its own fix.
    """
    try:
        yield
    except (RuntimeError, MemoryError, InputError) as error:
        if isinstance(error, EngineError) or not is_out_of_memory(error):
            raise
        raise explain(memory_words(error)) from error
