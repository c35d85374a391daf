"""What it costs to ask a vLLM server: log-probabilities, streaming, and attempts held at the gate.

    .venv/bin/python -m benchmarks.vllm_client --python .venv-vllm/bin/python

Needs vLLM's environment. Prints Markdown. The model is a tiny random one that never ends a text, so what is measured is
the server's and the client's own work, not the model's.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import trio

from kit.engines.text.tokenizer import load_tokenizer
from kit.engines.vllm.client.admission import read_metrics
from kit.engines.vllm.client.engine import ClientConfig, OpenAIEngine, open_openai
from kit.engines.vllm.client.http import HttpClient
from kit.engines.vllm.server.settings import CPU, ServerSettings
from kit.engines.vllm.server.supervision import Launch, SupervisorConfig
from kit.engines.vllm.server.supervisor import Supervisor, open_server
from kit.sampling import Sample, SamplingParams
from tests.engines import tiny
from tests.engines.vllm.real import save_endless_model

PROMPT = tiny.chat("what is 1+1?")
SUPERVISION = SupervisorConfig(start_timeout_s=240, grace_s=5)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """seconds: wall time. cpu_s: of this process, the client's. num_preempted: attempts thrown out of the cache."""

    samples: Sequence[Sample]
    seconds: float
    cpu_s: float
    num_preempted: int

    @property
    def num_tokens(self) -> int:
        return sum(sample.num_tokens for sample in self.samples)


async def measure(server: Supervisor, engine: OpenAIEngine, *, num_attempts: int, num_tokens: int) -> Measured:
    """Draw attempts at once, each to its last token."""
    samples: list[Sample] = []

    async def one(seed: int) -> None:
        params = SamplingParams(seed=seed, temperature=1.0, max_new_tokens=num_tokens)
        samples.append(await engine.sample(PROMPT, params, timeout_s=600))

    before = await num_preempted(server)
    begun_s, begun_cpu_s = trio.current_time(), sum(os.times()[:2])
    async with trio.open_nursery() as nursery:
        for seed in range(num_attempts):
            nursery.start_soon(one, seed)
    seconds, cpu_s = trio.current_time() - begun_s, sum(os.times()[:2]) - begun_cpu_s
    preempted = await num_preempted(server) - before
    return Measured(samples=samples, seconds=seconds, cpu_s=cpu_s, num_preempted=preempted)


async def num_preempted(server: Supervisor) -> int:
    reading = read_metrics(await HttpClient().get_text(f"{(await server.ready()).url}/metrics", timeout_s=10))
    return reading.num_preempted if reading else 0


async def streaming(launch: Launch) -> None:
    """Tokens a second by log-probabilities and stream interval."""
    print("\n| stream interval | log-probabilities | attempts | tokens/s | client CPU, us a token |")
    print("|---|---|---|---|---|")
    for interval in (1, 10):
        settings = dataclasses.replace(CPU, stream_interval=interval, max_num_seqs=32)
        async with open_server(launch, settings, SUPERVISION) as server:
            await server.ready()
            for num_logprobs in (0, 5, 20):
                config = ClientConfig(num_logprobs=num_logprobs)
                async with open_openai(server, tokenizer=load_tokenizer(launch.model), config=config) as engine:
                    await measure(server, engine, num_attempts=4, num_tokens=50)
                    made = await measure(server, engine, num_attempts=32, num_tokens=400)
                rate, cpu = made.num_tokens / made.seconds, 1e6 * made.cpu_s / made.num_tokens
                print(f"| {interval} | {num_logprobs} | 32 | {rate:.0f} | {cpu:.0f} |", flush=True)


async def gate(launch: Launch, settings: ServerSettings) -> None:
    """A cache that holds a third of the attempts: held at the gate, or preempted and computed anew."""
    print("\n| gate | attempts | seconds | tokens/s | preemptions |\n|---|---|---|---|---|")
    async with open_server(launch, settings, SUPERVISION) as server:
        await server.ready()
        for name, high in (("open", 1.0), ("0.9", 0.9), ("0.7", 0.7), ("open", 1.0), ("0.7", 0.7)):
            config = ClientConfig(num_logprobs=0, cache_high=high, poll_s=None if name == "open" else 0.1)
            async with open_openai(server, tokenizer=load_tokenizer(launch.model), config=config) as engine:
                made = await measure(server, engine, num_attempts=24, num_tokens=1000)
            rate = made.num_tokens / made.seconds
            print(f"| {name} | 24 | {made.seconds:.1f} | {rate:.0f} | {made.num_preempted} |", flush=True)


async def run(python: Path, folder: Path) -> None:
    save_endless_model(folder / "model")
    launch = Launch(python=python, model=folder / "model", scratch=folder / "scratch")
    await streaming(launch)
    # a token takes 512 bytes: 5 MiB hold 10240 of them, and 24 attempts of 1000 want 24000
    await gate(launch, dataclasses.replace(CPU, kv_cache_bytes=5 << 20, max_num_seqs=24))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", type=Path, required=True, help="the interpreter of vLLM's environment")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trio.run(run, options.python, Path(folder))


if __name__ == "__main__":
    main()
