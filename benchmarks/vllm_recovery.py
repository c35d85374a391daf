"""From a server's break to the first new token of the attempts in flight, taken apart.

    .venv/bin/python -m benchmarks.vllm_recovery --python .venv-vllm/bin/python

Needs vLLM's environment. Prints a Markdown table, in seconds. Eight attempts stream; then the engine's process is
killed, or the server's whole process group, or the engine's process is stopped, so that it neither works nor ends.
noticed: from the break until the supervisor has buried the old server, and starts the next one that moment.
restarted: until the next one has made its first token. replayed: until the first attempt, and the last, has a new
token; by then it has been sent again with its prompt and all it had said. The model is a tiny random one whose texts
never end, so `restarted` is the least that vLLM takes on this machine: a large model's loading comes on top of it.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import trio

from benchmarks.vllm_models import SETTINGS, print_head, print_machine, save_backbone
from kit.engines.text.tokenizer import load_tokenizer
from kit.engines.vllm.client.engine import OpenAIEngine, open_openai
from kit.engines.vllm.server.supervision import Launch, SupervisorConfig
from kit.engines.vllm.server.supervisor import Supervisor, open_server
from kit.sampling import Chunk, FinishReason, SamplingParams
from tests.engines import tiny

NUM_ATTEMPTS = 8
NUM_BEFORE = 200  # tokens of the slowest attempt when the server is broken
HANG_S = 10.0  # a competition's 90 s would only make the table longer
SUPERVISION = SupervisorConfig(start_timeout_s=300, hang_s=HANG_S, probe_timeout_s=HANG_S, steady_s=0)
PROMPT = tiny.chat("what is 1+1?")


def reaper_in(scratch: Path) -> psutil.Process:
    """The process that the server's group is called by."""
    (reaper,) = [each for each in psutil.Process().children() if each.cwd() == str(scratch)]
    return reaper


def signal_core(number: signal.Signals, scratch: Path) -> None:
    """To the engine's process alone."""
    below = reaper_in(scratch).children(recursive=True)
    (core,) = [each for each in below if "EngineCore" in " ".join(each.cmdline())]
    core.send_signal(number)


def kill_group(scratch: Path) -> None:
    """The reaper, the API server and the engine."""
    os.killpg(reaper_in(scratch).pid, signal.SIGKILL)


BREAKS: Mapping[str, Callable[[Path], None]] = {
    "SIGKILL, EngineCore": partial(signal_core, signal.SIGKILL),
    "SIGKILL, the whole group": kill_group,
    f"SIGSTOP, EngineCore (hang_s = {HANG_S:g})": partial(signal_core, signal.SIGSTOP),
}


@dataclass(slots=True)
class Attempts:
    """What is in flight. generation: of the start before the break. new_s: when each had its first token after it."""

    engine: OpenAIEngine
    server: Supervisor
    generation: int
    num_tokens: list[int]
    new_s: dict[int, float]
    is_over: bool = False

    async def one(self, place: int) -> None:
        """Sample until everybody has gone on."""

        def watch(chunk: Chunk) -> bool:
            self.num_tokens[place] += chunk.num_tokens
            if len(self.server.incidents) >= self.generation and self.server.is_ready:
                self.new_s.setdefault(place, trio.current_time())
            return self.is_over

        params = SamplingParams(seed=place, temperature=1.0, max_new_tokens=10**6)
        sample = await self.engine.sample(PROMPT, params, timeout_s=600, on_chunk=watch)
        assert sample.finish is FinishReason.ABORTED, f"the attempt ended with {sample.finish}: {sample.error}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """Moments on the event loop's clock, in seconds. num_tokens: of each attempt at the break, in the mean."""

    broken_s: float
    noticed_s: float
    ready_s: float
    first_s: float
    last_s: float
    num_tokens: float

    @property
    def parts(self) -> tuple[float, ...]:
        """Noticed, restarted, replayed (first, last), all of it."""
        first, last = self.first_s - self.ready_s, self.last_s - self.ready_s
        started = self.ready_s - self.noticed_s
        return self.noticed_s - self.broken_s, started, first, last, self.last_s - self.broken_s


async def until(is_so: Callable[[], bool]) -> float:
    """Wait for it, to a hundredth of a second."""
    while not is_so():
        await trio.sleep(0.01)
    return trio.current_time()


async def recover(server: Supervisor, engine: OpenAIEngine, break_it: Callable[[], None]) -> Recovery:
    """Break the server under attempts and wait until all have gone on."""
    generation = (await server.ready()).generation
    attempts = Attempts(engine, server, generation, [0] * NUM_ATTEMPTS, {})
    async with trio.open_nursery() as nursery:
        for place in range(NUM_ATTEMPTS):
            nursery.start_soon(attempts.one, place)
        await until(lambda: min(attempts.num_tokens) >= NUM_BEFORE)
        num_tokens = statistics.mean(attempts.num_tokens)
        break_it()
        broken_s = trio.current_time()
        noticed_s = await until(lambda: len(server.incidents) >= generation)
        await server.ready()
        ready_s = trio.current_time()
        await until(lambda: len(attempts.new_s) == NUM_ATTEMPTS)
        attempts.is_over = True
    return Recovery(
        broken_s=broken_s,
        noticed_s=noticed_s,
        ready_s=ready_s,
        first_s=min(attempts.new_s.values()),
        last_s=max(attempts.new_s.values()),
        num_tokens=num_tokens,
    )


def print_row(name: str, made: list[Recovery]) -> None:
    cells = [
        f"{statistics.median(part):.2f} ({min(part):.2f} to {max(part):.2f})"
        for part in zip(*(each.parts for each in made), strict=True)
    ]
    print(f"| {name} | {len(made)} | {statistics.mean(each.num_tokens for each in made):.0f} | {' | '.join(cells)} |")


async def run(args: argparse.Namespace, folder: Path) -> None:
    save_backbone(folder / "model", "tiny")
    launch = Launch(python=args.python.absolute(), model=folder / "model", scratch=folder / "scratch")
    made: dict[str, list[Recovery]] = {name: [] for name in BREAKS}
    async with (
        open_server(launch, SETTINGS, SUPERVISION) as server,
        open_openai(server, tokenizer=load_tokenizer(launch.model)) as engine,
    ):
        for _ in range(args.num_turns):
            for name, break_it in BREAKS.items():
                made[name].append(await recover(server, engine, partial(break_it, launch.scratch)))
    for name, recoveries in made.items():
        print_row(name, recoveries)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, required=True, help="the interpreter of vLLM's environment")
    parser.add_argument("--num-turns", type=int, default=3)
    args = parser.parse_args()
    print_machine()
    print(f"{NUM_ATTEMPTS} attempts; median (least to most) of {args.num_turns} turns, seconds")
    with tempfile.TemporaryDirectory() as folder:
        print_head(
            ("break", "times", "tokens an attempt", "noticed", "restarted", "replayed, first", "replayed, last", "all")
        )
        trio.run(run, args, Path(folder))


if __name__ == "__main__":
    main()
