"""Samples with statistics of each token, and the groups of their confidences by plain loops."""

from __future__ import annotations

from kit.sampling import FinishReason, Sample, TokenStats


def token(*, entropy: float = 0.3, confidence: float | None = None, halting: float | None = None) -> TokenStats:
    return TokenStats(logprob=-0.1, entropy=entropy, confidence=confidence, halting=halting)


def confident(*confidences: float | None) -> tuple[TokenStats, ...]:
    return tuple(token(confidence=each) for each in confidences)


def sample(
    token_stats: tuple[TokenStats, ...] = (),
    *,
    mean_entropy: float | None = None,
    halting: float | None = None,
    finish: FinishReason = FinishReason.STOP,
) -> Sample:
    return Sample(
        text="",
        num_tokens=len(token_stats),
        finish=finish,
        seconds=1.0,
        seed=0,
        mean_entropy=mean_entropy,
        halting=halting,
        token_stats=token_stats,
    )


def plain_mean(values: list[float]) -> float:
    total = 0.0
    for value in values:
        total += value
    return total / len(values)


def plain_groups(confidences: list[float], window_tokens: int) -> list[float]:
    """Section 3.1 of the paper: the mean of every window of neighbours; the repository's rule for short traces."""
    if len(confidences) < window_tokens:
        return [plain_mean(confidences)]
    groups = []
    for begin in range(len(confidences) - window_tokens + 1):
        groups.append(plain_mean(confidences[begin : begin + window_tokens]))
    return groups
