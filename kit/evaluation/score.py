"""How a run stands while it is drawn: counts, tokens a second, the running accuracy with its interval, time left.

In: completions one by one, and the time. Out: numbers to show or to track. The report's own figures are those of
kit.evaluation.metrics.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from kit.evaluation.intervals import wilson
from kit.evaluation.metrics import TRUNCATED
from kit.evaluation.records import Completion
from kit.sampling import FinishReason


@dataclass(slots=True)
class RunningScore:
    """Of one run. total: samples that it has when it is whole. begun_s: when this session began to draw, on any clock;
    None before that.
    """

    total: int
    begun_s: float | None = None
    num_done: int = 0
    num_right: int = 0
    num_right_lenient: int = 0
    num_truncated: int = 0
    num_failed: int = 0
    num_resumed: int = 0
    num_new_tokens: int = 0
    problems: set[str] = field(default_factory=set)

    def resume(self, completions: Collection[Completion], *, begun_s: float) -> None:
        """Count what earlier sessions drew, which tells nothing of the speed; a session begins."""
        for completion in completions:
            self.add(completion)
        self.begun_s, self.num_resumed, self.num_new_tokens = begun_s, len(completions), 0

    def add(self, completion: Completion) -> None:
        """Count a completion."""
        self.num_done += 1
        self.num_right += completion.strict.is_right
        self.num_right_lenient += completion.lenient.is_right
        self.num_truncated += completion.sample.finish in TRUNCATED
        self.num_failed += completion.sample.finish is FinishReason.FAILED
        self.num_new_tokens += completion.sample.num_tokens
        self.problems.add(completion.problem)

    def tokens_per_s(self, now_s: float) -> float:
        """New tokens a second since the session began."""
        seconds = self._seconds(now_s)
        return self.num_new_tokens / seconds if seconds > 0 else 0.0

    def left_s(self, now_s: float) -> float | None:
        """Seconds to the end at the pace so far; None before anything was drawn."""
        num_new = self.num_done - self.num_resumed
        return self._seconds(now_s) / num_new * (self.total - self.num_done) if num_new else None

    def values(self, now_s: float) -> dict[str, float]:
        """What is tracked, by name."""
        done = max(1, self.num_done)
        return {
            "done": self.num_done,
            "accuracy,strict": self.num_right / done,
            "accuracy,lenient": self.num_right_lenient / done,
            "truncated": self.num_truncated / done,
            "failed": self.num_failed / done,
            "tokens_per_s": self.tokens_per_s(now_s),
        }

    def words(self, now_s: float) -> str:
        """All of it in one line."""
        if not self.num_done:
            return f"0 of {self.total}"
        accuracy = self.num_right / self.num_done
        # over problems, since several samples of one tell little more than one
        low, high = wilson(accuracy * len(self.problems), len(self.problems))
        left_s = self.left_s(now_s)
        left = f", {_duration(left_s)} left" if left_s else ""
        strict = f"strict {accuracy:.1%} [{low:.1%}, {high:.1%}]"
        return f"{self.num_done} of {self.total}, {strict}, {self.tokens_per_s(now_s):.0f} tokens/s{left}"

    def _seconds(self, now_s: float) -> float:
        return 0.0 if self.begun_s is None else now_s - self.begun_s


def _duration(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
