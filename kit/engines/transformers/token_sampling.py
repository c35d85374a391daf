"""Next-token logits to tokens: temperature, top-k, top-p and min-p, with settings for each row.

In: logits_BV of the unwarped model, the rows' settings, one uniform number a row. Out: a token a row, its
log-probability, and the unwarped model's entropy and confidence (nats). A row depends on its own logits, settings and
number only.

The warps apply in transformers' order: temperature, top-k, top-p over what top-k left, min-p relative to the likeliest
token. Tokens tied with the last kept one are kept, so the order of the vocabulary does not matter.

Letters: B rows of the batch, V vocabulary.
Source: top-p arXiv:1904.09751 section 3.1; min-p arXiv:2407.01082 section 3; confidence arXiv:2508.15260
section 3.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from kit.sampling import CONFIDENCE_TOP_K, SamplingParams

# Below this a temperature is taken as 0: the quotient would leave float32 (vLLM uses the same bound).
SMALLEST_TEMPERATURE = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The rows' SamplingParams as tensors, rebuilt only when rows join or leave.

    temperature_B1, log_min_p_B1, top_p_B1: float64; top_k_B1: int64; is_greedy_B: bool. "Off" is a value that changes
    nothing: top_p inf, top_k V, log_min_p -inf.
    """

    temperature_B1: Tensor
    top_k_B1: Tensor
    top_p_B1: Tensor
    log_min_p_B1: Tensor
    is_greedy_B: Tensor
    needs_draw: bool
    needs_sort: bool


class Drawn(NamedTuple):
    """token_B: int64. The others: floating, nats, not finite for a row of broken logits."""

    token_B: Tensor
    logprob_B: Tensor
    entropy_B: Tensor
    confidence_B: Tensor


def settings_of(params_B: Sequence[SamplingParams], *, vocab_size: int, device: torch.device) -> Settings:
    """Collect the rows' settings on the device."""
    is_greedy = [params.temperature < SMALLEST_TEMPERATURE for params in params_B]

    def column(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=device)[:, None]

    top_k = [min(params.top_k or vocab_size, vocab_size) for params in params_B]
    return Settings(
        temperature_B1=column([max(params.temperature, SMALLEST_TEMPERATURE) for params in params_B]),
        top_k_B1=torch.tensor(top_k, dtype=torch.int64, device=device)[:, None],
        # inf rather than 1: a running sum that rounds up to 1 must not cut an untouched row's tail
        top_p_B1=column([params.top_p if params.top_p < 1 else math.inf for params in params_B]),
        log_min_p_B1=column([math.log(params.min_p) if params.min_p else -math.inf for params in params_B]),
        is_greedy_B=torch.tensor(is_greedy, device=device),
        needs_draw=not all(is_greedy),
        needs_sort=any(params.top_p < 1 or params.top_k for params in params_B),
    )


def draw(logits_BV: Tensor, settings: Settings, uniform_B: Tensor) -> Drawn:
    """Draw a token for each row; `uniform_B` holds float64 numbers in [0, 1)."""
    if logits_BV.dtype != torch.float64:
        logits_BV = logits_BV.float()
    logprob_BV = logits_BV.log_softmax(-1)
    token_B = logits_BV.argmax(-1)
    if settings.needs_draw:
        drawn_B = inverse_cdf(warp(logits_BV, settings), uniform_B)
        token_B = torch.where(settings.is_greedy_B, token_B, drawn_B)
    return Drawn(
        token_B=token_B,
        logprob_B=logprob_BV.gather(-1, token_B[:, None])[:, 0],
        entropy_B=torch.special.entr(logprob_BV.exp()).sum(-1),
        confidence_B=_confidence(logprob_BV),
    )


def _confidence(logprob_BV: Tensor) -> Tensor:
    """Minus the mean log-probability of the likeliest CONFIDENCE_TOP_K tokens, [B]; half as dear as the entropy."""
    likeliest_BK = logprob_BV.topk(min(CONFIDENCE_TOP_K, logprob_BV.shape[-1]), sorted=False).values
    return -likeliest_BK.mean(-1)


def warp(logits_BV: Tensor, settings: Settings) -> Tensor:
    """Unnormalised probabilities in [0, 1] after the warps, 1 for the most probable token; [B, V]."""
    # subtracting the maximum first keeps small temperatures from overflowing
    scaled_BV = (logits_BV - logits_BV.amax(-1, keepdim=True)) / settings.temperature_B1.to(logits_BV.dtype)
    cutoff_B1 = settings.log_min_p_B1.to(scaled_BV.dtype)
    if settings.needs_sort:
        cutoff_B1 = torch.maximum(cutoff_B1, _nucleus_cutoff(scaled_BV, settings))
    return scaled_BV.exp().masked_fill(scaled_BV < cutoff_B1, 0.0)


def _nucleus_cutoff(scaled_BV: Tensor, settings: Settings) -> Tensor:
    """The smallest logit that top-k and then top-p keep, [B, 1]."""
    sorted_BV = scaled_BV.sort(-1, descending=True).values
    in_top_k_BV = sorted_BV >= sorted_BV.gather(-1, settings.top_k_B1 - 1)
    weight_BV = torch.where(in_top_k_BV, sorted_BV.double().exp(), 0.0)
    sum_BV = weight_BV.cumsum(-1)
    # a token stays while the mass before it is short of top_p, so the first always stays
    is_kept_BV = in_top_k_BV & (sum_BV - weight_BV < settings.top_p_B1 * sum_BV[:, -1:])
    num_kept_B1 = is_kept_BV.sum(-1, keepdim=True).clamp_(min=1)  # 0 only for a row of NaN
    return sorted_BV.gather(-1, num_kept_B1 - 1)


def inverse_cdf(weight_BV: Tensor, uniform_B: Tensor) -> Tensor:
    """The first token at which the running share of the weights exceeds the uniform number, [B]."""
    sum_BV = weight_BV.cumsum(-1, dtype=torch.float64)
    total_B1 = sum_BV[:, -1:]
    # u * total may round up to total, which no running sum exceeds
    below_B1 = torch.nextafter(total_B1, torch.zeros_like(total_B1))
    target_B1 = torch.minimum(uniform_B[:, None] * total_B1, below_B1)
    token_B1 = torch.searchsorted(sum_BV, target_B1, right=True)
    return token_B1.clamp_(max=weight_BV.shape[-1] - 1)[:, 0]  # beyond only for a row of NaN
