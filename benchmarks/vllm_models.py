"""What the benchmarks of vLLM share: random models in two sizes, the settings they are served with, a table's head.

Imported in both environments, the kit's and vLLM's, so it needs neither vLLM nor trio.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM, logging

from kit.engines.vllm.server.settings import CPU, MOST_LOGPROBS, ServerSettings
from tests.engines import tiny

CONTEXT = 4096
WIDTH = 32  # attempts that decode at once
BLOCK_TOKENS = 32  # the least of the CPU build; by default no prompt here would fill a block, and none be shared

# Of backbones over single characters whose texts never end. A vocabulary of 44 leaves the head next to nothing, so what
# is measured of the larger ones are their layers.
SIZES: dict[str, dict[str, int]] = {
    "tiny": {"hidden_size": 64, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2},
    "3m": {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 4},
    "25m": {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 8, "num_attention_heads": 8},
    "100m": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
}

# One thread: its own processes then have the other core to themselves. The model runs in the engine's process, as on
# one GPU: by default the CPU build has a worker for it, which spins while it waits.
SETTINGS = dataclasses.replace(
    CPU,
    max_model_len=CONTEXT,
    max_num_seqs=WIDTH,
    max_num_batched_tokens=8192,  # said, since the server and LLM.generate choose differently
    kv_cache_bytes=1 << 30,
    # No chunks: the CPU build dies when a prompt is cut into them and its request has a seed, as all of the kit's have
    # ("CPU Generator does not use offset").
    extra_args=(
        *("--distributed-executor-backend", "uni"),
        *("--block-size", str(BLOCK_TOKENS)),
        "--no-enable-chunked-prefill",
    ),
    extra_environment=(*CPU.extra_environment, ("VLLM_ENABLE_V1_MULTIPROCESSING", "0")),
)


def save_backbone(folder: Path, size: str) -> Qwen2Config:
    """Write a random Qwen2 and its tokenizer; returns its config."""
    config = Qwen2Config(
        vocab_size=tiny.VOCAB_SIZE - 1,  # without the end of a text, which is the last
        num_key_value_heads=max(1, SIZES[size]["num_attention_heads"] // 6),
        max_position_embeddings=CONTEXT,
        initializer_range=0.25 if size == "tiny" else 0.05,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
        **SIZES[size],
    )
    logging.disable_progress_bar()
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(config).float()
    model.save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return config


def llm_arguments(settings: ServerSettings) -> dict[str, Any]:
    """The same settings as vLLM's `LLM` takes them."""
    return {
        "max_model_len": settings.max_model_len,
        "max_num_seqs": settings.max_num_seqs,
        "max_num_batched_tokens": settings.max_num_batched_tokens,
        "kv_cache_memory_bytes": settings.kv_cache_bytes,
        "dtype": settings.dtype,
        "enforce_eager": settings.eager,
        "enable_prefix_caching": settings.prefix_caching,
        "max_logprobs": MOST_LOGPROBS,
        "generation_config": "vllm",
        "distributed_executor_backend": "uni",
        "block_size": BLOCK_TOKENS,
        "enable_chunked_prefill": False,
    }


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Median over turns of ours to theirs: a slow minute of the machine meets both of a turn."""
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


def print_machine() -> None:
    """What this ran on, as a Markdown line."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    print(f"{names[0].partition(': ')[2]}, {len(names)} cores, no GPU; load average at the beginning {load}")


def print_head(columns: Iterable[str]) -> None:
    """The head of a Markdown table; all columns but the first are numbers."""
    columns = list(columns)
    print(f"\n| {' | '.join(columns)} |\n|---|{'---:|' * (len(columns) - 1)}", flush=True)
