"""What has to hold after any scenario, whatever went wrong in it.

In: an Outcome with its journal. Out: everything that does not hold, in words. The journal is checked against the
engine's own count of its calls, and the solutions against the journal: what was voted, when each attempt ran, why
it was stopped. With `Scenario.wrap` the solver's calls are no longer the engine's: then those counts are left
out, and so is the limit that needs the engine's faults.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from kit.problem import ANSWER_MAX
from kit.sampling import FinishReason
from kit.simulation.engine import FaultKind
from kit.simulation.run import Outcome
from kit.simulation.story import Story, stories
from kit.solver.attempts import LONGEST_PAUSE_S
from kit.solver.journal import Record
from kit.solver.records import sample_of, solution_record
from kit.solver.solution import Solution
from kit.solver.stopping import StopReason
from kit.solver.vote_state import ParsedAnswer, VoteState
from kit.tools.reasoner import ReasoningConfig
from kit.voting.tally import Vote, tally

SLACK_S = 1e-6


def violations(outcome: Outcome) -> list[str]:
    """Everything that does not hold, in words; empty for a good scenario. Needs the scenario's journal."""
    return [each for check in _CHECKS for each in check(outcome)]


def _every_problem_is_answered_in_range(outcome: Outcome) -> Iterator[str]:
    if len(outcome.solutions) != len(outcome.scenario.recordings):
        yield f"{len(outcome.scenario.recordings)} problems were asked and {len(outcome.solutions)} answered"
    for solution in outcome.solutions:
        if type(solution.answer) is not int or not 0 <= solution.answer <= ANSWER_MAX:
            yield f"problem {solution.problem_id} was answered {solution.answer!r}"


def _all_is_over_before_the_limit(outcome: Outcome) -> Iterator[str]:
    limit_s = max(outcome.scenario.budget.limit_s, outcome.scenario.start_s)
    if outcome.ended_s > limit_s + SLACK_S:
        yield f"the scenario ended at {outcome.ended_s:.3f} s, after its limit of {limit_s:g} s"


def _times_follow_each_other(outcome: Outcome) -> Iterator[str]:
    """Each problem begins where the one before ended: nobody's seconds are told wrongly, none are wasted between."""
    at_s = outcome.scenario.start_s
    for solution in outcome.solutions:
        if abs(solution.begun_s - at_s) > SLACK_S:
            yield f"problem {solution.problem_id} began at {solution.begun_s:.3f} s; the one before ended at {at_s:.3f}"
        at_s = solution.begun_s + solution.seconds
    if abs(outcome.ended_s - at_s) > SLACK_S:
        yield f"the last problem ended at {at_s:.3f} s and the scenario at {outcome.ended_s:.3f}"


def _no_problem_takes_more_than_its_cap(outcome: Outcome) -> Iterator[str]:
    """Its allotment; and only where the engine let it wait, the solver's grace."""
    for solution in outcome.solutions:
        extra_s = _extra_s(outcome, solution)
        if solution.seconds > solution.allotted_s + extra_s + SLACK_S:
            yield (
                f"problem {solution.problem_id} took {solution.seconds:.3f} s of {solution.allotted_s:.3f} "
                f"and {extra_s:g} s of grace"
            )


def _extra_s(outcome: Outcome, solution: Solution) -> float:
    solver = outcome.scenario.solver
    ended_s = solution.begun_s + solution.seconds
    struck = {
        fault.kind
        for fault in outcome.scenario.faults
        if fault.begin_s <= ended_s + SLACK_S and solution.begun_s < fault.end_s + SLACK_S
    }
    is_late = outcome.scenario.wrap is not None or struck & {FaultKind.HANG, FaultKind.DEAF}
    return solver.grace_s if is_late else 0.0


def _no_problem_starves(outcome: Outcome) -> Iterator[str]:
    """Each may take its floor, or where that could not be had for all of them from the start, the even share.

    That holds for as many problems as were announced, but for the grace that earlier ones took beyond their caps;
    those that come on top, or unannounced, may take an even share of what is left. The winners' plans promise nothing.
    """
    budget = outcome.scenario.budget
    if budget.plan != "stretch":
        return
    announced = budget.num_problems or 0
    even_s = max(0.0, budget.cutoff_s - outcome.scenario.start_s) / max(1, announced)
    beyond_s = 0.0
    for place, solution in enumerate(outcome.solutions):
        remaining_s = max(0.0, budget.cutoff_s - solution.begun_s)
        share_s = remaining_s / (announced - place if place < announced else budget.horizon)
        least_s = min(budget.floor_s, even_s) - beyond_s if place < announced else min(budget.floor_s, share_s)
        if solution.allotted_s < least_s - SLACK_S:
            yield f"problem {solution.problem_id} was allotted {solution.allotted_s:.3f} s; {least_s:.3f} s were due"
        if solution.allotted_s > min(remaining_s, budget.stretch * share_s) + SLACK_S:
            yield f"problem {solution.problem_id} was allotted {solution.allotted_s:.3f} s of a share of {share_s:.3f}"
        beyond_s += max(0.0, solution.seconds - solution.allotted_s)


def _no_sample_is_lost(outcome: Outcome) -> Iterator[str]:
    """What the engine returned, what broke in it and what was cut is in the journal; nothing is there twice."""
    told = tuple(stories(outcome))
    engine = outcome.engine
    counts = (
        ("returned", engine.num_returned, sum(len(story.whole) for story in told)),
        ("broke", engine.num_broken, sum(len(story.broken) for story in told)),
        ("were cut", engine.num_cancelled, sum(len(story.cut) for story in told)),
    )
    selects = bool(outcome.scenario.solver.selection.num_rounds)  # whose comparisons are calls and no attempts
    for what, num_calls, num_records in counts:
        is_kept = num_calls >= num_records if selects else num_calls == num_records
        if outcome.scenario.wrap is None and not is_kept:
            yield f"{num_calls} attempts {what}, and the journal holds {num_records} of them"
    for story in told:
        for number, count in Counter(record["number"] for record in story.samples + story.cut).items():
            if count > 1:
                yield f"attempt {number} of {story.name} is in the journal {count} times"


def _answers_follow_from_the_journal(outcome: Outcome) -> Iterator[str]:
    """Each solution is in the journal once, and its votes, its answer and its sums are those of the samples there."""
    solver = outcome.scenario.solver
    for story in stories(outcome):
        solution = story.solution
        due_told = json.dumps(solution_record(story.problem, solution), sort_keys=True)
        if [json.dumps(record, sort_keys=True) for record in story.told] != [due_told]:
            yield f"{story.name}: the journal tells another solution, or none, or several"
        # Counting in order leaves out what ended before its turn, unless time was up.
        by_number = sorted(story.whole, key=lambda record: int(record["number"]))
        counted = by_number[: solution.num_samples] if solver.in_order else story.whole
        if _jumps_the_queue(story, counted) and solver.in_order:
            yield f"{story.name}: counted an attempt before its turn"
        yield from _misread(story, outcome)
        votes = [Vote(record["answer"], record["weight"]) for record in counted if record["answer"] is not None]
        standings = tally(votes).standings
        due = tuple((standing.answer, standing.num_votes) for standing in standings)
        if solution.votes != due:
            yield f"{story.name}: votes {solution.votes}, but the journal's samples give {due}"
        elif due and solution.answer not in (dict(due) if solver.selection.num_rounds else (due[0][0],)):
            yield f"{story.name}: answered {solution.answer}, but {due[0][0]} leads"
        sums = len(counted), sum(record["num_tokens"] for record in (*counted, *story.broken))
        if (solution.num_samples, solution.num_tokens) != sums and not solver.selection.num_rounds:
            yield f"{story.name}: tells {solution.num_samples} samples, {solution.num_tokens} tokens, not {sums}"


def _time_up_s(outcome: Outcome, story: Story) -> float:
    """From when on attempts may end for want of time: with tools, a last call's reserve before the deadline."""
    return story.deadline_s - (ReasoningConfig().last_call_s if outcome.scenario.wrap else 0.0)


def _jumps_the_queue(story: Story, counted: Sequence[Record]) -> bool:
    """Whether an attempt was counted ahead of an earlier one that was cut before time was up."""
    last = max((record["number"] for record in counted), default=-1)
    is_early = story.ended_s < story.deadline_s - SLACK_S
    return is_early and any(record["number"] < last for record in story.cut)


def _misread(story: Story, outcome: Outcome) -> Iterator[str]:
    """Each vote is what the sample's text says."""
    reader = VoteState(story.problem, outcome.scenario.solver.voting)
    for record in story.whole:
        vote = reader.read(sample_of(record)).vote
        answer = None if vote is None else vote.answer
        if record["answer"] != answer:
            yield f"attempt {record['number']} of {story.name} says {answer} and was counted as {record['answer']}"


def _problems_stop_when_and_why_they_say(outcome: Outcome) -> Iterator[str]:
    """The reason holds, and it held no sooner: not given up early, not drawn out once the votes were enough."""
    solver = outcome.scenario.solver
    for story in stories(outcome):
        solution = story.solution
        if solution.reason is StopReason.OUT_OF_TIME and story.ended_s < _time_up_s(outcome, story) - SLACK_S:
            yield f"{story.name}: out of time after {solution.seconds:.3f} s of {solution.allotted_s:.3f}"
        if solution.reason is StopReason.NOT_WORTH and (
            solver.pacing.kind == "off" or solver.in_order or not story.whole
        ):
            yield f"{story.name}: found not worth its time, which was not to be asked"
        if solver.in_order:
            continue
        early, last = _verdicts(outcome, story)
        compares = solver.selection.num_rounds and solution.reason in {StopReason.ALL_SAMPLED, StopReason.OUT_OF_TIME}
        if early is not None and not compares:  # the model may compare the candidates while there is time
            yield f"{story.name}: went on although {early.value!r} held before {story.ended_s:.3f} s"
        # What ends at the very moment at which more was found not worth it counts, and may have been enough.
        if solution.reason is not StopReason.NOT_WORTH and last is not _ENOUGH.get(solution.reason, solution.reason):
            yield f"{story.name}: stopped as {solution.reason.value!r}, but its samples say {last and last.value!r}"


_ENOUGH = {StopReason.OUT_OF_TIME: None, StopReason.ENGINE_FAILED: None}  # the verdicts behind reasons that are none


def _no_engine_is_given_up_too_soon(outcome: Outcome) -> Iterator[str]:
    """A problem whose attempts only break has its even share of the time, since the engine may come back."""
    budget = outcome.scenario.budget
    for place, solution in enumerate(outcome.solutions):
        left = (budget.num_problems or 0) - place
        share_s = max(0.0, budget.cutoff_s - solution.begun_s) / (left if left > 0 else budget.horizon)
        due_s = min(share_s, solution.allotted_s)
        if solution.reason is StopReason.ENGINE_FAILED and solution.seconds < due_s - SLACK_S:
            yield f"problem {solution.problem_id} was given up after {solution.seconds:.3f} of its {due_s:.3f} s"


def _verdicts(outcome: Outcome, story: Story) -> tuple[StopReason | None, StopReason | None]:
    """What the samples said before the problem's last moment, and what they said in the end."""
    vote_state = VoteState(story.problem, outcome.scenario.solver.voting)
    early: StopReason | None = None
    for record in story.samples:
        vote = None if record["answer"] is None else Vote(record["answer"], record["weight"])
        vote_state.count(sample_of(record), ParsedAnswer(vote))
        verdict = vote_state.verdict(outcome.scenario.solver.stop)
        if record["ended_s"] < story.ended_s - SLACK_S:
            early = verdict
    return early, vote_state.verdict(outcome.scenario.solver.stop)


def _slots_are_at_work(outcome: Outcome) -> Iterator[str]:
    """As many attempts are in flight as the width and what is left to draw allow, but for pauses after broken ones.

    With pacing it may be fewer where time is short, and two at the least.
    """
    solver = outcome.scenario.solver
    num_slots = min(solver.width, solver.stop.num_samples)
    for story in stories(outcome):
        broke_s = sorted(record["ended_s"] for record in story.broken)
        if any(
            late - early < solver.retry_s - SLACK_S for early, late in zip(broke_s, broke_s[num_slots:], strict=False)
        ):
            yield f"{story.name}: broken attempts were replaced without a pause"
        for at_s in _middles(story, solver.retry_s):
            num_ended = sum(record["ended_s"] < at_s for record in story.whole)
            num_paused = sum(record["ended_s"] < at_s < record["ended_s"] + solver.retry_s for record in story.broken)
            num_tired = sum(record["ended_s"] < at_s < record["ended_s"] + LONGEST_PAUSE_S for record in story.broken)
            num_running = sum(record["begun_s"] < at_s < record["ended_s"] for record in story.samples + story.cut)
            wanted = min(solver.width, solver.stop.num_samples - num_ended)
            least = wanted if solver.in_order or solver.pacing.kind == "off" else min(wanted, 2)
            if any(record["finish"] == FinishReason.DEADLINE and record["ended_s"] < at_s for record in story.whole):
                break  # time is up, and no slot draws again
            if not least - num_tired <= num_running <= min(wanted, num_slots - num_paused):
                yield f"{story.name}: {num_running} attempts in flight at {at_s:.3f} s, where {wanted} could be"
                break


def _middles(story: Story, retry_s: float) -> list[float]:
    """A moment between any two at which an attempt or a pause begins or ends, within the problem's time."""
    begun_s, end_s = story.solution.begun_s, min(story.ended_s, story.deadline_s)
    moments = {begun_s, end_s}
    for record in story.samples + story.cut:
        moments |= {record["begun_s"], record["ended_s"], record["ended_s"] + retry_s}
    inside = sorted(moment for moment in moments if begun_s <= moment <= end_s)
    return [(early_s + late_s) / 2 for early_s, late_s in pairwise(inside) if late_s - early_s > SLACK_S]


_CHECKS: tuple[Callable[[Outcome], Iterator[str]], ...] = (
    _every_problem_is_answered_in_range,
    _all_is_over_before_the_limit,
    _times_follow_each_other,
    _no_problem_takes_more_than_its_cap,
    _no_problem_starves,
    _no_sample_is_lost,
    _answers_follow_from_the_journal,
    _problems_stop_when_and_why_they_say,
    _no_engine_is_given_up_too_soon,
    _slots_are_at_work,
)
