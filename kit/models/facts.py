"""What a model's folder says of it: config.json, generation_config.json and the chat template; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """The small files of a model's folder, as they are; empty where there is none."""

    config: Mapping[str, Any] = field(default_factory=dict)
    chat_template: str = ""
    generation: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text_config(self) -> Mapping[str, Any]:
        """What config.json says of the language model: models that also see keep it in a part of its own."""
        inner = self.config.get("text_config")
        return {**self.config, **inner} if isinstance(inner, Mapping) else self.config

    @property
    def model_type(self) -> str:
        """Of the whole model, such as `qwen3_5_moe`; empty if it is not told."""
        told = self.config.get("model_type")
        return told if isinstance(told, str) else ""

    @property
    def context_tokens(self) -> int | None:
        """`max_position_embeddings`; None if it is not told."""
        return self.number("max_position_embeddings")

    @property
    def quantisation(self) -> str:
        """How the checkpoint's weights are quantised, in its own word, such as `gptq`; empty if they are not."""
        told = self.config.get("quantization_config") or self.text_config.get("quantization_config")
        return str(told.get("quant_method", "")) if isinstance(told, Mapping) else ""

    @property
    def stop_ids(self) -> frozenset[int]:
        """Ids of the tokens that end a text: generation_config.json's, else the config's; the tokenizer may add one."""
        return token_ids(self.generation.get("eos_token_id", self.text_config.get("eos_token_id")))

    def number(self, name: str) -> int | None:
        """A positive integer of the language model's config; None for anything else."""
        told = self.text_config.get(name)
        return told if isinstance(told, int) and not isinstance(told, bool) and told > 0 else None

    @property
    def num_parameters(self) -> int | None:
        """About how many, from the shapes that the config tells; None where it does not tell them.

        Right within a fifth for dense models and mixtures of experts alike: norms, biases and routers are left out.
        """
        width, layers, vocabulary = (self.number(name) for name in ("hidden_size", "num_hidden_layers", "vocab_size"))
        if width is None or layers is None or vocabulary is None:
            return None
        heads = self.number("num_attention_heads") or 1
        head = self.number("head_dim") or width // heads
        key_values = self.number("num_key_value_heads") or heads
        attention = 2 * width * head * (heads + key_values)
        tables = vocabulary * width * (1 if self.text_config.get("tie_word_embeddings") else 2)
        return tables + layers * (attention + self._feed_forward(width))

    def _feed_forward(self, width: int) -> int:
        inner = self.number("moe_intermediate_size") or self.number("intermediate_size") or 4 * width
        experts = next(
            filter(None, map(self.number, ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"))),
            1,
        )
        return 3 * width * inner * experts

    @property
    def cache_bytes_a_token(self) -> int | None:
        """Of keys and values in float32, where every layer keeps whole heads; None where the config tells too little.

        For other attention (latent, linear, windows) it is too much; vLLM's own arithmetic is the one that counts.
        """
        layers, heads = self.number("num_hidden_layers"), self.number("num_attention_heads")
        width = self.number("hidden_size")
        if layers is None or heads is None or width is None:
            return None
        return (
            2 * 4 * layers * (self.number("num_key_value_heads") or heads) * (self.number("head_dim") or width // heads)
        )


def token_ids(told: object) -> frozenset[int]:
    """What a config says as one id, as a list of them, or not at all."""
    listed = told if isinstance(told, list) else [told]
    return frozenset(each for each in listed if isinstance(each, int) and not isinstance(each, bool))
