"""The Tiny Recursive Model: hidden states of a backbone in, recursed states out.

    x = norm(mix of the backbone's hidden states)     y, z = the learned first states
    y, z recurse over x to depth T                    delta = out(y), zero until trained; q = halt(y)

It knows no tokens, no vocabulary and no backbone, and is saved alone. A trainer calls `inject`, `reader`,
kit.trm.recursion.iterates, `delta` and `halting_logit`; inference calls `forward`.

Letters: B rows, T new columns, S all columns with the past's, K the last columns, which recurse, D width,
L hidden states of the backbone that make x. Source: arXiv 2510.04871 Figure 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm
from transformers import PreTrainedModel
from transformers import initialization as init

from kit.errors import InputError
from kit.trm.attention import (
    AnchorReader,
    Places,
    Reader,
    StateReader,
    TokenReader,
    anchors,
    rotations,
    visible,
    visible_from,
)
from kit.trm.cache import Slots
from kit.trm.config import EPS, TRMConfig
from kit.trm.early_exit import EarlyExit, Recursed, recurse
from kit.trm.layers import Net, RMSNorm
from kit.trm.recursion import Rates, State
from kit.trm.whitening import Whitening

# A normal cut off at two deviations has this deviation (JAX's lecun_normal, as in the official code).
CUT_DEVIATION = 0.87962566103423978
HALTING_BIAS = -5.0  # official: nothing halts before q has learned something


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Where the new columns stand.

    position_BT: int64. mask_BS: 1 for tokens, 0 for padding; None: no padding. num_keep: the last columns
    that recurse. cache: the backbone's, already extended. num_past: its columns before that.
    num_backbone_layers: how many of its layers are not the recursion's.
    """

    position_BT: Tensor
    mask_BS: Tensor | None = None
    num_keep: int
    cache: Any = None
    num_past: int = 0
    num_backbone_layers: int = 0


class TinyRecursiveModel(PreTrainedModel):  # type: ignore[misc]  # transformers is untyped
    """The recursion's own weights; saved and loaded alone. Runs over hidden states, never over tokens."""

    config_class = TRMConfig
    base_model_prefix = "trm"
    main_input_name = "x_BTD"
    _supports_sdpa = True

    def __init__(self, config: TRMConfig) -> None:
        super().__init__(config)
        size, num_features = config.hidden_size, len(config.feature_layers)
        self.feature_norm = RMSNorm(size)
        self.feature_mix = nn.Parameter(torch.zeros(num_features)) if num_features > 1 else None
        self.whitening = Whitening(num_features, size) if config.whitened else None
        self.y_init = nn.Parameter(torch.empty(size))
        self.z_init = nn.Parameter(torch.empty(size))
        self.rate_logits = nn.Parameter(torch.zeros(2)) if config.damped else None
        self.net = Net(config)
        self.out = nn.Linear(size, size, bias=False)
        self.halt = nn.Linear(size, 1)
        self.post_init()

    def inject(self, hidden_LBTD: Sequence[Tensor]) -> Tensor:
        """x_BTD: hidden states of the backbone, whitened if need be, mixed and normalised."""
        dtype = self.feature_norm.weight.dtype
        if self.whitening is not None:
            hidden_LBTD = [self.whitening(hidden, index) for index, hidden in enumerate(hidden_LBTD)]
        if self.feature_mix is None:
            (mixed,) = hidden_LBTD
        else:
            # each normalised first: the residual stream grows with depth and would drown the early layers
            normed = [rms_norm(hidden, hidden.shape[-1:], eps=EPS).to(dtype) for hidden in hidden_LBTD]
            weights_L = self.feature_mix.softmax(0)
            mixed = sum((w * h for w, h in zip(weights_L, normed, strict=True)), torch.zeros_like(normed[0]))
        x_BTD: Tensor = self.feature_norm(mixed.to(dtype))
        return x_BTD

    def initial_state(self, num_rows: int, num_columns: int) -> State:
        """The learned first states, the same for every token: [B, K, D], not to be written to."""
        shape = (num_rows, num_columns, -1)
        return State(self.y_init.expand(shape), self.z_init.expand(shape))

    @property
    def rates(self) -> Rates | None:
        """How far y and z move in an update; None: all the way."""
        return None if self.rate_logits is None else Rates(*self.rate_logits.sigmoid())

    @property
    def stop_rule(self) -> EarlyExit:
        """The config's early exit."""
        return EarlyExit(
            halting_logit=self.halting_logit,
            halt_above=self.config.halt_above,
            converged_below=self.config.converged_below,
        )

    def reader(self, x_BTD: Tensor, columns: Columns, *, depth: int) -> Reader:
        """What the recursion attends to, at most `depth` deep; extends the cache by anchors where there are any.

        It must be made anew after each optimiser step, since an anchor's keys come from the weights.
        """
        return self._reader(x_BTD, columns, self._slots(columns, depth=depth), depth=depth)

    def reader_over(
        self,
        x_BTD: Tensor,
        position_BT: Tensor,
        places: Places,
        *,
        mask_B1KS: Tensor | None = None,
        num_keep: int | None = None,
    ) -> Reader:
        """As `reader`, whoever keeps the keys and values; `num_keep` columns, the last, recurse (None: all)."""
        config, num_keep = self.config, num_keep or x_BTD.shape[1]
        if config.form == "token":
            return TokenReader(net=self.net)
        rope = rotations(self.net, position_BT, head_dim=config.head_dim, base=config.rope_base)
        if config.form == "states":
            assert num_keep == x_BTD.shape[1], "every column's states are read by later ones"
            return StateReader(net=self.net, rope=rope, mask_B1KS=mask_B1KS, slots=places)
        memory_L = anchors(self.net, x_BTD, rope, places)
        return AnchorReader(net=self.net, rope=rope.last(num_keep), mask_B1KS=mask_B1KS, memory_L=memory_L)

    def reader_at(
        self,
        x_BTD: Tensor,
        position_BT: Tensor,
        columns_BK: Tensor,
        *,
        mask_BT: Tensor | None = None,
        visible_BKT: Tensor | None = None,
    ) -> Reader:
        """As `reader`, over whole sequences without a cache, of which the named columns alone recurse.

        columns_BK: int64, in any order, repeats allowed. mask_BT: 1 for tokens, 0 for padding on either side.
        visible_BKT: which columns each of them may attend to, of those that it can; None: to all.
        Raises: InputError for the form "states", where every column recurses.
        """
        config = self.config
        if config.form == "states":
            raise InputError("form='states' recurses every column, as later ones read it; use reader, or form='anchor'")
        if config.form == "token":
            return TokenReader(net=self.net)
        rope = rotations(self.net, position_BT, head_dim=config.head_dim, base=config.rope_base)
        memory_L = anchors(self.net, x_BTD, rope, Slots(None, config, first=0, depth=1, num_past=0))
        mask_B1KT = visible_from(columns_BK, mask_BT, num_columns=x_BTD.shape[1])
        if visible_BKT is not None:
            mask_B1KT = mask_B1KT & visible_BKT[:, None]
        return AnchorReader(net=self.net, rope=rope.columns(columns_BK), mask_B1KS=mask_B1KT, memory_L=memory_L)

    def run(self, reader: Reader, x_BKD: Tensor, limit: int | Tensor) -> Recursed:
        """Recurse columns from the learned first states; limit: one for all or int64 [B, K]."""
        state = self.initial_state(*x_BKD.shape[:2])
        return recurse(
            reader, x_BKD, state, limit, num_latent=self.config.num_latent, rates=self.rates, rule=self.stop_rule
        )

    def forward(self, x_BTD: Tensor, columns: Columns, limit: int | Tensor, *, depth: int) -> Recursed:
        """Recurse the last `columns.num_keep` columns from the learned first states.

        limit: one for all tokens or int64 [B, K]; depth: its maximum. Whatever the depth, even 0, the cache
        grows by the new columns; where none will ever be read, do not call it.
        """
        slots = self._slots(columns, depth=depth)
        reader = self._reader(x_BTD, columns, slots, depth=depth)
        recursed = self.run(reader, x_BTD[:, -columns.num_keep :], limit)
        if self.config.form == "states":
            slots.fill(x_BTD)
            slots.record(recursed.depth_BK)  # every column is kept, so K is T; none stops early
        return recursed

    def _slots(self, columns: Columns, *, depth: int) -> Slots:
        cache = None if self.config.form == "token" else columns.cache
        return Slots(cache, self.config, first=columns.num_backbone_layers, depth=depth, num_past=columns.num_past)

    def _reader(self, x_BTD: Tensor, columns: Columns, slots: Slots, *, depth: int) -> Reader:
        num_keep, num_columns = columns.num_keep, columns.num_past + x_BTD.shape[1]
        mask = None
        if depth and self.config.form != "token":
            mask = visible(columns.mask_BS, num_columns=num_columns, num_queries=num_keep, device=x_BTD.device)
        return self.reader_over(x_BTD, columns.position_BT, slots, mask_B1KS=mask, num_keep=num_keep)

    def delta(self, y_BKD: Tensor) -> Tensor:
        """What joins the backbone's stream: [B, K, D], zero until trained."""
        delta_BKD: Tensor = self.out(y_BKD)
        return delta_BKD

    def halting_logit(self, y_BKD: Tensor) -> Tensor:
        """q_BK: trained to be above 0 where the token's prediction is right."""
        q_BK1: Tensor = self.halt(y_BKD)
        return q_BK1[..., 0]

    def _init_weights(self, module: nn.Module) -> None:
        """Called by transformers for every module, children first; weights that were loaded stay."""
        if isinstance(module, nn.Linear):
            deviation = module.in_features**-0.5 / CUT_DEVIATION
            init.trunc_normal_(module.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
        elif isinstance(module, RMSNorm):
            init.ones_(module.weight)
        elif module is self:
            # after the linear layers: the source project's zeros were overwritten by a later pass
            for zeros in (self.out.weight, self.halt.weight, self.feature_mix, self.rate_logits):
                if zeros is not None:
                    init.zeros_(zeros)
            init.constant_(self.halt.bias, HALTING_BIAS)
            for state in (self.y_init, self.z_init):
                init.trunc_normal_(state, std=1.0, a=-2.0, b=2.0)
