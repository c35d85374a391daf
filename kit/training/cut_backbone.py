"""A backbone cut in two: the layers below, which are frozen, and those above, which are trained.

In: a loaded backbone. Out: the same modules behind two models. What the lower one makes of a row never changes, so that
a run of several epochs computes it once; training the last of 30 layers then costs one layer an epoch, and not thirty.
"""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

_NUM_TRIED = 6  # tokens
_TOLERANCE = 1e-2  # relative: bfloat16 on a device that adds in another order

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CutBackbone:
    """lower, upper: Hugging Face models without a head, which share their weights with the backbone.

    `upper` takes what `lower` gives in place of embeddings: the hidden state after `num_lower` layers.
    """

    lower: Any
    upper: Any
    num_lower: int

    def below(self, ids_BT: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        """The hidden state between the two, [B, T, D]."""
        state_BTD: Tensor = self.lower(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).last_hidden_state
        return state_BTD

    def above(self, state_BTD: Tensor, mask_BT: Tensor | None = None, position_BT: Tensor | None = None) -> Tensor:
        """The last hidden state, after the final norm, [B, T, D]."""
        last_BTD: Tensor = self.upper(
            inputs_embeds=state_BTD, attention_mask=mask_BT, position_ids=position_BT, use_cache=False
        ).last_hidden_state
        return last_BTD


def cut(base_model: Any, num_upper: int) -> CutBackbone | None:
    """A Hugging Face model without its head, cut below its last `num_upper` layers; before their type is changed.

    None where nothing lies below, and where the two do not give what the whole gives: a backbone may scale what it is
    given, or read its token ids in every layer.
    """
    num_lower = len(base_model.layers) - num_upper
    if num_lower == 0:
        return None
    lower = _part(base_model, slice(None, num_lower))
    lower.norm = nn.Identity()
    found = CutBackbone(lower=lower, upper=_part(base_model, slice(num_lower, None)), num_lower=num_lower)
    if not _agrees(base_model, found):
        log.warning("the last layers of a %s do not run alone, so its frozen ones run, too", type(base_model).__name__)
        return None
    return found


def _part(base_model: Any, chosen: slice) -> Any:
    part = copy.copy(base_model)  # shares all, but for what is set here
    part._modules = dict(base_model._modules)
    part.layers = nn.ModuleList(base_model.layers[chosen])
    part.config = copy.deepcopy(base_model.config)
    part.config.num_hidden_layers = len(part.layers)
    if getattr(part.config, "layer_types", None):
        part.config.layer_types = part.config.layer_types[chosen]
    return part


@torch.no_grad()
def _agrees(base_model: Any, found: CutBackbone) -> bool:
    num_words = base_model.get_input_embeddings().num_embeddings
    ids_BT = torch.linspace(0, num_words - 1, _NUM_TRIED, device=base_model.device).long()[None]
    whole_BTD = base_model(input_ids=ids_BT, use_cache=False).last_hidden_state
    try:
        cut_BTD = found.above(found.below(ids_BT))
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError):  # whatever its own code says to that
        log.debug("a cut backbone does not run", exc_info=True)
        return False
    return bool((cut_BTD - whole_BTD).norm() < _TOLERANCE * whole_BTD.norm())
