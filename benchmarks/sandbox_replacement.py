"""How soon is there a fresh Python: a cold process, a fork from the forkserver, a spare; and what one call costs.

    python benchmarks/sandbox_replacement.py [--repeats 20]

"Dead" has left by os._exit; "wedged" ignores its interrupt and is killed when its time is up. Both are counted from
the moment when the call that found out returned, to the answer of the next `1+1`. Median and worst of the repeats.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from kit.sandbox.config import SandboxConfig
from kit.sandbox.pool import SandboxPool, open_pool

COLD = "import sympy, numpy, networkx; print(1+1)"
DEAD = "import os; os._exit(1)"
WEDGED = "sum(range(10**14))"  # one call in C, which looks at no signals
PAUSE_S = 0.2  # in which the pool makes itself spares


def cold_starts(repeats: int) -> list[float]:
    """A process of its own, with the same modules, up to its answer."""
    seconds = []
    for _ in range(repeats):
        begun_s = time.perf_counter()
        subprocess.run([sys.executable, "-c", COLD], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - begun_s)
    return seconds


async def loans(pool: SandboxPool, repeats: int) -> list[float]:
    """From asking for a Python up to its first answer."""
    seconds = []
    for _ in range(repeats):
        await trio.sleep(PAUSE_S)
        begun_s = time.perf_counter()
        async with pool.lend() as python:
            await python.run("1+1", timeout_s=10)
            seconds.append(time.perf_counter() - begun_s)
    return seconds


async def replacements(pool: SandboxPool, repeats: int, *, killer: str) -> list[float]:
    """From the end of a call that lost its Python up to the next answer."""
    seconds = []
    async with pool.lend() as python:
        for _ in range(repeats):
            await trio.sleep(PAUSE_S)
            await python.run(killer, timeout_s=0.4)
            begun_s = time.perf_counter()
            await python.run("1+1", timeout_s=10)
            seconds.append(time.perf_counter() - begun_s)
    return seconds


async def calls(pool: SandboxPool, repeats: int) -> list[float]:
    """`1+1` in a Python that lives."""
    seconds = []
    async with pool.lend() as python:
        for _ in range(repeats):
            begun_s = time.perf_counter()
            await python.run("1+1", timeout_s=10)
            seconds.append(time.perf_counter() - begun_s)
    return seconds


@asynccontextmanager
async def warm(*, num_spare: int) -> AsyncIterator[SandboxPool]:
    """A pool whose spares are there."""
    async with open_pool(SandboxConfig(num_spare=num_spare)) as pool:
        await trio.sleep(1)
        yield pool


async def measure(repeats: int) -> dict[str, list[float]]:
    """Every row, in one run."""
    rows = {"cold: python -c 'import …; print(1+1)'": cold_starts(min(repeats, 5))}
    async with warm(num_spare=0) as pool:
        rows["fork from the forkserver, and 1+1"] = await loans(pool, repeats)
        rows["dead one replaced by a fork, and 1+1"] = await replacements(pool, repeats, killer=DEAD)
    async with warm(num_spare=2) as pool:
        if pool.confinement:
            print(f"confinement: {pool.confinement.describe()}\n")
        rows["a spare, and 1+1"] = await loans(pool, repeats)
        rows["dead one replaced by a spare, and 1+1"] = await replacements(pool, repeats, killer=DEAD)
        rows["wedged one replaced by a spare, and 1+1"] = await replacements(pool, repeats, killer=WEDGED)
        rows["1+1 in a Python that lives"] = await calls(pool, 20 * repeats)
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    args = parser.parse_args()
    rows = trio.run(measure, args.repeats)
    print(f"{'':<44}{'median ms':>10}{'worst ms':>10}{'n':>6}")
    for name, seconds in rows.items():
        print(f"{name:<44}{1000 * statistics.median(seconds):>10.1f}{1000 * max(seconds):>10.1f}{len(seconds):>6}")


if __name__ == "__main__":
    main()
