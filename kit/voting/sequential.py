"""Stop rules that weigh the evidence of the vote counts: a posterior, Wald's test, a certificate.

In and out: as `kit.voting.rules`, whose model they share. All count votes and not weights. They hold
only if the leader by weight also leads by count. Not here: priors learned from past votes.

    rule                  stops at (0.95 or 0.05)     what is at most 0.05
    AdaptiveConsistency   4–0, 6–1, 8–2, 9–3, 11–4    error on average over a uniform prior
    SPRT                  7–0, 9–1, 11–2, 13–3, 15–4  error against any one rival, however near
    MajorityCertificate   7–0, 10–1, 13–2, 15–3       error against all rivals together, however near and many
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from kit.errors import check_fields
from kit.voting.rules import VoteHistory, votes_by_rank
from kit.voting.tally import is_confident

DEFAULT_P1 = 0.8
"""SPRT's alternative: the leader draws four votes for each of the second."""


@dataclass(frozen=True, slots=True)
class AdaptiveConsistency:
    """The posterior that the leader is likelier than the second reaches the threshold.

    Its own statement is Bayesian: of two answers with a uniform prior on the share of either, a leader it
    stops on is the less likely one with probability at most 1 - threshold. On a given near-tie it errs far
    more often, for it asks after every attempt.
    Source: Aggarwal et al., arXiv 2305.11860, section 3.
    """

    threshold: float

    def __post_init__(self) -> None:
        check_fields(self, (("threshold", 0.5 < self.threshold < 1, "in (0.5, 1)"),))

    def is_enough(self, history: VoteHistory) -> bool:
        """As `kit.voting.tally.is_confident`."""
        return is_confident(history.standing(), self.threshold)

    def __str__(self) -> str:
        return f"adaptive({self.threshold!r})"


@dataclass(frozen=True, slots=True)
class SPRT:
    """Wald's test of the leader against the second: does it draw p1 of their votes, rather than half?

    Stops once (2 p1)^a (2 - 2 p1)^b >= 1 / alpha for a and b votes. At most half of the votes of the mode
    and a rival go to the rival, so with a for the rival and b for the mode the product is a supermartingale
    that starts at 1: it ever reaches 1 / alpha with probability at most alpha (Ville), however often one
    asks. That is per rival: of many near rivals it proves no more than the sum.
    Source: ConSol, arXiv 2503.17587, whose p1 = 0.5001 would move the product by 0.02 % a vote.
    """

    alpha: float
    p1: float = DEFAULT_P1

    def __post_init__(self) -> None:
        check_fields(self, (("alpha", 0 < self.alpha < 1, "in (0, 1)"), ("p1", 0.5 < self.p1 < 1, "in (0.5, 1)")))

    def is_enough(self, history: VoteHistory) -> bool:
        """The likelihood ratio of the leader against the second reaches 1 / alpha."""
        leader, *others = votes_by_rank(history.standing())
        log_ratio = leader * math.log(2 * self.p1) + max(others, default=0) * math.log(2 - 2 * self.p1)
        return log_ratio >= -math.log(self.alpha)

    def __str__(self) -> str:
        return f"sprt({self.alpha!r})" if self.p1 == DEFAULT_P1 else f"sprt({self.alpha!r},{self.p1!r})"


@dataclass(frozen=True, slots=True)
class MajorityCertificate:
    """Whatever the probabilities, ever to stop on a leader that is not the mode has probability <= alpha.

    Null: the leader is not the mode. Attempts are independent (the model of kit.voting.rules); the leader is chosen
    by the votes, the answers and their number are unknown, one may ask at any time. Why the bound holds:

    1. Number the answers by falling probability, ties as you like: x_1 is the mode. Fix j >= 2, call
       S_j = {x_1 … x_j-1}. Of the draws in S_j or x_j, a share of at most 1/j goes to x_j.
    2. A gambler who bets a part u of his wealth on x_j at odds of j - 1 to 1 at each such draw has the
       wealth (1 + (j-1) u)^a (1 - u)^b after a votes for x_j and b for S_j: a supermartingale, as each
       bet's mean is 1 + u (j share - 1) <= 1. So is the mean over u uniform in [0, 1],
           W(a, b; j - 1) = ∫ (1 + (j-1) u)^a (1 - u)^b du,
       and by Ville P(W ever reaches 1 / alpha_j) <= alpha_j. There is one x_j for each j, so with
       alpha_j = alpha / (zeta(3) (j-1)^3), which sum to alpha, all ranks together err by at most alpha.
    3. The votes do not tell the rank j of the leader or who is in S_j. W falls in b, and b is at most the
       votes of the j - 1 strongest other answers. So the rule holds only if W with that b reaches
       1 / alpha_j for every j >= 2: then it did so for the true one.

    j = 2 is the test of leader against second; the higher ranks, which pay for the choice of the leader
    among many, ask for little more, since few answers can be as likely as a frequent one.
    Source: the problem and the e-process for two answers: Cordero-Encinar and Duncan, arXiv 2510.17472
    (section 3), and CITE, arXiv 2605.05873 (a target fixed in advance); the union over ranks is ours.
    """

    alpha: float

    def __post_init__(self) -> None:
        check_fields(self, (("alpha", 0 < self.alpha < 1, "in (0, 1)"),))

    def is_enough(self, history: VoteHistory) -> bool:
        """The wealth against every rank that the leader might truly have reaches its threshold."""
        return self._certifies(*votes_by_rank(history.standing()))

    def _log_needed(self) -> float:
        """log(1 / alpha_j) for j = 2; for any j it is this + 3 log(j - 1)."""
        return math.log(_ZETA_3 / self.alpha)

    def _certifies(self, leader: int, *others: int) -> bool:
        """`others`: votes, most first. Ranks beyond the answers seen meet the same votes: one bound does for all."""
        needed = self._log_needed()
        against = list(itertools.accumulate((*others, 0, 0)))  # two ranks more, where that bound is still loose
        return all(
            log_wealth(leader, votes, odds=odds) >= needed + 3 * math.log(odds)
            for odds, votes in enumerate(against, start=1)
        ) and (log_wealth(leader, against[-1], odds=len(against) + 1, power=3) >= needed)

    def __str__(self) -> str:
        return f"certificate({self.alpha!r})"


def log_wealth(votes: int, against: int, *, odds: int, power: int = 0) -> float:
    """log of W(votes, against; odds) / odds^power, exact for power 0, else a lower bound that rises with odds.

    Integrating by parts, W is a polynomial in the odds: with a = votes and n = votes + against, the sum over
    k = 0 … a of C(n+1, k) odds^(a-k), over (n+1) C(n, a). The bound leaves out the terms below odds^power.
    """
    n = votes + against
    total, term = 0, 1
    for k in range(votes - power + 1):
        total = total * odds + term
        term = term * (n + 1 - k) // (k + 1)
    return math.log(total) - math.log((n + 1) * math.comb(n, votes)) if total else -math.inf


_ZETA_3 = 1.2020569031595943  # 1 + 1/2^3 + 1/3^3 + …, rounded up
