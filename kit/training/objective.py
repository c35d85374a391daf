"""Losses of training, as pure functions of what a model says: sums over tokens, so that shares of a batch add up.

In: logits, targets, the backbone's own logits, halting logits. Out: sums and the number of tokens in them; whoever
trains divides one sum by the other when all shares of a batch are in. No model, no depth, no optimiser.

Letters: B rows, T columns, K the columns that answer, D width, V vocabulary; `...` any leading axes, such as iterates,
rows and columns.
Source: a loss on every iterate arXiv 2510.25741; KL to the unmoved backbone arXiv 2511.08577 (tokens that are right
already must stay so); halting arXiv 2510.04871 section 4.6, by token.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax, nll_loss

IGNORED = -100  # the target of a token without loss; torch's own default
AS_BACKBONE = -101  # the target of a token that is to be said as the backbone says it


class TokenSum(NamedTuple):
    """A sum over tokens, with how many they are: scalars."""

    total: Tensor
    number: Tensor


class Said(NamedTuple):
    """What a model says, made of its logits once for all losses.

    log_V: log-probabilities in at least float32. best: the most likely token, no part of any gradient.
    """

    log_V: Tensor
    best: Tensor


def said(logits_V: Tensor) -> Said:
    """Of logits in any float type."""
    # argmax would name the same token, and takes a CPU four times as long in bfloat16: a twentieth of an update
    return Said(log_softmax(_at_least_float32(logits_V), -1), logits_V.detach().max(-1).indices)


def answer_loss(model: Said, targets: Tensor) -> TokenSum:
    """Cross-entropy in nats over the tokens whose target is a token."""
    flat_NV, flat_N = model.log_V.flatten(0, -2), targets.flatten()
    counted_N = has_target(flat_N)
    told_N = flat_N.masked_fill(~counted_N, IGNORED)
    return TokenSum(nll_loss(flat_NV, told_N, ignore_index=IGNORED, reduction="sum"), counted_N.sum())


def kl_to_backbone(backbone: Said, model: Said, targets: Tensor) -> TokenSum:
    """KL(backbone || model) in nats over the tokens that the backbone's argmax gets right or whose target it is."""
    keeps = (backbone.best == targets) | (targets == AS_BACKBONE)
    base_log_NV, log_NV = backbone.log_V[keeps], model.log_V[keeps]
    return TokenSum((base_log_NV.exp() * (base_log_NV - log_NV)).sum(), keeps.sum())


def halting_loss(halting_logits: Tensor, model: Said, answers: Tensor) -> TokenSum:
    """Binary cross-entropy of q against "the argmax is the final answer", over tokens that have an answer."""
    counted, right = has_target(answers), is_right(model, answers)
    each = binary_cross_entropy_with_logits(
        _at_least_float32(halting_logits), right.to(torch.promote_types(halting_logits.dtype, torch.float32)),
        reduction="none",
    )  # fmt: skip
    return TokenSum(torch.where(counted, each, 0.0).sum(), counted.sum())


def is_right(model: Said, targets: Tensor) -> Tensor:
    """Whether each token's argmax is its target; False where the target is no token."""
    return model.best == targets


def has_loss(targets: Tensor) -> Tensor:
    """Whether each target is a token, or what the backbone says."""
    return targets != IGNORED


def has_target(targets: Tensor) -> Tensor:
    """Whether each target is a token, and neither IGNORED nor AS_BACKBONE."""
    return targets >= 0


def at_columns(hidden_BTD: Tensor, columns_BK: Tensor) -> Tensor:
    """The chosen columns of each row, [B, K, D]."""
    return hidden_BTD.gather(1, columns_BK[..., None].expand(-1, -1, hidden_BTD.shape[-1]))


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
