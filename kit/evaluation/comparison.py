"""Two runs, or two depths of one, on the problems that both asked: which is better, and is it more than luck? Pure.

What is paired cannot be told apart by two intervals that overlap: both answered the same problems, so only those that
one has right and the other wrong say anything.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kit.errors import InputError
from kit.evaluation.intervals import Estimate, bootstrap, stderr
from kit.evaluation.metrics import Grading, is_majority_right, votes_of
from kit.evaluation.records import Completion, EvalRun
from kit.evaluation.slices import samples_by_problem

_COMPARED_HEADS = ("data", "prompt", "num_shots", "sampling")  # what both should have been asked under
_OF_THE_DRAW = frozenset({"seed", "depth", "depths"})  # which may differ between runs that are compared


@dataclass(frozen=True, slots=True, kw_only=True)
class Discordant:
    """A problem that one run has right and the other wrong. is_first_right: which."""

    problem: str
    gold: str
    first_answer: str | None
    second_answer: str | None
    is_first_right: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What two conditions come to on the problems that both have samples of.

    A problem is right by its vote; with one sample a problem that is the sample. first, second: accuracies, the means
    over problems of the share of samples that is right. gain: second less first, with its paired bootstrap interval.
    p_value: McNemar's exact one. warnings: what the runs differ in besides the model.
    """

    grading: Grading
    first_depth: int | None
    second_depth: int | None
    num_problems: int
    num_first_only: int
    num_second_only: int
    num_both_right: int
    num_both_wrong: int
    first: float
    second: float
    gain: Estimate
    p_value: float
    discordant: tuple[Discordant, ...]
    warnings: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The comparison as plain values."""
        return asdict(self)


def compare(
    first: EvalRun,
    second: EvalRun,
    *,
    grading: Grading = Grading.STRICT,
    depths: tuple[int | None, int | None] = (None, None),
) -> Comparison:
    """Compare two runs on the problems that both have samples of, in the first run's order.

    depths: of each run; None: its only condition.
    Raises: InputError for a depth that a run lacks or has to choose, or runs without a common problem.
    """
    first_depth, second_depth = condition(first, depths[0]), condition(second, depths[1])
    samples = samples_by_problem(first, first_depth), samples_by_problem(second, second_depth)
    keys = [key for key in samples[0] if key in samples[1]]
    if not keys:
        raise InputError(
            f"the runs have no problem in common ({len(samples[0])} and {len(samples[1])} problems with samples): "
            "compare runs on the same data"
        )
    pairs = [(samples[0][key], samples[1][key]) for key in keys]
    shares = [tuple(_share_right(each, grading) for each in pair) for pair in pairs]
    rights = [tuple(_is_right(each, grading) for each in pair) for pair in pairs]
    num_first_only, num_second_only = rights.count((True, False)), rights.count((False, True))
    golds = {example.problem.key: example.gold for example in first.examples}
    return Comparison(
        grading=grading,
        first_depth=first_depth,
        second_depth=second_depth,
        num_problems=len(keys),
        num_first_only=num_first_only,
        num_second_only=num_second_only,
        num_both_right=rights.count((True, True)),
        num_both_wrong=rights.count((False, False)),
        first=math.fsum(one for one, _ in shares) / len(keys),
        second=math.fsum(other for _, other in shares) / len(keys),
        gain=_gain([other - one for one, other in shares]),
        p_value=mcnemar(num_first_only, num_second_only),
        discordant=tuple(
            Discordant(
                problem=key,
                gold=golds.get(key, ""),
                first_answer=_voted(pair[0], grading),
                second_answer=_voted(pair[1], grading),
                is_first_right=right[0],
            )
            for key, pair, right in zip(keys, pairs, rights, strict=True)
            if right[0] != right[1]
        ),
        warnings=tuple(_warnings(first, second, len(samples[0]), len(samples[1]), len(keys))),
    )


def mcnemar(num_first_only: int, num_second_only: int) -> float:
    """The exact two-sided p-value that discordant pairs fall so unevenly by chance; 1 without any.

    Source: McNemar 1947, doi 10.1007/BF02295996, with the binomial in place of its approximation.
    """
    num_discordant = num_first_only + num_second_only
    tail = sum(math.comb(num_discordant, k) for k in range(min(num_first_only, num_second_only) + 1))
    return min(1.0, 2 * tail / (1 << num_discordant))


def condition(run: EvalRun, depth: int | None) -> int | None:
    """The condition of the run that a depth names; an engine that does not recurse has one whatever is named.

    Raises: InputError for a depth that the run lacks, or if it has several and none is named.
    """
    if len(run.depths) == 1 and (depth is None or run.depths[0] is None):
        return run.depths[0]
    if depth in run.depths:
        return depth
    known = ", ".join(map(str, run.depths))
    if depth is None:
        raise InputError(f"the run has the depths {known}: choose one with --depth")
    near = difflib.get_close_matches(str(depth), list(map(str, run.depths)), n=1, cutoff=0)
    raise InputError(f"the run has no depth {depth}; it has {known}" + (f" (did you mean {near[0]}?)" if near else ""))


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Where two heads differ in what was asked and how, one text each: `data.split: test, train`."""
    return [
        f"{name}: {one}, {other}"
        for key in _COMPARED_HEADS
        for name, one, other in _leaves(key, first.get(key), second.get(key))
    ]


def _leaves(name: str, one: Any, other: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in sorted({*one, *other} - _OF_THE_DRAW):
            yield from _leaves(f"{name}.{key}", one.get(key), other.get(key))
    elif one != other:
        yield name, one, other


def _warnings(first: EvalRun, second: EvalRun, num_first: int, num_second: int, num_common: int) -> Iterator[str]:
    for each in differences(first.head, second.head):
        yield f"the runs differ in {each}"
    if num_common < max(num_first, num_second):
        yield f"{num_common} problems are common, of {num_first} and {num_second}"
    if first.num_samples != second.num_samples:
        yield f"the runs differ in samples a problem: {first.num_samples}, {second.num_samples}"
    for place, run in (("first", first), ("second", second)):
        if not run.is_whole:
            yield f"the {place} run is not whole"


def _gain(differences: Sequence[float]) -> Estimate:
    low, high = bootstrap(differences)
    value = math.fsum(differences) / len(differences)
    return Estimate(value=value, low=low, high=high, stderr=stderr(differences))


def _is_right(samples: Sequence[Completion], grading: Grading) -> bool:
    return is_majority_right([grading.of(each) for each in samples])


def _share_right(samples: Sequence[Completion], grading: Grading) -> float:
    return sum(grading.of(each).is_right for each in samples) / len(samples)


def _voted(samples: Sequence[Completion], grading: Grading) -> str | None:
    votes = votes_of([grading.of(each) for each in samples])
    return votes[0][0] if votes else None
