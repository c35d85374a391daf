"""Slow reference for sampling from a causal language model: one prompt, no cache, no padding, loops.

Written from the definitions, not from the engine: every new token runs the whole sequence through the
model, and the warps walk over Python lists. top-p: arXiv:1904.09751 section 3.1; min-p:
arXiv:2407.01082 section 3. Tokens tied with the last kept one are kept.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from kit.sampling import SamplingParams


class Reference(NamedTuple):
    token_ids: list[int]
    mean_logprob: float
    mean_entropy: float


def softmax(logits: Sequence[float]) -> list[float]:
    top = max(logits)
    weights = [math.exp(logit - top) for logit in logits]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def warped_probabilities(logits: Sequence[float], params: SamplingParams) -> list[float]:
    """The distribution a token is drawn from: temperature, then top-k, then top-p, then min-p."""
    scaled = [logit / params.temperature for logit in logits]
    kept = set(range(len(scaled)))
    if params.top_k:
        smallest = sorted(scaled, reverse=True)[: params.top_k][-1]
        kept = {token for token in kept if scaled[token] >= smallest}
    if params.top_p < 1:
        probabilities = _renormalised(scaled, kept)
        mass = 0.0
        smallest = math.inf
        for token in sorted(kept, key=lambda token: -scaled[token]):
            if mass >= params.top_p:
                break
            smallest = scaled[token]
            mass += probabilities[token]
        kept = {token for token in kept if scaled[token] >= smallest}
    if params.min_p:
        probabilities = _renormalised(scaled, kept)
        least = params.min_p * max(probabilities)
        kept = {token for token in kept if probabilities[token] >= least}
    return _renormalised(scaled, kept)


def draw(probabilities: Sequence[float], uniform: float) -> int:
    """Inverse transform sampling in the order of the vocabulary."""
    mass = 0.0
    last = 0
    for token, probability in enumerate(probabilities):
        if probability > 0:
            mass += probability
            last = token
            if mass > uniform:
                return token
    return last


@torch.no_grad()
def generate(
    model: Any, prompt_ids: Sequence[int], params: SamplingParams, *, eos_ids: set[int], context: int
) -> Reference:
    """Generate until an end-of-sequence token (included), max_new_tokens or the end of the context."""
    noise = random.Random(params.seed)
    ids = list(prompt_ids)
    logprobs: list[float] = []
    entropies: list[float] = []
    while len(logprobs) < params.max_new_tokens and len(ids) < context:
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].tolist()
        uniform = noise.random()
        if params.temperature == 0:
            token = max(range(len(logits)), key=lambda index: logits[index])
        else:
            token = draw(warped_probabilities(logits, params), uniform)
        unwarped = softmax(logits)
        logprobs.append(math.log(unwarped[token]))
        entropies.append(-math.fsum(p * math.log(p) for p in unwarped if p > 0))
        ids.append(token)
        if token in eos_ids:
            break
    return Reference(ids[len(prompt_ids) :], math.fsum(logprobs) / len(logprobs), math.fsum(entropies) / len(entropies))


def _renormalised(scaled: Sequence[float], kept: set[int]) -> list[float]:
    return softmax([logit if token in kept else -math.inf for token, logit in enumerate(scaled)])
