"""What attempts are made with: the dataset's model in an engine, Python in a sandbox, and the loop over both.

In: settings and where the dataset is mounted. Out: one engine, opened and closed by the solver's event loop. Getting
there is a graph of steps (`startup_graph`), so that nothing waits for what it does not need:

    restore ── install ── engine
          └─── prefetch (optional)
    sandboxes
"""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

import trio

from kit.budget import Clock
from kit.dialects.dialect import DIALECTS, Dialect
from kit.errors import KitError, check_fields
from kit.interpreter import Interpreters
from kit.kaggle.dataset.manifest import load_manifest
from kit.kaggle.dataset.restoring import MODEL_FOLDER, TRM_FOLDER, restore
from kit.kaggle.environment import KaggleEnvironment, Mounts
from kit.kaggle.session.prefetch import PrefetchConfig, Prefetched, read_ahead
from kit.kaggle.session.serving import CODE_FOLDER, VllmChoice, can_serve, open_served, prepare_server, unpack_kit
from kit.kaggle.session.startup_graph import StartupGraph, Step, Timing
from kit.kaggle.wheelhouse.install import install_from
from kit.prompting import VARIANTS
from kit.reasoning import ReasoningConfig, ToolReasoner
from kit.sampling import Engine
from kit.solver_config import SolverConfig

RESTORED_FOLDER = "kit-dataset"
ENVIRONMENT_FOLDER = "kit-environment"
_AUTO_STARTS = 2  # ten minutes each at the most, by the supervisor's default

log = logging.getLogger(__name__)

_ValueT = TypeVar("_ValueT")


Kind = Literal["auto", "transformers", "trm", "vllm", "vllm-trm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """How the model is run.

    kind: transformers samples from the model alone, trm with the dataset's recursive model on top; vllm and vllm-trm
    do the same by a server of their own. auto is vllm where the dataset's wheels bring it, or engine.vllm.python
    has it, and there is a GPU, with transformers in its place if two starts fail (not if it breaks for good later:
    the supervisor's restarts are for that); else transformers.
    device: cpu, cuda or auto. dtype: as torch names it, or auto for the checkpoint's. max_batch: rows that
    decode at once. num_threads: of torch on the CPU; None leaves torch's own choice. These four are of transformers
    and trm; vllm: of the other two.
    """

    kind: Kind = "auto"
    device: Literal["cpu", "cuda", "auto"] = "auto"
    dtype: str = "auto"
    max_batch: int = 16
    num_threads: int | None = None
    vllm: VllmChoice = field(default_factory=VllmChoice)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that decides how attempts are made."""

    solver: SolverConfig
    engine: EngineConfig = field(default_factory=EngineConfig)
    reasoning: ReasoningConfig = field(default_factory=ReasoningConfig)
    tools: ToolsConfig = field(default_factory=ToolsConfig)
    prefetch: PrefetchConfig = field(default_factory=PrefetchConfig)

    @property
    def dialect(self) -> Dialect:
        """How the prompt's variant speaks; it tells whether code is run at all."""
        return DIALECTS[VARIANTS[self.solver.prompt].dialect]


@asynccontextmanager
async def open_attempts(
    environment: KaggleEnvironment,
    mounts: Mounts,
    recipe: Recipe,
    *,
    clock: Clock,
    on_timing: Callable[[Timing], None],
) -> AsyncIterator[Engine]:
    """Do all that comes before the first attempt, and keep the model and the sandboxes until the end.

    clock: the contest's. on_timing: told of each step as it ends.
    Raises: MissingError, InputError or StorageError naming the file that is to blame.
    """
    graph = StartupGraph(clock=clock, on_end=on_timing)
    closing = trio.Event()
    async with trio.open_nursery() as holders:
        hold = _Holder(holders, closing)
        engine = _add_engine(graph, environment, mounts, recipe, hold)
        sandboxes = _add_sandboxes(graph, environment, recipe, hold) if recipe.dialect.runs_code else None
        try:
            failure = await graph.run()
            if failure is None:
                pool = None if sandboxes is None else sandboxes.value
                yield ToolReasoner(
                    engine=engine.value, dialect=recipe.dialect, interpreters=pool, config=recipe.reasoning
                )
        finally:
            closing.set()
    if failure is not None:
        raise failure


def _add_engine(
    graph: StartupGraph, environment: KaggleEnvironment, mounts: Mounts, recipe: Recipe, hold: _Holder
) -> Step[Engine]:
    """The steps to a model that is ready to sample."""

    async def prefetch() -> Prefetched:
        return await read_ahead(weight_files(restored.value, recipe.engine), recipe.prefetch)

    async def start_engine() -> Engine:
        kind = await _in_thread(lambda: resolved_kind(recipe.engine, installed.value))
        try:
            return await hold(await _in_thread(lambda: make_engine(kind)))
        except KitError as error:
            if recipe.engine.kind != "auto" or kind == "transformers":
                raise
            log.error("vLLM does not serve, transformers takes its place: %s", error)
            return await hold(await _in_thread(lambda: make_engine("transformers")))

    def make_engine(kind: Kind) -> AbstractAsyncContextManager[Engine]:
        chosen = dataclasses.replace(recipe, engine=as_kind(recipe.engine, kind))
        return open_engine(restored.value, installed.value, chosen, scratch=environment.scratch)

    into = environment.scratch / RESTORED_FOLDER

    async def restore_dataset() -> Path:
        return await _in_thread(lambda: restore(mounts.dataset(), into, mounts=environment.input))

    async def install_wheels() -> Path | None:
        return await _in_thread(lambda: install(mounts.dataset(), restored.value, environment.scratch))

    restored = graph.add("restore", restore_dataset)
    installed = graph.add("install", install_wheels, after=(restored,))
    if recipe.prefetch.num_threads:
        graph.add("prefetch", prefetch, after=(restored,), is_optional=True)
    return graph.add("engine", start_engine, after=(restored, installed))


def _add_sandboxes(
    graph: StartupGraph, environment: KaggleEnvironment, recipe: Recipe, hold: _Holder
) -> Step[Interpreters]:
    from kit.sandbox.config import SandboxConfig
    from kit.sandbox.pool import open_pool

    config = SandboxConfig(
        memory_bytes=recipe.tools.memory_bytes,
        output_bytes=recipe.tools.output_bytes,
        num_spare=recipe.tools.num_spare,
        hidden=(environment.input.resolve(), environment.working.resolve()),
    )
    return graph.add("sandboxes", lambda: hold(open_pool(config)))


def install(dataset: Path, restored: Path, scratch: Path) -> Path | None:
    """Make the environment of the dataset's wheels; its Python, or None for the image's own if it holds no wheels.

    It has the kit besides, for vLLM's processes.
    Raises: InputError for another machine's wheels or what the installer refuses; StorageError if it cannot be written.
    """
    wheels = load_manifest(dataset).wheels
    if wheels is None:
        return None
    lock = restored / wheels.lock
    kit_code = unpack_kit(restored, scratch / CODE_FOLDER)
    return install_from(lock.parent, lock, scratch / ENVIRONMENT_FOLDER, borrow=(kit_code,))


def weight_files(restored: Path, config: EngineConfig) -> tuple[Path, ...]:
    """The files of weights in the order in which the engine reads them."""
    folders = (MODEL_FOLDER, TRM_FOLDER) if config.recurses else (MODEL_FOLDER,)
    return tuple(path for folder in folders for path in sorted((restored / folder).glob("*.safetensors")))


def resolved_kind(config: EngineConfig, python: Path | None) -> Kind:
    """What auto stands for, with the environment that was made from the dataset's wheels."""
    if config.kind != "auto":
        return config.kind
    return "vllm" if can_serve(config.vllm.interpreter(python)) else "transformers"


def as_kind(config: EngineConfig, kind: Kind) -> EngineConfig:
    """The config with what auto stands for; where transformers could take vLLM's place, fewer starts are waited for."""
    choice = config.vllm
    if config.kind == "auto":
        num_starts = min(choice.supervisor.max_failed_starts, _AUTO_STARTS)
        supervisor = dataclasses.replace(choice.supervisor, max_failed_starts=num_starts)
        choice = dataclasses.replace(choice, supervisor=supervisor)
    return dataclasses.replace(config, kind=kind, vllm=choice)


def open_engine(
    restored: Path, python: Path | None, recipe: Recipe, *, scratch: Path
) -> AbstractAsyncContextManager[Engine]:
    """Load the model of a restored dataset, or make ready the server that will, slowly and in any thread.

    python: whose packages are imported before those of the image; what the process has imported already stays.
    Raises: MissingError, InputError or StorageError naming the file that is to blame.
    """
    if python is not None:
        packages = str(next((python.parent.parent / "lib").glob("python*/site-packages")))
        if packages not in sys.path:
            sys.path.insert(1, packages)  # after the folder of the kit itself
    if recipe.engine.kind in ("vllm", "vllm-trm"):
        return _open_server(restored, python, recipe, scratch=scratch)
    return _open_in_process(restored, recipe)


def _open_server(
    restored: Path, python: Path | None, recipe: Recipe, *, scratch: Path
) -> AbstractAsyncContextManager[Engine]:
    launch, config = prepare_server(
        recipe.engine.vllm,
        python=python,
        model=restored / MODEL_FOLDER,
        trm=restored / TRM_FOLDER if recipe.engine.recurses else None,
        depth=recipe.solver.sampling.depth,
        depths=recipe.solver.depths,
        scratch=scratch,
    )
    return open_served(launch, config)


def _open_in_process(restored: Path, recipe: Recipe) -> AbstractAsyncContextManager[Engine]:
    # Here and not above, so that the server listens before torch and transformers are imported.
    import torch
    import transformers

    from kit.engines.hf.engine import TransformersEngine
    from kit.engines.trm.engine import MAX_DEPTH, TRMEngine

    log.info("torch from %s, transformers from %s", torch.__file__, transformers.__file__)
    config, solver = recipe.engine, recipe.solver
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    model = restored / MODEL_FOLDER
    if not config.recurses:
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


@dataclass(frozen=True, slots=True)
class _Holder:
    """Enters what must be left again by the task that entered it, and keeps it until `closing`."""

    nursery: trio.Nursery
    closing: trio.Event

    async def __call__(self, manager: AbstractAsyncContextManager[_ValueT]) -> _ValueT:
        value: _ValueT = await self.nursery.start(self._keep, manager)
        return value

    async def _keep(
        self, manager: AbstractAsyncContextManager[_ValueT], *, task_status: trio.TaskStatus[_ValueT]
    ) -> None:
        async with manager as value:
            task_status.started(value)
            await self.closing.wait()


async def _in_thread(function: Callable[[], _ValueT]) -> _ValueT:
    return await trio.to_thread.run_sync(function, abandon_on_cancel=True)
