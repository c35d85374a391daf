"""The TRM's plugin in vLLM under one set of settings, on random weights; run by vLLM's own interpreter.

    python -m benchmarks.gpu.served FOLDER --mode eager --device cuda

mode: `plain`, the backbone alone; `eager`, with the recursion; `compiled`, the same under torch.compile in its default
mode and with piecewise CUDA graphs, as the kit serves it; `fp8`, that with a cache of FP8. Models are made in FOLDER by
the first mode that runs. Out: a JSON object on the last line: greedy tokens by depth, and what vLLM chose.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from pathlib import Path
from typing import Any

# Before torch and vLLM are imported. The kit's plugin is for the first model runner.
os.environ.update(
    VLLM_ENABLE_V1_MULTIPROCESSING="0",
    VLLM_USE_V2_MODEL_RUNNER="0",
    HF_HUB_OFFLINE="1",
    VLLM_NO_USAGE_STATS="1",
    DO_NOT_TRACK="1",
    VLLM_LOGGING_LEVEL="WARNING",
)

MODES = ("plain", "eager", "compiled", "fp8")
DEPTHS = (0, 3)
NUM_PROMPTS = 48
NUM_TOKENS = 24
_VOCAB_SIZE = 97
_SHAPE = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 4}


def make_models(folder: Path) -> tuple[Path, Path]:
    """The backbone's folder, and that of the backbone joined with a random TRM that moves its argmax."""
    backbone_folder, joined = folder / "backbone", folder / "joined"
    if joined.exists():
        return backbone_folder, joined
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from kit.engines.vllm.plugin.joined import write_joined
    from kit.trm import checkpoint
    from kit.trm.config import TRMConfig
    from kit.trm.model import TinyRecursiveModel

    torch.manual_seed(0)
    ends: dict[str, Any] = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))
    config = Qwen2Config(
        vocab_size=_VOCAB_SIZE, num_key_value_heads=2, max_position_embeddings=512, initializer_range=0.2,
        **_SHAPE, **ends,
    )  # fmt: skip
    backbone = Qwen2ForCausalLM(config).float()
    backbone.save_pretrained(backbone_folder)
    trm = TinyRecursiveModel(TRMConfig.for_backbone(config, form="anchor", num_latent=2, intermediate_size=256))
    torch.nn.init.normal_(trm.out.weight, std=0.3)
    checkpoint.save(trm, folder / "trm", backbone_folder=backbone_folder)
    return backbone_folder, write_joined(folder / "trm", backbone_folder, joined)


def settings(mode: str, device: str) -> dict[str, Any]:
    """What vLLM is told in this mode, besides the model."""
    is_gpu = device == "cuda"
    told: dict[str, Any] = {
        "dtype": "bfloat16" if is_gpu else "float32",
        "enforce_eager": mode in ("plain", "eager"),
        "max_model_len": 256,
        "max_num_seqs": 64,
        "kv_cache_memory_bytes": (1 << 30) if is_gpu else (64 << 20),
        "skip_tokenizer_init": True,
    }
    if is_gpu:
        told["attention_backend"] = "FLASH_ATTN"
    if mode in ("compiled", "fp8"):
        told["compilation_config"] = {"cudagraph_mode": "PIECEWISE"}
    if mode == "fp8":
        told["kv_cache_dtype"] = "fp8"
    return told


def served(folder: Path, mode: str, device: str) -> dict[str, Any]:
    """Greedy tokens by depth, and what vLLM chose."""
    from kit.engines.vllm.plugin.names import DEPTH, PROCESSOR

    backbone, joined = make_models(folder)
    from vllm import LLM, SamplingParams

    on_top: dict[str, Any] = {} if mode == "plain" else {"logits_processors": [PROCESSOR], "hf_overrides": {DEPTH: 2}}
    llm = LLM(model=str(backbone if mode == "plain" else joined), **settings(mode, device), **on_top)
    draw = random.Random(0)
    prompts = [[draw.randrange(_VOCAB_SIZE) for _ in range(draw.choice((3, 17, 60)))] for _ in range(NUM_PROMPTS)]
    tokens: dict[str, list[list[int]]] = {}
    begun_s = time.perf_counter()
    for depth in DEPTHS[:1] if mode == "plain" else DEPTHS:
        told = SamplingParams(
            temperature=0, max_tokens=NUM_TOKENS, ignore_eos=True, detokenize=False,
            extra_args=None if mode == "plain" else {DEPTH: depth},
        )  # fmt: skip
        outputs = llm.generate([{"prompt_token_ids": prompt} for prompt in prompts], told, use_tqdm=False)
        tokens[str(depth)] = [list(output.outputs[0].token_ids) for output in outputs]
    chosen = llm.llm_engine.vllm_config
    return {
        "tokens": tokens,
        "seconds": time.perf_counter() - begun_s,
        "compilation": str(chosen.compilation_config.mode),
        "graphs": str(chosen.compilation_config.cudagraph_mode),
        "cache": str(chosen.cache_config.cache_dtype),
    }


def main() -> None:
    """Serve, and print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mode", choices=MODES, required=True)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    args = parser.parse_args()
    if args.device == "cpu":  # its worker's threads take the time from one another; nothing is compiled
        os.environ.update(OMP_NUM_THREADS="1", TORCHDYNAMO_DISABLE="1")
    print("\n" + json.dumps(served(args.folder, args.mode, args.device)))


if __name__ == "__main__":
    main()
