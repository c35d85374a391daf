"""The shipped tiny model's architecture and tokenizer, and the Hugging Face folder that a run's weights become."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoTokenizer, GenerationConfig, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from kit.errors import MissingError
from kit.training import checkpoint
from kit.training.checkpoint import CHECKPOINT
from kit.training.tiny.evaluation import TEMPERATURE
from kit.training.tiny.tokenizer import MAX_LENGTH, corpus, save_tokenizer, train_tokenizer


def tiny_architecture(tokenizer: PreTrainedTokenizerFast) -> Qwen2Config:
    """Four layers of 256, heads of 64 (vLLM's CPU build takes none below 32), tied embeddings."""
    return Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def export(run_dir: Path, target: Path) -> None:
    """Write the run's weights (in bfloat16), tokenizer and configs as a Hugging Face folder.

    Raises: MissingError if the run has no checkpoint.
    """
    path = run_dir / CHECKPOINT
    if not path.exists():
        raise MissingError(f"no checkpoint at {path}; run `train --run-dir {run_dir}` first")
    tokenizer = run_tokenizer(run_dir)
    model = Qwen2ForCausalLM(tiny_architecture(tokenizer))
    model.load_state_dict(checkpoint.load(path)["model"])
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=TEMPERATURE,
        top_k=0,
        top_p=1.0,
        eos_token_id=[tokenizer.eos_token_id, tokenizer.pad_token_id],
        pad_token_id=tokenizer.pad_token_id,
    )
    model.to(torch.bfloat16).save_pretrained(target)
    (target / "model.safetensors").chmod(0o644)  # safetensors creates it for its owner alone
    save_tokenizer(tokenizer, target)


def run_tokenizer(run_dir: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of a run, trained when it is first asked for."""
    folder = run_dir / "tokenizer"
    if not folder.exists():
        save_tokenizer(train_tokenizer(corpus()), folder)
    tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(folder)
    return tokenizer
