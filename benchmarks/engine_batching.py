"""What does continuous batching bring over static batches and over one prompt at a time?

The same requests (several samples of each problem, ragged prompts, ragged lengths) run through
TransformersEngine with max_batch 1 and each of `--max-batch`, through transformers' own `generate`, one by
one and in static left-padded batches, which run until their longest row is done, and through transformers' own
continuous batching. Only wanted tokens count. The model never ends by itself, so every run makes equally many tokens.
It is random, or that of a folder, which is then asked the problems of a file (JSON lines with "question" and "answer"),
each once, after the same solved ones:

    python benchmarks/engine_batching.py [--device cuda --hidden-size 2048 --num-layers 24 ...]
    python benchmarks/engine_batching.py --model FOLDER --problems FILE --num-problems 64 --num-shots 8 --skip-singles

`--dtype float32 bfloat16` runs it all in both. `--url` asks a server on this machine as well: `/v1/completions` with
token ids and `ignore_eos`, as llama.cpp and vLLM take them; the server's own CPU seconds count.

    llama-server -m MODEL.gguf --port 8080 --threads 1 --parallel 16 --ctx-size 32768

Runs take turns, each second time in reverse. CPU seconds tell more than seconds where others use the machine. An older
kit is compared with PYTHONPATH=ITS_CHECKOUT.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil  # type: ignore[import-untyped]
import torch
import transformers
import trio
from transformers import GenerationConfig, Qwen2Config, Qwen2ForCausalLM
from transformers.generation.configuration_utils import ContinuousBatchingConfig
from transformers.generation.continuous_batching.utils import WorkloadHints

from kit.engines.text.tokenizer import load_tokenizer
from kit.engines.transformers.engine import TransformersEngine
from kit.engines.transformers.loading import load_model
from kit.engines.vllm.client.http import HttpClient
from kit.sampling import Message, Prompt, SamplingParams
from tests.engines import tiny


@dataclass(frozen=True, slots=True)
class Request:
    """One attempt to make."""

    prompt: Prompt
    params: SamplingParams


def make_requests(*, num_problems: int, num_samples: int, mean_tokens: int, seed: int = 0) -> list[Request]:
    """Prompts of 30 to 300 tokens; lengths from an exponential distribution, as answers have long tails."""
    rng = random.Random(seed)
    requests = []
    for problem in range(num_problems):
        prompt = tiny.chat("".join(rng.choices(tiny.CHARACTERS, k=rng.randint(30, 300))))
        for sample in range(num_samples):
            requests.append(Request(prompt, ragged(rng, problem * num_samples + sample, mean_tokens=mean_tokens)))
    return requests


def ragged(rng: random.Random, seed: int, *, mean_tokens: int) -> SamplingParams:
    """Settings with a limit of their own."""
    max_new_tokens = 4 + min(4 * mean_tokens, int(rng.expovariate(1 / mean_tokens)))
    return SamplingParams(seed=seed, temperature=0.8, top_p=0.95, max_new_tokens=max_new_tokens)


def ask_problems(path: Path, *, num_problems: int, num_shots: int, mean_tokens: int, seed: int = 0) -> list[Request]:
    """The first problems of a file, each after the last `num_shots`, solved."""
    rng = random.Random(seed)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    shots = []
    for row in rows[len(rows) - num_shots :]:
        shots += [Message("user", row["question"]), Message("assistant", row["answer"])]
    return [
        Request(Prompt((*shots, Message("user", row["question"]))), ragged(rng, index, mean_tokens=mean_tokens))
        for index, row in enumerate(rows[:num_problems])
    ]


def with_engine(model: Any, tokenizer: Any, requests: Sequence[Request], *, max_batch: int) -> int:
    """Run all requests at once through the engine; gives the number of new tokens."""
    num_tokens = 0

    async def one(engine: TransformersEngine, request: Request) -> None:
        nonlocal num_tokens
        sample = await engine.sample(request.prompt, request.params, timeout_s=3600)
        num_tokens += sample.num_tokens

    async def main() -> None:
        async with (
            TransformersEngine(model, tokenizer, max_batch=max_batch) as engine,
            trio.open_nursery() as nursery,
        ):
            for request in requests:
                nursery.start_soon(one, engine, request)

    trio.run(main)
    return num_tokens


def with_generate(model: Any, tokenizer: Any, requests: Sequence[Request], *, max_batch: int) -> int:
    """Run all requests through `generate`, `max_batch` at a time in their order."""
    model.set_attn_implementation("sdpa")  # the engine puts its own
    for start in range(0, len(requests), max_batch):
        group = requests[start : start + max_batch]
        chats = [[{"role": m.role, "content": m.content} for m in request.prompt.messages] for request in group]
        inputs = tokenizer.apply_chat_template(
            chats, add_generation_prompt=True, padding=True, return_dict=True, return_tensors="pt"
        )
        longest = max(request.params.max_new_tokens for request in group)
        # generate has no setting for a row of its own: it runs on until the longest is done
        model.generate(
            **inputs.to(model.device),
            do_sample=True,
            temperature=0.8,
            top_p=0.95,
            top_k=0,
            max_new_tokens=longest,
            pad_token_id=0,
        )
    return sum(request.params.max_new_tokens for request in requests)


def with_continuous(model: Any, tokenizer: Any, requests: Sequence[Request], *, max_batch: int) -> int:
    """Run all requests through transformers' own continuous batching, `max_batch` at a time."""
    model.set_attn_implementation("sdpa")
    config = GenerationConfig(do_sample=True, temperature=0.8, top_p=0.95, top_k=0, eos_token_id=-1, pad_token_id=0)
    prompts = [prompt_ids_of(tokenizer, request) for request in requests]
    limits = [request.params.max_new_tokens for request in requests]
    hints = WorkloadHints(max_prompt_length=max(map(len, prompts)), max_generated_length=max(limits))
    batching = ContinuousBatchingConfig(
        max_requests_per_batch=max_batch, page_size=32, num_blocks=64 * max_batch, max_batch_tokens=512
    )
    with model.continuous_batching_context_manager(
        config, continuous_batching_config=batching, workload_hints=hints
    ) as manager:
        for prompt, limit in zip(prompts, limits, strict=True):
            manager.add_request(prompt, max_new_tokens=limit)
        outputs = [manager.get_result(timeout=3600) for _ in requests]
    return sum(len(output.generated_tokens) for output in outputs if output is not None)


def with_url(tokenizer: Any, requests: Sequence[Request], *, url: str, max_batch: int) -> int:
    """Run all requests through a server, `max_batch` at a time."""
    num_tokens, limit = 0, trio.CapacityLimiter(max_batch)

    async def one(prompt_ids: list[int], params: SamplingParams) -> None:
        nonlocal num_tokens
        body = {
            "prompt": prompt_ids,
            "max_tokens": params.max_new_tokens,
            "seed": params.seed,
            "temperature": params.temperature,
            "top_p": params.top_p,
            "top_k": 0,
            "ignore_eos": True,
        }
        async with limit:
            reply = await HttpClient().post_json(f"{url}/v1/completions", body, timeout_s=3600)
        num_tokens += reply["usage"]["completion_tokens"]

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for request in requests:
                nursery.start_soon(one, prompt_ids_of(tokenizer, request), request.params)

    trio.run(main)
    return num_tokens


def prompt_ids_of(tokenizer: Any, request: Request) -> list[int]:
    """The prompt as the model's chat template writes it."""
    messages = [{"role": message.role, "content": message.content} for message in request.prompt.messages]
    ids: list[int] = tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    return ids


def server_at(url: str) -> psutil.Process:
    """The process that listens there."""
    port = urlsplit(url).port
    (pid,) = {each.pid for each in psutil.net_connections("tcp") if each.status == "LISTEN" and each.laddr.port == port}
    return psutil.Process(pid)


def cpu_s_of(process: psutil.Process) -> float:
    """User and system time so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


@dataclass(slots=True)
class Timing:
    """Of one run: wall and CPU seconds of each repeat. cpu_clock: of the process that computes."""

    run: Callable[[], int]
    cpu_clock: Callable[[], float] = time.process_time
    num_tokens: int = 0
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)

    def repeat(self) -> None:
        """Run once."""
        begun_s, begun_cpu_s = time.perf_counter(), self.cpu_clock()
        self.num_tokens = self.run()
        self.seconds.append(time.perf_counter() - begun_s)
        self.cpu_seconds.append(self.cpu_clock() - begun_cpu_s)


def make_model(args: argparse.Namespace, dtype: str) -> Any:
    """A random Qwen2 of the size asked for."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=args.vocab_size,
        hidden_size=args.hidden_size,
        intermediate_size=args.hidden_size * 3,
        num_hidden_layers=args.num_layers,
        num_attention_heads=args.hidden_size // 64,
        num_key_value_heads=max(1, args.hidden_size // 256),
        max_position_embeddings=8192,
        bos_token_id=None,
        eos_token_id=None,
        tie_word_embeddings=True,
    )
    model = Qwen2ForCausalLM(config).to(args.device, getattr(torch, dtype)).eval()
    # the tokenizer's end of text must never be drawn, so that all runs make the same tokens
    model.lm_head.register_forward_hook(lambda _module, _args, logits: logits[..., : tiny.EOS_ID])
    model.generation_config.eos_token_id = None
    return model


def open_model(args: argparse.Namespace, dtype: str) -> tuple[Any, Any]:
    """The model of the folder, which can no longer end a text, and its tokenizer."""
    model = load_model(args.model, device=args.device, dtype=dtype)
    tokenizer = load_tokenizer(args.model)
    model.generation_config.eos_token_id = None
    end_ids = [token_id for token_id in tokenizer.all_special_ids if token_id is not None]
    model.get_output_embeddings().register_forward_hook(
        lambda _module, _args, logits: logits.index_fill_(-1, torch.tensor(end_ids, device=logits.device), -math.inf)
    )
    return model, tokenizer


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (
        ("hidden-size", 256),
        ("num-layers", 4),
        ("vocab-size", 4096),
        ("num-problems", 4),
        ("num-samples", 8),
        ("num-shots", 0),
        ("mean-tokens", 48),
        ("num-repeats", 2),
        ("num-threads", 1),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--max-batch", type=int, nargs="+", default=[8], help="rows at once, in turn")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", nargs="+", default=["float32"])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--problems", type=Path)
    parser.add_argument("--url", help="of a server of the same model on this machine")
    parser.add_argument("--skip-singles", action="store_true", help="no run one by one")
    parser.add_argument("--skip-generate", action="store_true", help="no run of transformers' generate")
    parser.add_argument("--skip-continuous", action="store_true", help="no run of transformers' continuous batching")
    return parser.parse_args()


def runs(args: argparse.Namespace, dtype: str, requests: Sequence[Request]) -> dict[str, Timing]:
    """Every way of running the requests in a dtype, warmed."""
    model, tokenizer = open_model(args, dtype) if args.model else (make_model(args, dtype), tiny.tokenizer())
    tokenizer.padding_side = "left"
    tokenizer.pad_token = tokenizer.pad_token or "<eos>"
    ways = {"engine": with_engine}
    ways |= {} if args.skip_generate else {"generate, static batches": with_generate}
    ways |= {} if args.skip_continuous else {"transformers, continuous": with_continuous}
    timings = {}
    for rows in sorted({*args.max_batch} | ({1} if not args.skip_singles else set())):
        for name, way in ways.items():
            if rows > 1 or way is not with_continuous:
                run = partial(way, model, tokenizer, requests, max_batch=rows)
                timings[f"{name}, {rows} rows, {dtype}"] = Timing(run)
        if args.url and rows > 1:
            run = partial(with_url, tokenizer, requests, url=args.url, max_batch=rows)
            server = server_at(args.url)
            timings[f"{server.name()}, {rows} rows"] = Timing(run, cpu_clock=partial(cpu_s_of, server))
    with_engine(model, tokenizer, requests[:1], max_batch=1)
    return timings


def main() -> None:
    args = parse()
    torch.set_num_threads(args.num_threads)
    sizes = {"num_problems": args.num_problems, "mean_tokens": args.mean_tokens}
    if args.problems:
        requests = ask_problems(args.problems, num_shots=args.num_shots, **sizes)
    else:
        requests = make_requests(num_samples=args.num_samples, **sizes)
    timings: dict[str, Timing] = {}
    for dtype in args.dtype:
        timings |= runs(args, dtype, requests)
    for repeat in range(args.num_repeats):
        for timing in list(timings.values())[:: -1 if repeat % 2 else 1]:
            timing.repeat()
    show(args, timings, num_requests=len(requests))


def show(args: argparse.Namespace, timings: dict[str, Timing], *, num_requests: int) -> None:
    """A row a run, each with its median over the repeats."""
    print(f"{vars(args)}\ntorch {torch.__version__}, transformers {transformers.__version__}, {platform.machine()}")
    print(f"{num_requests} requests\n")
    print("| run | tokens | seconds | CPU seconds | tokens/s | tokens/CPU s |\n|---|---:|---:|---:|---:|---:|")
    for name, timing in timings.items():
        wall_s, cpu_s = statistics.median(timing.seconds), statistics.median(timing.cpu_seconds)
        rates = f"{timing.num_tokens / wall_s:.1f} | {timing.num_tokens / cpu_s:.1f}"
        print(f"| {name} | {timing.num_tokens} | {wall_s:.2f} | {cpu_s:.2f} | {rates} |", flush=True)


if __name__ == "__main__":
    main()
