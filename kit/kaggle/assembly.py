"""What attempts are made with: the dataset's model in an engine, Python in a sandbox, and the loop over both.

In: settings and where the dataset is mounted. Out: one engine, opened and closed by the solver's event loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from kit.dialects.dialect import DIALECTS
from kit.errors import check_fields
from kit.kaggle.environment import KaggleEnvironment, find_dataset
from kit.kaggle.startup import MODEL_FOLDER, TRM_FOLDER, restore
from kit.prompting import VARIANTS
from kit.reasoning import ReasoningConfig, ToolReasoner
from kit.sampling import Engine
from kit.solver_config import SolverConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """How the model is run.

    kind: transformers samples from the model alone, trm with the dataset's recursive model on top.
    device: cpu, cuda or auto. dtype: as torch names it, or auto for the checkpoint's. max_batch: rows that
    decode at once. num_threads: of torch on the CPU; None leaves torch's own choice.
    """

    kind: Literal["transformers", "trm"] = "transformers"
    device: Literal["cpu", "cuda", "auto"] = "auto"
    dtype: str = "auto"
    max_batch: int = 16
    num_threads: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolsConfig:
    """The Python that the model may run.

    memory_bytes: address space of one. output_bytes: shown of one run. num_spare: kept ready.
    Raises: InputError for a value outside its range.
    """

    memory_bytes: int = 4 << 30
    output_bytes: int = 2048  # the winners' notebooks (field notes peers.md 1.4)
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


def open_attempts(
    environment: KaggleEnvironment,
    solver: SolverConfig,
    *,
    engine: EngineConfig,
    reasoning: ReasoningConfig,
    tools: ToolsConfig,
) -> AbstractAsyncContextManager[Engine]:
    """Load the model, slowly and in any thread; entered, it starts the sandboxes if the prompt's dialect runs code.

    Raises: MissingError, InputError or StorageError naming the file that is to blame.
    """
    loaded = open_engine(environment, solver, config=engine)
    return _reasoning(loaded, environment, solver, reasoning, tools)


def open_engine(
    environment: KaggleEnvironment, solver: SolverConfig, *, config: EngineConfig
) -> AbstractAsyncContextManager[Engine]:
    """Find the dataset, restore it under scratch space, and load its model.

    Raises: MissingError, InputError or StorageError naming the file that is to blame.
    """
    dataset = find_dataset(environment.input)
    restored = restore(dataset, environment.scratch / "kit-dataset")
    # Here and not above, so that the server listens before torch and transformers are imported.
    import torch

    from kit.engines.hf.engine import TransformersEngine
    from kit.engines.trm.engine import MAX_DEPTH, TRMEngine

    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    model = restored / MODEL_FOLDER
    if config.kind == "transformers":
        return TransformersEngine.load(model, device=config.device, dtype=config.dtype, max_batch=config.max_batch)
    return TRMEngine.load(
        restored / TRM_FOLDER,
        backbone=model,
        device=config.device,
        dtype=config.dtype,
        max_batch=config.max_batch,
        max_depth=max(MAX_DEPTH, *solver.depths, solver.sampling.depth or 0),
        check_hash=False,  # checked when the dataset was built; hashing 14 GB would cost the contest minutes
    )


@asynccontextmanager
async def _reasoning(
    loaded: AbstractAsyncContextManager[Engine],
    environment: KaggleEnvironment,
    solver: SolverConfig,
    reasoning: ReasoningConfig,
    tools: ToolsConfig,
) -> AsyncIterator[Engine]:
    dialect = DIALECTS[VARIANTS[solver.prompt].dialect]
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(loaded)
        if not dialect.runs_code:
            yield ToolReasoner(engine=engine, dialect=dialect, config=reasoning)
            return
        from kit.sandbox.config import SandboxConfig
        from kit.sandbox.pool import open_pool

        config = SandboxConfig(
            memory_bytes=tools.memory_bytes,
            output_bytes=tools.output_bytes,
            num_spare=tools.num_spare,
            hidden=(environment.input.resolve(), environment.working.resolve()),
        )
        pool = await stack.enter_async_context(open_pool(config))
        yield ToolReasoner(engine=engine, dialect=dialect, interpreters=pool, config=reasoning)
