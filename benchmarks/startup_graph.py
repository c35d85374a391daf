"""What does it save to start as a graph instead of in series; and does reading ahead slow the loader?

    python benchmarks/startup_graph.py recorded
    python benchmarks/startup_graph.py real --wheels out/wheels/cpu [--model-mib 1000] [--repeats 5]
    python benchmarks/startup_graph.py loader [--model-mib 1000] [--repeats 5]

recorded: the lengths that public AIMO3 notebooks logged (docs/peers.md#common-ancestor,
docs/kaggle.md#image), in virtual time. How much of the engine's start can overlap with the reading of its weights is in
no log, so both ends are shown: all of it, and none. real: the steps of `kit.kaggle.notebook.startup` on this machine,
with the wheels of the target cpu and a random model, each run in a new process, taken in turn; before each the weights
and wheels leave the page cache.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio
import trio.testing

from kit import assets
from kit.kaggle.dataset.restoring import restore
from kit.kaggle.environment import KaggleEnvironment, Mounts
from kit.kaggle.notebook.engine import open_restored, weight_files
from kit.kaggle.notebook.outages import EngineNews
from kit.kaggle.notebook.prefetch import prefetch
from kit.kaggle.notebook.startup import install, open_attempts
from kit.kaggle.notebook.startup_graph import StartupGraph, Timing
from kit.prompting import TOOLS
from kit.recipes.attempts import AttemptsConfig, EngineConfig, PrefetchConfig
from kit.solver.config import SolverConfig

# Seconds. The page cache of 65 GB in seven logs; the middle of what else was seen, in no log together.
PREFETCH_S = (62, 63, 71, 77, 94, 100, 189)
INSTALL_S = {"uv": 37.0, "pip": 360.0}
ENGINE_S, SANDBOXES_S = 127.5, 10.0

T = TypeVar("T")

ON_CPU = EngineConfig(device="cpu", dtype="auto", num_threads=1)
KINDS = ("series", "graph", "graph, nothing read ahead")


def recorded() -> None:
    """Print the table of virtual starts."""
    print("installer  page cache s   series s   graph s: engine and reading overlap   engine waits for all of it")
    for installer, install_s in INSTALL_S.items():
        for prefetch_s in PREFETCH_S:
            series_s = install_s + prefetch_s + ENGINE_S + SANDBOXES_S
            overlapping_s, waiting_s = (virtual_s(install_s, prefetch_s, waits=waits) for waits in (False, True))
            print(f"{installer:9}  {prefetch_s:12}   {series_s:8.1f}   {overlapping_s:36.1f}   {waiting_s:26.1f}")


def virtual_s(install_s: float, prefetch_s: float, *, waits: bool) -> float:
    """Length of a start whose engine waits for the whole page cache, or not."""

    async def main() -> float:
        graph = StartupGraph(clock=trio.current_time, on_end=lambda timing: None)
        installed = graph.add("install", partial(trio.sleep, install_s))
        read = graph.add("prefetch", partial(trio.sleep, prefetch_s))
        graph.add("engine", partial(trio.sleep, ENGINE_S), after=(installed, read) if waits else (installed,))
        graph.add("sandboxes", partial(trio.sleep, SANDBOXES_S))
        begun_s = trio.current_time()
        await graph.run()
        return trio.current_time() - begun_s

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def real(wheels: Path, model_mib: int, repeats: int) -> None:
    """Print medians of real starts."""
    from kit.checkout import SOURCE
    from kit.kaggle.dataset.bundle import build
    from kit.kaggle.dataset.plan import DatasetPlan, Wheelhouse
    from kit.kaggle.wheels.lockfile import lock_path

    seconds: dict[str, list[Mapping[str, float]]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_model(root / "model", model_mib)
        dataset = root / "kaggle" / "input" / "kit"
        dataset.parent.mkdir(parents=True)
        lock = lock_path(SOURCE / "wheels", "cpu")
        build(dataset, DatasetPlan(model=root / "model", wheels=Wheelhouse(lock, wheels)))
        (root / "kaggle" / "working").mkdir()
        for number in range(repeats):
            for kind in KINDS[number % 3 :] + KINDS[: number % 3]:
                shutil.rmtree(root / "kaggle" / "tmp", ignore_errors=True)
                forget(dataset)
                child = [sys.executable, __file__, "child", "--kind", kind, "--root", str(root / "kaggle")]
                done = subprocess.run(child, check=True, capture_output=True, text=True)
                seconds[kind].append(json.loads(done.stdout.splitlines()[-1]))
    for kind, runs in seconds.items():
        steps = {step: statistics.median(run[step] for run in runs) for step in runs[0]}
        spread = f"{min(run['total'] for run in runs):.1f} to {max(run['total'] for run in runs):.1f}"
        print(f"{kind:26} {steps.pop('total'):6.2f} s ({spread});", *(f"{step} {s:.2f}" for step, s in steps.items()))


def loader(size_mib: int, repeats: int) -> None:
    """Print how long it takes to load weights that are not in the page cache, alone and with reading ahead."""
    import torch
    from safetensors.torch import load_file, save_file

    seconds: dict[int, list[float]] = {0: [], 1: [], 16: []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_file({str(number): torch.rand(16 << 18) for number in range(size_mib // 16)}, path)
        for number in range(repeats * len(seconds)):
            num_threads = (0, 1, 16)[number % len(seconds)]
            forget(path.parent)
            config = PrefetchConfig(num_threads=num_threads, spare_bytes=0)
            ahead = threading.Thread(target=prefetch, args=((path,), config))
            begun_s = time.perf_counter()
            ahead.start()
            for tensor in load_file(path).values():
                tensor.clone()  # load_file maps the file; this is what reads it
            del tensor  # pages that are mapped would stay in the cache
            seconds[num_threads].append(time.perf_counter() - begun_s)
            ahead.join()
    for num_threads, runs in seconds.items():
        spread = f"{min(runs):.2f} to {max(runs):.2f}"
        print(f"{num_threads:2} threads reading ahead: loaded in {statistics.median(runs):5.2f} s ({spread})")


def child(kind: str, root: Path) -> None:
    """One start; prints the seconds of each step and of all."""
    environment = KaggleEnvironment(root, is_rerun=False)
    ahead = PrefetchConfig(num_threads=0) if kind == KINDS[2] else PrefetchConfig(spare_bytes=0)
    attempts = AttemptsConfig(solver=SolverConfig(prompt=TOOLS.name), engine=ON_CPU, prefetch=ahead)
    start = start_in_series if kind == KINDS[0] else start_as_graph
    begun_s = time.perf_counter()
    steps = start(environment, attempts)
    print(json.dumps({"total": steps.pop("ready") - begun_s, **steps}))


def start_as_graph(environment: KaggleEnvironment, attempts: AttemptsConfig) -> dict[str, float]:
    """As a submission starts."""
    steps: dict[str, float] = {}

    def note(timing: Timing | EngineNews) -> None:
        if isinstance(timing, EngineNews):
            return
        steps[timing.step] = timing.ended_s - timing.begun_s

    async def main() -> None:
        mounts = Mounts.find(environment.input)
        async with open_attempts(environment, mounts, attempts, clock=time.perf_counter, on_timing=note):
            steps["ready"] = time.perf_counter()

    trio.run(main)
    return steps


def start_in_series(environment: KaggleEnvironment, attempts: AttemptsConfig) -> dict[str, float]:
    """The same steps one after another, as the public notebooks do."""
    from kit.sandbox.config import SandboxConfig
    from kit.sandbox.pool import open_pool

    steps: dict[str, float] = {}

    def timed(name: str, work: Callable[[], T]) -> T:
        begun_s = time.perf_counter()
        value = work()
        steps[name] = time.perf_counter() - begun_s
        return value

    dataset = Mounts.find(environment.input).dataset()
    restored = timed("restore", lambda: restore(dataset, environment.scratch / "kit-dataset"))
    python = timed("install", lambda: install(dataset, restored, environment.scratch))
    timed("prefetch", lambda: prefetch(weight_files(restored, attempts.engine), attempts.prefetch))
    engine = timed("engine", lambda: open_restored(restored, python, attempts, scratch=environment.scratch))

    async def sandboxes() -> None:
        begun_s = time.perf_counter()
        async with engine, open_pool(SandboxConfig(num_spare=attempts.tools.num_spare)):
            steps["ready"] = time.perf_counter()
            steps["sandboxes"] = steps["ready"] - begun_s

    trio.run(sandboxes)
    return steps


def make_model(folder: Path, size_mib: int) -> None:
    """A random model of the shipped one's kind, of about this size in bfloat16."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    shutil.copytree(assets.TINY_MODEL, folder)
    (folder / "model.safetensors").unlink()
    small = AutoConfig.from_pretrained(folder)
    layer_mib = (2 * 1024 * (1024 + 64 * small.num_key_value_heads) + 3 * 1024 * 2816) * 2 / 2**20
    shape = {"hidden_size": 1024, "intermediate_size": 2816, "num_attention_heads": 16, "head_dim": 64}
    kept = {name: value for name, value in small.to_dict().items() if name != "layer_types"}
    config = type(small)(**{**kept, **shape, "num_hidden_layers": max(1, round(size_mib / layer_mib))})
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model = model.to_empty(device="cpu")
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    model.save_pretrained(folder)


def forget(folder: Path) -> None:
    """Have the system drop a folder's files from the page cache."""
    os.sync()
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    """Parse and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("recorded", "real", "loader", "child"))
    parser.add_argument("--wheels", type=Path, default=Path("out/wheels/cpu"))
    parser.add_argument("--model-mib", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--kind", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.what == "recorded":
        recorded()
    elif args.what == "real":
        real(args.wheels, args.model_mib, args.repeats)
    elif args.what == "loader":
        loader(args.model_mib, args.repeats)
    else:
        child(args.kind, args.root)


if __name__ == "__main__":
    main()
