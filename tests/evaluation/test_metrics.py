from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.evaluation.metrics import (
    Grading,
    cost_of,
    is_majority_right,
    ks_up_to,
    pass_at,
    scores_of,
    votes_of,
)
from kit.evaluation.records import Completion
from kit.evaluation.slices import overall, samples_by_problem, slices
from kit.sampling import FinishReason
from kit.voting.tally import Vote, tally
from tests.evaluation.runs import answered, completion, example, grade, run
from tests.oracles.metrics_reference import pass_at_k_by_enumeration, winner_by_counting

ANSWERS = st.lists(st.sampled_from(["7", "9", "12", "100", None]), min_size=1, max_size=9)


def samples(*answers: str | None) -> tuple[Completion, ...]:
    return tuple(completion(example(0), number, answer) for number, answer in enumerate(answers))


@given(st.lists(st.booleans(), min_size=1, max_size=9), st.data())
def test_pass_at_k_is_the_share_of_subsets_with_a_right_sample(rights: list[bool], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(rights)))
    exact = pass_at_k_by_enumeration(rights, k)
    assert pass_at(k, num_right=sum(rights), num_samples=len(rights)) == pytest.approx(float(exact), abs=1e-12)


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_pass_at_k_grows_with_k_from_the_accuracy_on(counts: tuple[int, int]) -> None:
    num_right, num_samples = counts
    values = [pass_at(k, num_right=num_right, num_samples=num_samples) for k in range(1, num_samples + 1)]
    assert values[0] == pytest.approx(num_right / num_samples)
    assert values == sorted(values)
    assert values[-1] == float(num_right > 0)


@given(ANSWERS)
def test_a_vote_goes_as_the_solvers_own_tally_and_as_plain_counting(answers: list[str | None]) -> None:
    votes = votes_of([grade(answer, "7") for answer in answers])
    leader = tally(Vote(int(answer)) for answer in answers if answer is not None).leader
    assert (votes[0] if votes else None) == (None if leader is None else (str(leader.answer), leader.num_votes))
    assert (votes[0][0] if votes else None) == winner_by_counting(answers)


@given(ANSWERS.flatmap(lambda answers: st.tuples(st.just(answers), st.permutations(answers))))
def test_a_vote_does_not_depend_on_the_order_of_the_samples(orders: tuple[list[str | None], list[str | None]]) -> None:
    one, other = ([grade(answer, "7") for answer in answers] for answers in orders)
    assert votes_of(one) == votes_of(other)


@pytest.mark.parametrize(
    ("answers", "winner"),
    [
        (["9", "12"], "12"),
        (["-3", "-12"], "-3"),
        (["\\frac{1}{2}", "1"], "1"),
        (["a", "b"], "b"),
        (["9" * 5000, "1"], "1"),
        (["²", "0"], "0"),
    ],
)
def test_between_equals_the_larger_integer_wins_and_any_integer_goes_before_other_texts(
    answers: list[str], winner: str
) -> None:
    assert votes_of([grade(answer, "7") for answer in answers])[0][0] == winner


def test_a_problem_without_any_answer_is_not_won() -> None:
    assert not is_majority_right([grade(None, "7")] * 3)


@given(st.lists(ANSWERS, min_size=1, max_size=12))
def test_scores_agree_with_their_definitions_in_plain_loops(answers_PG: list[list[str | None]]) -> None:
    scores = scores_of([samples(*answers) for answers in answers_PG], Grading.STRICT)
    shares = [sum(answer == "7" for answer in answers) / len(answers) for answers in answers_PG]
    assert scores.accuracy.value == pytest.approx(sum(shares) / len(shares))
    for k, found in scores.maj_at_k.items():
        won = [winner_by_counting(answers[:k]) == "7" for answers in answers_PG if len(answers) >= k]
        assert found.value == pytest.approx(sum(won) / len(won))
    for k, found in scores.pass_at_k.items():
        passed = [
            pass_at_k_by_enumeration([answer == "7" for answer in answers], k)
            for answers in answers_PG
            if len(answers) >= k
        ]
        assert found.value == pytest.approx(float(sum(passed) / len(passed)))
    flat = [answer for answers in answers_PG for answer in answers]
    assert scores.unanswered == pytest.approx(flat.count(None) / len(flat))


@pytest.mark.parametrize(
    ("num_samples", "ks"), [(1, (1,)), (2, (1, 2)), (3, (1, 2, 3)), (8, (1, 2, 4, 8)), (9, (1, 2, 4, 8, 9))]
)
def test_k_runs_over_powers_of_two_and_ends_with_all_samples(num_samples: int, ks: Sequence[int]) -> None:
    assert ks_up_to(num_samples) == tuple(ks)


def test_strict_and_lenient_grades_are_scored_side_by_side() -> None:
    made = [completion(example(0), 0, None, lenient="7")]
    (part,) = slices(run([example(0)], made))
    assert part.scores[Grading.STRICT].accuracy.value == 0.0
    assert part.scores[Grading.LENIENT].accuracy.value == 1.0
    assert (part.scores[Grading.STRICT].unanswered, part.scores[Grading.LENIENT].unanswered) == (1.0, 0.0)


def test_the_cost_tells_tokens_seconds_and_how_samples_ended() -> None:
    of = example(0)
    made = [
        completion(of, 0, "7", num_tokens=30, seconds=2.0),
        completion(of, 1, None, num_tokens=50, seconds=3.0, finish=FinishReason.LENGTH),
        completion(of, 2, None, num_tokens=0, seconds=0.0, finish=FinishReason.FAILED),
        completion(of, 3, None, num_tokens=20, seconds=5.0, finish=FinishReason.DEADLINE),
    ]
    cost = cost_of(made)
    assert (cost.num_samples, cost.num_tokens, cost.seconds, cost.tokens_per_s) == (4, 100, 10.0, 10.0)
    assert cost.truncated == 0.5
    assert cost.finishes == {
        FinishReason.STOP: 1,
        FinishReason.LENGTH: 1,
        FinishReason.FAILED: 1,
        FinishReason.DEADLINE: 1,
    }


def test_a_speed_without_any_time_is_not_known() -> None:
    assert cost_of([completion(example(0), 0, "7", seconds=0.0)]).tokens_per_s is None


def test_a_run_is_cut_by_depth_and_within_each_by_level_and_subject() -> None:
    examples = [
        example(0, level="5", subject="Algebra"),
        example(1, level="1", subject="Geometry"),
        example(2, level="5"),
    ]
    made = [completion(of, 0, "7" if depth == 3 else "9", depth=depth) for of in examples for depth in (1, 3)]
    parts = slices(run(examples, made, depths=(1, 3)))
    assert [(part.depth, part.level, part.subject, part.num_problems) for part in parts] == [
        (depth, *rest)
        for depth in (1, 3)
        for rest in (("", "", 3), ("1", "", 1), ("5", "", 2), ("", "Algebra", 1), ("", "Geometry", 1))
    ]
    assert [part.scores[Grading.STRICT].accuracy.value for part in overall(parts)] == [0.0, 1.0]


def test_a_run_that_is_not_whole_is_scored_by_what_is_there() -> None:
    examples = [example(0), example(1), example(2)]
    made = [completion(examples[0], 0, "7"), completion(examples[0], 1, "9"), completion(examples[2], 0, "7")]
    (part,) = slices(run(examples, made, num_samples=2))
    scores = part.scores[Grading.STRICT]
    assert (part.num_asked, part.num_problems, scores.accuracy.value) == (3, 2, 0.75)
    assert (scores.maj_at_k[1].value, scores.maj_at_k[2].value) == (1.0, 0.0)  # 9 beats 7 between equals
    assert scores.num_problems_at_k == {1: 2, 2: 1}


def test_a_run_without_samples_has_no_slices() -> None:
    assert slices(run([example(0)], [])) == ()


def test_the_first_k_samples_are_the_first_by_number_however_they_were_journalled() -> None:
    of = example(0)
    made = run([of], [completion(of, 1, "9"), completion(of, 0, "7")], num_samples=2)
    assert [each.number for each in samples_by_problem(made, None)[of.problem.key]] == [0, 1]
    assert overall(slices(made))[0].scores[Grading.STRICT].maj_at_k[1].value == 1.0


def test_every_problem_counts_alike_however_many_samples_it_has() -> None:
    (part,) = slices(answered([["7"], ["9", "9", "9"]]))
    assert part.scores[Grading.STRICT].accuracy.value == 0.5
