"""The loss of an ordinary causal language model: for a fine-tune, a LoRA, an added layer.

In: token ids with the columns that answer. Out: cross-entropy at those columns alone. What is trainable in the model
was decided before.

Letters: B rows, T columns, K the columns that answer, D width, V vocabulary.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from kit.training.cut_backbone import CutBackbone
from kit.training.loop import Loss
from kit.training.objective import TokenSum, answer_loss, at_columns, has_loss, is_right, said


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageBatch:
    """Rows of tokens. columns_BK: those whose next token is a target; targets_BK: it, or IGNORED.

    mask_BT: 0 on padding; None: none. position_BT: None: 0, 1, 2 … below_BTD: the hidden state that goes into the
    layers which are trained, where it is known; None: it is computed.
    """

    ids_BT: Tensor
    columns_BK: Tensor
    targets_BK: Tensor
    mask_BT: Tensor | None = None
    position_BT: Tensor | None = None
    below_BTD: Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageObjective:
    """Next-token cross-entropy; kit.training.loop's Objective.

    module: what is trained and averaged; language_model: the Hugging Face model that runs, the same one, or the one
    that peft has wrapped. cut: for batches that have the state below the trained layers.
    """

    module: nn.Module
    language_model: Any
    cut: CutBackbone | None = None
    num_supervision: int = 1

    def loss(self, batch: LanguageBatch, carry: None, rng: random.Random) -> Loss:
        """See Objective; nothing is carried, and nothing drawn."""
        places_BK = has_loss(batch.targets_BK)  # of the others logits would be made for nothing
        model, targets_N = said(self._head(self._answering(batch)[places_BK])), batch.targets_BK[places_BK]
        answer = answer_loss(model, targets_N)
        right = TokenSum(is_right(model, targets_N).sum(), answer.number)
        return Loss(answer=answer, measured={"right": right})

    def logits(self, batch: LanguageBatch) -> Tensor:
        """Logits of the answering columns, [B, K, V]."""
        return self._head(self._answering(batch))

    def _head(self, hidden_D: Tensor) -> Tensor:
        logits_V: Tensor = self.language_model.get_output_embeddings()(hidden_D)
        return logits_V

    def _answering(self, batch: LanguageBatch) -> Tensor:
        """The last hidden state of the answering columns, [B, K, D]."""
        if batch.below_BTD is not None and self.cut is not None:
            hidden_BTD = self.cut.above(batch.below_BTD, batch.mask_BT, batch.position_BT)
        else:
            hidden_BTD = self.language_model.base_model(
                input_ids=batch.ids_BT, attention_mask=batch.mask_BT, position_ids=batch.position_BT, use_cache=False
            ).last_hidden_state
        return at_columns(hidden_BTD, batch.columns_BK)

    def observe(self, means: Mapping[str, float]) -> None:
        """It has no state."""

    def state_dict(self) -> dict[str, Any]:
        """It has no state."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """It has no state."""
