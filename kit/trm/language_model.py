"""A frozen causal language model with a Tiny Recursive Model joined to its stream.

In: token ids with positions and padding. Out: logits, the halting logit and the depth of each token.

    b = the backbone's last hidden state after its final norm; y from kit.trm.model at depth T
    logits = lm_head(b + out(y))

`out` starts at zero and depth 0 joins nothing, so both are the backbone, bit for bit. The backbone is
neither trained nor saved here.

Letters: B rows, T new columns, S all columns with the past's, K the last columns, whose logits are
wanted, D width, V vocabulary, L hidden states of the backbone that make x.
Source: docs/recursion.md#join; arXiv 2510.04871.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import DynamicCache, GenerationMixin, PreTrainedModel
from transformers.utils import ModelOutput

from kit.errors import InputError
from kit.trm.cache import check_past, is_whole
from kit.trm.config import TRMConfig, check_depth
from kit.trm.early_exit import Recursed
from kit.trm.model import Columns, TinyRecursiveModel


class Frozen(NamedTuple):
    """What the backbone says of each new column: base_BTD, after its final norm, and the states that make x."""

    base_BTD: Tensor
    hidden_LBTD: tuple[Tensor, ...]


@dataclass
class RecursiveOutput(ModelOutput):  # type: ignore[misc]  # transformers is untyped
    """logits_BKV, the cache, q_BK (NaN for tokens at depth 0), the depth each token ended at, and y_BKD."""

    logits: Tensor | None = None
    past_key_values: Any = None
    halting_logit: Tensor | None = None
    depth: Tensor | None = None
    y: Tensor | None = None


class RecursiveLM(PreTrainedModel, GenerationMixin):  # type: ignore[misc]  # transformers is untyped
    """A frozen backbone and a Tiny Recursive Model; takes the backbone's arguments and a depth.

    transformers' `generate` runs it as any causal language model. Its own weights are `trm`'s; see
    kit.trm.checkpoint for saving and loading them. The backbone is put into eval mode and frozen.
    Raises: InputError if the two do not fit.
    """

    base_model_prefix = "backbone"
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True

    def __init__(self, backbone: Any, trm: TinyRecursiveModel) -> None:
        check_fit(backbone, trm.config)
        super().__init__(copy.deepcopy(backbone.config))
        self.generation_config = copy.deepcopy(backbone.generation_config)
        self.backbone = backbone.requires_grad_(False)
        self.trm = trm
        self.train(trm.training)

    def train(self, mode: bool = True) -> RecursiveLM:
        """Set the mode of the TRM; the backbone stays in eval mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def save_pretrained(self, *_args: Any, **_settings: Any) -> None:
        """Refused: it would write the backbone once more."""
        raise InputError("a RecursiveLM is not saved whole; save its TRM with kit.trm.checkpoint.save")

    def get_output_embeddings(self) -> Any:
        """The backbone's lm_head."""
        return self.backbone.get_output_embeddings()

    def get_input_embeddings(self) -> Any:
        """The backbone's token embedding."""
        return self.backbone.get_input_embeddings()

    @torch.no_grad()
    def read(self, input_ids_BT: Tensor, **settings: Any) -> Frozen:
        """Run the backbone without its head; `settings` are those of its forward."""
        layers = self.trm.config.feature_layers
        needs_all = layers != (-1,)
        output = self.backbone.base_model(input_ids=input_ids_BT, output_hidden_states=needs_all, **settings)
        base_BTD = output.last_hidden_state
        hidden = tuple(output.hidden_states[layer] for layer in layers) if needs_all else (base_BTD,)
        return Frozen(base_BTD, hidden)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        depth: int | Sequence[int] | Tensor | None = None,
        recurses_later: bool = True,
        return_dict: bool = True,  # `generate` passes it
    ) -> RecursiveOutput:
        """Logits of the last `logits_to_keep` columns (0: all), recursed to `depth`.

        attention_mask [B, S]: 0 on padding, which stands on the left. position_ids [B, T]: by default counted
        from the mask. depth: T, one for all or one a row; None: the config's. With form="states" a row must
        keep its depth for as long as its cache lives. recurses_later: whether a later token may recurse over
        these columns; False saves, at depth 0, what is made for it alone, and a cache without cannot recurse.
        Raises: InputError for a depth that makes no sense, or that the cache's past was not made for.
        """
        num_rows, num_new = input_ids.shape
        depth_B = self._depths(depth, num_rows)
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.backbone.config)
        num_past = 0 if past_key_values is None else past_key_values.get_seq_length()
        must_recurse = self._must_recurse(depth_B, past_key_values, num_past, recurses_later=recurses_later)
        if position_ids is None:
            position_ids = _positions(input_ids, attention_mask, num_past)
        frozen = self.read(
            input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            use_cache=past_key_values is not None,
        )
        columns = Columns(
            position_BT=position_ids,
            mask_BS=attention_mask,
            num_keep=num_new if self._states_are_read_later else min(logits_to_keep or num_new, num_new),
            cache=past_key_values,
            num_past=num_past,
            num_backbone_layers=self.backbone.config.num_hidden_layers,
        )
        recursed = self._recurse(frozen, columns, depth_B) if must_recurse else self._unmoved(columns, len(depth_B))
        return self._join(frozen.base_BTD, recursed, columns, depth_B, logits_to_keep)

    def generate(self, input_ids: Tensor, *, attention_mask: Tensor | None = None, **settings: Any) -> Any:
        """transformers' `generate`, with `depth=` as in `forward`; prompts are padded on the left.

        At depth 0 it is the backbone's and keeps nothing for a recursion; whoever means to go on from its cache
        at another depth passes `recurses_later=True`.
        Raises: InputError for a prompt that is empty, all padding, padded on the right or beyond the context.
        """
        check_prompts(input_ids, attention_mask, context=getattr(self.config, "max_position_embeddings", None))
        if not max(self._depths(settings.get("depth"), len(input_ids))):
            settings.setdefault("recurses_later", False)
        return super().generate(input_ids, attention_mask=attention_mask, **settings)

    @property
    def _states_are_read_later(self) -> bool:
        return bool(self.trm.config.form == "states")

    def _must_recurse(self, depth_B: Sequence[int], cache: Any, num_past: int, *, recurses_later: bool) -> bool:
        """Whether anything recurses now, or may later over what this pass would keep."""
        if max(depth_B) and not recurses_later:
            raise InputError(f"recurses_later=False is for rows that stay at depth 0, got depth {list(depth_B)}")
        if cache is None:
            return bool(max(depth_B))
        first = self.backbone.config.num_hidden_layers
        check_past(cache, self.trm.config, first=first, depth_B=depth_B, num_past=num_past)
        # a past without anchors stays without: anchors of the new columns alone could not be read
        keeps = recurses_later and is_whole(cache, self.trm.config, first=first, num_past=num_past)
        return bool(max(depth_B)) or (keeps and self.trm.config.form != "token")

    def _recurse(self, frozen: Frozen, columns: Columns, depth_B: Sequence[int]) -> Recursed:
        x_BTD = self.trm.inject(frozen.hidden_LBTD)
        limit = self._limit(depth_B, frozen.base_BTD[:, slice(-columns.num_keep, None)])
        recursed: Recursed = self.trm(x_BTD, columns, limit, depth=max(depth_B))
        return recursed

    def _unmoved(self, columns: Columns, num_rows: int) -> Recursed:
        state = self.trm.initial_state(num_rows, columns.num_keep)
        depth_BK = torch.zeros(num_rows, columns.num_keep, dtype=torch.int64, device=state.y.device)
        return Recursed(state, depth_BK)

    def _join(
        self, base_BTD: Tensor, recursed: Recursed, columns: Columns, depth_B: Sequence[int], logits_to_keep: int
    ) -> RecursiveOutput:
        # `-0` would be every column, and is: 0 asks for all
        last = slice(-logits_to_keep, None)
        y_BKD, depth_BK, base_BKD = recursed.state.y[:, last], recursed.depth_BK[:, last], base_BTD[:, last]
        q_BK = base_BKD.new_full((), torch.nan).expand(depth_BK.shape)
        if max(depth_B):
            q_BK = self.trm.halting_logit(y_BKD).masked_fill(depth_BK == 0, torch.nan)
            joined_BKD = base_BKD + self.trm.delta(y_BKD).to(base_BKD.dtype)
            if self._has_depth_zero(depth_B):
                joined_BKD = torch.where((depth_BK > 0)[..., None], joined_BKD, base_BKD)
            # with the strides of the bare backbone's slice: lm_head's kernel sums in another order for others
            base_BKD = torch.empty_like(base_BTD)[:, last].copy_(joined_BKD)
        return RecursiveOutput(
            logits=self.get_output_embeddings()(base_BKD),
            past_key_values=columns.cache,
            halting_logit=q_BK,
            depth=depth_BK,
            y=y_BKD,
        )

    def _has_depth_zero(self, depth_B: Sequence[int]) -> bool:
        return min(depth_B) == 0 or self.trm.config.gate_entropy is not None

    def _depths(self, depth: int | Sequence[int] | Tensor | None, num_rows: int) -> list[int]:
        if depth is None or isinstance(depth, int):
            return [check_depth(self.trm.config.depth if depth is None else depth)] * num_rows
        listed = depth.tolist() if isinstance(depth, Tensor) else depth
        if not isinstance(listed, Sequence) or len(listed) != num_rows:
            raise InputError(f"depth must be one number, or one for each of {num_rows} rows, got {listed!r}")
        if self.trm.config.cache == "last_step" and len(set(listed)) > 1:
            raise InputError(f"cache='last_step' needs one depth for all rows, got {listed!r}")
        return [check_depth(each) for each in listed]

    def _limit(self, depth_B: Sequence[int], base_BKD: Tensor) -> int | Tensor:
        """The depth of each token: one for all, or [B, K] where rows or the gate tell them apart."""
        gate = self.trm.config.gate_entropy
        if gate is None and len(set(depth_B)) == 1:
            return depth_B[0]
        limit_BK = torch.tensor(depth_B, device=base_BKD.device)[:, None].expand(base_BKD.shape[:2])
        if gate is None:
            return limit_BK
        entropy_BK = entropy(self.get_output_embeddings()(base_BKD))
        return torch.where(entropy_BK > gate, limit_BK, 0)


def entropy(logits_BKV: Tensor) -> Tensor:
    """Of the next-token distributions, in nats, [B, K]; at least float32."""
    logprob_BKV = logits_BKV.to(torch.promote_types(logits_BKV.dtype, torch.float32)).log_softmax(-1)
    entropy_BK: Tensor = torch.special.entr(logprob_BKV.exp()).sum(-1)
    return entropy_BK


def check_fit(backbone: Any, config: TRMConfig) -> None:
    """Raise InputError unless a TRM of this config can join this backbone's stream."""
    for name in ("hidden_size", "vocab_size"):
        theirs, ours = getattr(backbone.config, name), getattr(config, name)
        if theirs != ours:
            raise InputError(f"wrong backbone: its {name} is {theirs}, this TRM was made for {ours}")
    num_states = backbone.config.num_hidden_layers + 1
    for layer in config.feature_layers:
        if not -num_states <= layer < num_states:
            raise InputError(
                f"feature_layers has {layer}, the backbone has hidden states 0 to {num_states - 1} (or negative)"
            )
    _check_head(backbone)


@torch.no_grad()
def _check_head(backbone: Any) -> None:
    """Some models scale or cap their logits after the head; joining the stream would silently skip that."""
    ids = torch.zeros(1, 1, dtype=torch.int64, device=backbone.device)
    was_training = backbone.training
    backbone.eval()
    direct = backbone.get_output_embeddings()(backbone.base_model(input_ids=ids).last_hidden_state)
    whole = backbone(input_ids=ids).logits
    backbone.train(was_training)
    if not torch.equal(direct, whole) and bool(whole.isfinite().all()):
        raise InputError(f"{type(backbone).__name__} is not supported: its logits are not lm_head(last hidden state)")


def check_prompts(input_ids_BT: Tensor, mask_BT: Tensor | None, *, context: int | None) -> None:
    """Raise InputError for prompts that nothing can follow."""
    if input_ids_BT.ndim != 2 or 0 in input_ids_BT.shape:
        raise InputError(f"input_ids must be [rows, tokens] with at least one token, got {list(input_ids_BT.shape)}")
    num_columns = input_ids_BT.shape[1]
    lengths = [num_columns] * len(input_ids_BT) if mask_BT is None else mask_BT.sum(-1).tolist()
    for row, length in enumerate(lengths):
        if length == 0:
            raise InputError(f"row {row} of attention_mask is all padding; leave the row out")
        if context is not None and length >= context:
            raise InputError(
                f"row {row} has {length} tokens and the backbone's context holds {context}; expected room for at "
                "least one new token, so shorten the prompt"
            )
    if mask_BT is not None and not bool(mask_BT[:, -1].all()):
        raise InputError("prompts must be padded on the left; the last column of attention_mask has padding")


def _positions(input_ids_BT: Tensor, mask_BS: Tensor | None, num_past: int) -> Tensor:
    """Each new column's number among its row's tokens; padding gets 0, as nothing attends to it."""
    num_new = input_ids_BT.shape[1]
    if mask_BS is None:
        return torch.arange(num_past, num_past + num_new, device=input_ids_BT.device).expand(len(input_ids_BT), -1)
    return (mask_BS.long().cumsum(-1) - 1).clamp(min=0)[:, -num_new:]
