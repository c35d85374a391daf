from kit.plots.timeline import read_timeline
from kit.plots.votes import most_contested, ranked_answers
from tests.plots.journal_records import sample, solution


def test_the_submitted_answer_ranks_first_and_the_rest_by_weight_then_size() -> None:
    records = [sample("a", number, 0.0, number + 1.0, answer) for number, answer in enumerate([3, 5, 5, 8, 9])]
    (span,) = read_timeline([*records, solution("a", 0.0, 9.0, answer=3)]).spans
    assert ranked_answers(span) == (3, 5, 9, 8)
    (guessed,) = read_timeline([*records, solution("a", 0.0, 9.0, answer=3, guess="why")]).spans
    assert ranked_answers(guessed) == (5, 9, 8, 3)


def test_a_close_vote_of_many_is_more_contested_than_a_clear_one_or_one_of_few() -> None:
    votes = {"clear": [7] * 6 + [9], "close": [7, 9] * 4, "few": [7, 9], "agreed": [7] * 4}
    records = []
    for order, (problem_id, answers) in enumerate(votes.items()):
        at_s = 100.0 * order
        records += [sample(problem_id, number, at_s, at_s + number, answer) for number, answer in enumerate(answers)]
        records.append(solution(problem_id, at_s, at_s + 20))
    contested = most_contested(read_timeline(records), 9)
    assert [span.problem_id for span in contested] == ["close", "few", "clear"]
    assert [span.problem_id for span in most_contested(read_timeline(records), 1)] == ["close"]
