"""What the solver costs while attempts stream: its share of a core, how fast it cancels, and whether its memory grows.

    python benchmarks/solver_streaming.py [--seconds 10]

Streams: 64 attempts at once, 2,000 chunks a second in all, DeepConf's watcher on every chunk, against the same engine
with no solver around it. Cancels: four attempts agree, sixty in flight are cancelled, the answer is there. Memory:
a competition of five hours in virtual time, 50 problems of 64 attempts, by what Python holds after each tenth.
"""

from __future__ import annotations

import argparse
import gc
import random
import statistics
import tempfile
import time
import tracemalloc
from functools import partial
from pathlib import Path

import trio
import trio.testing

from kit.budget import Budget, BudgetConfig
from kit.engines.scripted import Outcome, Script, ScriptedEngine
from kit.problem import Problem
from kit.prompting import build_prompt
from kit.sampling import Chunk, OnChunk, Prompt, Sample, SamplingParams, TokenStats
from kit.solver.config import SolverConfig
from kit.solver.journal import Journal
from kit.solver.solver import Solver
from kit.solver.stopping import StopConfig
from kit.voting.early_abort import EarlyAbortConfig

NUM_ATTEMPTS = 64
CHUNKS_PER_S = 2000
CHUNK_TOKENS = 4
PROBLEM = Problem("p", "What is $1+1$?")


class Streaming(ScriptedEngine):
    """Sixty-four streams; its `calls` are not kept, since here only time and memory count."""

    async def sample(
        self, prompt: Prompt, params: SamplingParams, *, timeout_s: float, on_chunk: OnChunk | None = None
    ) -> Sample:
        sample = await super().sample(prompt, params, timeout_s=timeout_s, on_chunk=on_chunk or _ignore)
        self.calls.clear()
        return sample


def _ignore(chunk: Chunk) -> bool:
    return False


def streaming(seconds: float) -> Streaming:
    num_chunks = round(seconds * CHUNKS_PER_S / NUM_ATTEMPTS)
    token_stats = (TokenStats(logprob=-0.3, entropy=0.5, confidence=12.0),) * (CHUNK_TOKENS * num_chunks)

    def write(prompt: Prompt, params: SamplingParams) -> Script:
        return Script(
            text=f"{'We go on. ' * num_chunks}\\boxed{{{params.seed % 99_991}}}",
            seconds=seconds,
            num_tokens=len(token_stats),
            num_chunks=num_chunks,
            token_stats=token_stats,
        )

    return Streaming(write)


def config(*, aborts_early: bool = True) -> SolverConfig:
    """The kit's own rule and pacing, with sixty-four attempts at once."""
    return SolverConfig(
        stop=StopConfig(num_samples=NUM_ATTEMPTS),
        width=NUM_ATTEMPTS,
        aborts_early=aborts_early,
        early_abort=EarlyAbortConfig(warmup=4),
    )


def core_share(run: object, *args: object) -> float:
    """Processor seconds per second of wall time."""
    wall, cpu = time.perf_counter(), time.process_time()
    trio.run(run, *args)  # type: ignore[arg-type]
    return (time.process_time() - cpu) / (time.perf_counter() - wall)


async def with_solver(seconds: float, journal: Journal) -> None:
    begun = time.monotonic()
    budget = Budget(BudgetConfig(num_problems=1), lambda: time.monotonic() - begun)
    await Solver(streaming(seconds), budget, journal, config()).solve(PROBLEM)


async def without_solver(seconds: float) -> None:
    engine, prompt = streaming(seconds), build_prompt(PROBLEM)
    async with trio.open_nursery() as nursery:
        for seed in range(NUM_ATTEMPTS):
            nursery.start_soon(partial(engine.sample, prompt, SamplingParams(seed=seed), timeout_s=999))


async def cancel_ms(journal: Journal) -> tuple[float, float]:
    """From the fourth equal answer until the last of the sixty others is cancelled, and until the solution is there."""
    deciding = iter([0.5] * 4 + [60.0] * 60)
    engine = ScriptedEngine(
        lambda prompt, params: Script(text="\\boxed{2}", seconds=next(deciding), num_tokens=2000, num_chunks=2000)
    )
    begun = time.monotonic()
    budget = Budget(BudgetConfig(num_problems=1), lambda: time.monotonic() - begun)
    solution = await Solver(engine, budget, journal, config()).solve(PROBLEM)
    done = trio.current_time()
    assert engine.num_cancelled >= 60
    assert solution.answer == 2
    ended = {outcome: [call.ended_s or 0.0 for call in engine.calls if call.outcome is outcome] for outcome in Outcome}
    decided = max(ended[Outcome.RETURNED])
    return 1000 * (max(ended[Outcome.CANCELLED]) - decided), 1000 * (done - decided)


async def five_hours(held: list[int]) -> None:
    rng = random.Random(1)
    begun = trio.current_time()
    engine = Streaming(
        lambda prompt, params: Script(
            text=f"{'x' * 20_000} \\boxed{{{params.seed % 99_991}}}",
            seconds=rng.uniform(100, 300),
            num_tokens=400,
            token_stats=(TokenStats(logprob=-0.3, entropy=0.5, confidence=12.0),) * 400,
        )
    )
    solver = Solver(
        engine, Budget(BudgetConfig(), lambda: trio.current_time() - begun), None, config(aborts_early=False)
    )
    for number in range(50):
        await solver.solve(Problem(f"p{number}", f"What is ${number}+1$?"))
        if number % 5 == 4:
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder, Journal.open(Path(folder) / "journal.jsonl", run={}) as journal:
        alone, together = core_share(without_solver, seconds), core_share(with_solver, seconds, journal)
        cancels = [trio.run(cancel_ms, journal) for _ in range(9)]
    held: list[int] = []
    tracemalloc.start()
    trio.run(five_hours, held, clock=trio.testing.MockClock(autojump_threshold=0))
    print(f"{NUM_ATTEMPTS} attempts, {CHUNKS_PER_S} chunks/s of {CHUNK_TOKENS} tokens, {seconds:g} s")
    print(f"{'engine alone':<34}{alone:>8.1%} of a core")
    print(f"{'engine, solver and watchers':<34}{together:>8.1%} of a core")
    print(f"{'the solver and its watchers':<34}{together - alone:>8.1%} of a core")
    for name, place in (("the last of 60 cancelled after", 0), ("the answer journalled after", 1)):
        each = [cancel[place] for cancel in cancels]
        print(f"{name:<34}{statistics.median(each):>8.1f} ms (worst of {len(each)}: {max(each):.1f})")
    print("MB held after each tenth of five hours: " + " ".join(f"{each / 1e6:.2f}" for each in held))


if __name__ == "__main__":
    main()
