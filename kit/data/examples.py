"""A set's own rows in the kit's form: what training and evaluation are given, and the solver never sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from kit.problem import Problem


class AnswerForm(StrEnum):
    """What a gold answer is, and so which grader judges it."""

    INTEGER = "integer"  # any whole number, negative ones too: kit.answers reads it
    EXPRESSION = "expression"  # LaTeX of any kind: math-verify compares it


@dataclass(frozen=True, slots=True, kw_only=True)
class MathExample:
    """A problem with its gold answer and, where the set has one, its worked solution.

    gold: the final answer alone, as the set writes it, such as `18` or `\\frac{1}{2}`; never empty.
    solution: as the set writes it, with the set's own marks; empty where there is none.
    steps: the results of the steps before the gold, in order, where the set tells them: GSM8K's calculator marks.
    level, subject: empty where the set has none. MATH's levels are `1` to `5`.
    as_written: the problem as the set writes it, where its quotes were made straight or its backslashes repaired;
        else empty. A prompt that must be another harness's word for word is made of it.
    """

    problem: Problem
    gold: str
    form: AnswerForm
    solution: str = ""
    steps: tuple[str, ...] = ()
    level: str = ""
    subject: str = ""
    as_written: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """Examples in the set's order, and where they came from.

    name: as the user named it. split: `train` or `test`. source: the file, or the hub's id. sha256: of the examples,
    so that two runs can tell whether they asked the same. left_out: rows that were looked at and are no examples, by
    why not: NuminaMath holds proofs.
    """

    name: str
    split: str
    source: str
    sha256: str
    examples: tuple[MathExample, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The name without folders, which differ between machines: `gsm8k` for `gsm8k=folder` and `gsm8k=a.jsonl`."""
        named, is_read_as, place = self.name.partition("=")
        places = (Path(self.source), Path(self.source).parent)
        if is_read_as and Path(place) in places:
            return named
        is_local = Path(self.source).suffix and Path(self.name) in places
        return Path(self.name).name if is_local else self.name
