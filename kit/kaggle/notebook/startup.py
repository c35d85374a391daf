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
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

import kit
from kit.budget import Clock
from kit.engines.text.vocabulary import complete_vocabulary
from kit.engines.vllm.server.supervision import OnNews, ServerNews
from kit.errors import EngineError, KitError
from kit.interpreter import Interpreters
from kit.kaggle.dataset.manifest import Manifest, load_manifest
from kit.kaggle.dataset.restoring import MODEL_FOLDER, restore
from kit.kaggle.environment import KaggleEnvironment, Mounts
from kit.kaggle.notebook.engine import open_restored, weight_files
from kit.kaggle.notebook.outages import EngineNews
from kit.kaggle.notebook.prefetch import Prefetched, read_ahead
from kit.kaggle.notebook.startup_graph import StartupGraph, Step, Timing
from kit.kaggle.wheels.install import Host, check_host, install_from
from kit.kaggle.wheels.target import Target
from kit.recipes.attempts import AttemptsConfig, Kind
from kit.recipes.opening import as_kind, open_sandboxes, resolved_kind
from kit.sampling import Engine, shown
from kit.tools.reasoner import ToolReasoner

RESTORED_FOLDER = "kit-dataset"
ENVIRONMENT_FOLDER = "kit-environment"

log = logging.getLogger(__name__)

_ValueT = TypeVar("_ValueT")


@asynccontextmanager
async def open_attempts(
    environment: KaggleEnvironment,
    mounts: Mounts,
    attempts: AttemptsConfig,
    *,
    clock: Clock,
    on_timing: Callable[[Timing | EngineNews], None],
) -> AsyncIterator[Engine]:
    """Do all that comes before the first attempt, and keep the model and the sandboxes until the end.

    clock: the competition's. on_timing: told of each step as it ends, and later of an engine that goes or comes back.
    Raises: MissingError, InputError or StorageError naming the file that is to blame.
    """

    def tell(news: ServerNews) -> None:
        on_timing(EngineNews(at_s=clock() - news.silent_s, is_back=news.is_back, why=news.why))

    graph = StartupGraph(clock=clock, on_end=on_timing)
    closing = trio.Event()
    async with trio.open_nursery() as holders:
        hold = _Holder(holders, closing)
        engine = _add_engine(graph, environment, mounts, attempts, hold, on_news=tell)
        sandboxes = _add_sandboxes(graph, environment, attempts, hold) if attempts.tool_format.runs_code else None
        try:
            failure = await graph.run()
            if failure is None:
                pool = None if sandboxes is None else sandboxes.value
                yield ToolReasoner(
                    engine=engine.value, tool_format=attempts.tool_format, interpreters=pool, config=attempts.reasoning
                )
        finally:
            closing.set()
    if failure is not None:
        raise failure


def _add_engine(
    graph: StartupGraph,
    environment: KaggleEnvironment,
    mounts: Mounts,
    attempts: AttemptsConfig,
    hold: _Holder,
    *,
    on_news: OnNews,
) -> Step[Engine]:
    """The steps to a model that is ready to sample."""

    async def prefetch() -> Prefetched:
        return await read_ahead(weight_files(restored.value, attempts.engine), attempts.prefetch)

    async def start_engine() -> Engine:
        kind = await _in_thread(lambda: resolved_kind(attempts.engine, installed.value))
        try:
            return await hold(await _in_thread(lambda: make_engine(kind)))
        except KitError as error:
            if attempts.engine.kind != "auto" or kind == "transformers":
                raise
            log.error("vLLM does not serve, transformers takes its place: %s", error)
            return await hold(await _in_thread(lambda: make_engine("transformers")))

    def make_engine(kind: Kind) -> AbstractAsyncContextManager[Engine]:
        chosen = dataclasses.replace(attempts, engine=as_kind(attempts.engine, kind))
        return open_restored(restored.value, installed.value, chosen, scratch=environment.scratch, on_news=on_news)

    into = environment.scratch / RESTORED_FOLDER

    async def restore_dataset() -> Path:
        return await _in_thread(lambda: restore_model(mounts, into, environment))

    async def install_wheels() -> Path | None:
        return await _in_thread(lambda: install(mounts.dataset(), restored.value, environment.scratch))

    restored = graph.add("restore", restore_dataset)
    installed = graph.add("install", install_wheels, after=(restored,))
    if attempts.prefetch.num_threads:
        graph.add("prefetch", prefetch, after=(restored,), is_optional=True)
    return graph.add("engine", start_engine, after=(restored, installed))


def _add_sandboxes(
    graph: StartupGraph, environment: KaggleEnvironment, attempts: AttemptsConfig, hold: _Holder
) -> Step[Interpreters]:
    hidden = (environment.input.resolve(), environment.working.resolve())
    return graph.add("sandboxes", lambda: hold(open_sandboxes(attempts.tools, hidden=hidden)))


def restore_model(mounts: Mounts, into: Path, environment: KaggleEnvironment) -> Path:
    """Restore the dataset, joined with an attached model, whose vocabulary is completed; returns `into`.

    Raises: as `restore`.
    """
    restored = restore(mounts.dataset(), into, mounts=environment.input)
    complete_vocabulary(restored / MODEL_FOLDER)
    return restored


def install(dataset: Path, restored: Path, scratch: Path) -> Path | None:
    """Make the environment of the dataset's wheels; its Python, or None for the image's own if it holds no wheels.

    After its own packages come those of the kit that runs, for vLLM's processes.
    Raises: InputError for another machine's wheels or what the installer refuses; StorageError if it cannot be written.
    """
    wheels = load_manifest(dataset).wheels
    if wheels is None:
        return None
    lock = restored / wheels.lock
    return install_from(lock.parent, lock, scratch / ENVIRONMENT_FOLDER, borrow=(Path(kit.__file__).parents[1],))


def check_wheels(manifest: Manifest, host: Host) -> None:
    """Refuse a dataset whose wheels are not for this machine, by the manifest alone.

    Raises: InputError that says what is here and which target to build.
    """
    wheels = manifest.wheels
    if wheels is not None:
        target = Target(
            name=wheels.target,
            python=wheels.python,
            glibc=wheels.glibc,
            cuda=wheels.cuda,
            requirements=wheels.versions,
        )
        check_host(target, host)


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
    return await trio.to_thread.run_sync(partial(_contained, function), abandon_on_cancel=True)


def _contained(function: Callable[[], _ValueT]) -> _ValueT:
    """What a thread does; where it ends by what is no Exception, as a native panic or SystemExit, an EngineError."""
    try:
        return function()
    except Exception:
        raise
    except BaseException as error:
        log.exception("a step of the start broke")
        raise EngineError(f"it asked to end the process: {shown(error)}") from error
