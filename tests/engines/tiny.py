"""Tiny random models and a character tokenizer for the engine tests; built in milliseconds, no files."""

from __future__ import annotations

import os
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from kit.sampling import Message, Prompt

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>{% endif %}"
)
# <eos> comes last, so a model with one id fewer never ends by itself.
SPECIAL = ("<|im_start|>", "<|im_end|>", "<eos>")
CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789 \n+-=?"
EOS_ID = len(CHARACTERS) + 2
VOCAB_SIZE = EOS_ID + 1

DEVICE = os.environ.get("KIT_TEST_DEVICE", "cpu")
"""Where the engine contract is run: benchmarks/gpu/check.sh says `cuda`."""


def chat(text: str) -> Prompt:
    return Prompt((Message("user", text),))


def tokenizer(*, chat_template: str | None = CHATML) -> Any:
    vocab = {token: index for index, token in enumerate([*CHARACTERS, *SPECIAL])}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("[\\s\\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<eos>", additional_special_tokens=list(SPECIAL[:2])
    )
    fast.chat_template = chat_template
    return fast


def byte_fallback_tokenizer() -> Any:
    """As Llama 2 and Mistral have it: words that carry their space, bytes for what is no word.

    The decoder drops the space in front of a text's first word.
    """
    words = [
        "<unk>",
        "<s>",
        "</s>",
        *(f"<0x{byte:02X}>" for byte in range(256)),
        "\u2581",
        "\u2581a",
        "a",
        "b",
        "\u2581b",
    ]
    tokenizer = Tokenizer(
        models.BPE(
            {word: index for index, word in enumerate(words)},
            [("\u2581", "a"), ("\u2581", "b")],
            unk_token="<unk>",
            byte_fallback=True,
            fuse_unk=True,
        )
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


def _llama_like(config: type, model: type, *, vocab_size: int, context: int, **more: Any) -> Any:
    return model(
        config(
            vocab_size=vocab_size,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=context,
            initializer_range=0.4,
            bos_token_id=None,
            eos_token_id=EOS_ID,
            pad_token_id=None,
            **more,
        )
    )


def build(
    kind: str = "qwen2",
    *,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    endless: bool = False,
    context: int = 512,
    **more: Any,
) -> Any:
    """A random model with peaked distributions; `endless` ones cannot emit the end of a text."""
    vocab_size = VOCAB_SIZE - endless
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if kind == "qwen2":
            model = _llama_like(Qwen2Config, Qwen2ForCausalLM, vocab_size=vocab_size, context=context, **more)
        elif kind == "llama":
            model = _llama_like(LlamaConfig, LlamaForCausalLM, vocab_size=vocab_size, context=context, **more)
        else:
            model = GPT2LMHeadModel(
                GPT2Config(
                    vocab_size=vocab_size,
                    n_embd=32,
                    n_layer=2,
                    n_head=4,
                    n_positions=context,
                    initializer_range=0.4,
                    bos_token_id=None,
                    eos_token_id=EOS_ID,
                    **more,
                )
            )
    return model.to(dtype).eval()
