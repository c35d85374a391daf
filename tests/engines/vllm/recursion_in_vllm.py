"""Run by vLLM's interpreter: greedy tokens of recursions inside vLLM beside those of kit.trm on the same weights.

    python recursion_in_vllm.py SCRATCH CASE [CASE ...] [--num-prompts 200] [--depths 0 1 3 10] [--num-tokens 16]

A CASE is a JSON object: form, backbone (its model_type, by default qwen2) and trm (fields of TRMConfig). Prints a line
for each, in their order: REPORT and a JSON object, for each depth how many prompts there were, how many texts differ
from the backbone's, which differ from kit.trm's, and what vLLM says of cached prefixes and preemptions; or FAILED and
the error. Chunks are short, blocks few and prefixes shared, so that prompts are chunked, their beginnings found in the
cache, and requests preempted and computed again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import traceback
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
    VLLM_LOGGING_LEVEL="WARNING",
)

import torch
from transformers import AutoConfig, AutoModelForCausalLM, logging

from kit.engines.vllm.plugin.joined import write_joined
from kit.engines.vllm.plugin.names import DEPTH, PROCESSOR
from kit.trm import checkpoint
from kit.trm.config import TRMConfig
from kit.trm.language_model import RecursiveLM
from kit.trm.model import TinyRecursiveModel

VOCAB_SIZE = 97
CHUNK_TOKENS = 64
CACHE_BYTES = {"anchor": 3 << 19, "token": 15 << 16, "states": 12 << 20}


def make_folders(scratch: Path, form: str, kind: str, **changes: Any) -> tuple[Path, Path]:
    """A random backbone and a random TRM on it that moves its argmax often."""
    backbone_folder, trm_folder = scratch / "backbone", scratch / "trm"
    config = AutoConfig.for_model(
        kind,
        vocab_size=VOCAB_SIZE,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=512,
        initializer_range=0.2,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    torch.manual_seed(0)
    backbone = AutoModelForCausalLM.from_config(config).float()
    backbone.save_pretrained(backbone_folder)
    trm = TinyRecursiveModel(
        TRMConfig.for_backbone(backbone.config, form=form, num_latent=2, intermediate_size=64, **changes)
    )
    torch.nn.init.normal_(trm.out.weight, std=0.3)
    if trm.whitening is not None:
        size = backbone.config.hidden_size
        trm.whitening.fit([torch.randn(99, size) @ torch.randn(size, size) for _ in trm.config.feature_layers])
    checkpoint.save(trm, trm_folder, backbone_folder=backbone_folder)
    return trm_folder, backbone_folder


def make_prompts(num_prompts: int) -> list[list[int]]:
    """Of 1 to 168 tokens; every other begins as one before it. Few lengths, which kit.trm's batches then share."""
    draw = random.Random(0)
    prompts: list[list[int]] = []
    for index in range(num_prompts):
        tail = [draw.randrange(VOCAB_SIZE) for _ in range(draw.choice((1, 5, 33, 84)))]
        begin = prompts[draw.randrange(0, index, 2)] if index % 2 else []
        prompts.append(begin + tail)
    return prompts


@torch.no_grad()
def generate(model: RecursiveLM, prompts: list[list[int]], depth: int, num_tokens: int) -> list[list[int]]:
    """kit.trm's greedy tokens, prompts of one length together, so that nothing is padded."""
    by_length: dict[int, list[int]] = {}
    for index, prompt in enumerate(prompts):
        by_length.setdefault(len(prompt), []).append(index)
    texts: dict[int, list[int]] = {}
    for indices in by_length.values():
        ids = torch.tensor([prompts[index] for index in indices])
        mask = torch.ones_like(ids)
        out = model.generate(ids, attention_mask=mask, do_sample=False, max_new_tokens=num_tokens, depth=depth)
        texts.update(zip(indices, out[:, ids.shape[1] :].tolist(), strict=True))
    return [texts[index] for index in range(len(prompts))]


def add_in_place() -> None:
    """Let vLLM's norm write over its inputs, as its CUDA kernel does: what reads them afterwards is found out."""
    from vllm.model_executor.layers.layernorm import RMSNorm

    plain = RMSNorm.forward

    def forward(self: Any, x: torch.Tensor, residual: torch.Tensor | None = None, **more: Any) -> Any:
        if residual is None:
            return plain(self, x, residual, **more)
        normed, added = plain(self, x, residual, **more)
        return x.copy_(normed), residual.copy_(added)

    RMSNorm.forward = forward


class Served:
    """vLLM over a joined folder, in this process."""

    def __init__(self, joined: Path, *, form: str, depth: int | None) -> None:
        from vllm import LLM

        self.llm = LLM(
            model=str(joined),
            dtype="float32",
            enforce_eager=True,
            skip_tokenizer_init=True,
            max_model_len=256,
            max_num_seqs=64,
            max_num_batched_tokens=CHUNK_TOKENS,
            enable_chunked_prefill=True,
            enable_prefix_caching=True,
            block_size=32,  # the least that the CPU build takes
            kv_cache_memory_bytes=CACHE_BYTES[form],
            disable_log_stats=False,
            hf_overrides={DEPTH: depth},
            logits_processors=[] if form == "states" else [PROCESSOR],
        )

    def generate(self, prompts: list[list[int]], depths: list[int | None], num_tokens: int) -> list[list[int]]:
        from vllm import SamplingParams

        told = [
            SamplingParams(
                temperature=0,
                max_tokens=num_tokens,
                ignore_eos=True,
                detokenize=False,
                extra_args=None if depth is None else {DEPTH: depth},
            )
            for depth in depths
        ]
        outputs = self.llm.generate([{"prompt_token_ids": prompt} for prompt in prompts], told, use_tqdm=False)
        return [list(output.outputs[0].token_ids) for output in outputs]

    def counters(self) -> dict[str, float]:
        names = ("vllm:num_preemptions", "vllm:prefix_cache_hits", "vllm:prompt_tokens")
        return {metric.name: metric.value for metric in self.llm.get_metrics() if metric.name in names}


def compare(model: RecursiveLM, prompts: list[list[int]], depth: int, texts: list[list[int]]) -> dict[str, Any]:
    """Which prompts differ, and how close kit.trm's two best tokens were where they first do."""
    differing = []
    expected = generate(model, prompts, depth, len(texts[0]))
    for index, (ours, theirs) in enumerate(zip(expected, texts, strict=True)):
        if ours != theirs:
            first = next(at for at, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1])
            ids = torch.tensor([prompts[index] + ours[:first]])
            with torch.no_grad():
                logits = model(ids, depth=depth, logits_to_keep=1).logits
            best = logits[0, -1].topk(2).values
            differing.append({"prompt": index, "token": first, "gap": float(best[0] - best[1])})
    backbones = expected if depth == 0 else generate(model, prompts, 0, len(texts[0]))
    num_moved = sum(ours != theirs for ours, theirs in zip(expected, backbones, strict=True))
    return {"num_prompts": len(prompts), "num_moved": num_moved, "differing": differing}


def report(case: dict[str, Any], scratch: Path, args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """What a case says, for each depth."""
    form = case["form"]
    folders = make_folders(scratch, form, case.get("backbone", "qwen2"), **case.get("trm", {}))
    joined = write_joined(*folders, scratch / "joined")
    backbone = AutoModelForCausalLM.from_pretrained(folders[1], dtype=torch.float32)
    model = checkpoint.load(folders[0], backbone, backbone_folder=folders[1])
    prompts = make_prompts(args.num_prompts)
    if form == "states":  # the depth is the engine's
        return {
            str(depth): report_depth(model, prompts, depth, joined, num_tokens=args.num_tokens) for depth in args.depths
        }
    # all depths side by side in one batch, each request naming its own
    served = Served(joined, form=form, depth=None)
    requests = [(prompt, depth) for prompt in prompts for depth in args.depths]
    # every other request at the default depth names none
    named = [
        None if depth == model.trm.config.depth and index % 8 < 4 else depth
        for index, (_, depth) in enumerate(requests)
    ]
    texts = served.generate([prompt for prompt, _ in requests], named, args.num_tokens)
    return {
        str(depth): {**compare(model, prompts, depth, texts[offset :: len(args.depths)]), **served.counters()}
        for offset, depth in enumerate(args.depths)
    }


def report_depth(
    model: RecursiveLM, prompts: list[list[int]], depth: int, joined: Path, *, num_tokens: int
) -> dict[str, Any]:
    """One depth in an engine of its own."""
    served = Served(joined, form="states", depth=depth)
    texts = served.generate(prompts, [None] * len(prompts), num_tokens)
    return {**compare(model, prompts, depth, texts), **served.counters()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("scratch", type=Path)
    parser.add_argument("cases", type=json.loads, nargs="+", metavar="CASE")
    parser.add_argument("--num-prompts", type=int, default=200)
    parser.add_argument("--depths", type=int, nargs="+", default=[0, 1, 3, 10])
    parser.add_argument("--num-tokens", type=int, default=16)
    args = parser.parse_args()
    logging.disable_progress_bar()
    add_in_place()
    torch.set_num_threads(1)
    for index, case in enumerate(args.cases):
        try:
            line = "REPORT " + json.dumps(report(case, args.scratch / str(index), args))
        except Exception:  # noqa: BLE001 - the other cases are still to be run; the test raises this one's
            line = "FAILED " + json.dumps(traceback.format_exc())
        print(line, flush=True)


if __name__ == "__main__":
    main()
