"""The same sampled work done in every way that benchmarks.vllm_throughput compares; run by the kit's interpreter."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import trio

from benchmarks.vllm_models import SETTINGS
from kit.budget import Budget, BudgetConfig
from kit.engines.text.chat import render
from kit.engines.vllm.client import wire
from kit.engines.vllm.client.engine import ClientConfig, open_openai
from kit.engines.vllm.server.settings import MODEL_NAME, environment
from kit.engines.vllm.server.supervision import Launch
from kit.engines.vllm.server.supervisor import Supervisor
from kit.problem import Problem
from kit.prompting import build_prompt
from kit.sampling import SamplingParams
from kit.solver.config import SamplingChoice, SolverConfig
from kit.solver.journal import Journal
from kit.solver.pacing import PacingConfig
from kit.solver.solver import Solver
from kit.solver.stopping import StopConfig

PROBLEMS = (Problem("p1", "What is 12+30?"), Problem("p2", "What is 7*8-5?"))


@dataclass(frozen=True, slots=True)
class Made:
    """What a run made. seconds: wall time. texts: in the order of the requests, where they are known."""

    seconds: float
    num_tokens: int
    texts: tuple[str, ...] = ()


def solver_config(num_samples: int, num_tokens: int) -> SolverConfig:
    """All attempts at once, and a vote that texts without answers never decide."""
    return SolverConfig(
        stop=StopConfig(num_samples=num_samples, rule="uncatchable"),
        pacing=PacingConfig(kind="off"),
        prompt="plain",
        sampling=SamplingChoice(temperature=1.0, max_new_tokens=num_tokens),
        width=num_samples,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The same requests for everyone."""

    config: SolverConfig
    tokenizer: Any
    problems: Sequence[Problem] = PROBLEMS

    @property
    def draws(self) -> list[tuple[Problem, SamplingParams]]:
        numbers = range(self.config.stop.num_samples)
        return [(problem, self.config.params_of(problem, number)) for problem in self.problems for number in numbers]

    @property
    def num_tokens(self) -> int:
        return sum(params.max_new_tokens for _, params in self.draws)

    def requests(self, num_logprobs: int) -> list[wire.JsonObject]:
        """As the kit's client sends them."""
        common: dict[str, Any] = {"model": MODEL_NAME, "num_logprobs": num_logprobs, "shows_special": False}
        return [
            wire.completion_request(
                self.tokenizer(render(self.tokenizer, build_prompt(problem)).text, add_special_tokens=False).input_ids,
                params,
                max_tokens=params.max_new_tokens,
                seed=params.seed,
                **common,
            )
            for problem, params in self.draws
        ]


async def ask_bare(server: Supervisor, bodies: Sequence[wire.JsonObject], num_tokens: int) -> Made:
    """Every request on a connection of its own, what comes thrown away."""
    port = int((await server.ready()).url.rpartition(":")[2])
    begun_s = trio.current_time()

    async def one(body: wire.JsonObject) -> None:
        data = json.dumps(body).encode()
        head = f"POST /v1/completions HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {len(data)}\r\n"
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        end = b""
        async with stream:
            await stream.send_all(f"{head}content-type: application/json\r\n\r\n".encode() + data)
            async for received in stream:
                end = (end + received)[-100:]
        assert b"[DONE]" in end or not body["stream"], end

    async with trio.open_nursery() as nursery:
        for body in bodies:
            nursery.start_soon(one, body)
    return Made(trio.current_time() - begun_s, num_tokens)


async def ask_engine(server: Supervisor, work: Work, config: ClientConfig) -> Made:
    """All attempts at once through the kit's client."""
    texts, num_tokens = [""] * len(work.draws), 0
    async with open_openai(server, tokenizer=work.tokenizer, config=config) as engine:
        begun_s = trio.current_time()

        async def one(place: int, problem: Problem, params: SamplingParams) -> None:
            nonlocal num_tokens
            sample = await engine.sample(build_prompt(problem), params, timeout_s=3600)
            texts[place] = sample.text
            num_tokens += sample.num_tokens

        async with trio.open_nursery() as nursery:
            for place, draw in enumerate(work.draws):
                nursery.start_soon(one, place, *draw)
        return Made(trio.current_time() - begun_s, num_tokens, tuple(texts))


async def solve(server: Supervisor, work: Work, config: ClientConfig) -> Made:
    """The problems one after another, with a journal that is synced as in a competition."""
    with tempfile.TemporaryDirectory() as folder, Journal.open(Path(folder) / "journal.jsonl", run={}) as journal:
        async with open_openai(server, tokenizer=work.tokenizer, config=config) as engine:
            budget = Budget(BudgetConfig(num_problems=len(work.problems)), lambda: 0.0)
            solver = Solver(engine, budget, journal, work.config)
            begun_s = trio.current_time()
            num_tokens = sum([(await solver.solve(problem)).num_tokens for problem in work.problems])
            return Made(trio.current_time() - begun_s, num_tokens)


class Offline:
    """A process with an LLM; see benchmarks.vllm_offline."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.process = psutil.Process(process.pid)

    async def told(self, word: str) -> str:
        """The rest of the next line that begins with the word."""
        assert self._process.stdout is not None
        while True:
            line = await trio.to_thread.run_sync(self._process.stdout.readline)
            assert line, "vLLM has ended; its words are above"
            if line.startswith(word):
                return line.removeprefix(word)

    async def run(self, num_logprobs: int) -> Made:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{num_logprobs}\n")
        self._process.stdin.flush()
        told = json.loads(await self.told("RUN "))
        return Made(told["seconds"], told["num_tokens"], tuple(told["texts"]))


@contextmanager
def open_offline(launch: Launch, job: Path, place: str) -> Iterator[Offline]:
    variables = environment(SETTINGS, launch.ours, port=20000, cache_folder=launch.scratch / "cache")
    process = subprocess.Popen(
        [launch.python, "-m", "benchmarks.vllm_offline", launch.model, job, place],
        env={**variables, "VLLM_LOGGING_LEVEL": "WARNING"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    try:
        yield Offline(process)
    finally:
        process.stdin.close()  # it then ends by itself, with its engine
        process.wait()
