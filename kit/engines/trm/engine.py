"""The recursive engine: that of kit.engines.transformers, with a depth for each call and a halting score.

In: chats. Out: samples. A call's depth is `SamplingParams.depth`, or the engine's own. The TRM's checkpoint names its
backbone, and another one is refused.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Self

from kit.engines.text.tokenizer import load_tokenizer
from kit.engines.text.transcript import Transcript
from kit.engines.transformers.decoding import Attempt, Decoder
from kit.engines.transformers.engine import TransformersEngine
from kit.engines.transformers.loading import load_model
from kit.engines.trm.decoding import RecursiveAttempt, RecursiveDecoder
from kit.errors import EngineError, InputError
from kit.sampling import Sample, SamplingParams, TokenStats
from kit.trm import checkpoint
from kit.trm.config import check_depth
from kit.trm.language_model import RecursiveLM

# The top of the ladder 3 -> 5 -> 10.
MAX_DEPTH = 10


class TRMEngine(TransformersEngine):
    """Samples from a RecursiveLM; see kit.sampling.Engine.

    depth: of calls that name none; None: the checkpoint's. max_depth: of any call; in the form "states" every token's
        cache has room for it.
    Raises: InputError as TransformersEngine does, for a depth beyond `max_depth`, and for cache="last_step", whose
        texts would depend on the batch.
    """

    def __init__(
        self,
        model: RecursiveLM,
        tokenizer: Any,
        *,
        max_batch: int = 16,
        depth: int | None = None,
        max_depth: int = MAX_DEPTH,
    ) -> None:
        if model.trm.config.cache != "exact":
            raise InputError("an engine needs cache='exact'; cache='last_step' is an approximation to measure")
        self._max_depth = check_depth(max_depth)
        self._depth = check_depth(model.trm.config.depth if depth is None else depth)
        if self._depth > max_depth:
            raise InputError(f"depth must be at most max_depth, {max_depth}, got {self._depth}")
        super().__init__(model, tokenizer, max_batch=max_batch)

    @classmethod
    def load(
        cls,
        path: Path | str,
        *,
        device: Literal["cpu", "cuda", "auto"] = "auto",
        dtype: str = "auto",
        max_batch: int = 16,
        backbone: Path | str | None = None,
        depth: int | None = None,
        max_depth: int = MAX_DEPTH,
        check_hash: bool = True,
    ) -> Self:
        """Open a TRM's folder and its backbone's; nothing is downloaded.

        dtype: of both; "auto" by the device and the backbone. backbone: its folder; None: where the TRM says.
        check_hash: whether to hash the backbone's weights.
        Raises: MissingError, InputError naming the absent or damaged file, or for another backbone than the TRM's;
            EngineError where memory does not suffice.
        """
        folder = Path(path)
        backbone_folder = Path(backbone) if backbone is not None else checkpoint.find_backbone(folder)
        loaded = load_model(backbone_folder, device=device, dtype=dtype)
        model = checkpoint.load(folder, loaded, backbone_folder=backbone_folder, check_hash=check_hash)
        tokenizer = load_tokenizer(backbone_folder)
        return cls(model, tokenizer, max_batch=max_batch, depth=depth, max_depth=max_depth)

    def _make_decoder(self, model: Any, *, eos_ids: frozenset[int]) -> Decoder:
        return RecursiveDecoder(model, eos_ids=eos_ids, max_depth=self._max_depth)

    def _attempt(self, prompt_ids: tuple[int, ...], params: SamplingParams, *, wake: Callable[[], object]) -> Attempt:
        depth = self._depth if params.depth is None else params.depth
        if depth > self._max_depth:
            raise EngineError(
                f"depth {depth} is beyond this engine's max_depth, {self._max_depth}; open it with a deeper one"
            )
        attempt = super()._attempt(prompt_ids, params, wake=wake)
        return RecursiveAttempt(
            prompt_ids=attempt.prompt_ids,
            params=attempt.params,
            max_new_tokens=attempt.max_new_tokens,
            wake=attempt.wake,
            depth=depth,
        )

    def _token_stats(self, attempt: Attempt, begin: int, end: int) -> tuple[TokenStats, ...]:
        assert isinstance(attempt, RecursiveAttempt)
        tokens = super()._token_stats(attempt, begin, end)
        recursions = attempt.recursions[begin : begin + len(tokens)]  # they may be one ahead
        return tuple(
            dataclasses.replace(token, halting=recursion.halting)
            for token, recursion in zip(tokens, recursions, strict=True)
        )

    def _as_sample(self, attempt: Attempt, transcript: Transcript, *, seconds: float) -> Sample:
        assert isinstance(attempt, RecursiveAttempt)
        sample = super()._as_sample(attempt, transcript, seconds=seconds)
        known = [token.halting for token in sample.token_stats if token.halting is not None]
        mean = math.fsum(known) / len(known) if known else None
        return dataclasses.replace(sample, depth=attempt.depth, halting=mean)
