"""What the loop tells of one update."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """One update, for records and progress bars.

    step: which supervision step of its group, from 0. num_tokens: with a loss, counted for each recursion that has one.
    """

    number: int
    num_updates: int
    step: int
    loss: float
    num_tokens: int
    grad_norm: float
    learning_rate: float
    seconds: float
    means: Mapping[str, float]
