"""When the votes on a problem are enough: the rule as a setting, its verdict on votes, and why sampling stopped."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from kit.errors import InputError, SettingError, check_fields
from kit.voting.parsing import parse_rule
from kit.voting.rules import RunningHistory
from kit.voting.tally import is_decided

_parsed = lru_cache(maxsize=64)(parse_rule)  # asked after every attempt that ends


class StopReason(StrEnum):
    """Why sampling for a problem stopped."""

    DECIDED = "decided"  # no further sample could change the winner
    CONFIDENT = "confident"  # the stop rule was met
    NOT_WORTH = "time is worth more elsewhere"  # what further samples promise is less than the queue's price
    ALL_SAMPLED = "all sampled"
    OUT_OF_TIME = "out of time"
    ENGINE_FAILED = "engine failed"
    INTERRUPTED = "interrupted"  # something broke around the solver; answered from the votes so far


@dataclass(frozen=True, slots=True, kw_only=True)
class StopConfig:
    """When the votes on a problem are enough.

    num_samples: attempts, at most. rule: one of kit.voting.rules's as text, such as `adaptive(0.95)` or
    `votes(4) | lead(3)`; `uncatchable` is always in force. max_failures: broken attempts after which the
    problem is given up, once its even share of the time is spent: an engine may come back.
    Raises: InputError for a value outside its range, or a rule that does not read.
    """

    num_samples: int = 8
    rule: str = "votes(4)"
    max_failures: int = 32

    def __post_init__(self) -> None:
        try:
            parse_rule(self.rule)
        except InputError as error:
            raise SettingError(f"rule: {error}", name="rule") from None
        check_fields(
            self,
            (
                ("num_samples", self.num_samples >= 1, ">= 1"),
                ("max_failures", self.max_failures >= 1, ">= 1"),
            ),
        )


def verdict_on(history: RunningHistory, rule: StopConfig) -> StopReason | None:
    """Whether the votes of the attempts that ended are enough, and why; None to go on."""
    num_left = rule.num_samples - len(history)
    if num_left <= 0:
        return StopReason.ALL_SAMPLED
    if is_decided(history.tally, num_left):
        return StopReason.DECIDED
    if _parsed(rule.rule).is_enough(history.so_far(num_left)):
        return StopReason.CONFIDENT
    return None
