"""When the votes on a problem are enough: small rules with one interface.

In: a VoteHistory, asked again after each attempt that ends. Out: whether to stop now and give the
leader, by the tie rule of `kit.voting.tally.tally`. Rules are pure and know neither time nor engines;
`kit.voting.parsing` writes them as text, `kit.voting.sequential` holds the statistical tests.

What each rule errs, told in its docstring, is the probability to stop on another answer than the mode (the model's
commonest answer). It holds for independent attempts that give the mode with probability p and a rival with q <= p,
for votes of equal weight, and without a limit to the attempts. It does not say that the mode is right, and real
attempts are less alike than this: the short ones end first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from kit.errors import check_fields
from kit.voting.tally import RunningTally, Tally, Vote, is_decided, tally


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteHistory:
    """One problem's attempts that ended, in that order.

    answers: None for an attempt without a usable answer. weights: one per answer, as kit.voting.tally.Vote's
    (that of a None is not read). num_remaining: attempts that may still end. counted: the tally of all of them, if
    the caller has it.
    """

    answers: tuple[int | None, ...]
    weights: tuple[float, ...]
    num_remaining: int
    counted: Tally | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        assert len(self.answers) == len(self.weights), (len(self.answers), len(self.weights))

    def standing(self, first: int | None = None) -> Tally:
        """The usable answers counted: all, or those of the `first` attempts that ended."""
        if first is None and self.counted is not None:
            return self.counted
        pairs = zip(self.answers[:first], self.weights[:first], strict=True)
        return tally(Vote(answer, weight) for answer, weight in pairs if answer is not None)


class RunningHistory:
    """A history that grows, in which each attempt is counted once."""

    def __init__(self) -> None:
        self._answers: list[int | None] = []
        self._weights: list[float] = []
        self._running = RunningTally()

    def __len__(self) -> int:
        return len(self._answers)

    def add(self, vote: Vote | None) -> None:
        """One more attempt ended; None for one without a usable answer."""
        self._answers.append(None if vote is None else vote.answer)
        self._weights.append(1.0 if vote is None else vote.weight)
        if vote is not None:
            self._running.add(vote)

    @property
    def tally(self) -> Tally:
        """The usable answers so far."""
        return self._running.tally

    def so_far(self, num_remaining: int) -> VoteHistory:
        """As rules read it."""
        return VoteHistory(
            answers=tuple(self._answers),
            weights=tuple(self._weights),
            num_remaining=num_remaining,
            counted=self.tally,
        )


class Rule(Protocol):
    """When votes are enough. `str(rule)` is the text that `kit.voting.parsing.parse_rule` reads back."""

    def is_enough(self, history: VoteHistory) -> bool:
        """Whether to stop and give the leader; False before the first vote. Cost: about one tally."""
        ...


@dataclass(frozen=True, slots=True)
class Votes:
    """The leader has k votes, as in most competition notebooks (k = 4: docs/peers.md#common-ancestor).

    Errs with P(Binomial(2k - 1, q / (p + q)) >= k) for one rival, and at most with the sum of these for several.
    Source: the problem of points, Feller, An Introduction to Probability Theory 1, VI.8.
    """

    k: int

    def __post_init__(self) -> None:
        check_fields(self, (("k", self.k >= 1, ">= 1"),))

    def is_enough(self, history: VoteHistory) -> bool:
        """k votes for the leader."""
        leader = history.standing().leader
        return leader is not None and leader.num_votes >= self.k

    def __str__(self) -> str:
        return f"votes({self.k})"


@dataclass(frozen=True, slots=True)
class KOfFirst:
    """k of the first n attempts agree. Once missed, it never holds: a late agreement is no early one.

    Errs no more than Votes(k), nor than the sum over the rivals of P(Binomial(n, q) >= k).
    """

    k: int
    n: int

    def __post_init__(self) -> None:
        check_fields(self, (("k", 1 <= self.k <= self.n, f"in 1–n ({self.n})"),))

    def is_enough(self, history: VoteHistory) -> bool:
        """k votes for the leader of the first n attempts, those without an answer included in n."""
        leader = history.standing(self.n).leader
        return leader is not None and leader.num_votes >= self.k

    def __str__(self) -> str:
        return f"k_of_first({self.k},{self.n})"


@dataclass(frozen=True, slots=True)
class KOfRecent:
    """k of the last n attempts are the leader's ("4 of recent 5", docs/peers.md#second-place-of-aimo2).

    Errs at most twice as often as Votes(k), for it stops only on a leader of k votes or more.
    Source: the reflection principle, Feller 1, III.1.
    """

    k: int
    n: int

    def __post_init__(self) -> None:
        check_fields(self, (("k", 1 <= self.k <= self.n, f"in 1–n ({self.n})"),))

    def is_enough(self, history: VoteHistory) -> bool:
        """k of the last n attempts gave the answer that leads over all of them."""
        leader = history.standing().leader
        return leader is not None and history.answers[-self.n :].count(leader.answer) >= self.k

    def __str__(self) -> str:
        return f"k_of_recent({self.k},{self.n})"


@dataclass(frozen=True, slots=True)
class Lead:
    """The leader is `margin` votes ahead: of the second, or of all other answers together ("rest").

    Errs with R / (1 + R) at most, R being the sum of (q / p)^margin over the rivals; just so for one rival.
    Source: the gambler's ruin, Feller 1, XIV.2.
    """

    margin: int
    over: Literal["second", "rest"] = "second"

    def __post_init__(self) -> None:
        check_fields(
            self,
            (
                ("margin", self.margin >= 1, ">= 1"),
                ("over", self.over in ("second", "rest"), "'second' or 'rest'"),
            ),
        )

    def is_enough(self, history: VoteHistory) -> bool:
        """`margin` votes more for the leader, by count."""
        leader, *others = votes_by_rank(history.standing())
        return leader - (sum(others) if self.over == "rest" else max(others, default=0)) >= self.margin

    def __str__(self) -> str:
        return f"lead({self.margin})" if self.over == "second" else f"lead({self.margin},{self.over})"


@dataclass(frozen=True, slots=True)
class Uncatchable:
    """No outcome of the remaining attempts can change the winner, weights considered.

    Errs just as often as the vote of all attempts.
    """

    def is_enough(self, history: VoteHistory) -> bool:
        """As `kit.voting.tally.is_decided`."""
        return is_decided(history.standing(), history.num_remaining)

    def __str__(self) -> str:
        return "uncatchable"


@dataclass(frozen=True, slots=True)
class ESC:
    """Early-stopping self-consistency: one of the consecutive windows of attempts agrees.

    Unlike the paper's it must agree on the leader, for that is the answer that would be given. Errs at most with
    R / (1 + R) + R, R as in Lead(window): the window is a rival's, or a rival was once that far ahead.
    Source: Li et al., arXiv 2401.10480, section 3 (its windows hold 5 or 8 attempts).
    """

    window: int

    def __post_init__(self) -> None:
        check_fields(self, (("window", self.window >= 1, ">= 1"),))

    def is_enough(self, history: VoteHistory) -> bool:
        """All attempts of a complete window gave the leader; the windows are disjoint, from the first attempt on."""
        leader = history.standing().leader
        if leader is None:
            return False
        starts = range(0, len(history.answers) - self.window + 1, self.window)
        return any(history.answers[i : i + self.window].count(leader.answer) == self.window for i in starts)

    def __str__(self) -> str:
        return f"esc({self.window})"


def votes_by_rank(standing: Tally) -> list[int]:
    """Votes of the leader, then those of the others, most first; [0] before the first vote.

    A leader by weight may have fewer votes than the next.
    """
    leader, *others = [each.num_votes for each in standing.standings] or [0]
    return [leader, *sorted(others, reverse=True)]
