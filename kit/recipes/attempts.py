"""All that decides how attempts are made, as a competitor sets it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from kit.engines.openai.choice import OpenAIChoice
from kit.errors import check_fields
from kit.recipes.vllm import VllmChoice
from kit.solver.config import SolverConfig
from kit.tools.formats import TOOL_FORMATS, ToolFormat
from kit.tools.reasoner import ReasoningConfig

_MIB, _GIB = 1 << 20, 1 << 30

Kind = Literal["auto", "transformers", "trm", "vllm", "vllm-trm", "openai"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """How the model is run.

    kind: transformers samples from the model alone, trm with the dataset's recursive model on top; vllm and vllm-trm
    do the same by a server of their own. auto is vllm where the dataset's wheels bring it, or engine.vllm.python
    has it, and there is a GPU, with transformers in its place if two starts fail (not if it breaks for good later:
    the supervisor's restarts are for that); else transformers. openai asks a server that somebody else runs.
    device: cpu, cuda or auto. dtype: as torch names it, or auto: the checkpoint's on a GPU, what the CPU is quick in.
    max_batch: rows that decode at once. num_threads: of torch on the CPU; None leaves torch's own choice. These four
    are of transformers and trm; vllm: of the next two; openai: of the
    last.
    """

    kind: Kind = "auto"
    device: Literal["cpu", "cuda", "auto"] = "auto"
    dtype: str = "auto"
    max_batch: int = 16
    num_threads: int | None = None
    vllm: VllmChoice = field(default_factory=VllmChoice)
    openai: OpenAIChoice = field(default_factory=OpenAIChoice)

    @property
    def is_of_folder(self) -> bool:
        """Whether the model at hand is the one that answers, as its folder describes it."""
        return self.kind != "openai" or self.openai.uses_model

    @property
    def recurses(self) -> bool:
        """Whether the dataset's recursive model is used."""
        return self.kind in ("trm", "vllm-trm")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolsConfig:
    """The Python that the model may run.

    memory_bytes: address space of one. output_bytes: shown of one run. num_spare: kept ready.
    Raises: InputError for a value outside its range.
    """

    memory_bytes: int = 4 << 30
    output_bytes: int = 2048  # the winners' notebooks (docs/peers.md#common-ancestor)
    num_spare: int = 4

    def __post_init__(self) -> None:
        check_fields(
            self,
            (
                ("memory_bytes", self.memory_bytes >= 1 << 30, ">= 1 GiB"),
                ("output_bytes", self.output_bytes >= 256, ">= 256"),
                ("num_spare", self.num_spare >= 0, ">= 0"),
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefetchConfig:
    """How weights are read ahead.

    num_threads: 0 reads nothing ahead. read_bytes: of one read. spare_bytes: of memory left alone.
    Raises: InputError for a value outside its range.
    """

    num_threads: int = 16  # as the public notebooks (docs/peers.md#common-ancestor)
    read_bytes: int = 16 * _MIB
    spare_bytes: int = 4 * _GIB

    def __post_init__(self) -> None:
        check_fields(
            self,
            (
                ("num_threads", 0 <= self.num_threads <= 64, "from 0 to 64"),
                ("read_bytes", _MIB <= self.read_bytes <= _GIB, "from 1 MiB to 1 GiB"),
                ("spare_bytes", self.spare_bytes >= 0, ">= 0"),
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptsConfig:
    """All that decides how attempts are made."""

    solver: SolverConfig
    engine: EngineConfig = field(default_factory=EngineConfig)
    reasoning: ReasoningConfig = field(default_factory=ReasoningConfig)
    tools: ToolsConfig = field(default_factory=ToolsConfig)
    prefetch: PrefetchConfig = field(default_factory=PrefetchConfig)

    @property
    def tool_format(self) -> ToolFormat:
        """How the prompt's variant speaks; it tells whether code is run at all."""
        return TOOL_FORMATS[self.solver.variant.tool_format]
