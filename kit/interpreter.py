"""The seam between a solution and the Python that it runs: code in, what a reader would see out.

`Interpreters` lends one persistent Python at a time to one attempt; `kit.sandbox` runs them as
processes, and tests play them. Nothing here starts a process.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class ExecutionStatus(StrEnum):
    """How a piece of code ended."""

    OK = "ok"
    ERROR = "error"  # it raised, or did not parse; the output ends with the trimmed traceback
    TIMEOUT = "timeout"  # its time was up; the output says whether the variables are kept
    DIED = "died"  # its process was killed or left (memory, os._exit); variables are lost


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One piece of code, run.

    output: standard output and error in order, the value of a last expression, and where the code failed the
        reason, cut to the interpreter's limit with its head and tail kept. seconds: wall time.
    """

    output: str
    status: ExecutionStatus
    seconds: float


class Interpreter(Protocol):
    """A Python whose variables live from one call to the next, unless it says that they were lost."""

    async def run(self, code: str, *, timeout_s: float) -> Execution:
        """Run code within `timeout_s` seconds. Never raises for what the code does; may be cancelled.

        Raises: EngineError if its Python has died and no other can be started.
        """
        ...


class Interpreters(Protocol):
    """A pool of fresh interpreters."""

    def lend(self) -> AbstractAsyncContextManager[Interpreter]:
        """A fresh interpreter for one attempt; leaving the context ends it and everything it started.

        Raises (on entering): EngineError if none can be started.
        """
        ...
