"""Each request's own depth, by the only way in which a vLLM worker learns a request's extra arguments.

Before each forward pass a logits processor hears which request sits in which row, with its `extra_args`. This one
changes no logits; it keeps the rows' depths where the model finds them. It is for vLLM's runner V1. V2 has another
interface and no CPU build to test on, so `serving` sets VLLM_USE_V2_MODEL_RUNNER=0.
"""

from __future__ import annotations

from typing import Any

import torch
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor, MoveDirectionality

from kit.engines.vllm.plugin.depths import RowDepths, asked_depth
from kit.errors import InputError

# Its name among the layers that vLLM's config lists; the only object that runner, model and processor share.
ROW_DEPTHS = "kit.trm.row_depths"


class DepthProcessor(LogitsProcessor):  # type: ignore[misc]  # vLLM is not installed where types are checked
    """Keeps the depths of the batch's rows up to date."""

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        """Refuse a request whose depth makes no sense, or that asks for what is not computed, before it is run."""
        if sampling_params.prompt_logprobs is not None:
            raise ValueError("prompt_logprobs cannot be had with a TRM: of a prompt its last token alone recurses")
        try:
            asked_depth(sampling_params.extra_args)
        except InputError as error:
            raise ValueError(str(error)) from error

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self._rows = RowDepths()
        vllm_config.compilation_config.static_forward_context[ROW_DEPTHS] = self._rows

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Removed, added, moved, in this order, as vLLM prescribes."""
        if batch_update is None:
            return
        self._rows.remove(batch_update.removed)
        for row, params, *_ in batch_update.added:
            self._rows.add(row, asked_depth(params.extra_args))
        for source, target, direction in batch_update.moved:
            self._rows.move(source, target, is_swap=direction == MoveDirectionality.SWAP)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """The logits as they are."""
        return logits

    def is_argmax_invariant(self) -> bool:
        """True: vLLM then skips it for greedy requests."""
        return True
