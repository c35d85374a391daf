from __future__ import annotations

import dataclasses
import sys
from collections import Counter
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.problem import Problem
from kit.sampling import FinishReason, Sample
from kit.solver.stopping import StopConfig, StopReason
from kit.solver.vote_state import ParsedAnswer, VoteState
from kit.voting.learned import Shape
from kit.voting.parsing import parse_rule
from kit.voting.rules import VoteHistory
from kit.voting.tally import Vote, is_decided, tally
from kit.voting.weights import VotingConfig

PROBLEM = Problem("p1", "What is $1+1$?")
RULE = StopConfig(num_samples=8, rule="votes(4)", max_failures=3)


def said(
    text: str, *, finish: FinishReason = FinishReason.STOP, entropy: float | None = None, depth: int | None = None
) -> Sample:
    return Sample(text=text, num_tokens=10, finish=finish, seconds=1.0, seed=0, mean_entropy=entropy, depth=depth)


def boxed(answer: object, **changes: object) -> Sample:
    return said(f"So \\boxed{{{answer}}}.", **changes)  # type: ignore[arg-type]


def vote_state(*answers: object) -> VoteState:
    made = VoteState(PROBLEM)
    for answer in answers:
        made.count(boxed(answer))
    return made


# --------------------------------------------------------------------------------------------- parsed


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("So \\boxed{7}.", ParsedAnswer(Vote(7))),
        ("So \\boxed{0}.", ParsedAnswer(Vote(0))),
        ("So \\boxed{121818}.", ParsedAnswer(wrapped=21818)),
        ("So \\boxed{2.5}.", ParsedAnswer()),
        ("I do not know.", ParsedAnswer()),
        ("", ParsedAnswer()),
    ],
)
def test_a_text_reads_as_a_vote_or_a_wrapped_answer_or_nothing(text: str, parsed: ParsedAnswer) -> None:
    assert VoteState(PROBLEM).read(said(text)) == parsed


def test_a_modulus_that_the_problem_states_is_applied_when_reading() -> None:
    stated = VoteState(Problem("m", "Find the remainder when $12!$ is divided by $1000$."))
    assert stated.read(boxed(121818)) == ParsedAnswer(Vote(818))


@pytest.mark.parametrize("finish", FinishReason)
def test_only_a_cut_or_broken_attempt_has_no_say(finish: FinishReason) -> None:
    has_say = finish not in (FinishReason.ABORTED, FinishReason.FAILED)
    assert VoteState(PROBLEM).read(boxed(7, finish=finish)) == (ParsedAnswer(Vote(7)) if has_say else ParsedAnswer())


def test_a_vote_weighs_what_the_config_says() -> None:
    sure = boxed(2, entropy=0.0)
    assert VoteState(PROBLEM).read(sure) == ParsedAnswer(Vote(2, 1.0))
    by_entropy = VotingConfig(weighing="entropy")
    assert VoteState(PROBLEM, by_entropy).read(sure) == ParsedAnswer(Vote(2, 1.25))
    modest = dataclasses.replace(by_entropy, small_answer_prior=0.8)
    assert VoteState(PROBLEM, modest).read(sure) == ParsedAnswer(Vote(2, 1.0))


def test_reading_counts_nothing() -> None:
    made = vote_state(2)
    made.read(boxed(3))
    assert (made.num_ended, made.num_tokens, made.votes) == (1, 10, [Vote(2)])


# -------------------------------------------------------------------------------------------- counting


def test_an_attempt_without_a_say_ends_all_the_same() -> None:
    made = vote_state(2)
    made.count(boxed(2, finish=FinishReason.ABORTED))
    made.count(said("nothing"))
    assert (made.num_ended, made.num_tokens) == (3, 30)
    assert made.history == [Vote(2), None, None]
    assert made.shape == Shape((1,), 2)


def test_a_broken_attempt_is_counted_apart() -> None:
    made = vote_state(2)
    made.count(boxed(3, finish=FinishReason.FAILED))
    assert (made.num_ended, made.num_failed, made.votes) == (1, 1, [Vote(2)])


def test_what_was_made_of_a_sample_is_not_read_anew() -> None:
    made = VoteState(PROBLEM)
    made.count(boxed(2), ParsedAnswer(Vote(5, 1.2)))
    made.count(boxed(2), ParsedAnswer())  # what could not be read, by a bug
    assert made.history == [Vote(5, 1.2), None]


def test_the_deepest_recursion_is_kept() -> None:
    made = VoteState(PROBLEM)
    assert made.solution(StopReason.OUT_OF_TIME, seconds=0).depth is None
    for depth in (0, 3, 1, None):
        made.count(boxed(1, depth=depth))
    assert made.solution(StopReason.ALL_SAMPLED, seconds=0).depth == 3


# ------------------------------------------------------------------------------------ numbers, resuming


def test_numbers_are_taken_in_order_and_only_broken_attempts_are_replaced() -> None:
    made = VoteState(PROBLEM)
    assert [made.take_number(RULE) for _ in range(9)] == [*range(8), None]
    made.count(boxed(1))
    assert made.take_number(RULE) is None
    made.count(boxed(1, finish=FinishReason.FAILED))
    assert [made.take_number(RULE), made.take_number(RULE)] == [8, None]


def test_a_resumed_attempt_keeps_its_number_and_leaves_the_gaps_to_be_drawn() -> None:
    made = VoteState(PROBLEM)
    for number in (0, 3):
        made.resume(number, boxed(7))
    made.resume(1, boxed(7, finish=FinishReason.FAILED))
    assert made.numbers == {0, 3}
    assert (made.num_ended, made.num_failed) == (2, 0)
    assert [made.take_number(RULE) for _ in range(7)] == [1, 2, 4, 5, 6, 7, None]


def test_a_resumed_vote_weighs_what_it_did() -> None:
    made = VoteState(PROBLEM, VotingConfig(weighing="deepconf_mean"))
    made.resume(0, boxed(7), weight=0.8)
    made.resume(1, boxed(7))  # an old journal without the weight: what is kept of the tokens decides
    made.resume(2, said("nothing"), weight=0.8)
    assert made.history == [Vote(7, 0.8), Vote(7, 1.0), None]


# --------------------------------------------------------------------------------------------- verdicts


def test_there_is_no_verdict_on_nothing() -> None:
    assert VoteState(PROBLEM).verdict(StopConfig(num_samples=1, rule="votes(1)")) is None


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([2, 2, 2], None),
        ([2, 2, 2, 2], StopReason.CONFIDENT),
        ([2, 2, 3, 3, 2, 3, 3], StopReason.CONFIDENT),
        ([1, 1, 2, 2, 3, 3, 4, 4], StopReason.ALL_SAMPLED),
    ],
)
def test_the_verdict_is_that_of_the_rule(answers: list[int], reason: StopReason | None) -> None:
    assert vote_state(*answers).verdict(RULE) is reason


def test_a_vote_that_nobody_can_catch_up_with_is_decided_whatever_the_rule_says() -> None:
    rule = StopConfig(num_samples=8, rule="votes(8)")
    assert vote_state(*[2] * 4).verdict(rule) is None
    assert vote_state(*[2] * 5).verdict(rule) is StopReason.DECIDED


def test_enough_stays_enough_and_counts_what_comes_after() -> None:
    made = vote_state(2, 2, 2, 2)
    assert made.verdict(RULE) is StopReason.CONFIDENT
    for answer in (3, 3, 4, 5):
        made.count(boxed(answer))
        assert made.verdict(RULE) is StopReason.CONFIDENT
    assert made.solution(StopReason.CONFIDENT, seconds=1).num_samples == 8


@given(st.lists(st.integers(0, 3), max_size=12))
def test_a_verdict_never_changes_once_it_is_in(answers: list[int]) -> None:
    made = VoteState(PROBLEM)
    seen = set()
    for answer in answers:
        made.count(boxed(answer))
        seen.add(made.verdict(RULE))
    assert len(seen - {None}) <= 1
    first_asked_at_the_end = vote_state(*answers)
    assert len(answers) < 8 or first_asked_at_the_end.verdict(RULE) is StopReason.ALL_SAMPLED


def test_broken_attempts_alone_are_no_verdict() -> None:
    made = vote_state(2)
    for _ in range(100):
        made.count(said("", finish=FinishReason.FAILED))
    assert made.verdict(RULE) is None
    assert made.solution(StopReason.ENGINE_FAILED, seconds=1).answer == 2


def test_a_number_that_was_drawn_twice_counts_once() -> None:
    made = vote_state()
    for _ in range(4):
        made.resume(0, said("\\boxed{7}"))
    assert [vote.answer for vote in made.votes] == [7]


def test_giving_up_is_a_verdict_but_overrules_none() -> None:
    made = vote_state(2)
    made.give_up(StopReason.NOT_WORTH)
    made.give_up(StopReason.INTERRUPTED)
    for _ in range(4):
        made.count(boxed(3))
    assert made.verdict(RULE) is StopReason.NOT_WORTH
    decided = vote_state(2, 2, 2, 2)
    assert decided.verdict(RULE) is StopReason.CONFIDENT
    decided.give_up(StopReason.NOT_WORTH)
    assert decided.verdict(RULE) is StopReason.CONFIDENT


# ------------------------------------------------------------------------------ candidates and solutions


def test_each_answer_is_a_candidate_with_a_solution_that_leads_to_it() -> None:
    made = VoteState(PROBLEM)
    for text in ("Adding gives \\boxed{2}.", "Guessing, \\boxed{3}.", "Again \\boxed{2}.", "nothing"):
        made.count(said(text))
    candidates = made.candidates(max_chars=500)
    assert [(each.answer, each.num_votes) for each in candidates] == [(2, 2), (3, 1)]
    assert [each.summary for each in candidates] == ["Adding gives \\boxed{2}.", "Guessing, \\boxed{3}."]


def test_of_a_long_solution_a_candidate_shows_the_end() -> None:
    made = VoteState(PROBLEM)
    made.count(said("Once upon a time.\n" * 10_000 + "So \\boxed{2}."))
    (candidate,) = made.candidates(max_chars=100)
    assert len(candidate.summary) <= 100
    assert candidate.summary.endswith("So \\boxed{2}.")
    (candidate,) = made.candidates(max_chars=10**6)
    assert len(candidate.summary) <= 16_000  # of each answer; a thousand problems must fit in memory


def test_a_resumed_solution_is_a_candidate_too() -> None:
    made = VoteState(PROBLEM)
    made.resume(0, boxed(7), weight=1.1)
    assert [each.summary for each in made.candidates(max_chars=100)] == ["So \\boxed{7}."]


def test_the_leader_is_the_answer_unless_another_was_selected() -> None:
    made = vote_state(2, 2, 3)
    voted = made.solution(StopReason.ALL_SAMPLED, seconds=4.0)
    assert (voted.answer, voted.votes, voted.guess) == (2, ((2, 2), (3, 1)), "")
    selected = made.solution(StopReason.ALL_SAMPLED, seconds=4.0, selected=3)
    assert (selected.answer, selected.votes, selected.guess) == (3, ((2, 2), (3, 1)), "")
    zero = made.solution(StopReason.ALL_SAMPLED, seconds=4.0, selected=0)
    assert zero.answer == 0


def test_without_a_vote_the_commonest_wrapped_answer_is_the_guess_and_the_larger_of_equals() -> None:
    assert vote_state(100_007, 100_009, 100_007).solution(StopReason.ALL_SAMPLED, seconds=1).answer == 7
    made = vote_state(100_007, 100_009)
    solution = made.solution(StopReason.ALL_SAMPLED, seconds=1)
    assert (solution.answer, solution.votes) == (9, ())
    assert "out of range" in solution.guess


@pytest.mark.parametrize(
    ("samples", "guess"),
    [
        ([], "no sample ended (out of time, 0 failed)"),
        ([said("", finish=FinishReason.FAILED)], "no sample ended (out of time, 1 failed)"),
        ([said("?"), boxed(2, finish=FinishReason.ABORTED)], "none of 2 samples held a usable answer"),
    ],
)
def test_a_guess_says_why_it_is_one(samples: list[Sample], guess: str) -> None:
    made = VoteState(PROBLEM)
    for sample in samples:
        made.count(sample)
    solution = made.solution(StopReason.OUT_OF_TIME, seconds=1)
    assert (solution.answer, solution.guess) == (0, guess)


# --------------------------------------------------------------------------------------------- many answers

RULES = ("learned(0.003)", "adaptive(0.95)", "votes(4)", "lead(3)", "k_of_recent(3,5)", "k_of_first(3,5)", "esc(3)")
HISTORIES = st.lists(
    st.none() | st.builds(Vote, st.integers(0, 3), st.sampled_from([0.75, 0.9, 1.0, 1.1, 1.25])), max_size=12
)


def judged_anew(history: list[Vote | None], rule: StopConfig) -> StopReason | None:
    """The verdict from nothing but the list of votes, as it was before votes were counted one by one."""
    num_left = rule.num_samples - len(history)
    if num_left <= 0:
        return StopReason.ALL_SAMPLED
    if is_decided(tally(vote for vote in history if vote is not None), num_left):
        return StopReason.DECIDED
    whole = VoteHistory(
        answers=tuple(None if vote is None else vote.answer for vote in history),
        weights=tuple(1.0 if vote is None else vote.weight for vote in history),
        num_remaining=num_left,
    )
    return StopReason.CONFIDENT if parse_rule(rule.rule).is_enough(whole) else None


@given(HISTORIES, st.sampled_from(RULES), st.integers(1, 14))
def test_a_verdict_is_the_one_that_the_whole_list_of_votes_would_get(
    votes: list[Vote | None], rule: str, num_samples: int
) -> None:
    stop, state = StopConfig(num_samples=num_samples, rule=rule), VoteState(PROBLEM)
    first: StopReason | None = None
    for num, vote in enumerate(votes):
        state.count(said("x"), ParsedAnswer(vote))
        first = first or judged_anew(votes[: num + 1], stop)
        assert state.verdict(stop) == first
        standings = tally(each for each in votes[: num + 1] if each is not None).standings
        solved = state.solution(StopReason.OUT_OF_TIME, seconds=1)
        assert solved.votes == tuple((each.answer, each.num_votes) for each in standings)


@pytest.mark.parametrize("rule", ["votes(4)", "votes(4) | lead(3)", "adaptive(0.95)"])
def test_a_thousand_different_answers_cost_a_thousand_times_what_one_does(rule: str) -> None:
    """Regression: all votes were counted anew after each, 3 million calls and 4.3 s for a thousand answers."""
    stop, state, calls = StopConfig(num_samples=1100, rule=rule), VoteState(PROBLEM), Counter[str]()

    def count(frame: FrameType, event: str, arg: object) -> None:
        calls[event] += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        for answer in range(1000):
            state.take_number(stop)
            state.count(said("x"), ParsedAnswer(Vote(answer)))
            assert state.verdict(stop) is None
    finally:
        sys.setprofile(before)
    assert calls["call"] < 200 * 1000


def test_a_copy_says_the_same_and_neither_changes_the_other() -> None:
    """Bug of an earlier version: two threads that asked for the answer at once counted the same votes twice."""

    def said(answer: int) -> Sample:
        return Sample(text=f"\\boxed{{{answer}}}", num_tokens=3, finish=FinishReason.STOP, seconds=1.0, seed=answer)

    state = VoteState(Problem("a", "What is $1+1$?"))
    for answer in (7, 7, 200_003, 5):
        state.count(said(answer))
    copy = state.copied()
    state.count(said(5))
    first = copy.solution(StopReason.INTERRUPTED, seconds=1)
    copy.count(said(9))
    assert (first.votes, first.num_samples) == (((7, 2), (5, 1)), 4)
    later = state.solution(StopReason.INTERRUPTED, seconds=1)
    assert (dict(later.votes), later.num_samples) == ({7: 2, 5: 2}, 5)
