"""What the solver itself costs: samples per second and milliseconds a sample, with an engine that takes no time.

    python benchmarks/solver_overhead.py [--problems 100] [--samples 64]

Each sample is a text of ordinary length that answers differently, so that no vote is decided early and every
sample is drawn, journalled, read and counted. Side by side in one run: without a journal, with one, and the
bare engine called as often (what of the cost is the double's own).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from kit.budget import Budget, BudgetConfig
from kit.engines.scripted import Script, ScriptedEngine
from kit.problem import Problem
from kit.prompting import build_prompt
from kit.sampling import SamplingParams
from kit.solver.config import SolverConfig
from kit.solver.journal import Journal
from kit.solver.solver import Solver
from kit.solver.stopping import StopConfig

WORKING = "We compute step by step: $3 \\cdot 4 = 12$, so the total is $12 + 5 = 17$ and we go on. " * 18


def make_engine() -> ScriptedEngine:
    """Every attempt answers something else, at once."""
    return ScriptedEngine(
        lambda prompt, params: Script(text=f"{WORKING} \\boxed{{{params.seed % 99_991}}}", seconds=0, num_tokens=500)
    )


async def solve_all(problems: list[Problem], num_samples: int, journal: Journal | None) -> None:
    """A competition of these problems."""
    config = SolverConfig(stop=StopConfig(num_samples=num_samples, rule="uncatchable"), width=8)
    solver = Solver(make_engine(), Budget(BudgetConfig(num_problems=len(problems)), lambda: 0.0), journal, config)
    for problem in problems:
        await solver.solve(problem)


async def call_engine(problems: list[Problem], num_samples: int) -> None:
    """The same number of calls with nothing around them."""
    engine = make_engine()
    for problem in problems:
        prompt = build_prompt(problem)
        for seed in range(num_samples):
            await engine.sample(prompt, SamplingParams(seed=seed), timeout_s=60)


def timed(run: Callable[[], Awaitable[None]]) -> float:
    """Seconds one run takes."""
    begun = time.perf_counter()
    trio.run(run)
    return time.perf_counter() - begun


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=100)
    parser.add_argument("--samples", type=int, default=64)
    args = parser.parse_args()
    problems = [Problem(f"p{number}", f"What is ${number}+1$?") for number in range(args.problems)]
    num_calls = args.problems * args.samples
    with tempfile.TemporaryDirectory() as folder, Journal.open(Path(folder) / "journal.jsonl", run={}) as journal:
        rows = {
            "bare engine": timed(lambda: call_engine(problems, args.samples)),
            "solver, no journal": timed(lambda: solve_all(problems, args.samples, None)),
            "solver, journal fsync'd": timed(lambda: solve_all(problems, args.samples, journal)),
        }
    print(f"{args.problems} problems x {args.samples} samples of {len(WORKING)} characters")
    print(f"{'':<26}{'samples/s':>12}{'ms/sample':>12}{'ms/problem':>12}")
    for name, seconds in rows.items():
        each_ms = 1000 * seconds / num_calls
        print(f"{name:<26}{num_calls / seconds:>12,.0f}{each_ms:>12.3f}{each_ms * args.samples:>12.2f}")


if __name__ == "__main__":
    main()
