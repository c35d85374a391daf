"""What a supervisor is told and what it tells: what to start, how to watch it, and how it broke."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from kit.engines.vllm.server.diagnosis import Diagnosis
from kit.engines.vllm.server.lora import ADAPTER_NAME, lora_arguments
from kit.engines.vllm.server.settings import MODEL_NAME, ServerSettings, command
from kit.errors import check_fields


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorConfig:
    """How a server is watched.

    start_timeout_s: until the first token; a 120B model took 196 s (vllm-project/vllm issue 22525). hang_s: without a
    token while requests are open. probe_timeout_s: for one token, when a client doubts the server. steady_s: after so
    long a service the next start has the same settings. grace_s: between SIGTERM and SIGKILL. pause_s: after a failed
    start. max_failed_starts: in a row, before the server is given up. tick_s: between two looks.
    Raises: InputError for a value outside its range.
    """

    start_timeout_s: float = 600.0
    hang_s: float = 90.0
    probe_timeout_s: float = 20.0
    steady_s: float = 900.0
    grace_s: float = 10.0
    pause_s: float = 2.0
    max_failed_starts: int = 6
    tick_s: float = 0.25

    def __post_init__(self) -> None:
        positive = ("start_timeout_s", "hang_s", "probe_timeout_s", "tick_s")
        check_fields(self, [(name, 0 < getattr(self, name) < math.inf, "> 0 and finite") for name in positive])
        others = ("steady_s", "grace_s", "pause_s")
        check_fields(self, [(name, 0 <= getattr(self, name) < math.inf, ">= 0 and finite") for name in others])
        check_fields(self, [("max_failed_starts", self.max_failed_starts >= 1, ">= 1")])


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What is started.

    python: of vLLM's environment. model: a folder in Hugging Face's layout. adapter: the folder of a LoRA on top of it,
    which attempts are then asked of. scratch: for log and caches; it is made.
    ours: the variables to choose from. write_command: the command line for settings and a port; None: vLLM's.
    """

    python: Path
    model: Path
    scratch: Path
    adapter: Path | None = None
    ours: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    write_command: Callable[[ServerSettings, int], Sequence[str]] | None = None

    def command(self, settings: ServerSettings, port: int) -> Sequence[str]:
        """The server's command line."""
        if self.write_command is not None:
            return self.write_command(settings, port)
        written = command(settings, python=self.python, model=self.model, port=port)
        return written if self.adapter is None else (*written, *lora_arguments(self.adapter))

    @property
    def model_name(self) -> str:
        """What requests call the model."""
        return MODEL_NAME if self.adapter is None else ADAPTER_NAME


class Break(Enum):
    """How a start of the server ended."""

    NOT_STARTED = "did not start"
    NOT_IN_TIME = "did not make a token in time"
    EXITED = "ended by itself"
    HUNG = "hung"
    MUTE = "made no token when asked"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerNews:
    """A server that had served is gone, or there is one again.

    why: how it went; empty when it is back. silent_s: how long it had made no token when that was noticed.
    """

    is_back: bool
    why: str = ""
    silent_s: float = 0.0


OnNews = Callable[[ServerNews], None]


def nobody(news: ServerNews) -> None:
    """Told of news, does nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """A break, for the log and the report. served_s: time from the first token; 0 without one."""

    kind: Break
    diagnosis: Diagnosis
    settings: ServerSettings
    served_s: float
    generation: int
