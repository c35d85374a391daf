"""The votes of a timeline: which answer led, how each one's weight grew, and on which problems the vote was closest."""

from __future__ import annotations

from collections import defaultdict

from kit.plots.timeline import ProblemSpan, Timeline


def ranked_answers(span: ProblemSpan) -> tuple[int, ...]:
    """Every answer that was voted for, the submitted one first, then by weight; equals: the larger first."""
    weights: defaultdict[int, float] = defaultdict(float)
    for answer, weight in _votes(span):
        weights[answer] += weight
    submitted = span.verdict.answer if span.verdict and not span.verdict.is_guess else None
    return tuple(sorted(weights, key=lambda answer: (answer == submitted, weights[answer], answer), reverse=True))


def vote_steps(span: ProblemSpan) -> dict[int, tuple[tuple[float, float], ...]]:
    """For every answer, best first, the (seconds since the span began, total weight) at which it changes."""
    steps = {answer: [(0.0, 0.0)] for answer in ranked_answers(span)}
    for answer, weight in span.carried:
        steps[answer][0] = (0.0, steps[answer][0][1] + weight)
    for each in sorted(span.attempts, key=lambda each: each.ended_s):
        if each.answer is not None:
            steps[each.answer].append((each.ended_s - span.begun_s, steps[each.answer][-1][1] + each.weight))
    return {answer: tuple(points) for answer, points in steps.items()}


def most_contested(timeline: Timeline, num_shown: int) -> tuple[ProblemSpan, ...]:
    """The last spans of the problems whose vote was closest, closest first.

    Close: the runner-up's weight, less its distance from the leader's; so 4:4 is closer than 1:1 and than 5:4.
    """
    closeness: dict[str, tuple[float, ProblemSpan]] = {}
    for span in timeline.spans:
        weights = sorted((points[-1][1] for points in vote_steps(span).values()), reverse=True)
        if len(weights) >= 2:
            closeness[span.problem_id] = (2 * weights[1] - weights[0], span)
    closest = sorted(closeness.values(), key=lambda each: -each[0])
    return tuple(span for _, span in closest[:num_shown])


def _votes(span: ProblemSpan) -> tuple[tuple[int, float], ...]:
    cast = ((each.answer, each.weight) for each in span.attempts if each.answer is not None)
    return (*span.carried, *cast)
