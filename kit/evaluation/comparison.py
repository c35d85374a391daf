"""Two runs, or two depths of one, on the problems that both asked: which is better, and is it more than luck? Pure.

What is paired cannot be told apart by two intervals that overlap: both answered the same problems, so only those that
one has right and the other wrong say anything.
"""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kit.errors import InputError
from kit.evaluation.intervals import Estimate, estimated_gain
from kit.evaluation.metrics import Grading, is_majority_right, votes_of
from kit.evaluation.records import EvalRun, Grade
from kit.evaluation.run_records import differing_leaves
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
    over problems of the share of samples that is right. gain: second less first, with its paired interval.
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


@dataclass(frozen=True, slots=True)
class _Pair:
    """A problem with the grades of both runs' samples."""

    problem: str
    first: Sequence[Grade]
    second: Sequence[Grade]

    @property
    def rights(self) -> tuple[bool, bool]:
        """Whether each run's vote is right."""
        return is_majority_right(self.first), is_majority_right(self.second)


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
    chosen = condition(first, depths[0]), condition(second, depths[1])
    samples = samples_by_problem(first, chosen[0]), samples_by_problem(second, chosen[1])
    num_asked = len(samples[0]), len(samples[1])
    pairs = [
        _Pair(key, *([grading.of(each) for each in side[key]] for side in samples))
        for key in samples[0]
        if key in samples[1]
    ]
    if not pairs:
        raise InputError(
            f"the runs have no problem in common ({num_asked[0]} and {num_asked[1]} problems with samples): "
            "compare runs on the same data"
        )
    outcomes = Counter(pair.rights for pair in pairs)
    num_first_only, num_second_only = outcomes[True, False], outcomes[False, True]
    return Comparison(
        grading=grading,
        first_depth=chosen[0],
        second_depth=chosen[1],
        num_problems=len(pairs),
        num_first_only=num_first_only,
        num_second_only=num_second_only,
        num_both_right=outcomes[True, True],
        num_both_wrong=outcomes[False, False],
        first=math.fsum(_share_right(pair.first) for pair in pairs) / len(pairs),
        second=math.fsum(_share_right(pair.second) for pair in pairs) / len(pairs),
        gain=estimated_gain([_share_right(pair.second) - _share_right(pair.first) for pair in pairs]),
        p_value=mcnemar(num_first_only, num_second_only),
        discordant=_discordant(pairs, first),
        warnings=tuple(_warnings(first, second, num_asked, len(pairs))),
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
        for name, one, other in sorted(differing_leaves({key: first.get(key)}, {key: second.get(key)}), key=_name)
        if name.rpartition(".")[2] not in _OF_THE_DRAW
    ]


def _name(leaf: tuple[str, Any, Any]) -> str:
    return leaf[0]


def _warnings(first: EvalRun, second: EvalRun, num_asked: tuple[int, int], num_common: int) -> Iterator[str]:
    for each in differences(first.head, second.head):
        yield f"the runs differ in {each}"
    if num_common < max(num_asked):
        yield f"{num_common} problems are common, of {num_asked[0]} and {num_asked[1]}"
    if first.num_samples != second.num_samples:
        yield f"the runs differ in samples a problem: {first.num_samples}, {second.num_samples}"
    for place, run in (("first", first), ("second", second)):
        if not run.is_whole:
            yield f"the {place} run is not whole"


def _discordant(pairs: Sequence[_Pair], run: EvalRun) -> tuple[Discordant, ...]:
    golds = {example.problem.key: example.gold for example in run.examples}
    return tuple(
        Discordant(
            problem=pair.problem,
            gold=golds[pair.problem],
            first_answer=_voted(pair.first),
            second_answer=_voted(pair.second),
            is_first_right=pair.rights[0],
        )
        for pair in pairs
        if pair.rights[0] != pair.rights[1]
    )


def _share_right(grades: Sequence[Grade]) -> float:
    return sum(grade.is_right for grade in grades) / len(grades)


def _voted(grades: Sequence[Grade]) -> str | None:
    votes = votes_of(grades)
    return votes[0][0] if votes else None
