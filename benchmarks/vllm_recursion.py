"""The recursion inside vLLM against kit.trm's own batched decoding: tokens per second on the same weights and prompts.

    .venv-vllm/bin/python -m benchmarks.vllm_recursion --size 100m

Run by vLLM's interpreter, in one process with one thread for both, so torch and its kernels are the same. Prints
Markdown. Timed is the decoding alone: a step of the batch, after the prompts; seconds are this process's CPU time,
since the machine may be shared, and on an idle one they are wall time. vLLM's side is `LLMEngine.step` over a
joined folder, kit.trm's `RecursiveDecoder.step`, which also draws and notes each token's statistics. All runs of a turn
follow one another, every other turn goes backwards; a rate is the batch by the median step of all turns, a ratio the
median over turns of the medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

# Before torch and vLLM are imported: all in one process, on one thread (else 15 tokens a second), nothing compiled.
os.environ.update(
    VLLM_ENABLE_V1_MULTIPROCESSING="0",
    VLLM_USE_V2_MODEL_RUNNER="0",
    OMP_NUM_THREADS="1",
    TORCHDYNAMO_DISABLE="1",
    HF_HUB_OFFLINE="1",
    VLLM_NO_USAGE_STATS="1",
    VLLM_LOGGING_LEVEL="ERROR",
)

import torch
from transformers import Qwen2ForCausalLM, logging

from benchmarks.vllm_models import (
    CONTEXT,
    SETTINGS,
    SIZES,
    llm_arguments,
    print_head,
    print_machine,
    ratio,
    save_backbone,
)
from kit.engines.trm.decoding import RecursiveAttempt, RecursiveDecoder
from kit.engines.vllm.plugin.joined import write_joined
from kit.engines.vllm.plugin.names import DEPTH, PROCESSOR
from kit.sampling import SamplingParams
from kit.trm import checkpoint
from kit.trm.config import TRMConfig
from kit.trm.language_model import RecursiveLM
from kit.trm.model import TinyRecursiveModel

PROMPT_TOKENS = 4  # short, since the prompts are not timed

Depths = tuple[int, ...]
"""Of the rows of a batch, in turn: (3,) for all alike, (0, 3, 10) for a mixture."""

ONLY_DEPTH: Depths = (3,)  # of the forms other than anchor
MIXED: Depths = (0, 3, 10)

Steps = Callable[[int], list[float]]
"""Seconds of each decoding step of a batch of this many rows."""


@dataclass(slots=True)
class Timed:
    """A way of decoding. turns: the median step of each turn, in seconds, by batch."""

    steps: Steps
    turns: dict[int, list[float]] = field(default_factory=dict)

    def turn(self, num_rows: int) -> None:
        self.turns.setdefault(num_rows, []).append(statistics.median(self.steps(num_rows)))

    def rate(self, num_rows: int) -> float:
        """Tokens per second."""
        return num_rows / statistics.median(self.turns[num_rows])


def prompts(num_rows: int, vocab_size: int) -> list[list[int]]:
    """Different ones, so that nobody may compute them once."""
    return [[row % vocab_size, *range(1, PROMPT_TOKENS)] for row in range(num_rows)]


def save_pair(folder: Path, size: str, form: str) -> tuple[Path, Path]:
    """A random TRM on the backbone that is there."""
    backbone_folder, trm_folder = folder / "backbone", folder / form
    backbone = Qwen2ForCausalLM.from_pretrained(backbone_folder)
    torch.manual_seed(1)
    trm = TinyRecursiveModel(TRMConfig.for_backbone(backbone.config, form=form))
    torch.nn.init.normal_(trm.out.weight, std=0.02)
    checkpoint.save(trm, trm_folder, backbone_folder=backbone_folder)
    return trm_folder, backbone_folder


def open_llm(folder: Path, args: argparse.Namespace, *, form: str | None, depth: int | None = None) -> Any:
    """vLLM in this process, over a joined folder or, with no form, over the backbone alone."""
    from vllm import LLM

    told = {
        **llm_arguments(SETTINGS),
        "dtype": args.dtype,
        "enable_prefix_caching": False,
        "kv_cache_memory_bytes": 1 << 29,
    }
    if form is not None:
        told |= {"hf_overrides": {DEPTH: depth}, "logits_processors": [] if form == "states" else [PROCESSOR]}
    return LLM(model=str(folder), skip_tokenizer_init=True, **told)


def steps_in_vllm(llm: Any, args: argparse.Namespace, depths: Depths | None, num_rows: int) -> list[float]:
    from vllm import SamplingParams as Params

    engine, seconds = llm.llm_engine, []
    for row, prompt in enumerate(prompts(num_rows, args.vocab_size)):
        extra = None if depths is None else {DEPTH: depths[row % len(depths)]}
        params = Params(temperature=0, max_tokens=args.num_tokens, ignore_eos=True, detokenize=False, extra_args=extra)
        engine.add_request(str(row), {"prompt_token_ids": prompt}, params)
    while engine.has_unfinished_requests():
        begun_s = time.process_time()
        engine.step()
        seconds.append(time.process_time() - begun_s)
    assert len(seconds) == args.num_tokens, f"{len(seconds)} steps: the prompts were not taken in one"
    return seconds[1:]


def steps_in_kit(model: RecursiveLM, args: argparse.Namespace, depths: Depths, num_rows: int) -> list[float]:
    decoder = RecursiveDecoder(model, eos_ids=frozenset(), max_depth=max(*depths, 1))
    params = SamplingParams(temperature=0, max_new_tokens=args.num_tokens)
    common: dict[str, Any] = {"params": params, "max_new_tokens": args.num_tokens}
    attempts = [
        RecursiveAttempt(prompt_ids=tuple(ids), depth=depths[row % len(depths)], **common)
        for row, ids in enumerate(prompts(num_rows, args.vocab_size))
    ]
    decoder.admit(attempts)
    seconds = []
    while decoder.attempts:
        begun_s = time.process_time()
        decoder.step()
        seconds.append(time.process_time() - begun_s)
    return seconds[:-1]  # the last draws and computes nothing


def told(depths: Depths) -> str:
    return " / ".join(map(str, depths))


def take_turns(ways: Mapping[object, Timed], args: argparse.Namespace) -> None:
    """Time each way with each batch."""
    for num_rows in args.batches:
        for timed in ways.values():
            timed.steps(num_rows)
        for turn in range(args.num_turns):
            for timed in list(ways.values())[:: -1 if turn % 2 else 1]:
                timed.turn(num_rows)


def print_rows(
    label: str, ways: Mapping[object, Timed], args: argparse.Namespace, ours: object, theirs: object
) -> None:
    """One row a batch: what runs in vLLM beside what it is compared with."""
    for num_rows in args.batches:
        one, other = ways[ours], ways[theirs]
        times = ratio(other.turns[num_rows], one.turns[num_rows])
        print(
            f"| {label} | {num_rows} | {other.rate(num_rows):.0f} | {one.rate(num_rows):.0f} | {times:.2f} |",
            flush=True,
        )


def compare_form(folder: Path, args: argparse.Namespace, form: str, depths: list[Depths]) -> None:
    """The table of one form; that of anchor has the plain backbone as well."""
    pair = save_pair(folder, args.size, form)
    joined = write_joined(*pair, folder / f"joined-{form}")
    llm = open_llm(joined, args, form=form, depth=depths[0][0] if form == "states" else None)
    backbone = Qwen2ForCausalLM.from_pretrained(pair[1], dtype=getattr(torch, args.dtype))
    model = checkpoint.load(pair[0], backbone, backbone_folder=pair[1])
    ways: dict[object, Timed] = {}
    for depth in depths:
        asked = None if form == "states" else depth
        ways["vLLM", depth] = Timed(partial(steps_in_vllm, llm, args, asked))
        ways["kit", depth] = Timed(partial(steps_in_kit, model, args, depth))
    if form == "anchor":
        ways["plain"] = Timed(partial(steps_in_vllm, open_llm(pair[1], args, form=None), args, None))
    take_turns(ways, args)
    for depth in depths:
        print_rows(f"{form}, T = {told(depth)}", ways, args, ("vLLM", depth), ("kit", depth))
    if form == "anchor":
        print_head(("over vLLM's plain Qwen2", "batch", "plain tokens/s", "plugin tokens/s", "plugin / plain"))
        for depth in depths:
            print_rows(f"anchor, T = {told(depth)}", ways, args, ("vLLM", depth), "plain")


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--num-tokens", type=int, default=16)
    parser.add_argument("--num-turns", type=int, default=3)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--depths", type=int, nargs="+", default=[0, 1, 3, 10])
    parser.add_argument("--forms", nargs="+", default=["states", "token", "anchor"])
    args = parser.parse_args()
    assert args.num_tokens + PROMPT_TOKENS < CONTEXT
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    print_machine()
    print(f"{args.size} model, {args.dtype}, {args.num_tokens - 1} steps a turn, {args.num_turns} turns, one thread")
    with tempfile.TemporaryDirectory() as name:
        args.vocab_size = save_backbone(Path(name) / "backbone", args.size).vocab_size
        anchor: list[Depths] = [*((depth,) for depth in args.depths), MIXED]
        for form, depths in (("states", [ONLY_DEPTH]), ("token", [ONLY_DEPTH]), ("anchor", anchor)):
            if form not in args.forms:
                continue
            print_head((f"form {form}", "batch", "kit.trm tokens/s", "vLLM tokens/s", "vLLM / kit.trm"))
            compare_form(Path(name), args, form, depths)


if __name__ == "__main__":
    main()
