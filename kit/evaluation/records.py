"""What an evaluation holds: completions, what was read of each, and whether it is right. Pure values.

A condition is what completions are drawn under within one run: the depth T of the recursion, None for an engine's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kit.data.examples import MathExample
from kit.sampling import Sample


class ReadFrom(StrEnum):
    """Where in a completion an answer was read."""

    BOXED = "boxed"
    STATED = "stated"
    LAST_INTEGER = "last integer"  # of the text, by the lenient grade alone
    NOWHERE = "nowhere"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """One judgement of one completion.

    answer: what was read, normalised: equal answers are equal texts, so that they can be voted on; None: nothing.
    span: [begin, end) in the completion's text, in characters; None where no one place was read.
    """

    answer: str | None
    is_right: bool
    read_from: ReadFrom
    span: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One sample with both of its grades.

    problem: the problem's key. number: of the sample, from 0, within its problem and condition.
    strict: boxed or stated. lenient: the strict one, and else the last integer of the text.
    """

    problem: str
    number: int
    depth: int | None
    sample: Sample
    strict: Grade
    lenient: Grade


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalRun:
    """All that an evaluation drew, whole or not yet whole.

    head: the journal's first record: model, data, prompt, engine, sampling. sessions: what each session drew with: the
        kit's version and commit, packages, hardware.
    examples: those asked. completions: by problem in the examples' order, then by depth, then by number.
    num_samples: per problem and condition, as asked for; a run that is not whole has fewer.
    wall_s: that the run drew for, in all its sessions and shards together; 0 where it is not known. Samples of one
        batch overlap, so tokens a second are the tokens through this.
    """

    head: Mapping[str, Any]
    examples: tuple[MathExample, ...]
    completions: tuple[Completion, ...]
    depths: tuple[int | None, ...]
    num_samples: int
    wall_s: float = 0.0
    sessions: tuple[Mapping[str, Any], ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether every sample that was asked for is there."""
        return len(self.completions) == len(self.examples) * len(self.depths) * self.num_samples
