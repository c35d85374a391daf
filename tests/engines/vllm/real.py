"""What the tests against a real vLLM share: where its environment lies, a model that its CPU build can run, a server.

Its interpreter is the fixture `vllm_python` of tests/conftest.py, and every test that asks for it has the mark
`real_vllm`. It goes into `open_real` and its like as an argument: a test may not skip from within an event loop.

Two cores that others use too hold a process up for seconds: of eight attempts on a machine with a load of five, a
process that only slept was seen to wait 12 s for its turn. So no test here tells a hang from a slow machine by less
than HANG_S, and texts go on for longer than that.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import torch
import trio
from transformers import Qwen2Config, Qwen2ForCausalLM

from kit.engines.vllm.client.admission import ServerMetrics, read_metrics
from kit.engines.vllm.client.engine import ClientConfig, OpenAIEngine, open_openai
from kit.engines.vllm.client.http import HttpClient
from kit.engines.vllm.server.settings import CPU, ServerSettings
from kit.engines.vllm.server.supervision import Incident, Launch, SupervisorConfig
from kit.engines.vllm.server.supervisor import Supervisor, open_server
from kit.sampling import Chunk, FinishReason, OnChunk, Prompt, Sample, SamplingParams
from tests.engines import tiny

log = logging.getLogger(__name__)

CONTEXT = 4096
LONG_CONTEXT = 32768  # half a minute of one text at least
PROMPT = tiny.chat("what is 1+1?")
HANG_S = 20.0
PATIENCE_S = 900.0  # with what goes on: a start alone took 217 s under a load of twenty
SUPERVISION = SupervisorConfig(
    start_timeout_s=PATIENCE_S, hang_s=HANG_S, probe_timeout_s=HANG_S, grace_s=5, pause_s=0.1, steady_s=0
)
WITH_WORKER = dataclasses.replace(CPU, max_model_len=LONG_CONTEXT)
_ON_GPU = ServerSettings(
    max_model_len=LONG_CONTEXT, max_num_seqs=16, memory_share=0.3, dtype="bfloat16", eager=True, num_logprobs=20
)
_ON_CPU = dataclasses.replace(
    WITH_WORKER,
    # The model runs in the engine's process, as on one GPU. By default the CPU build has a worker for it, which spins
    # while it waits and takes the time from the others: on a busy machine a quarter of the tokens a second were left.
    extra_args=(*CPU.extra_args, "--distributed-executor-backend", "uni"),
    extra_environment=(*CPU.extra_environment, ("VLLM_ENABLE_V1_MULTIPROCESSING", "0")),
)
WITHOUT_WORKER = _ON_GPU if tiny.DEVICE == "cuda" else _ON_CPU


def save_endless_model(folder: Path, **changes: Any) -> None:
    """A random model over single characters whose texts never end by themselves, with heads that vLLM accepts.

    A token takes 512 bytes of the cache, if no `changes` of the config say otherwise.
    """
    config = Qwen2Config(
        **{
            "vocab_size": tiny.VOCAB_SIZE - 1,  # without the end of a text, which is the last
            "hidden_size": 64,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": CONTEXT,
            "initializer_range": 0.25,
            "bos_token_id": None,
            "eos_token_id": None,
            "pad_token_id": None,
            **changes,
        }
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Qwen2ForCausalLM(config)
    model.to(torch.float32).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)


@dataclasses.dataclass(frozen=True)
class Real:
    """A supervised vLLM and an engine over it."""

    server: Supervisor
    engine: OpenAIEngine
    scratch: Path

    def process(self, part: str) -> psutil.Process:
        """The one process of the server with this in its title: `api_server`, `EngineCore`, `Worker`."""
        (reaper,) = [each for each in reapers() if each.cwd() == str(self.scratch)]
        (found,) = [each for each in reaper.children(recursive=True) if part in " ".join(each.cmdline())]
        return found

    async def sample(
        self,
        params: SamplingParams,
        *,
        prompt: Prompt = PROMPT,
        timeout_s: float = PATIENCE_S,
        on_chunk: OnChunk | None = None,
    ) -> Sample:
        return await self.engine.sample(prompt, params, timeout_s=timeout_s, on_chunk=on_chunk)

    async def page(self) -> str:
        return await HttpClient().get_text(f"{(await self.server.ready()).url}/metrics", timeout_s=60)

    async def reading(self) -> ServerMetrics:
        reading = read_metrics(await self.page())
        assert reading is not None
        return reading

    async def count(self, name: str) -> int:
        """A counter of this start of the server."""
        lines = [line for line in (await self.page()).splitlines() if line.startswith(f"vllm:{name}{{")]
        return int(float(lines[0].split()[-1]))

    async def next_incident(self, num_before: int) -> Incident:
        while len(self.server.incidents) == num_before:
            await trio.sleep(0.05)
        return self.server.incidents[num_before]


@asynccontextmanager
async def open_real(
    python: Path,
    folder: Path,
    settings: ServerSettings,
    *,
    client: ClientConfig | None = None,
    wrapped: Sequence[str] = (),
) -> AsyncIterator[Real]:
    """A server over the model in `folder / "model"` that has made its first token; `wrapped` runs its command."""
    launch = launch_of(python, folder, wrapped)
    async with (
        open_server(launch, settings, SUPERVISION) as server,
        open_openai(server, tokenizer=tiny.tokenizer(), config=client) as engine,
    ):
        await server.ready()
        yield Real(server, engine, launch.scratch)


def launch_of(python: Path, folder: Path, wrapped: Sequence[str] = ()) -> Launch:
    plain = Launch(python=python, model=folder / "model", scratch=folder / "scratch")
    return dataclasses.replace(plain, write_command=lambda settings, port: (*wrapped, *plain.command(settings, port)))


def reapers() -> list[psutil.Process]:
    return [each for each in psutil.Process().children() if "reaper.py" in " ".join(each.cmdline())]


def processes() -> list[psutil.Process]:
    """Whatever of vLLM we have started, and what has kept it."""
    return [
        each
        for each in psutil.Process().children(recursive=True)
        if any(part in " ".join(each.cmdline()) for part in ("VLLM", "vllm", "reaper.py"))
    ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Struck:
    """Attempts under which a process of their server was killed or stopped.

    whole: the beginning of the text that they all should have. shown: what the watcher of each saw.
    """

    whole: str
    samples: list[Sample]
    shown: list[str]
    incident: Incident


async def struck(real: Real, part: str, number: signal.Signals, *, num_attempts: int = 3) -> Struck:
    """Break a process of the server amid endless attempts, each of which is cut when the next server has gone on."""
    whole = await real.sample(SamplingParams(temperature=0, max_new_tokens=100))
    num_incidents, left, num_seen = len(real.server.incidents), [real.process(part).pid], 0
    shown, num_later, times = [""] * num_attempts, [0] * num_attempts, list[float]()
    samples: dict[int, Sample] = {}

    async def one(place: int) -> None:
        def watch(chunk: Chunk) -> bool:
            nonlocal num_seen
            num_seen += chunk.num_tokens
            shown[place] += chunk.text
            if left and num_seen >= 10 * num_attempts:
                os.kill(left.pop(), number)
                times.append(trio.current_time())
            if len(real.server.incidents) > num_incidents and real.server.is_ready:
                times.append(trio.current_time())
                num_later[place] += chunk.num_tokens
            return num_later[place] >= 50

        params = SamplingParams(temperature=0, max_new_tokens=10**6)
        samples[place] = await real.sample(params, on_chunk=watch)

    async with trio.open_nursery() as nursery:
        for place in range(num_attempts):
            nursery.start_soon(one, place)
    log.info("%s, %s: %.1f s until the first token of the next server", part, number.name, times[1] - times[0])
    return Struck(
        whole=whole.text,
        samples=[samples[place] for place in range(num_attempts)],
        shown=shown,
        incident=real.server.incidents[num_incidents],
    )


def check_struck(made: Struck) -> None:
    """No token is lost and none comes twice."""
    for sample, shown in zip(made.samples, made.shown, strict=True):
        assert (sample.finish, sample.error) == (FinishReason.ABORTED, "")
        assert sample.text == shown
        assert sample.num_tokens == len(sample.token_stats)
        # other batches round otherwise, so a greedy text may part from the whole one, but not at once
        assert sample.text[: len(made.whole)] == made.whole[: len(sample.text)]
