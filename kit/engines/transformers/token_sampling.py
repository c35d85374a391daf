"""Next-token logits to tokens: temperature, top-k, top-p and min-p, with settings for each row.

In: logits_BV of the unwarped model, the rows' settings, one uniform number a row. Out: a token a row, its
log-probability, and the unwarped model's entropy and confidence (nats). A row depends on its own logits, settings and
number only.

The warps apply in transformers' order: temperature, top-k, top-p over what top-k left, min-p relative to the likeliest
token. Tokens tied with the last kept one are kept, so the order of the vocabulary does not matter.

Letters: B rows of the batch, R those that draw, Q those that are sorted whole, K likeliest tokens, V vocabulary.
Source: top-p arXiv:1904.09751 section 3.1; min-p arXiv:2407.01082 section 3; confidence arXiv:2508.15260
section 3.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kit.sampling import CONFIDENCE_TOP_K, SamplingParams

# Below this a temperature is taken as 0: the quotient would leave float32 (vLLM uses the same bound).
SMALLEST_TEMPERATURE = 1e-5

# How many of the likeliest tokens are looked at for a nucleus before a row's whole vocabulary is sorted.
NUM_LIKELIEST = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The SamplingParams of the rows that draw, as tensors; rebuilt only when rows join or leave.

    rows_R: which rows draw, int64; the others are greedy. None: all draw. temperature_R1, log_min_p_R1, top_p_R1:
    float64; top_k_R1: int64. "Off" is a value that changes nothing: top_p inf, top_k V, log_min_p -inf.
    """

    rows_R: Tensor | None
    temperature_R1: Tensor
    top_k_R1: Tensor
    top_p_R1: Tensor
    log_min_p_R1: Tensor
    needs_cutoff: bool


class Drawn(NamedTuple):
    """token_B: int64. The others: floating, nats, not finite for a row of broken logits."""

    token_B: Tensor
    logprob_B: Tensor
    entropy_B: Tensor
    confidence_B: Tensor


def settings_of(params_B: Sequence[SamplingParams], *, vocab_size: int, device: torch.device) -> Settings:
    """Collect the rows' settings on the device."""
    rows = [row for row, params in enumerate(params_B) if params.temperature >= SMALLEST_TEMPERATURE]
    params_R = [params_B[row] for row in rows]

    def column(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=device)[:, None]

    top_k = [min(params.top_k or vocab_size, vocab_size) for params in params_R]
    return Settings(
        rows_R=None if len(rows) == len(params_B) else torch.tensor(rows, dtype=torch.int64, device=device),
        temperature_R1=column([params.temperature for params in params_R]),
        top_k_R1=torch.tensor(top_k, dtype=torch.int64, device=device)[:, None],
        # inf rather than 1: a running sum that rounds up to 1 must not cut an untouched row's tail
        top_p_R1=column([params.top_p if params.top_p < 1 else math.inf for params in params_R]),
        log_min_p_R1=column([math.log(params.min_p) if params.min_p else -math.inf for params in params_R]),
        needs_cutoff=any(params.top_p < 1 or params.top_k for params in params_R),
    )


def presence_penalties(
    params_B: Sequence[SamplingParams], seen_B: Sequence[Sequence[int]], *, vocab_size: int, device: torch.device
) -> Tensor | None:
    """What is taken off the logits for tokens that a row has drawn already, [B, V]; None where no row asks for it.

    Source: OpenAI's `presence_penalty`, as vLLM counts it: the prompt's tokens are not seen.
    """
    if not any(params.presence_penalty for params in params_B):
        return None
    penalty_BV = torch.zeros(len(params_B), vocab_size, device=device)
    for row, (params, seen) in enumerate(zip(params_B, seen_B, strict=True)):
        if params.presence_penalty and seen:
            penalty_BV[row, torch.tensor(sorted(set(seen)), device=device)] = params.presence_penalty
    return penalty_BV


def draw(logits_BV: Tensor, settings: Settings, uniform_B: Tensor, penalty_BV: Tensor | None = None) -> Drawn:
    """Draw a token for each row; `uniform_B` holds float64 numbers in [0, 1). penalty_BV: see presence_penalties."""
    if logits_BV.dtype != torch.float64:
        logits_BV = logits_BV.float()
    token_B = logits_BV.argmax(-1)
    # below the row's greatest, whose weight is 1: no weight and no small temperature overflows
    below_BV = logits_BV - logits_BV.gather(-1, token_B[:, None])
    wanted_BV = below_BV
    if penalty_BV is not None:
        wanted_BV = below_BV - penalty_BV
        token_B = wanted_BV.argmax(-1)
    if len(settings.temperature_R1):
        token_B = _with_draws(token_B, wanted_BV, settings, uniform_B)
    weight_BV = below_BV.exp()
    sum_B = weight_BV.sum(-1)
    log_sum_B = sum_B.log()
    likeliest_BK = below_BV.topk(min(CONFIDENCE_TOP_K, below_BV.shape[-1]), sorted=False).values
    logprob_B = below_BV.gather(-1, token_B[:, None])[:, 0] - log_sum_B
    # The entropy is log(sum w) - sum(w log w) / sum w, without a logarithm a token; in place, as memory takes the time.
    # A forbidden token's 0 times minus infinity would be NaN.
    finite_BV = below_BV.clamp_(min=torch.finfo(below_BV.dtype).min)
    entropy_B = log_sum_B - weight_BV.mul_(finite_BV).sum(-1) / sum_B
    return Drawn(
        token_B=token_B,
        logprob_B=logprob_B,
        entropy_B=entropy_B.clamp(min=0.0),  # only rounding makes it negative
        confidence_B=log_sum_B - likeliest_BK.mean(-1),
    )


def _with_draws(token_B: Tensor, below_BV: Tensor, settings: Settings, uniform_B: Tensor) -> Tensor:
    """The greedy tokens, with drawn ones in the rows that draw."""
    rows_R = settings.rows_R
    if rows_R is None:
        return inverse_cdf(warp(below_BV, settings), uniform_B)
    return token_B.index_copy(0, rows_R, inverse_cdf(warp(below_BV[rows_R], settings), uniform_B[rows_R]))


def warp(logits_RV: Tensor, settings: Settings) -> Tensor:
    """Unnormalised probabilities in [0, 1] after the warps, 1 for the most probable token; [R, V]."""
    # subtracting the maximum first keeps small temperatures from overflowing
    scaled_RV = (logits_RV - logits_RV.amax(-1, keepdim=True)) / settings.temperature_R1.to(logits_RV.dtype)
    weight_RV = scaled_RV.exp()
    cutoff_R1 = settings.log_min_p_R1.to(scaled_RV.dtype)
    if settings.needs_cutoff:
        cutoff_R1 = torch.maximum(cutoff_R1, _nucleus_cutoff(scaled_RV, weight_RV, settings))
    return weight_RV.masked_fill_(scaled_RV < cutoff_R1, 0.0)


def _nucleus_cutoff(scaled_RV: Tensor, weight_RV: Tensor, settings: Settings) -> Tensor:
    """A bound that keeps what top-k and then top-p keep, [R, 1].

    The whole vocabulary is sorted only for rows whose nucleus reaches beyond the likeliest tokens; what a row keeps
    does not depend on it. It waits for the device, to know whether there are such rows.
    """
    top_k_R1, top_p_R1 = settings.top_k_R1, settings.top_p_R1
    sum_R1 = weight_RV.sum(-1, keepdim=True, dtype=torch.float64)
    likeliest_RK = scaled_RV.topk(min(NUM_LIKELIEST, scaled_RV.shape[-1])).values
    cut = _cut(likeliest_RK, top_k_R1, top_p_R1, sum_R1, vocab_size=scaled_RV.shape[-1])
    if bool(cut.is_settled_R.all()):
        return cut.cutoff_R1
    rows_Q = (~cut.is_settled_R).nonzero()[:, 0]
    sorted_QV = _descending(scaled_RV[rows_Q])
    whole = _cut(sorted_QV, top_k_R1[rows_Q], top_p_R1[rows_Q], sum_R1[rows_Q], vocab_size=scaled_RV.shape[-1])
    return cut.cutoff_R1.index_copy(0, rows_Q, whole.cutoff_R1)


def _descending(logits_QV: Tensor) -> Tensor:
    """Each row's logits from the largest to the smallest.

    On a CPU numpy sorts, which moves values alone: it takes a twelfth of torch's time, which moves their places, too.
    """
    if logits_QV.device.type != "cpu":
        return logits_QV.sort(-1, descending=True).values
    return torch.from_numpy(np.sort(logits_QV.numpy(), axis=-1)).flip(-1)


class _Cut(NamedTuple):
    """cutoff_R1: the smallest logit kept. is_settled_R: whether tokens that were not looked at change nothing."""

    cutoff_R1: Tensor
    is_settled_R: Tensor


def _cut(sorted_RK: Tensor, top_k_R1: Tensor, top_p_R1: Tensor, sum_R1: Tensor, *, vocab_size: int) -> _Cut:
    """Where top-k and then top-p cut, from the K largest logits in falling order; sum_R1: of all tokens' weights."""
    num_seen = sorted_RK.shape[-1]
    has_top_k_R1 = top_k_R1 < vocab_size
    kth_R1 = sorted_RK.gather(-1, top_k_R1.clamp(max=num_seen) - 1)
    in_top_k_RK = ~has_top_k_R1 | (sorted_RK >= kth_R1)
    weight_RK = torch.where(in_top_k_RK, sorted_RK.exp().double(), 0.0)
    running_RK = weight_RK.cumsum(-1)
    mass_R1 = top_p_R1 * torch.where(has_top_k_R1, running_RK[:, -1:], sum_R1)
    # a token stays while the mass before it is short of top_p, so the first always stays
    is_kept_RK = in_top_k_RK & (running_RK - weight_RK < mass_R1)
    num_kept_R1 = is_kept_RK.sum(-1, keepdim=True).clamp_(min=1)  # 0 only for a row of NaN
    is_off_R1 = ~has_top_k_R1 & top_p_R1.isinf()
    cutoff_R1 = sorted_RK.gather(-1, num_kept_R1 - 1).masked_fill(is_off_R1, -math.inf)
    if num_seen == vocab_size:
        return _Cut(cutoff_R1, torch.ones_like(is_off_R1[:, 0]))
    # tokens tied with the last of the top k may lie beyond what was seen
    ends_R1 = (top_k_R1 <= num_seen) & (sorted_RK[:, -1:] < kth_R1)
    is_settled_R1 = torch.where(has_top_k_R1, ends_R1, running_RK[:, -1:] >= mass_R1) | is_off_R1
    return _Cut(cutoff_R1, is_settled_R1[:, 0])


def inverse_cdf(weight_BV: Tensor, uniform_B: Tensor) -> Tensor:
    """The first token at which the running share of the weights exceeds the uniform number, [B]."""
    sum_BV = weight_BV.cumsum(-1, dtype=torch.float64)
    total_B1 = sum_BV[:, -1:]
    # u * total may round up to total, which no running sum exceeds
    below_B1 = torch.nextafter(total_B1, torch.zeros_like(total_B1))
    target_B1 = torch.minimum(uniform_B[:, None] * total_B1, below_B1)
    token_B1 = torch.searchsorted(sum_BV, target_B1, right=True)
    return token_B1.clamp_(max=weight_BV.shape[-1] - 1)[:, 0]  # beyond only for a row of NaN
