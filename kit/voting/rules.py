"""When the votes on a problem are enough: small rules with one interface and a stated error.

In: a VoteHistory, asked again after each attempt that ends. Out: whether to stop now and give the
leader, by the tie rule of `kit.voting.tally.tally`. Rules are pure and know neither time nor engines;
`kit.voting.parsing` writes them as text, `kit.voting.sequential` holds the statistical tests.

The model behind every `error_bound`: attempts are independent; each gives the mode (the model's commonest
answer) with probability `mode`, the j-th other answer with `rivals[j]` <= mode, and else no usable answer;
votes weigh the same; there is no limit to the attempts. The bound is on the probability that the rule
stops on another answer than the mode. It does not say that the mode is right, and real attempts are less
alike than this: the short ones end first.

Three lemmas carry the bounds (theta = rival / (rival + mode), rho = rival / mode):
race    the rival is first to k votes with probability P(Binomial(2k - 1, theta) >= k); that it ever leads
        or ties with k votes or more has at most twice that (reflection).
ruin    the rival ever leads the mode by d votes with probability rho^d.
mirror  swap the mode and rival j in a run that stops on j by d votes or more: the new run stops on the
        mode and is at least rho_j^-d times as likely. So P(j) <= rho_j^d P(mode) and, with R the sum of all
        rho_j^d, the error is at most R / (1 + R); it is just that for one rival and d on every stop.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from kit.errors import InputError, check_fields
from kit.voting.tally import Tally, Vote, is_decided, tally


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteHistory:
    """One problem's attempts that ended, in that order.

    answers: None for an attempt without a usable answer. weights: one per answer, as kit.voting.tally.Vote's
    (that of a None is not read). num_remaining: attempts that may still end.
    """

    answers: tuple[int | None, ...]
    weights: tuple[float, ...]
    num_remaining: int

    def __post_init__(self) -> None:
        assert len(self.answers) == len(self.weights), (len(self.answers), len(self.weights))

    def standing(self, first: int | None = None) -> Tally:
        """The usable answers counted: all, or those of the `first` attempts that ended."""
        pairs = zip(self.answers[:first], self.weights[:first], strict=True)
        return tally(Vote(answer, weight) for answer, weight in pairs if answer is not None)


class Rule(Protocol):
    """When votes are enough. `str(rule)` is the text that `kit.voting.parsing.parse_rule` reads back."""

    def is_enough(self, history: VoteHistory) -> bool:
        """Whether to stop and give the leader; False before the first vote. Cost: about one tally."""
        ...

    def error_bound(self, mode: float, rivals: Sequence[float]) -> float | None:
        """The most that the rule errs under the module's model; None where no bound is known.

        Raises: InputError if these are not probabilities, or if a rival is likelier than the mode.
        """
        ...


@dataclass(frozen=True, slots=True)
class Votes:
    """The leader has k votes, as in most competition notebooks (k = 4: docs/peers.md#common-ancestor)."""

    k: int

    def __post_init__(self) -> None:
        check_fields(self, (("k", self.k >= 1, ">= 1"),))

    def is_enough(self, history: VoteHistory) -> bool:
        """k votes for the leader."""
        leader = history.standing().leader
        return leader is not None and leader.num_votes >= self.k

    def error_bound(self, mode: float, rivals: Sequence[float]) -> float:
        """The race to k, summed over the rivals; exact for one."""
        return error_by_sum(mode, rivals, lambda rival: _race(self.k, mode, rival))

    def __str__(self) -> str:
        return f"votes({self.k})"


@dataclass(frozen=True, slots=True)
class KOfFirst:
    """k of the first n attempts agree. Once missed, it never holds: a late agreement is no early one."""

    k: int
    n: int

    def __post_init__(self) -> None:
        check_fields(self, (("k", 1 <= self.k <= self.n, f"in 1–n ({self.n})"),))

    def is_enough(self, history: VoteHistory) -> bool:
        """k votes for the leader of the first n attempts, those without an answer included in n."""
        leader = history.standing(self.n).leader
        return leader is not None and leader.num_votes >= self.k

    def error_bound(self, mode: float, rivals: Sequence[float]) -> float:
        """Summed over the rivals: the race to k, or k of n at all if that is less."""
        return error_by_sum(
            mode, rivals, lambda rival: min(_race(self.k, mode, rival), _at_least(self.k, self.n, rival))
        )

    def __str__(self) -> str:
        return f"k_of_first({self.k},{self.n})"


@dataclass(frozen=True, slots=True)
class KOfRecent:
    """k of the last n attempts are the leader's ("4 of recent 5": docs/peers.md#second-place-of-aimo2)."""

    k: int
    n: int

    def __post_init__(self) -> None:
        check_fields(self, (("k", 1 <= self.k <= self.n, f"in 1–n ({self.n})"),))

    def is_enough(self, history: VoteHistory) -> bool:
        """k of the last n attempts gave the answer that leads over all of them."""
        leader = history.standing().leader
        return leader is not None and history.answers[-self.n :].count(leader.answer) >= self.k

    def error_bound(self, mode: float, rivals: Sequence[float]) -> float:
        """Twice the race to k, summed over the rivals: it stops only on a leader of k votes or more."""
        return error_by_sum(mode, rivals, lambda rival: 2 * _race(self.k, mode, rival))

    def __str__(self) -> str:
        return f"k_of_recent({self.k},{self.n})"


@dataclass(frozen=True, slots=True)
class Lead:
    """The leader is `margin` votes ahead: of the second, or of all other answers together ("rest")."""

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

    def error_bound(self, mode: float, rivals: Sequence[float]) -> float:
        """The mirror at d = margin; exact for one rival."""
        return error_by_mirror(mode, rivals, self.margin)

    def __str__(self) -> str:
        return f"lead({self.margin})" if self.over == "second" else f"lead({self.margin},{self.over})"


@dataclass(frozen=True, slots=True)
class Uncatchable:
    """No outcome of the remaining attempts can change the winner, weights considered."""

    def is_enough(self, history: VoteHistory) -> bool:
        """As `kit.voting.tally.is_decided`."""
        return is_decided(history.standing(), history.num_remaining)

    def error_bound(self, mode: float, rivals: Sequence[float]) -> None:
        """None: it errs just as often as the vote of all attempts, and adds nothing to that."""
        _check_model(mode, rivals)

    def __str__(self) -> str:
        return "uncatchable"


@dataclass(frozen=True, slots=True)
class ESC:
    """Early-stopping self-consistency: one of the consecutive windows of attempts agrees.

    Unlike the paper's it must agree on the leader, for that is the answer that would be given.
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

    def error_bound(self, mode: float, rivals: Sequence[float]) -> float:
        """The first unanimous window is a rival's (exact), or the mode's, yet a rival was w votes ahead (ruin)."""
        ruin = error_by_sum(mode, rivals, lambda rival: (rival / mode) ** self.window)
        return min(1.0, error_by_mirror(mode, rivals, self.window) + ruin)

    def __str__(self) -> str:
        return f"esc({self.window})"


def votes_by_rank(standing: Tally) -> list[int]:
    """Votes of the leader, then those of the others, most first; [0] before the first vote.

    A leader by weight may have fewer votes than the next.
    """
    leader, *others = [each.num_votes for each in standing.standings] or [0]
    return [leader, *sorted(others, reverse=True)]


def error_by_sum(mode: float, rivals: Sequence[float], error: Callable[[float], float]) -> float:
    """The union bound: the errors that go to each rival, summed; at most 1. Raises: as Rule.error_bound."""
    _check_model(mode, rivals)
    return min(1.0, math.fsum(error(rival) for rival in rivals))


def error_by_mirror(mode: float, rivals: Sequence[float], margin: int) -> float:
    """The mirror lemma for a rule that stops only on a lead of `margin` or more. Raises: as Rule.error_bound."""
    _check_model(mode, rivals)
    odds = math.fsum((rival / mode) ** margin for rival in rivals)
    return odds / (1 + odds)


def _race(k: int, mode: float, rival: float) -> float:
    return _at_least(k, 2 * k - 1, rival / (rival + mode))


def _at_least(k: int, n: int, probability: float) -> float:
    """P(Binomial(n, probability) >= k)."""
    return math.fsum(math.comb(n, i) * probability**i * (1 - probability) ** (n - i) for i in range(k, n + 1))


def _check_model(mode: float, rivals: Sequence[float]) -> None:
    if not 0 < mode <= 1:
        raise InputError(f"mode must be a probability above 0, got {mode!r}")
    for rival in rivals:
        if not 0 <= rival <= mode:
            raise InputError(f"a rival's probability must be in 0–{mode!r} (the mode's), got {rival!r}")
    if mode + math.fsum(rivals) > 1 + _ROUNDING:
        raise InputError(f"mode and rivals must sum to at most 1, got {mode + math.fsum(rivals)!r}")


_ROUNDING = 1e-9  # far above any rounding of a sum of probabilities, far below any that matters
