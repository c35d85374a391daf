"""Graded completions in, how good they are out: accuracy, maj@k, pass@k, and what they cost. Pure.

Every score is a mean over problems, of those that have enough samples for it; a run that is not whole is counted by
what is there. A sample whose engine broke counts as a wrong one without an answer.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from kit.evaluation.intervals import Estimate, estimated
from kit.evaluation.records import Completion, Grade
from kit.sampling import FinishReason

TRUNCATED = frozenset({FinishReason.LENGTH, FinishReason.DEADLINE, FinishReason.ABORTED})
"""How a sample ends that something other than the model ended."""


class Grading(StrEnum):
    """Which of a completion's two grades is meant."""

    STRICT = "strict"
    LENIENT = "lenient"

    def of(self, completion: Completion) -> Grade:
        """The completion's grade of this kind."""
        return completion.strict if self is Grading.STRICT else completion.lenient


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """How good the samples are by one grading.

    accuracy: mean over problems of the share that is right. maj_at_k, pass_at_k: by k, over the problems that have k
    samples; num_problems_at_k: how many these are, fewer than all in a run that is not whole. unanswered: share of the
    samples from which nothing was read.
    """

    accuracy: Estimate
    maj_at_k: Mapping[int, Estimate]
    pass_at_k: Mapping[int, Estimate]
    num_problems_at_k: Mapping[int, int]
    unanswered: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What the samples took.

    finishes: samples by how they ended. seconds: summed over samples, each from its call to its end; those of one batch
    overlap, so this is more than wall time. tokens_per_s: of one stream, num_tokens over those seconds.
    """

    num_samples: int
    num_tokens: int
    seconds: float
    finishes: Mapping[FinishReason, int]

    @property
    def truncated(self) -> float:
        """The share of samples that a limit ended."""
        return sum(self.finishes.get(finish, 0) for finish in TRUNCATED) / self.num_samples

    @property
    def tokens_per_s(self) -> float | None:
        """None where no time was measured."""
        return self.num_tokens / self.seconds if self.seconds > 0 else None


def scores_of(samples_PG: Sequence[Sequence[Completion]], grading: Grading) -> Scores:
    """The scores of P problems, each with G samples of one condition; none may be without any."""
    grades_PG = [[grading.of(completion) for completion in samples] for samples in samples_PG]
    shares = [sum(grade.is_right for grade in grades) / len(grades) for grades in grades_PG]
    num_most = max(map(len, grades_PG))
    maj_at_k, pass_at_k, num_problems_at_k = {}, {}, {}
    for k in ks_up_to(num_most):
        enough = [grades for grades in grades_PG if len(grades) >= k]
        num_problems_at_k[k] = len(enough)
        maj_at_k[k] = estimated([float(is_majority_right(grades[:k])) for grades in enough])
        pass_at_k[k] = estimated(
            [pass_at(k, num_right=_num_right(grades), num_samples=len(grades)) for grades in enough]
        )
    num_silent = sum(grade.answer is None for grades in grades_PG for grade in grades)
    return Scores(
        accuracy=estimated(shares),
        maj_at_k=maj_at_k,
        pass_at_k=pass_at_k,
        num_problems_at_k=num_problems_at_k,
        unanswered=num_silent / sum(map(len, grades_PG)),
    )


def cost_of(samples: Sequence[Completion]) -> Cost:
    """What at least one sample took."""
    return Cost(
        num_samples=len(samples),
        num_tokens=sum(each.sample.num_tokens for each in samples),
        seconds=math.fsum(each.sample.seconds for each in samples),
        finishes=Counter(each.sample.finish for each in samples),
    )


def ks_up_to(num_samples: int) -> tuple[int, ...]:
    """The k that maj@k and pass@k are told for: powers of two below the number of samples, and that number."""
    powers = (1 << power for power in range(num_samples.bit_length()))
    return (*(k for k in powers if k < num_samples), num_samples)


def pass_at(k: int, *, num_right: int, num_samples: int) -> float:
    """The unbiased estimate of the chance that one of k samples is right: 1 - C(n - c, k) / C(n, k).

    Source: arXiv 2107.03374, equation 1.
    """
    assert 0 <= num_right <= num_samples >= k > 0, (k, num_right, num_samples)
    return 1 - math.comb(num_samples - num_right, k) / math.comb(num_samples, k)


def votes_of(grades: Sequence[Grade]) -> tuple[tuple[str, int], ...]:
    """(answer, votes), best first: more votes, then as `kit.voting.tally` breaks ties, the larger integer.

    An integer goes before an answer that is none; of two of those, the text that sorts last.
    """
    counts = Counter(grade.answer for grade in grades if grade.answer is not None)
    return tuple(sorted(counts.items(), key=lambda each: (each[1], *_rank(each[0])), reverse=True))


def is_majority_right(grades: Sequence[Grade]) -> bool:
    """Whether the answer with most votes is right; without any answer it is not."""
    votes = votes_of(grades)
    return bool(votes) and next(grade.is_right for grade in grades if grade.answer == votes[0][0])


def _num_right(grades: Sequence[Grade]) -> int:
    return sum(grade.is_right for grade in grades)


def _rank(answer: str) -> tuple[bool, int, str]:
    digits = answer.removeprefix("-")
    is_integer = digits.isascii() and digits.isdigit() and len(digits) <= _MAX_DIGITS
    return is_integer, int(answer) if is_integer else 0, answer


_MAX_DIGITS = 1000  # int() of a longer text takes quadratic time, and Python refuses it above 4300
