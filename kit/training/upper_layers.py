"""A backbone's upper layers as a model of their own: what lies below them is frozen, and computed once for each row.

In: a loaded backbone. Out: the same modules behind one that takes the hidden state between lower and upper layers in
place of embeddings. Training the last of 30 layers then costs one layer, and not thirty.
"""

from __future__ import annotations

import copy
import logging
from typing import Any

import torch
from torch import nn

_NUM_TRIED = 6  # tokens
_TOLERANCE = 1e-2  # relative: bfloat16 on a device that adds in another order

log = logging.getLogger(__name__)


def upper_layers(base_model: Any, num_layers: int) -> Any | None:
    """The last `num_layers` layers and the final norm, sharing their weights with the backbone.

    base_model: a Hugging Face model without its head. The result is called as it is, with `inputs_embeds` = the
    backbone's `hidden_states[-num_layers - 1]`. None where that would not give what the whole backbone gives, as with
    those that scale what they are given.
    """
    upper = copy.copy(base_model)  # shares all, but for what is set here
    upper._modules = dict(base_model._modules)
    upper.layers = nn.ModuleList(base_model.layers[-num_layers:])
    upper.config = copy.deepcopy(base_model.config)
    upper.config.num_hidden_layers = num_layers
    if getattr(upper.config, "layer_types", None):
        upper.config.layer_types = upper.config.layer_types[-num_layers:]
    if not _agrees(base_model, upper, num_layers):
        log.warning("the last layers of a %s do not run alone, so its frozen ones run, too", type(base_model).__name__)
        return None
    return upper


@torch.no_grad()
def _agrees(base_model: Any, upper: Any, num_layers: int) -> bool:
    num_words = base_model.get_input_embeddings().num_embeddings
    ids_BT = torch.linspace(0, num_words - 1, _NUM_TRIED, device=base_model.device).long()[None]
    whole = base_model(input_ids=ids_BT, use_cache=False, output_hidden_states=True)
    below_BTD = whole.hidden_states[-num_layers - 1]
    alone_BTD = upper(inputs_embeds=below_BTD, use_cache=False).last_hidden_state
    off = (alone_BTD - whole.last_hidden_state).norm() / whole.last_hidden_state.norm()
    return bool(off < _TOLERANCE)
