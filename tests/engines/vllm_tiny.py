"""What the tests against a real vLLM share: where its environment lies, and a model that its CPU build can run.

The environment is made by `make environment-vllm`, or named by KIT_VLLM_PYTHON; where there is none, the tests that
need it skip and say so.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from tests.engines import tiny

REPO = Path(__file__).parent.parent.parent
CONTEXT = 4096


def vllm_python() -> Path:
    """The interpreter of vLLM's environment; skips the test where there is none."""
    named = os.environ.get("KIT_VLLM_PYTHON")
    folders = [Path(named)] if named else [REPO / ".venv-vllm/bin/python"]
    for python in folders:
        if python.is_file():
            return python
    pytest.skip(
        f"REAL vLLM IS NOT TESTED: no interpreter at {' or '.join(map(str, folders))}; "
        "run `make environment-vllm`, or set KIT_VLLM_PYTHON"
    )


def save_endless_model(folder: Path) -> None:
    """A random model over single characters whose texts never end by themselves, with heads that vLLM accepts."""
    config = Qwen2Config(
        vocab_size=tiny.VOCAB_SIZE - 1,  # without the end of a text, which is the last
        hidden_size=64,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=CONTEXT,
        initializer_range=0.25,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Qwen2ForCausalLM(config)
    model.to(torch.float32).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
