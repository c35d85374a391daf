"""The config of a joined folder: the backbone's own fields, the TRM's, and the depth that vLLM is to serve."""

from __future__ import annotations

from typing import Any

from transformers import LlamaConfig, Qwen2Config, Qwen3Config

from kit.engines.vllm.plugin.names import joined_type
from kit.trm.config import TRMConfig, check_depth


class Recursion:
    """trm: the fields of a TRMConfig. trm_depth: T of requests that name none; None: the TRM's own.

    Both are fields of each config below, since transformers reads a config's own annotations.
    """

    trm: dict[str, Any] | None
    trm_depth: int | None

    @property
    def recursion(self) -> TRMConfig:
        """The TRM's config at this engine's depth.

        Raises: InputError for fields or a depth that make no sense.
        """
        config = TRMConfig(**(self.trm or {}))
        if self.trm_depth is not None:
            config.depth = check_depth(self.trm_depth)
        return config


class RecursiveLlamaConfig(Recursion, LlamaConfig):  # type: ignore[misc]  # transformers is untyped
    """Llama's and SmolLM2's."""

    model_type = joined_type("llama")
    trm: dict[str, Any] | None = None
    trm_depth: int | None = None


class RecursiveQwen2Config(Recursion, Qwen2Config):  # type: ignore[misc]
    """Qwen2.5-Math's."""

    model_type = joined_type("qwen2")
    trm: dict[str, Any] | None = None
    trm_depth: int | None = None


class RecursiveQwen3Config(Recursion, Qwen3Config):  # type: ignore[misc]
    """Qwen3's."""

    model_type = joined_type("qwen3")
    trm: dict[str, Any] | None = None
    trm_depth: int | None = None


CONFIGS = {"llama": RecursiveLlamaConfig, "qwen2": RecursiveQwen2Config, "qwen3": RecursiveQwen3Config}
