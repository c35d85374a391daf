"""Small random backbones and recursions for the TRM tests; built in milliseconds, no files."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

from kit.trm.config import TRMConfig
from kit.trm.language_model import RecursiveLM
from kit.trm.model import TinyRecursiveModel

VOCAB_SIZE = 50
CONTEXT = 256
FORMS = ("anchor", "states", "token")
KINDS = ("qwen2", "qwen3")


def backbone(kind: str = "qwen2", *, dtype: torch.dtype = torch.float64, seed: int = 0, **more: Any) -> Any:
    """Qwen2 (and 2.5, the same architecture) or Qwen3, whose heads are wider than D / heads."""
    sizes = {
        "vocab_size": VOCAB_SIZE,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT,
        "initializer_range": 0.3,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
        "tie_word_embeddings": kind == "qwen3",
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if kind == "qwen3":
            model = Qwen3ForCausalLM(Qwen3Config(**{**sizes, "head_dim": 16, **more}))
        else:
            model = Qwen2ForCausalLM(Qwen2Config(**{**sizes, **more}))
    return model.to(dtype).eval()


def trm_for(model: Any, *, seed: int = 1, is_trained: bool = True, **config: Any) -> TinyRecursiveModel:
    """A random recursion; `is_trained` makes its zero-initialised tensors random too, and fits a whitening."""
    settings = TRMConfig.for_backbone(model.config, **{"intermediate_size": 48, "num_latent": 2, **config})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        trm = TinyRecursiveModel(settings)
        if is_trained:
            with torch.no_grad():
                for name, parameter in trm.named_parameters():
                    if name in ("out.weight", "halt.weight", "halt.bias", "feature_mix", "rate_logits"):
                        parameter.normal_(std=0.3)
                    elif "norm" in name:
                        parameter.add_(torch.randn_like(parameter), alpha=0.1)
            if trm.whitening is not None:
                size = settings.hidden_size
                trm.whitening.fit([torch.randn(99, size) @ torch.randn(size, size) for _ in settings.feature_layers])
    return trm.to(model.dtype).eval()


def language_model(kind: str = "qwen2", *, dtype: torch.dtype = torch.float64, **config: Any) -> RecursiveLM:
    model = backbone(kind, dtype=dtype)
    return RecursiveLM(model, trm_for(model, **config)).eval()


def ids(num_rows: int, num_columns: int, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(VOCAB_SIZE, (num_rows, num_columns), generator=generator)


def left_padded(input_ids: Tensor, lengths: list[int]) -> tuple[Tensor, Tensor]:
    """Keep the last `lengths` tokens of each row; the rest becomes padding."""
    columns = torch.arange(input_ids.shape[1])
    mask = (columns >= input_ids.shape[1] - torch.tensor(lengths)[:, None]).long()
    return input_ids * mask, mask
