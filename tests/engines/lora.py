"""LoRA adapters as peft saves them, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from kit.assets import TINY_MODEL
from kit.engines.text.adapter_folder import WEIGHTS
from kit.engines.transformers.loading import load_model


def save_adapter(folder: Path, *, model: Path = TINY_MODEL, rank: int = 4, **changes: Any) -> Path:
    """An adapter that changes something: B is random, where peft begins with zeros."""
    peft = pytest.importorskip("peft")
    told = {"r": rank, "lora_alpha": 2 * rank, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **changes}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        wrapped = peft.get_peft_model(load_model(model, device="cpu", dtype="float32"), peft.LoraConfig(**told))
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.3)
    wrapped.save_pretrained(folder)
    return folder


def change_tensors(folder: Path, change: Any) -> None:
    """Write the adapter's tensors anew, as `change` makes them of the old ones."""
    save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS, metadata={"format": "pt"})
