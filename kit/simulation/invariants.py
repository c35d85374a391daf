"""What has to hold after any contest, whatever befell it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from kit.problem import ANSWER_MAX, Problem
from kit.records import solution_of
from kit.simulation.contest import Outcome
from kit.simulation.engine import marked

SLACK_S = 1e-6


def violations(outcome: Outcome) -> list[str]:
    """Everything that does not hold, in words; empty for a good contest. Needs the contest's journal."""
    return [each for check in _CHECKS for each in check(outcome)]


def _every_problem_is_answered_in_range(outcome: Outcome) -> Iterator[str]:
    if len(outcome.solutions) != len(outcome.contest.recordings):
        yield f"{len(outcome.contest.recordings)} problems were asked and {len(outcome.solutions)} answered"
    for solution in outcome.solutions:
        if type(solution.answer) is not int or not 0 <= solution.answer <= ANSWER_MAX:
            yield f"problem {solution.problem_id} was answered {solution.answer!r}"


def _all_is_over_before_the_limit(outcome: Outcome) -> Iterator[str]:
    limit_s = max(outcome.contest.budget.limit_s, outcome.contest.start_s)
    if outcome.ended_s > limit_s + SLACK_S:
        yield f"the contest ended at {outcome.ended_s:.3f} s, after its limit of {limit_s:g} s"


def _no_problem_takes_more_than_its_cap(outcome: Outcome) -> Iterator[str]:
    grace_s = outcome.contest.solver.grace_s
    for solution in outcome.solutions:
        if solution.seconds > solution.allotted_s + grace_s + SLACK_S:
            yield (
                f"problem {solution.problem_id} took {solution.seconds:.3f} s of {solution.allotted_s:.3f} "
                f"and {grace_s:g} s of grace"
            )


def _no_problem_starves(outcome: Outcome) -> Iterator[str]:
    """Each may take its floor, or where that cannot be had any more, the even share of what is left."""
    budget = outcome.contest.budget
    for place, solution in enumerate(outcome.solutions):
        left = (budget.num_problems or 0) - place
        remaining_s = max(0.0, budget.cutoff_s - solution.begun_s)
        share_s = remaining_s / (left if left > 0 else budget.horizon)
        if solution.allotted_s < min(budget.floor_s, share_s) - SLACK_S:
            yield f"problem {solution.problem_id} was allotted {solution.allotted_s:.3f} s of a share of {share_s:.3f}"


def _no_sample_is_lost(outcome: Outcome) -> Iterator[str]:
    """What the engine returned, and what broke in it, is in the journal; nothing is there twice."""
    samples = [record for record in outcome.records if record["kind"] == "sample"]
    whole = [record for record in samples if record["finish"] != "failed"]
    engine = outcome.engine
    if outcome.contest.wrap is None and len(whole) != engine.num_returned:
        yield f"the engine returned {engine.num_returned} samples and the journal holds {len(whole)}"
    if outcome.contest.wrap is None and len(samples) - len(whole) != engine.num_broken:
        yield f"{engine.num_broken} attempts broke and the journal holds {len(samples) - len(whole)}"
    numbers = Counter((record["problem"], record["number"]) for record in samples)
    for (key, number), count in numbers.items():
        if count > 1:
            yield f"attempt {number} of problem {key} is in the journal {count} times"


def _answers_follow_from_the_journal(outcome: Outcome) -> Iterator[str]:
    """Each solution is in the journal, and its votes are those of the samples there."""
    told = {record["problem_id"]: solution_of(record) for record in outcome.records if record["kind"] == "solution"}
    votes: dict[str, Counter[int]] = {}
    for record in outcome.records:
        if record["kind"] == "sample" and record["answer"] is not None:
            votes.setdefault(record["problem"], Counter())[record["answer"]] += 1
    for place, solution in enumerate(outcome.solutions):
        if told.get(solution.problem_id) != solution:
            yield f"problem {solution.problem_id}: the journal tells another solution"
        counted = votes.get(Problem(f"{place}", marked(place)).key, Counter())
        told_votes = Counter(dict(solution.votes))
        # Counting in order leaves out what ended before its turn came.
        if told_votes != counted and not (outcome.contest.solver.in_order and told_votes <= counted):
            yield f"problem {solution.problem_id}: votes {solution.votes}, but the journal's samples give {counted}"
        if solution.votes and solution.answer not in dict(solution.votes):
            yield f"problem {solution.problem_id}: answered {solution.answer}, for which nobody voted"


_CHECKS: tuple[Callable[[Outcome], Iterator[str]], ...] = (
    _every_problem_is_answered_in_range,
    _all_is_over_before_the_limit,
    _no_problem_takes_more_than_its_cap,
    _no_problem_starves,
    _no_sample_is_lost,
    _answers_follow_from_the_journal,
)
