"""The kit's client and solver on vLLM against vLLM's own LLM.generate on the same prompts and seeds.

    .venv/bin/python -m benchmarks.vllm_throughput --python .venv-vllm/bin/python --size 100m

Needs vLLM's environment. Prints a Markdown table. All runs of a turn follow one another in one process, and every
other turn goes backwards; a ratio is the median over turns of tokens per second to those of LLM.generate whose engine
core has a process of its own, as the server's has, with as many log-probabilities. `bare client` sends the same
requests and throws the answers away unread: what the server alone costs. The models never end a text, so every run
makes the same number of tokens; `same texts` is the share of texts equal to LLM.generate's.
CPU is in tokens per CPU second: of the engine core, of what feeds it (the API server; with LLM.generate its own
process), and of the client (this process). One thread of Python serves all streams of a server, so the feeder's figure
is what a server can give at most, whatever the GPU does. `tokenizer` is the API server's own: the kit needs none.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import trio

from benchmarks.vllm_models import (
    SETTINGS,
    SIZES,
    WIDTH,
    llm_arguments,
    print_head,
    print_machine,
    ratio,
    save_backbone,
)
from benchmarks.vllm_runs import PROBLEMS, Made, Work, ask_bare, ask_engine, open_offline, solve, solver_config
from kit.engines.text.tokenizer import load_tokenizer
from kit.engines.vllm.client.engine import ClientConfig
from kit.engines.vllm.server.settings import ServerSettings
from kit.engines.vllm.server.supervision import Launch, SupervisorConfig
from kit.engines.vllm.server.supervisor import open_server

SUPERVISION = SupervisorConfig(start_timeout_s=1800, hang_s=600)  # however busy the machine
BASELINE = "LLM.generate, core in its own process"
INSIDE = "LLM.generate, core inside"


@dataclass(slots=True, kw_only=True)
class Case:
    """One row of the table. core, feeder: whose CPU time is counted. cpu_s: of core, feeder and client, run by run."""

    name: str
    interval: int | None
    tokenizer: str
    num_logprobs: int
    run: Callable[[], Awaitable[Made]]
    core: psutil.Process
    feeder: psutil.Process | None
    made: list[Made] = field(default_factory=list)
    cpu_s: list[tuple[float, ...]] = field(default_factory=list)

    @property
    def rates(self) -> list[float]:
        """Tokens per second, turn by turn."""
        return [made.num_tokens / made.seconds for made in self.made]

    async def turn(self) -> None:
        """Run once more."""
        before = self._clocks()
        self.made.append(await self.run())
        self.cpu_s.append(tuple(now - then for now, then in zip(self._clocks(), before, strict=True)))

    def _clocks(self) -> tuple[float, ...]:
        mine = sum(os.times()[:2])
        return (*(sum(each.cpu_times()[:2]) if each else 0.0 for each in (self.core, self.feeder)), mine)


def core_under(process: psutil.Process) -> psutil.Process:
    (core,) = [each for each in process.children(recursive=True) if "EngineCore" in " ".join(each.cmdline())]
    return core


def is_wanted(name: str, args: argparse.Namespace) -> bool:
    return any(word in name for word in args.only)


def served(args: argparse.Namespace) -> ServerSettings:
    """As many rows as a problem has attempts."""
    return replace(SETTINGS, dtype=args.dtype, max_num_seqs=args.width)


@asynccontextmanager
async def offline_cases(launch: Launch, work: Work, args: argparse.Namespace) -> AsyncIterator[list[Case]]:
    job = launch.scratch / "job.json"
    job.write_text(json.dumps({"arguments": llm_arguments(served(args)), "requests": work.requests(0)}))
    places = {BASELINE: "own", INSIDE: "inside"} if is_wanted(INSIDE, args) else {BASELINE: "own"}
    with ExitStack() as stack:
        opened = {name: stack.enter_context(open_offline(launch, job, place)) for name, place in places.items()}
        cases = []
        for name, llm in opened.items():
            await llm.told("READY")
            core, feeder = (core_under(llm.process), llm.process) if name == BASELINE else (llm.process, None)
            for num in args.num_logprobs:
                run = partial(llm.run, num)
                of: dict[str, Any] = {"core": core, "feeder": feeder}
                cases.append(Case(name=name, interval=None, tokenizer="own", num_logprobs=num, run=run, **of))
        yield cases


@asynccontextmanager
async def served_cases(
    launch: Launch, work: Work, args: argparse.Namespace, interval: int, tokenizer: str
) -> AsyncIterator[list[Case]]:
    settings = replace(served(args), stream_interval=interval, own_tokenizer=tokenizer == "own", num_logprobs=20)
    launch = replace(launch, scratch=launch.scratch / f"every-{interval}-{tokenizer}")
    async with open_server(launch, settings, SUPERVISION) as server:
        await server.ready()
        (reaper,) = [each for each in psutil.Process().children() if str(launch.scratch) == each.cwd()]
        (api,) = reaper.children()
        cases = []
        for num in args.num_logprobs:
            bodies, config = work.requests(num), ClientConfig(num_logprobs=num)
            runs: dict[str, Callable[[], Awaitable[Made]]] = {
                "server, bare client": partial(ask_bare, server, bodies, work.num_tokens),
                "kit's client": partial(ask_engine, server, work, config),
                "kit's solver": partial(solve, server, work, config),
            }
            if interval == args.stream_intervals[-1]:
                whole = [{**body, "stream": False} for body in bodies]
                runs["server, bare client, not streamed"] = partial(ask_bare, server, whole, work.num_tokens)
            for name, run in runs.items():
                of: dict[str, Any] = {"core": core_under(api), "feeder": api}
                cases.append(Case(name=name, interval=interval, tokenizer=tokenizer, num_logprobs=num, run=run, **of))
        yield cases


def print_rows(cases: Sequence[Case]) -> None:
    columns = ("run", "stream interval", "tokenizer", "log-probs", "tokens/s, median", "best", "ratio", "same texts")
    print_head((*columns, "tokens per CPU s: core", "feeder", "client"))
    for case in cases:
        bases = [each for each in cases if each.name == BASELINE and each.num_logprobs == case.num_logprobs]
        against = f"{ratio(case.rates, bases[0].rates):.2f}" if bases else ""
        pairs = [pair for base in bases for pair in zip(case.made[-1].texts, base.made[-1].texts, strict=False)]
        same = f"{sum(one == other for one, other in pairs) / len(pairs):.0%}" if pairs else ""
        each_s = [statistics.median(spent) for spent in zip(*case.cpu_s, strict=True)]
        shown = (f"{case.made[-1].num_tokens / spent:.0f}" if spent else "" for spent in each_s)
        print(
            f"| {case.name} | {case.interval or ''} | {case.tokenizer} | {case.num_logprobs} "
            f"| {statistics.median(case.rates):.0f} | {max(case.rates):.0f} | {against} "
            f"| {same} | {' | '.join(shown)} |"
        )


async def run(args: argparse.Namespace, folder: Path) -> None:
    save_backbone(folder / "model", args.size)
    (folder / "scratch").mkdir()
    launch = Launch(python=args.python.absolute(), model=folder / "model", scratch=folder / "scratch")
    work = Work(
        config=solver_config(args.width, args.num_tokens),
        tokenizer=load_tokenizer(launch.model),
        problems=PROBLEMS[: args.num_problems],
    )
    async with AsyncExitStack() as stack:
        cases = [] if args.skip_offline else await stack.enter_async_context(offline_cases(launch, work, args))
        for interval in args.stream_intervals:
            for tokenizer in args.tokenizers:
                cases += await stack.enter_async_context(served_cases(launch, work, args, interval, tokenizer))
        cases = [case for case in cases if case.name == BASELINE or is_wanted(case.name, args)]
        for case in {case.core.pid: case for case in cases}.values():
            await case.run()  # each engine's first run is slower, and fills its prefix cache
        for turn in range(args.num_turns):
            for case in cases[:: -1 if turn % 2 else 1]:
                await case.turn()
                assert case.made[-1].num_tokens == work.num_tokens, case
        print_rows(cases)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, required=True, help="the interpreter of vLLM's environment")
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--num-problems", type=int, choices=range(1, len(PROBLEMS) + 1), default=len(PROBLEMS))
    parser.add_argument("--width", type=int, default=WIDTH, help="attempts at each problem, and rows of the engine")
    parser.add_argument("--num-tokens", type=int, default=100, help="of each attempt")
    parser.add_argument("--num-turns", type=int, default=3)
    parser.add_argument("--num-logprobs", type=int, nargs="+", default=[0, 20])
    parser.add_argument("--stream-intervals", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--tokenizers", choices=("own", "none"), nargs="+", default=["own", "none"])
    parser.add_argument("--skip-offline", action="store_true", help="no LLM.generate, so no ratio: two engines fewer")
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD", help="runs with one of these in their name")
    args = parser.parse_args()
    print_machine()
    num_attempts = f"{args.num_problems} problems x {args.width} attempts x {args.num_tokens} tokens"
    print(f"{args.size} model, {args.dtype}, {num_attempts}, {args.num_turns} turns")
    with tempfile.TemporaryDirectory() as folder:
        trio.run(run, args, Path(folder))


if __name__ == "__main__":
    main()
