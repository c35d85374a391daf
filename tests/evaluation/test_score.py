from __future__ import annotations

from kit.evaluation.records import Completion, Grade, ReadFrom
from kit.evaluation.score import RunningScore
from kit.sampling import FinishReason, Sample


def completion(
    *, strict: bool, lenient: bool, num_tokens: int = 10, finish: FinishReason = FinishReason.STOP, problem: int = 0
) -> Completion:
    sample = Sample(text="x", num_tokens=num_tokens, finish=finish, seconds=1.0, seed=0)
    grades = [Grade(answer="1", is_right=each, read_from=ReadFrom.BOXED) for each in (strict, lenient)]
    return Completion(problem=f"p{problem}:1", number=0, depth=None, sample=sample, strict=grades[0], lenient=grades[1])


def test_a_running_score_counts_and_tells_the_speed_of_its_own_session() -> None:
    score = RunningScore(total=8)
    assert score.words(0.0) == "0 of 8"
    drawn = [completion(strict=True, lenient=True, num_tokens=1000, problem=problem) for problem in (1, 2)]
    score.resume(drawn, begun_s=100.0)
    assert score.tokens_per_s(100.0) == 0
    assert score.left_s(100.0) is None
    score.add(completion(strict=False, lenient=True, problem=3))
    score.add(completion(strict=False, lenient=False, num_tokens=30, finish=FinishReason.LENGTH, problem=4))
    assert score.values(104.0) == {
        "done": 4,
        "accuracy,strict": 0.5,
        "accuracy,lenient": 0.75,
        "truncated": 0.25,
        "failed": 0,
        "tokens_per_s": 10.0,
    }
    assert score.left_s(104.0) == 8.0
    assert score.words(104.0) == "4 of 8, strict 50.0% [15.0%, 85.0%], 10 tokens/s, 0:08 left"


def test_a_run_that_is_whole_has_no_time_left_and_long_ones_are_told_in_hours() -> None:
    score = RunningScore(total=1)
    score.resume([], begun_s=0.0)
    score.add(completion(strict=True, lenient=True))
    assert "left" not in score.words(5.0)
    score.total = 3
    assert score.words(3600.0).endswith(", 2:00:00 left")


def test_samples_of_one_problem_make_no_interval_narrower() -> None:
    few, many = RunningScore(total=8), RunningScore(total=8)
    few.resume([completion(strict=True, lenient=True, problem=problem) for problem in (1, 2)], begun_s=0.0)
    many.resume([completion(strict=True, lenient=True, problem=problem) for problem in (1, 2)] * 4, begun_s=0.0)
    assert "strict 100.0% [34.2%, 100.0%]" in few.words(1.0)
    assert "strict 100.0% [34.2%, 100.0%]" in many.words(1.0)
