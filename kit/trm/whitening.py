"""Whitening of a backbone's hidden states: what differs between tokens, in every direction alike.

Some twenty of a pretrained model's channels have most of its states' energy, and half of that is the same at every
token (SmolLM2: two thirds, and half); what a recursion has to compare, such as two names, lies in what is left. On such
states a net never learned a step that it learns on whitened ones (docs/recursion.md).

In: the states of some tokens, once, before training. Out: an affine map, saved with the TRM and not trained.

Letters: L hidden states that make x, N tokens, D width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm

from kit.trm.config import EPS

RIDGE = 0.1  # added to each direction's variance, as a share of the mean variance: what hardly varies stays small
TOKENS_AT_ONCE = 4096
LARGEST = 8.0  # of the result; a first token's state lies far out


class Whitening(nn.Module):
    """(state of RMS 1 - mean) times (covariance + ridge)^(-1/2), for each of the hidden states; at first, no change."""

    mean_LD: Tensor
    map_LDD: Tensor

    def __init__(self, num_states: int, size: int) -> None:
        super().__init__()
        self.register_buffer("mean_LD", torch.zeros(num_states, size))
        self.register_buffer("map_LDD", torch.eye(size).repeat(num_states, 1, 1))

    @torch.no_grad()
    def fit(self, hidden_LND: Sequence[Tensor]) -> None:
        """Make it of these tokens' states, in float64; the same states give the same map.

        Some tokens at a time, since all of them in float64 are gigabytes at D = 4,096.
        """
        for index, hidden_ND in enumerate(hidden_LND):
            begins = range(0, len(hidden_ND), TOKENS_AT_ONCE)
            pieces = [hidden_ND[begin : begin + TOKENS_AT_ONCE] for begin in begins]
            mean_D = _sum(_normed(piece.double()).sum(0) for piece in pieces) / len(hidden_ND)
            centred = (_normed(piece.double()) - mean_D for piece in pieces)
            covariance_DD = _sum(piece_ND.T @ piece_ND for piece_ND in centred) / len(hidden_ND)
            variances_D, directions_DD = torch.linalg.eigh(covariance_DD)
            scales_D = (variances_D + RIDGE * variances_D.mean()).rsqrt()
            self.mean_LD[index].copy_(mean_D)
            self.map_LDD[index].copy_(directions_DD * scales_D @ directions_DD.T)

    def forward(self, hidden_D: Tensor, index: int) -> Tensor:
        """The states of hidden state `index`, with any leading axes, in the map's dtype."""
        centred_D = _normed(hidden_D).to(self.mean_LD.dtype) - self.mean_LD[index]
        return (centred_D @ self.map_LDD[index]).clamp(-LARGEST, LARGEST)


def _normed(hidden_D: Tensor) -> Tensor:
    return rms_norm(hidden_D, hidden_D.shape[-1:], eps=EPS)


def _sum(parts: Iterable[Tensor]) -> Tensor:
    return reduce(torch.Tensor.add_, parts)
