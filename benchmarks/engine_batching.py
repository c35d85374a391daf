"""What does continuous batching bring over static batches and over one prompt at a time?

The same requests (several samples of each problem, ragged prompts, ragged lengths) run through
TransformersEngine with max_batch 1 and `--max-batch`, and through transformers' own `generate`, one by
one and in static left-padded batches, which run until their longest row is done. Only wanted tokens
count. The model is random and never ends by itself, so every run makes exactly the same tokens.

    python benchmarks/engine_batching.py [--device cuda --hidden-size 2048 --num-layers 24 ...]
"""

from __future__ import annotations

import argparse
import platform
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import transformers
import trio
from transformers import Qwen2Config, Qwen2ForCausalLM

from kit.engines.transformers.engine import TransformersEngine
from kit.sampling import Prompt, SamplingParams
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
            max_new_tokens = 4 + min(4 * mean_tokens, int(rng.expovariate(1 / mean_tokens)))
            params = SamplingParams(seed=problem * num_samples + sample, top_p=0.95, max_new_tokens=max_new_tokens)
            requests.append(Request(prompt, params))
    return requests


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


def median_seconds(run: partial[int], *, num_repeats: int) -> tuple[float, int]:
    """Median wall seconds after one warm-up, and the number of tokens."""
    num_tokens = run()
    seconds = []
    for _ in range(num_repeats):
        begun_s = time.perf_counter()
        assert run() == num_tokens
        seconds.append(time.perf_counter() - begun_s)
    return statistics.median(seconds), num_tokens


def make_model(args: argparse.Namespace) -> Any:
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
    model = Qwen2ForCausalLM(config).to(args.device, getattr(torch, args.dtype)).eval()
    # the tokenizer's end of text must never be drawn, so that all runs make the same tokens
    model.lm_head.register_forward_hook(lambda _module, _args, logits: logits[..., : tiny.EOS_ID])
    model.generation_config.eos_token_id = None
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (
        ("hidden-size", 256),
        ("num-layers", 4),
        ("vocab-size", 4096),
        ("max-batch", 8),
        ("num-problems", 4),
        ("num-samples", 8),
        ("mean-tokens", 48),
        ("num-repeats", 2),
        ("num-threads", 1),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    args = parser.parse_args()
    torch.set_num_threads(args.num_threads)
    model, tokenizer = make_model(args), tiny.tokenizer()
    tokenizer.padding_side, tokenizer.pad_token = "left", "<eos>"
    requests = make_requests(num_problems=args.num_problems, num_samples=args.num_samples, mean_tokens=args.mean_tokens)
    runs = {
        "generate, one by one": (with_generate, 1),
        "engine, one by one": (with_engine, 1),
        f"generate, static batches of {args.max_batch}": (with_generate, args.max_batch),
        f"engine, continuous, {args.max_batch} rows": (with_engine, args.max_batch),
    }
    print(f"{vars(args)}\ntorch {torch.__version__}, transformers {transformers.__version__}, {platform.machine()}")
    print(f"{len(requests)} requests\n\n| run | seconds | tokens/s | speed-up |\n|---|---:|---:|---:|")
    first_s = None
    for name, (run, max_batch) in runs.items():
        seconds, num_tokens = median_seconds(
            partial(run, model, tokenizer, requests, max_batch=max_batch), num_repeats=args.num_repeats
        )
        first_s = first_s or seconds
        print(f"| {name} | {seconds:.2f} | {num_tokens / seconds:.0f} | {first_s / seconds:.2f} |", flush=True)


if __name__ == "__main__":
    main()
