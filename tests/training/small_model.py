"""A random backbone with the tiny model's tokenizer, and GSM8K-like rows: for runs of seconds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from kit.assets import TINY_MODEL
from kit.engines.text.tokenizer import load_tokenizer
from kit.training.settings import TrainSettings


def write_backbone(folder: Path) -> Path:
    config = Qwen2Config(
        vocab_size=512,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=None,
        eos_token_id=load_tokenizer(TINY_MODEL).eos_token_id,
        pad_token_id=None,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        Qwen2ForCausalLM(config).save_pretrained(folder)
    for file in TINY_MODEL.glob("token*.json"):
        shutil.copyfile(file, folder / file.name)
    for file in TINY_MODEL.glob("*.jinja"):
        shutil.copyfile(file, folder / file.name)
    return folder


def write_data(path: Path, *, num_rows: int = 12) -> Path:
    sums = [(a, a + 1, 2 * a + 1) for a in range(num_rows)]
    lines = [
        {"question": f"What is {a} + {b}?", "answer": f"It is <<{a}+{b}={total}>>{total}.\n#### {total}"}
        for a, b, total in sums
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def settings(folder: Path, method: str, **changes: Any) -> TrainSettings:
    """Of a short run whose backbone, data and output lie in `folder`."""
    chosen = {
        "method": method,
        "model": folder / "backbone",
        "dataset": str(folder / "train.jsonl"),
        "output_dir": folder / method,
        "batch_size": 4,
        "epochs": 2,
        "lr": 1e-2,
        "save_every": 2,
        "N_supervision": 2,
        "T_recursion": 2,
        "num_latent": 1,
        "rank": 2,
        "device": "cpu",
    }
    return TrainSettings(**{**chosen, **changes})
