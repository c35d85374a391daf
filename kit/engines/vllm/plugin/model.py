"""A backbone with a Tiny Recursive Model on it, as vLLM's runner calls a model.

    h = the backbone's last hidden state after its final norm; y from kit.trm.model at depth T
    logits = lm_head(h + out(y))

as in kit.trm.language_model; the tokens of all requests lie side by side, vLLM's attention keeps them apart, and each
is a row of one column here, [N, 1, D]. So a token that has reached its depth leaves the computation, and a prompt's
tokens but the last never enter it. At depth 0 it is the backbone.

vLLM compiles and captures the backbone as usual. The recursion is a Python loop outside, whose depth may change from
step to step; no captured graph may span it: cudagraph_mode PIECEWISE or NONE.

Letters: N tokens of a step, D width. Source: vLLM 0.32, model_executor/models/iquest_loopcoder.py, which also reads a
cache without writing to it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers.initialization import no_init_weights
from vllm.forward_context import get_forward_context
from vllm.model_executor.model_loader.weight_utils import default_weight_loader
from vllm.model_executor.models.llama import LlamaForCausalLM
from vllm.model_executor.models.qwen2 import Qwen2ForCausalLM
from vllm.model_executor.models.qwen3 import Qwen3ForCausalLM
from vllm.model_executor.models.utils import maybe_prefix

from kit.engines.vllm.plugin.depths import RowDepths
from kit.engines.vllm.plugin.names import PROCESSOR
from kit.engines.vllm.plugin.paging import PagedPlaces
from kit.engines.vllm.plugin.processor import ROW_DEPTHS
from kit.errors import InputError
from kit.trm.attention import AnchorReader, Reader
from kit.trm.layers import Pages
from kit.trm.model import TinyRecursiveModel

# Those whose metadata have `query_start_loc`; FlashInfer's have not.
_BACKENDS = frozenset({"CPU_ATTN", "FLASH_ATTN", "TRITON_ATTN", "FLEX_ATTENTION"})

log = logging.getLogger(__name__)


class _Recursive(nn.Module):
    """What stands before one of vLLM's classes of backbones; they differ in nothing that it uses: `model`, its hidden
    states, and `load_weights`.

    Raises: InputError for more than one GPU, or a backend of attention that cannot serve it.
    """

    model: Any

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        _check_parallel(vllm_config.parallel_config)
        super().__init__(vllm_config=vllm_config, prefix=prefix)  # the backbone's class
        config = vllm_config.model_config.hf_config
        trm_config = config.recursion
        with no_init_weights():  # they are loaded
            self.trm = TinyRecursiveModel(trm_config).eval()
        self.places = PagedPlaces(
            trm_config, vllm_config, prefix=maybe_prefix(prefix, "trm.attention"), first=config.num_hidden_layers
        )
        self._shared = vllm_config.compilation_config.static_forward_context
        self._depth = trm_config.depth
        self._max_requests = vllm_config.scheduler_config.max_num_seqs
        self._last = config.num_hidden_layers
        self._layers = tuple(layer % (self._last + 1) for layer in trm_config.feature_layers)
        self._aux = tuple(sorted(set(self._layers) - {0, self._last}))
        self.model._set_aux_hidden_state_layers(self._aux)
        if trm_config.form != "states":
            _check_backends(self._shared.values())
            if ROW_DEPTHS not in self._shared:
                log.warning("without --logits-processors %s every request runs at depth %d", PROCESSOR, self._depth)

    def forward(
        self,
        input_ids: Tensor | None,
        positions: Tensor,
        intermediate_tensors: Any = None,
        inputs_embeds: Tensor | None = None,
    ) -> Tensor:
        """What joins the head: [N, D]."""
        embedded = self._embedded(input_ids, inputs_embeds)
        read = self.model(input_ids, positions, intermediate_tensors, inputs_embeds)
        aux: list[Tensor]
        base_ND: Tensor
        base_ND, aux = read if self._aux else (read, [])
        hidden = {0: embedded, self._last: base_ND, **dict(zip(self._aux, aux, strict=True))}
        limit_N1 = self._limit(len(base_ND), base_ND.device)
        if self.trm.config.form != "anchor" and not bool(limit_N1.any()):
            return base_ND  # nothing here that a later token reads
        x_N1D = self.trm.inject([hidden[layer][:, None] for layer in self._layers])
        reader = self.trm.reader_over(x_N1D, positions[:, None], self.places)
        if not bool(limit_N1.any()):
            self._keep(reader, x_N1D)
            return base_ND
        state = self.trm.run(reader, x_N1D, limit_N1).state
        rows_R = limit_N1[:, 0].nonzero()[:, 0]
        joined_ND: Tensor = base_ND.clone()  # a graph's own memory may not be written to
        joined_ND[rows_R] += self.trm.delta(state.y[rows_R, 0]).to(base_ND.dtype)
        return joined_ND

    def _embedded(self, input_ids: Tensor | None, inputs_embeds: Tensor | None) -> Tensor | None:
        """The hidden state before the first layer, where the TRM reads it; a copy, since vLLM adds to it in place."""
        if 0 not in self._layers:
            return None
        return self.model.embed_input_ids(input_ids) if inputs_embeds is None else inputs_embeds.clone()

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """The TRM's by their names, the rest as the backbone's."""
        ours, loaded = {**dict(self.trm.named_parameters()), **dict(self.trm.named_buffers())}, set()

        def backbones() -> Iterator[tuple[str, Tensor]]:
            for name, weight in weights:
                if name not in ours:
                    yield name, weight
                    continue
                default_weight_loader(ours[name], weight)
                loaded.add(f"trm.{name}")

        backbone: set[str] = super().load_weights(backbones())  # type: ignore[misc]  # the backbone's class
        return backbone | loaded

    def _limit(self, num_tokens: int, device: torch.device) -> Tensor:
        """The depth of each token, int64 [N, 1].

        Of each request the last token alone is asked for logits. What stands before it recurses in the form "states",
        whose states later tokens read, and nowhere else.
        """
        limit_N1 = torch.zeros((num_tokens, 1), dtype=torch.int64, device=device)
        metadata = get_forward_context().attn_metadata
        if self.trm.config.form == "states":
            return limit_N1.fill_(self._depth)
        if not metadata:  # vLLM measures memory: as many as can be asked for at once
            limit_N1[-self._max_requests :] = max(1, self._depth)
            return limit_N1
        begins: Tensor = next(iter(metadata.values())).query_start_loc
        rows: RowDepths = self._shared.get(ROW_DEPTHS) or RowDepths()
        depths = torch.tensor(rows.of(len(begins) - 1, self._depth), device=device)
        is_real = begins.diff().to(device) > 0  # a captured graph's step has surplus requests
        limit_N1[begins[1:].to(device)[is_real] - 1, 0] = depths[is_real]
        return limit_N1

    def _keep(self, reader: Reader, x_N1D: Tensor) -> None:
        """Write the anchors of tokens that do not recurse, since later tokens read them."""
        if isinstance(reader, AnchorReader):
            config = self.trm.config
            nothing = x_N1D.new_zeros((len(x_N1D), config.num_attention_heads, 1, config.head_dim))
            for memory in reader.memory_L:
                assert isinstance(memory, Pages)
                memory.attend(nothing)


# vLLM is not installed where types are checked, so its classes are of no known type.
class RecursiveLlamaForCausalLM(_Recursive, LlamaForCausalLM):  # type: ignore[misc]
    """See _Recursive."""


class RecursiveQwen2ForCausalLM(_Recursive, Qwen2ForCausalLM):  # type: ignore[misc]
    """See _Recursive."""


class RecursiveQwen3ForCausalLM(_Recursive, Qwen3ForCausalLM):  # type: ignore[misc]
    """See _Recursive."""


def _check_backends(layers: Iterable[Any]) -> None:
    """Refuse an attention backend that does not tell where a request's tokens begin."""
    names = {layer.attn_backend.get_name() for layer in layers if hasattr(layer, "attn_backend")}
    for name in sorted(names - _BACKENDS):
        raise InputError(
            f"attention backend {name} does not tell where a request's tokens begin, which a depth for each request "
            f"needs; start vLLM with --attention-backend and one of {', '.join(sorted(_BACKENDS))}"
        )


def _check_parallel(config: Any) -> None:
    for name in ("tensor_parallel_size", "pipeline_parallel_size"):
        if getattr(config, name) != 1:
            raise InputError(f"{name} is {getattr(config, name)}; a TRM is served on one GPU")
