"""The real vLLM: the engine contract, streaming, aborts, and its processes killed and stopped with attempts in flight.

Needs vLLM's environment (tests/engines/vllm_tiny.py says where it is looked for) and half a minute for each start of
it, so one server serves the contract and then dies its deaths in order.
"""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import trio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from kit.engines.hf.loading import load_tokenizer
from kit.engines.openai.admission import read_metrics
from kit.engines.openai.endpoint import Address, FixedEndpoint
from kit.engines.openai.engine import OpenAIEngine, open_engine
from kit.engines.openai.http import HttpClient
from kit.engines.vllm_server.diagnosis import Cause
from kit.engines.vllm_server.settings import CPU_TINY
from kit.engines.vllm_server.supervision import Break, Incident, Launch, SupervisorConfig
from kit.engines.vllm_server.supervisor import Supervisor, open_server
from kit.sampling import Chunk, Finish, OnChunk, Sample, SamplingParams
from tests.engines import tiny
from tests.engines.contract import EngineContract, Subject
from tests.engines.vllm_tiny import save_endless_model, vllm_python

pytestmark = pytest.mark.slow

NUM_TOKENS = 3500  # so many that a client which lags behind still has some to wait for
PROMPT = tiny.chat("what is 1+1?")
CONFIG = SupervisorConfig(start_timeout_s=180, hang_s=4, probe_timeout_s=10, grace_s=5, pause_s=0.1, steady_s=0)
ANY_BREAK = {Break.EXITED, Break.MUTE, Break.HUNG}  # which is seen first depends on how busy the machine is
TOO_MUCH = dataclasses.replace(CPU_TINY, kv_cache_bytes=1 << 40)


@dataclasses.dataclass(frozen=True)
class Real:
    server: Supervisor
    engine: OpenAIEngine
    portal: BlockingPortal

    def process(self, part: str) -> psutil.Process:
        """The one process of the server with this in its title: `api_server`, `EngineCore`, `Worker`."""
        (keeper,) = [each for each in psutil.Process().children() if "keeper.py" in " ".join(each.cmdline())]
        (found,) = [each for each in keeper.children(recursive=True) if part in " ".join(each.cmdline())]
        return found

    async def sample(self, num_tokens: int, samples: list[Sample], on_chunk: OnChunk | None = None) -> None:
        params = SamplingParams(temperature=0, max_new_tokens=num_tokens)
        samples.append(await self.engine.sample(PROMPT, params, timeout_s=180, on_chunk=on_chunk))

    async def num_generated(self) -> int:
        """Tokens that this start of the server has made."""
        page = await HttpClient().get_text(f"{(await self.server.ready()).url}/metrics", timeout_s=10)
        lines = [line for line in page.splitlines() if line.startswith("vllm:generation_tokens_total")]
        return int(float(lines[0].split()[-1]))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    folder = tmp_path_factory.mktemp("vllm")
    python = vllm_python()
    save_endless_model(folder / "model")

    @asynccontextmanager
    async def opened(portal: BlockingPortal) -> AsyncIterator[Real]:
        launch = Launch(python=python, model=folder / "model", scratch=folder / "scratch")
        async with (
            open_server(launch, CPU_TINY, CONFIG) as server,
            open_engine(server, tokenizer=load_tokenizer(folder / "model")) as engine,
        ):
            await server.ready()
            yield Real(server, engine, portal)

    with (
        start_blocking_portal("trio") as portal,
        portal.wrap_async_context_manager(opened(portal)) as made,
    ):
        yield made
    assert not _processes()


def _processes() -> list[psutil.Process]:
    """Whatever of vLLM we have started, and what has kept it."""
    return [
        each
        for each in psutil.Process().children(recursive=True)
        if any(part in " ".join(each.cmdline()) for part in ("VLLM", "vllm", "keeper.py"))
    ]


@pytest.fixture(scope="module")
def address(real: Real) -> Address:
    return real.portal.call(real.server.ready)


class TestContract(EngineContract):
    @pytest.fixture
    async def subject(self, address: Address) -> AsyncIterator[Subject]:
        async with open_engine(FixedEndpoint(address), tokenizer=tiny.tokenizer()) as engine:
            too_long = tiny.chat("x" * 5000)
            yield Subject(engine=engine, prompt=PROMPT, bad_prompt=too_long, num_slots=4, goes_on=True)


def test_a_turn_without_a_stop_text_has_evidence_for_each_token(real: Real) -> None:
    samples: list[Sample] = []
    real.portal.call(real.sample, 12, samples)
    (sample,) = samples
    assert (sample.num_tokens, len(sample.evidence)) == (12, 12)
    for token in sample.evidence:
        assert token.confidence is not None
        assert token.logprob <= 0 <= token.entropy
        assert token.confidence >= -token.logprob  # greedy: the chosen token is the likeliest of the twenty


def test_the_server_tells_of_its_cache(real: Real) -> None:
    async def read() -> Any:
        return read_metrics(await HttpClient().get_text(f"{(await real.server.ready()).url}/metrics", timeout_s=10))

    reading = real.portal.call(read)
    assert reading.num_tokens >= 4096
    assert 0 <= reading.usage < 1


def test_an_attempt_that_is_left_makes_no_more_tokens(real: Real) -> None:
    async def act() -> tuple[int, int]:
        with trio.move_on_after(0.5):
            await real.sample(4000, [])
        await trio.sleep(0.5)
        first = await real.num_generated()
        await trio.sleep(0.7)
        return first, await real.num_generated()

    first, second = real.portal.call(act)
    assert first == second


async def _broken_amid(real: Real, part: str, number: signal.Signals) -> tuple[str, list[Sample], Incident]:
    """The whole text, what attempts say under which a process of the server is killed or stopped, and the incident."""
    whole: list[Sample] = []
    await real.sample(NUM_TOKENS, whole)
    samples: list[Sample] = []
    num_incidents, left, num_seen = len(real.server.incidents), [real.process(part).pid], 0

    def watch(chunk: Chunk) -> bool:
        nonlocal num_seen
        num_seen += chunk.num_tokens
        if left and num_seen >= 100:
            os.kill(left.pop(), number)
        return False

    async with trio.open_nursery() as nursery:
        for on_chunk in (watch, None, None):
            nursery.start_soon(real.sample, NUM_TOKENS, samples, on_chunk)
    assert len(real.server.incidents) == num_incidents + 1
    return whole[0].text, samples, real.server.incidents[-1]


@pytest.mark.parametrize(
    ("part", "number", "kinds"),
    [
        ("EngineCore", signal.SIGKILL, ANY_BREAK),
        ("Worker", signal.SIGKILL, ANY_BREAK),
        ("EngineCore", signal.SIGSTOP, {Break.HUNG}),
    ],
    ids=["engine killed", "worker killed", "engine stopped"],
)
def test_attempts_survive_their_server(real: Real, part: str, number: signal.Signals, kinds: set[Break]) -> None:
    """No token is lost and none comes twice."""
    whole, samples, incident = real.portal.call(_broken_amid, real, part, number)
    assert [(sample.finish, sample.num_tokens) for sample in samples] == [(Finish.LENGTH, NUM_TOKENS)] * 3
    for sample in samples:
        assert len(sample.evidence) == NUM_TOKENS
        # other batches round otherwise, so a greedy text may part from the whole one, but not at once
        assert sample.text[:100] == whole[:100]
    assert incident.kind in kinds


def test_memory_that_is_not_there_leads_down_the_ladder_and_is_told(tmp_path: Path) -> None:
    """The server is not waited for to come up: its first start has told what is tested."""
    save_endless_model(tmp_path / "model")
    launch = Launch(python=vllm_python(), model=tmp_path / "model", scratch=tmp_path / "scratch")

    async def main() -> Supervisor:
        async with open_server(launch, TOO_MUCH, CONFIG) as server:
            while not server.incidents:
                await trio.sleep(0.1)
            await trio.sleep(0.1)
            return server

    server = trio.run(main)
    (incident,) = server.incidents
    assert (incident.kind, incident.diagnosis.cause) == (Break.NOT_STARTED, Cause.OUT_OF_MEMORY)
    assert server.settings.kv_cache_bytes == (1 << 40) // 2
