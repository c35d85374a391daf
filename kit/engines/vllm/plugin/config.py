"""The config of a joined folder: the backbone's own fields, the TRM's, and the depth that vLLM is to serve."""

from __future__ import annotations

from typing import Any

from transformers import Qwen2Config

from kit.engines.vllm.plugin.names import MODEL_TYPE
from kit.trm.config import TRMConfig, check_depth


class RecursiveQwen2Config(Qwen2Config):  # type: ignore[misc]  # transformers is untyped
    """trm: the fields of a TRMConfig. trm_depth: T of requests that name none; None: the TRM's own."""

    model_type = MODEL_TYPE
    trm: dict[str, Any] | None = None
    trm_depth: int | None = None

    @property
    def recursion(self) -> TRMConfig:
        """The TRM's config at this engine's depth.

        Raises: InputError for fields or a depth that make no sense.
        """
        config = TRMConfig(**(self.trm or {}))
        if self.trm_depth is not None:
            config.depth = check_depth(self.trm_depth)
        return config
