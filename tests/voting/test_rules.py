"""The rules one by one, and for each its stated error against an exact walk and against simulation."""

import dataclasses
import functools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.errors import InputError
from kit.voting.parsing import parse_rule
from kit.voting.rules import ESC, KOfFirst, KOfRecent, Lead, Rule, Uncatchable, VoteHistory, Votes
from kit.voting.sequential import log_wealth
from kit.voting.tally import MAX_WEIGHT, MIN_WEIGHT, Vote, tally

MODE = 0  # the smallest label, so that every tie goes against it

COUNTING = ["votes(1)", "votes(4)", "lead(3)", "lead(2,rest)", "adaptive(0.95)", "sprt(0.05)", "certificate(0.05)"]
"""Rules that depend on nothing but the counts."""
ORDERED = ["k_of_first(4,5)", "k_of_first(2,7)", "k_of_recent(4,5)", "k_of_recent(3,4)", "esc(3)", "esc(5)"]
EVERY = [*COUNTING, *ORDERED, "uncatchable", "votes(4) | lead(3)"]

HISTORIES = st.builds(
    lambda votes, num_remaining: VoteHistory(
        answers=tuple(answer for answer, _ in votes),
        weights=tuple(weight for _, weight in votes),
        num_remaining=num_remaining,
    ),
    st.lists(st.tuples(st.none() | st.integers(0, 3), st.floats(MIN_WEIGHT, MAX_WEIGHT)), max_size=14),
    st.integers(0, 6),
)


def ended(*answers: int | None, num_remaining: int = 8) -> VoteHistory:
    return VoteHistory(answers=answers, weights=(1.0,) * len(answers), num_remaining=num_remaining)


def enough(rule: Rule, text: str, **other: int) -> bool:
    """As `enough(rule, "aab-")`: one letter per answer, "-" for none."""
    return rule.is_enough(ended(*(None if letter == "-" else ord(letter) for letter in text), **other))


# --- what each rule does ---


def test_votes_waits_for_k_equal_ones() -> None:
    assert not enough(Votes(3), "aabb-")
    assert enough(Votes(3), "aabb-a")


def test_k_of_first_holds_for_the_first_n_attempts_and_once_missed_never_again() -> None:
    assert enough(KOfFirst(4, 5), "aaaa")
    assert enough(KOfFirst(4, 5), "aabaa")
    assert not enough(KOfFirst(4, 5), "aabba")
    assert not enough(KOfFirst(4, 5), "aabbaaaaaaaa")
    assert not enough(KOfFirst(4, 5), "aa--aa"), "an attempt without an answer is one of the n"


@given(HISTORIES)
def test_k_of_first_is_settled_by_the_first_n_attempts(history: VoteHistory) -> None:
    first = dataclasses.replace(history, answers=history.answers[:5], weights=history.weights[:5])
    assert KOfFirst(3, 5).is_enough(history) == KOfFirst(3, 5).is_enough(first)


def test_k_of_recent_forgets_what_lies_behind_but_not_who_leads() -> None:
    assert enough(KOfRecent(4, 5), "bcdaabaa")
    assert not enough(KOfRecent(4, 5), "aaabb")
    assert not enough(KOfRecent(4, 5), "bbbbb-aaaa"), "b would be given"
    assert not enough(KOfRecent(4, 5), "aaa--aa")


def test_a_lead_is_over_the_second_or_over_all_the_rest() -> None:
    assert enough(Lead(3), "aaaabcde")
    assert not enough(Lead(3, "rest"), "aaaabcde")
    assert enough(Lead(3, "rest"), "aaaab")
    assert enough(Lead(3), "aaa----")
    assert not enough(Lead(3), "aaabaa"[:4])


def test_a_leader_by_weight_with_fewer_votes_has_no_lead() -> None:
    history = VoteHistory(answers=(1, 1, 1, 2, 2, 2, 2), weights=(1.25,) * 3 + (0.75,) * 4, num_remaining=1)
    assert history.standing().standings[0].answer == 1
    for text in ("lead(1)", "lead(1,rest)", "adaptive(0.51)", "sprt(0.99)", "certificate(0.99)"):
        assert not parse_rule(text).is_enough(history), text


def test_uncatchable_waits_until_the_rest_cannot_turn_it() -> None:
    assert enough(Uncatchable(), "aaa", num_remaining=2)
    assert not enough(Uncatchable(), "aaa", num_remaining=3)
    assert not enough(Uncatchable(), "----", num_remaining=0)


@given(HISTORIES, st.lists(st.tuples(st.none() | st.integers(0, 4), st.floats(MIN_WEIGHT, MAX_WEIGHT)), max_size=6))
def test_once_uncatchable_no_future_changes_the_winner(
    history: VoteHistory, future: list[tuple[int | None, float]]
) -> None:
    if not Uncatchable().is_enough(history):
        return
    now = history.standing().standings[0].answer
    cast = [*zip(history.answers, history.weights, strict=True), *future[: history.num_remaining]]
    later = tally(Vote(answer, weight) for answer, weight in cast if answer is not None)
    assert later.standings[0].answer == now


def test_esc_wants_a_whole_window_of_equal_answers_at_its_own_place() -> None:
    assert enough(ESC(3), "aaa")
    assert enough(ESC(3), "abcaaab")
    assert not enough(ESC(3), "abaaab"), "three equal ones across two windows"
    assert not enough(ESC(3), "aa-aa-"), "no answer is a different answer"
    assert not enough(ESC(3), "bb-bb-aaa"), "b would be given"


@pytest.mark.parametrize("text", EVERY)
def test_nothing_is_enough_before_the_first_vote(text: str) -> None:
    for size in (0, 1, 20):
        assert not parse_rule(text).is_enough(ended(*[None] * size, num_remaining=0))


@pytest.mark.parametrize("text", [*COUNTING, "uncatchable", "votes(4) | lead(3)"])
@given(history=HISTORIES, random=st.randoms(use_true_random=False))
def test_a_counting_rule_does_not_mind_the_order(text: str, history: VoteHistory, random: Random) -> None:
    pairs = list(zip(history.answers, history.weights, strict=True))
    random.shuffle(pairs)
    answers, weights = zip(*pairs, strict=True) if pairs else ((), ())
    shuffled = dataclasses.replace(history, answers=answers, weights=weights)
    assert parse_rule(text).is_enough(shuffled) == parse_rule(text).is_enough(history)


@pytest.mark.parametrize("text", [*COUNTING, "uncatchable"])
@given(history=HISTORIES)
def test_attempts_without_an_answer_count_for_nobody(text: str, history: VoteHistory) -> None:
    pairs = [pair for pair in zip(history.answers, history.weights, strict=True) if pair[0] is not None]
    answers, weights = zip(*pairs, strict=True) if pairs else ((), ())
    rule = parse_rule(text)
    assert rule.is_enough(dataclasses.replace(history, answers=answers, weights=weights)) == rule.is_enough(history)


@pytest.mark.parametrize("text", ["k_of_first(3,5)", "k_of_recent(3,5)", "esc(3)"])
@given(history=HISTORIES)
def test_attempts_without_an_answer_never_help(text: str, history: VoteHistory) -> None:
    """Giving one of them the leader's answer cannot undo an enough, and without them it may come sooner."""
    leader = history.standing().leader
    if leader is None or not parse_rule(text).is_enough(history):
        return
    filled = tuple(leader.answer if answer is None else answer for answer in history.answers)
    assert parse_rule(text).is_enough(dataclasses.replace(history, answers=filled))


@pytest.mark.parametrize(
    "build",
    [
        lambda: Votes(0),
        lambda: KOfFirst(0, 3),
        lambda: KOfFirst(4, 3),
        lambda: KOfRecent(4, 3),
        lambda: Lead(0),
        lambda: Lead(1, "all"),  # type: ignore[arg-type]
        lambda: ESC(0),
    ],
)
def test_a_rule_refuses_a_number_out_of_range(build: object) -> None:
    with pytest.raises(InputError, match="must be"):
        build()  # type: ignore[operator]


# --- what each rule errs ---


@functools.cache
def holds_at(text: str, counts: tuple[int, ...]) -> bool:
    return parse_rule(text).is_enough(ended(*(a for a, num in enumerate(counts) for _ in range(num))))


def stops_at(text: str, counts: Iterable[int]) -> bool:
    """Whether a counting rule stops at these votes, whichever answers they are for."""
    return holds_at(text, tuple(sorted(filter(None, counts), reverse=True)))


def leads(counts: Sequence[int]) -> int:
    return max(range(len(counts)), key=lambda answer: (counts[answer], answer))


def exact_error(text: str, share: float, horizon: int) -> tuple[float, float]:
    """(probability to stop on the rival, to go on) within `horizon` votes for two answers, by walking all counts."""
    walking, wrong = {(0, 0): 1.0}, 0.0
    for _ in range(horizon):
        reached: defaultdict[tuple[int, int], float] = defaultdict(float)
        for (mode, rival), probability in walking.items():
            reached[mode + 1, rival] += probability * share
            reached[mode, rival + 1] += probability * (1 - share)
        stopped = {counts for counts in reached if stops_at(text, counts)}
        wrong += math.fsum(reached[counts] for counts in stopped if leads(counts) != MODE)
        walking = {counts: probability for counts, probability in reached.items() if counts not in stopped}
    return wrong, math.fsum(walking.values())


def race(k: int, share: float) -> float:
    """P(Binomial(2k - 1, 1 - share) >= k)."""
    return math.fsum(math.comb(2 * k - 1, i) * (1 - share) ** i * share ** (2 * k - 1 - i) for i in range(k, 2 * k))


def ruin(margin: int, share: float) -> float:
    odds = ((1 - share) / share) ** margin
    return odds / (1 + odds)


@pytest.mark.parametrize("share", [0.5, 0.6, 0.75, 0.9])
@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("votes(1)", functools.partial(race, 1)),
        ("votes(4)", functools.partial(race, 4)),
        ("lead(3)", functools.partial(ruin, 3)),
        ("lead(2,rest)", functools.partial(ruin, 2)),
        ("lead(1)", functools.partial(ruin, 1)),
    ],
)
def test_the_error_of_a_race_or_a_lead_is_what_its_docstring_states_for_one_rival(
    text: str, error: Callable[[float], float], share: float
) -> None:
    wrong, going_on = exact_error(text, share, 150)
    assert error(share) == pytest.approx(wrong, abs=going_on + 1e-12)
    assert going_on < 1e-4


@pytest.mark.parametrize("share", [0.5, 0.55, 0.65, 0.8, 0.95])
@pytest.mark.parametrize(
    ("text", "alpha"),
    [("sprt(0.05)", 0.05), ("sprt(0.2,0.6)", 0.2), ("certificate(0.05)", 0.05), ("certificate(0.3)", 0.3)],
)
def test_a_sequential_rule_never_errs_more_against_one_rival_than_it_states(
    text: str, alpha: float, share: float
) -> None:
    wrong, _ = exact_error(text, share, 120)
    assert 0 < wrong <= alpha * (1 + 1e-12)


@functools.cache
def passes_first_rank(alpha: float, leader: int, second: int) -> bool:
    """What MajorityCertificate asks first, and the cheapest: few votes pass it, and only those are put to the rule."""
    return log_wealth(leader, second, odds=1) >= math.log(1 / alpha)


def certificate_errs(alpha: float, answers: Iterable[int], num_rivals: int) -> bool:
    """Whether the certificate, asked after every attempt, stops on another answer than the mode."""
    counts = [0] * (num_rivals + 1)
    for answer in answers:
        counts[answer] += 1
        second, leader = sorted(counts)[-2:]
        is_asked = counts[answer] == leader and passes_first_rank(alpha, leader, second)  # no other vote makes it hold
        if is_asked and stops_at(f"certificate({alpha})", counts):
            return leads(counts) != MODE
    return False


def tolerance(bound: float, num_runs: int) -> float:
    """Four standard deviations of the share of errors at the bound, and one run more."""
    return 4 * math.sqrt(bound * (1 - bound) / num_runs) + 1 / num_runs


@pytest.mark.parametrize(
    ("mode", "rivals"),
    [(0.5, [0.5]), (0.3, [0.3]), (0.25, [0.25] * 3), (0.1, [0.1] * 9), (0.02, [0.02] * 49), (0.4, [0.4] + [0.01] * 20)],
)
def test_the_certificate_keeps_its_error_where_the_mode_is_no_likelier_than_its_rivals(
    mode: float, rivals: list[float]
) -> None:
    """The null's edge, asked after each of 250 attempts; ties in probability count as errors."""
    alpha, num_runs, random = 0.2, 300, Random(f"{mode} {rivals}")
    answers, weights = range(len(rivals) + 1), [mode, *rivals]
    num_errors = sum(
        certificate_errs(alpha, random.choices(answers, weights, k=250), len(rivals)) for _ in range(num_runs)
    )
    assert num_errors / num_runs <= alpha + tolerance(alpha, num_runs)


def test_the_walk_would_notice_a_rule_that_peeks_without_paying_for_it() -> None:
    """At a tie Adaptive-Consistency, asked after every attempt, errs far more than the 5 % it looks like."""
    assert exact_error("adaptive(0.95)", 0.5, 100)[0] > 0.25
    assert exact_error("sprt(0.05)", 0.5, 200)[0] > 0.02, "Wald's bound is nearly used up"


def test_adaptive_consistency_keeps_its_error_on_average_over_its_prior() -> None:
    """Its Bayesian statement: the share of the mode uniform, one rival, up to 60 attempts."""
    random, num_stopped, num_wrong = Random(7), 0, 0
    for _ in range(3000):
        share = random.random()
        counts = [0, 0]
        for _ in range(60):
            counts[random.random() >= share] += 1
            if stops_at("adaptive(0.95)", counts):
                num_stopped += 1
                num_wrong += (counts[0] > counts[1]) != (share > 0.5)
                break
    assert num_stopped > 2000
    assert num_wrong / num_stopped <= 0.05 + tolerance(0.05, num_stopped)
    assert num_wrong / num_stopped > 0.02, "the statement is not an idle one"
