"""A completion and its example in, two grades out: strict (boxed or stated) and lenient (else the last integer).

The two stand side by side since small models write neither a box nor "Answer:", and a gain in form is no mathematics.
Integers are read by kit.answers, of any size and sign and without tolerance; no modulus is applied that the completion
did not apply itself. What else a gold may be is compared by math-verify, in a process of its own.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from kit.answers.extraction import extract
from kit.answers.normalisation import integer
from kit.data.examples import AnswerForm, MathExample
from kit.errors import InputError
from kit.evaluation.math_verify_process import MathVerify
from kit.evaluation.records import Grade
from kit.evaluation.verdicts import lenient, strict, written


def grade(text: str, example: MathExample) -> tuple[Grade, Grade]:
    """The strict and the lenient grade of a completion whose gold is an integer; pure, and total on any text.

    Raises: InputError for a gold that is no integer.
    """
    gold = integer(example.gold)
    if not isinstance(gold, int):
        raise InputError(
            f"problem {example.problem.id!r}: the gold answer is {example.gold!r} ({gold}), and integers are compared; "
            "give the example the form AnswerForm.EXPRESSION, or mend its gold"
        )
    raw = extract(text)
    number = None if raw is None else integer(raw.text)
    answer = written(number) if isinstance(number, int) else None
    first = strict(raw, answer, is_right=number == gold)
    return first, lenient(first, text, gold=gold)


class Grader:
    """Grades completions of every form; a context manager. math-verify's process starts once one needs it."""

    def __init__(self) -> None:
        self._expressions = MathVerify()

    def grade(self, text: str, example: MathExample) -> tuple[Grade, Grade]:
        """The strict and the lenient grade. It may wait some seconds for math-verify, so not on an event loop.

        Raises: InputError for a gold that is no integer where the form says so; MissingError without math-verify, once
            a comparison needs it.
        """
        return grade(text, example) if example.form is AnswerForm.INTEGER else self._expressions.grade(text, example)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._expressions.__exit__(kind, error, trace)
