"""The same evaluation over a Ray cluster: Ray Data maps the cells over a pool of workers, each with an engine of its
own.

The journal stays with the process that asks. A worker that dies is started again, twice at most, and what it was
drawing is drawn once more, from the same seeds; rows are known by problem, depth and number, so none counts twice.
Folders of models must be at the same place on every machine.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import trio

from kit.data.offline import forbid_telemetry
from kit.errors import EngineError, InputError, MissingError
from kit.evaluation.drawing import Drawing
from kit.evaluation.grading import Grader
from kit.evaluation.plan import Cell, EvalPlan
from kit.evaluation.reading import read_run
from kit.evaluation.records import Completion, EvalRun
from kit.evaluation.run import NO_FACTS, NOBODY, Listener, OpenEngine, Session, begun
from kit.evaluation.run_records import completion_of, completion_record, example_of, key_of, problem_record
from kit.sampling import Engine
from kit.solver.journal import Record
from kit.tasks import LoopThread, nursery

LOCAL = "local"
MAX_RESTARTS = 2
"""Of a worker, and of the rows that it was drawing. Ray's own default is to try for ever."""

_STORE_BYTES = 150 << 20  # rows are texts
_LONGEST_PLACE = 24  # of a temporary folder, in characters
_BATCHES = 2  # of a worker's engine in one task, so that a slot that falls free in the first has what to draw


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """address: of the cluster, as Ray takes it, or `local`, which starts one here. num_workers: engines on it.

    Raises: InputError for no workers.
    """

    address: str
    num_workers: int = 2

    def __post_init__(self) -> None:
        if self.num_workers < 1:
            raise InputError(f"--workers must be >= 1, got {self.num_workers}")


def evaluate_on_cluster(
    cluster: Cluster,
    plan: EvalPlan,
    open_engine: OpenEngine,
    *,
    head: Record,
    session: Record = NO_FACTS,
    out: Path,
    listener: Listener = NOBODY,
) -> EvalRun:
    """What `kit.evaluation.run.evaluate` does, by the workers of a cluster, each with `plan.batch_size` samples at
    once.

    Raises: as `evaluate`; MissingError without Ray; EngineError for a cluster that does not answer, or whose workers
        die again and again.
    """
    ray = _ray()
    with begun(plan, head=head, session=session, out=out, listener=listener) as (keeper, cells):
        if left := list(cells):
            _draw(ray, cluster, plan, open_engine, left, keeper)
    return read_run(out)


def _draw(
    ray: Any, cluster: Cluster, plan: EvalPlan, open_engine: OpenEngine, left: Sequence[Cell], session: Session
) -> None:
    seen = set()
    with _connected(ray, cluster):
        try:
            for completion in _mapped(ray, cluster, plan, open_engine, left):
                if key_of(completion) not in seen:
                    seen.add(key_of(completion))
                    session.keep(completion)
        except ray.exceptions.RayError as error:
            raise EngineError(f"the cluster gave up, what was drawn is kept: {_cause(error)}") from error


def _cause(error: BaseException) -> str:
    """What a worker raised, without Ray's copy of its traceback; else Ray's own first line."""
    raised = getattr(error, "cause", None) or error.__cause__
    lines = str(raised or "").split("\n") + str(error).split("\n")
    return next((line.strip() for line in lines if line.strip()), type(error).__name__)


def _mapped(
    ray: Any, cluster: Cluster, plan: EvalPlan, open_engine: OpenEngine, left: Sequence[Cell]
) -> Iterator[Completion]:
    rows = [{"cell": json.dumps(_cell_record(cell))} for cell in left]
    rows_per_task = min(plan.batch_size * _BATCHES, -(-len(rows) // cluster.num_workers))
    num_tasks = -(-len(rows) // rows_per_task)
    resources = ray.cluster_resources()
    _be_quiet(ray)
    drawn = ray.data.from_items(rows, override_num_blocks=num_tasks).map_batches(
        Worker,
        fn_constructor_args=(_without_examples(plan), open_engine),
        batch_size=None,
        compute=ray.data.ActorPoolStrategy(size=min(cluster.num_workers, num_tasks)),
        num_cpus=_cpus_each(resources.get("CPU", 1.0), cluster.num_workers),
        num_gpus=min(1.0, resources.get("GPU", 0.0) / cluster.num_workers),
        ray_remote_args_fn=_lives,
    )
    for row in drawn.iter_rows():
        yield completion_of(json.loads(row["completion"]))


def _be_quiet(ray: Any) -> None:
    """Our own progress is shown, not Ray Data's bars and its lines of each operator."""
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)


def _lives() -> dict[str, int]:
    return {"max_restarts": MAX_RESTARTS, "max_task_retries": MAX_RESTARTS}


def _cpus_each(num_cpus: float, num_workers: int) -> float:
    """All but one, which reads the rows; Ray wants whole ones above 1."""
    each = max(num_cpus - 1, num_cpus / 2) / num_workers
    return float(int(each)) if each > 1 else each


def _without_examples(plan: EvalPlan) -> EvalPlan:
    """The plan as a worker needs it: it is given its cells, and Ray keeps what is small."""
    return replace(plan, data=replace(plan.data, examples=()))


def _cell_record(cell: Cell) -> Record:
    return {**problem_record(cell.example, 0), "depth": cell.depth, "number": cell.number}


class Worker:
    """One of the pool: an engine in a loop of its own, and a grader. Ray calls it with rows, and it blocks."""

    def __init__(self, plan: EvalPlan, open_engine: OpenEngine) -> None:
        forbid_telemetry()
        opened: Future[Engine] = Future()
        self._loop = LoopThread()
        self._loop.start()
        held = self._loop.start_soon(partial(_hold, open_engine, opened))
        held.add_done_callback(partial(_tell_of_failure, opened))
        self._drawing = Drawing(plan, opened.result(), Grader())
        self._num_at_once, self._keeps = plan.batch_size, plan.keeps_token_stats

    def __call__(self, rows: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """The completions of these cells, in any order."""
        cells = [_cell_of(json.loads(cell)) for cell in rows["cell"]]
        completions = self._loop.start_soon(partial(self._draw, cells)).result()
        records = (completion_record(each, session_s=0.0, keeps_token_stats=self._keeps) for each in completions)
        return {"completion": [json.dumps(record) for record in records]}

    async def _draw(self, cells: Sequence[Cell]) -> list[Completion]:
        drawn: list[Completion] = []
        left = iter(cells)

        async def draw_each() -> None:
            for cell in left:
                drawn.append(await self._drawing.draw(cell))

        async with nursery() as tasks:
            for _ in range(self._num_at_once):
                tasks.start_soon(draw_each)
        return drawn


async def _hold(open_engine: OpenEngine, opened: Future[Engine]) -> None:
    """Keep an engine open as long as the worker lives."""
    async with open_engine() as engine:
        opened.set_result(engine)
        await trio.sleep_forever()


def _tell_of_failure(opened: Future[Engine], held: Future[None]) -> None:
    """An engine that could not be opened, whatever kept it, is told to who waits for it."""
    if not opened.done():
        opened.set_exception(held.exception() or EngineError("the engine was closed while it was opened"))


def _cell_of(record: Record) -> Cell:
    return Cell(example_of(record), record["depth"], record["number"])


@contextmanager
def _connected(ray: Any, cluster: Cluster) -> Iterator[None]:
    """A connection to the cluster, ended on leaving; a local one is started and ended with it."""
    told = {"log_to_driver": False, "configure_logging": False}
    if cluster.address != LOCAL:
        try:
            ray.init(address=cluster.address, **told)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise EngineError(
                f"--ray {cluster.address}: no cluster answers there ({error}); `ray start --head`"
            ) from error
        try:
            yield
        finally:
            ray.shutdown()
        return
    # short, since the paths of its sockets have a limit of 107 bytes
    folder = tempfile.mkdtemp(prefix="kr", dir=None if len(tempfile.gettempdir()) < _LONGEST_PLACE else "/tmp")
    try:
        # two at least, or the workers would leave none to what reads the rows
        num_cpus = max(2, os.cpu_count() or 1)
        store = {"object_store_memory": _STORE_BYTES, "_temp_dir": folder}
        ray.init(num_cpus=num_cpus, include_dashboard=False, **store, **told)
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _ray() -> Any:
    forbid_telemetry()
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        raise MissingError(f"--ray: {error.name} is not installed; pip install 'mathllm-kit[scale]'") from error
    return ray
