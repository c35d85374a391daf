"""What does decoding with the recursion cost, and is it what its arithmetic says?

Five tables, from a random backbone and a random recursion (weights do not change the cost): time for each
new token against the length of the prefix; against recomputing everything and against the source project's
scheme (48 deep recursions over the new token); overhead over the bare backbone in transformers' `generate`
beside the ratio that counting weights predicts; tokens per second of the engine; torch.compile on and off.
On the CPU times are this process's CPU time, since the machine may be shared; on a GPU wall time.

    python -m benchmarks.trm_decode [--device cuda --dtype bfloat16 --hidden-size 1536 --num-layers 28 ...]
"""

from __future__ import annotations

import argparse
import platform
import random
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import transformers
import trio
from torch.nn.functional import scaled_dot_product_attention
from transformers import DynamicCache, Qwen2Config, Qwen2ForCausalLM

from kit.engines.trm.engine import TRMEngine
from kit.sampling import SamplingParams
from kit.trm.cache import Slots
from kit.trm.config import TRMConfig
from kit.trm.language_model import RecursiveLM
from kit.trm.model import TinyRecursiveModel
from tests.engines import tiny

PREFIXES = (64, 128, 256, 512, 1024, 2048)
DEPTH = 3
SOURCE_DEPTH = 16 * 3  # the source project ran N_sup * T over every new token
NUM_NEW = 8
COLD_BYTES = 64 << 20
KEPT = "0, a later token may recurse"

Runs = dict[str, Callable[[], object]]


class Stopwatch:
    """CPU seconds of this process, or wall seconds around a GPU that is made to finish."""

    def __init__(self, device: str) -> None:
        self._is_cpu = device == "cpu"

    def __call__(self) -> float:
        if self._is_cpu:
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    def least(self, runs: Runs, *, num_repeats: int) -> dict[str, float]:
        """Least seconds of each run: what else the machine does only ever adds."""
        return {name: min(each) for name, each in self.turns(runs, num_repeats=num_repeats).items()}

    def turns(self, runs: Runs, *, num_repeats: int) -> dict[str, list[float]]:
        """Seconds of each run, turn by turn after a warm-up; every other turn goes backwards."""
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for repeat in range(num_repeats + 1):
            for name in list(runs)[:: 1 if repeat % 2 else -1]:
                begun_s = self()
                runs[name]()
                if repeat:
                    seconds[name].append(self() - begun_s)
        return seconds


def build(args: argparse.Namespace, **config: Any) -> RecursiveLM:
    """A random Qwen2 of the size asked for and a recursion over it."""
    torch.manual_seed(0)
    settings = Qwen2Config(
        vocab_size=args.vocab_size,
        hidden_size=args.hidden_size,
        intermediate_size=args.hidden_size * 3,
        num_hidden_layers=args.num_layers,
        num_attention_heads=args.hidden_size // args.head_dim,
        num_key_value_heads=2,
        max_position_embeddings=8192,
        bos_token_id=None,
        eos_token_id=None,
        tie_word_embeddings=True,
    )
    backbone = Qwen2ForCausalLM(settings)
    trm = TinyRecursiveModel(TRMConfig.for_backbone(settings, **config))
    model = RecursiveLM(backbone, trm)
    model.to(args.device, getattr(torch, args.dtype)).eval()
    return model


def filled_cache(model: RecursiveLM, num_columns: int, depth: int) -> Any:
    """A cache as a prefix of that length leaves it; its numbers do not matter for time."""
    config = model.backbone.config
    cache = DynamicCache(config=config)
    slots = Slots(cache, model.trm.config, first=config.num_hidden_layers, depth=depth, num_past=0)
    slots.record(torch.full((1, num_columns), depth, device=model.device))
    for layer in cache.layers:
        if layer.is_initialized:
            continue
        shape = (1, config.num_key_value_heads, num_columns, config.hidden_size // config.num_attention_heads)
        noise = torch.randn(shape, device=model.device, dtype=model.dtype)
        layer.update(noise, noise.clone())
    return cache


def decode(model: Any, num_columns: int, cache_of: Callable[[], Any], **settings: Any) -> Callable[[], None]:
    """A run of NUM_NEW new tokens after a prefix."""
    token_BT = torch.zeros(1, 1, dtype=torch.int64, device=model.device)

    def run() -> None:
        cache = cache_of()
        for step in range(NUM_NEW):
            position_BT = torch.full_like(token_BT, num_columns + step)
            model(token_BT, position_ids=position_BT, past_key_values=cache, use_cache=True, **settings)

    return run


def attend(model: RecursiveLM, num_columns: int, depth: int) -> Callable[[], None]:
    """The attention kernels alone of NUM_NEW new tokens' recursion.

    Their keys and values come from memory, not from a processor's cache: between two reads of the same ones
    the model reads all weights of the net.
    """
    config = model.trm.config
    heads, size = config.num_key_value_heads, config.head_dim
    make: dict[str, Any] = {"device": model.device, "dtype": model.dtype}
    queries_BHGE = torch.randn(1, heads, config.num_attention_heads // heads, size, **make)
    num_copies = -(-COLD_BYTES // (2 * heads * num_columns * size * model.dtype.itemsize))
    memory_CBHSE = torch.randn(num_copies, 2, 1, heads, num_columns, size, **make)
    num_calls = NUM_NEW * depth * config.num_applications * config.num_layers

    def run() -> None:
        for call in range(num_calls):
            keys_BHSE, values_BHSE = memory_CBHSE[call % num_copies]
            scaled_dot_product_attention(queries_BHGE, keys_BHSE, values_BHSE)

    return run


def slope(seconds: list[float]) -> float:
    """Microseconds that a token costs more for each 1000 tokens of prefix (least squares)."""
    x, y = [float(prefix) for prefix in PREFIXES], [1e6 * each / NUM_NEW for each in seconds]
    return 1000 * statistics.linear_regression(x, y).slope


def print_flatness(args: argparse.Namespace, watch: Stopwatch) -> None:
    print(
        f"\n## ms for each new token against the prefix, T = {DEPTH}, batch 1 (slope: us a token per 1000 of prefix)\n"
    )
    print(
        "| model |" + "".join(f" {prefix} |" for prefix in PREFIXES) + " slope |\n|---|" + "---:|" * (len(PREFIXES) + 1)
    )
    models = {form: build(args, form=form) for form in ("anchor", "states", "token")}
    bare = models["anchor"].backbone
    rows: dict[str, list[float]] = {}
    for prefix in PREFIXES:
        runs: Runs = {"backbone alone": decode(bare, prefix, partial(filled_cache, models["token"], prefix, 0))}
        for form, model in models.items():
            runs[form] = decode(model, prefix, partial(filled_cache, model, prefix, DEPTH), depth=DEPTH)
            runs[f"filling, {form}"] = partial(filled_cache, model, prefix, DEPTH)
        runs["the anchor's attention kernels alone"] = attend(models["anchor"], prefix, DEPTH)
        for name, seconds in watch.least(runs, num_repeats=args.num_repeats).items():
            rows.setdefault(name, []).append(seconds)
    for name, form in (("backbone alone", "token"), *((form, form) for form in models)):
        rows[name] = minus(rows[name], rows[f"filling, {form}"])
    kernels = rows["the anchor's attention kernels alone"]
    rows["anchor without its attention kernels"] = minus(rows["anchor"], kernels)
    for name, each_prefix in rows.items():
        if not name.startswith("filling"):
            cells = " | ".join(f"{1000 * each / NUM_NEW:.2f}" for each in each_prefix)
            print(f"| {name} | {cells} | {slope(each_prefix):.0f} |", flush=True)


def minus(whole: list[float], part: list[float]) -> list[float]:
    return [one - other for one, other in zip(whole, part, strict=True)]


def print_without_cache(args: argparse.Namespace, watch: Stopwatch) -> None:
    num_columns = 512
    print(f"\n## Against no cache, {num_columns} tokens, batch 1\n")
    print("| run | ms a token | slower than the cache |\n|---|---:|---:|")
    input_ids = torch.randint(args.vocab_size, (1, num_columns + 1), device=args.device)
    for form in ("anchor", "states"):
        model = build(args, form=form)
        cached = f"{form}, T={DEPTH}, cached"
        runs: Runs = {
            cached: decode(model, num_columns, partial(filled_cache, model, num_columns, DEPTH), depth=DEPTH),
            f"{form}, T={DEPTH}, every column again": partial(model.forward, input_ids, depth=DEPTH),
        }
        if form == "anchor":
            again = "backbone again, recursion on the last column"
            runs[f"{form}, T={DEPTH}, {again}"] = partial(model.forward, input_ids, depth=DEPTH, logits_to_keep=1)
        else:
            source = build(args, form=form, cache="last_step")
            runs[f"source project's scheme: {SOURCE_DEPTH} deep recursions on the new token"] = decode(
                source, num_columns, partial(filled_cache, source, num_columns, SOURCE_DEPTH), depth=SOURCE_DEPTH
            )
        seconds = watch.least(runs, num_repeats=max(1, args.num_repeats // 3))
        for name, each in seconds.items():
            per_token = each if "again" in name else each / NUM_NEW
            print(f"| {name} | {1000 * per_token:.2f} | {per_token * NUM_NEW / seconds[cached]:.1f} |", flush=True)


def predicted_ratio(model: RecursiveLM, depth: int, *, keeps_anchors: bool) -> float:
    """Weights that a new token passes through, over the bare backbone's: FLOPs (x 2) and, at batch 1, bytes."""
    embedding = model.backbone.get_input_embeddings().weight
    backbone = sum(parameter.numel() for parameter in model.backbone.parameters())
    if model.get_output_embeddings().weight is not embedding:
        backbone -= embedding.numel()
    net = sum(parameter.numel() for parameter in model.trm.net.parameters())
    key_value = sum(p.numel() for name, p in model.trm.net.named_parameters() if "key_value" in name)
    once = key_value if keeps_anchors else 0
    out = model.trm.out.weight.numel() if depth else 0
    applied = depth * model.trm.config.num_applications * (net - key_value)
    return float((backbone + once + applied + out) / backbone)


def print_overhead(args: argparse.Namespace, watch: Stopwatch) -> None:
    print(f"\n## transformers.generate: 64 tokens of prompt, {args.num_new} new, over the bare backbone, form anchor\n")
    print(
        "| T | s | measured ratio | predicted by counting weights | measured / predicted | middle half of the turns |\n"
        "|---|---:|---:|---:|---:|---:|"
    )
    model = build(args)
    input_ids = torch.randint(args.vocab_size, (1, 64), device=args.device)
    settings: dict[str, Any] = {
        "attention_mask": torch.ones_like(input_ids),
        "max_new_tokens": args.num_new,
        "do_sample": False,
        "pad_token_id": 0,
    }
    runs: Runs = {"bare": partial(model.backbone.generate, input_ids, **settings)}
    for depth in args.depths:
        runs[str(depth)] = partial(model.generate, input_ids, depth=depth, **settings)
    if 0 in args.depths:
        runs[KEPT] = partial(model.generate, input_ids, depth=0, recurses_later=True, **settings)
    turns = watch.turns(runs, num_repeats=args.num_repeats)
    print(f"| bare | {statistics.median(turns['bare']):.3f} | 1.00 | 1.00 | | |")
    for name in list(runs)[1:]:
        # each turn against the bare run of the same turn: a slow minute of the machine meets both
        ratios = [each / bare for each, bare in zip(turns[name], turns["bare"], strict=True)]
        depth = 0 if name == KEPT else int(name)
        ratio, predicted = statistics.median(ratios), predicted_ratio(model, depth, keeps_anchors=name != "0")
        low, _, high = statistics.quantiles(ratios, n=4)
        print(
            f"| {name} | {statistics.median(turns[name]):.3f} | {ratio:.3f} | {predicted:.3f} "
            f"| {ratio / predicted:.2f} | {low:.3f} to {high:.3f} |",
            flush=True,
        )


def print_throughput(args: argparse.Namespace, watch: Stopwatch) -> None:
    print("\n## Engine, 32 requests of ragged prompts (30 to 200 tokens) and lengths (8 to 40): tokens a second\n")
    depths = (0, DEPTH)
    print("| rows at once |" + "".join(f" T={depth} |" for depth in depths) + "\n|---|" + "---:|" * len(depths))
    model, rng = build(args), random.Random(0)
    prompts = [tiny.chat("".join(rng.choices(tiny.CHARACTERS, k=rng.randint(30, 200)))) for _ in range(32)]
    lengths = [rng.randint(8, 40) for _ in prompts]

    async def one(engine: TRMEngine, index: int, depth: int) -> None:
        params = SamplingParams(seed=index, max_new_tokens=lengths[index], depth=depth)
        sample = await engine.sample(prompts[index], params, timeout_s=3600)
        assert sample.num_tokens == lengths[index]

    async def all_of(num_rows: int, depth: int) -> None:
        tokenizer = tiny.tokenizer()
        tokenizer.eos_token = None  # a random model may draw it, and every run must make the same tokens
        async with TRMEngine(model, tokenizer, max_batch=num_rows) as engine, trio.open_nursery() as nursery:
            for index in range(len(prompts)):
                nursery.start_soon(one, engine, index, depth)

    for num_rows in (1, 8, 32):
        cells = []
        for depth in depths:
            begun_s = watch()
            trio.run(all_of, num_rows, depth)
            cells.append(f"{sum(lengths) / (watch() - begun_s):.0f}")
        print(f"| {num_rows} | {' | '.join(cells)} |", flush=True)


def print_compiled(args: argparse.Namespace, watch: Stopwatch) -> None:
    print(f"\n## torch.compile of the net (default mode), T = {DEPTH}, prefix 256, batch 1\n")
    eager, compiled = build(args), build(args)
    compiled.trm.net.compile(dynamic=True)
    runs: Runs = {
        name: decode(model, 256, partial(filled_cache, model, 256, DEPTH), depth=DEPTH)
        for name, model in (("eager", eager), ("compiled", compiled))
    }
    begun_s = time.perf_counter()
    runs["compiled"]()
    first_s = time.perf_counter() - begun_s
    token_BT = torch.zeros(1, 1, dtype=torch.int64, device=args.device)
    whole, other = (model(token_BT, depth=DEPTH).y.float() for model in (eager, compiled))
    seconds = watch.least(runs, num_repeats=args.num_repeats)
    print("| | ms a token | first call, s |\n|---|---:|---:|")
    print(f"| eager | {1000 * seconds['eager'] / NUM_NEW:.2f} | |")
    print(f"| compiled | {1000 * seconds['compiled'] / NUM_NEW:.2f} | {first_s:.1f} |")
    print(f"\nlargest difference of y: {float((whole - other).abs().max()):.1e}")


TABLES = {
    "flatness": print_flatness,
    "no-cache": print_without_cache,
    "overhead": print_overhead,
    "throughput": print_throughput,
    "compile": print_compiled,
}


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (
        ("hidden-size", 512),
        ("num-layers", 8),
        ("head-dim", 64),
        ("vocab-size", 8192),
        ("num-repeats", 5),
        ("num-threads", 1),
        ("num-new", 32),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--depths", nargs="+", type=int, default=[0, 1, 3, 5, 10], metavar="T")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES), metavar="NAME")
    args = parser.parse_args()
    torch.set_num_threads(args.num_threads)
    print(f"{vars(args)}\ntorch {torch.__version__}, transformers {transformers.__version__}, {platform.machine()}")
    for name in args.tables:
        TABLES[name](args, Stopwatch(args.device))


if __name__ == "__main__":
    main()
