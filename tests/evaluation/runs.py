"""Evaluation runs made up for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kit.data.examples import AnswerForm, MathExample
from kit.evaluation.records import Completion, EvalRun, Grade, ReadFrom
from kit.problem import Problem
from kit.sampling import FinishReason, Sample

HEAD: Mapping[str, Any] = {
    "kind": "run",
    "model": {"name": "tiny-1B", "training_data": "none", "trainable_parameters": 0, "note": "as published"},
    "data": {"name": "gsm8k", "split": "test", "sha256": "ab" * 32},
    "prompt": {"variant": "boxed"},
    "sampling": {"temperature": 0.0, "max_new_tokens": 256, "seed": 0},
}


def example(number: int, *, gold: str = "7", level: str = "", subject: str = "", text: str = "") -> MathExample:
    problem = Problem(f"p{number}", text or f"What is ${number} + 1$?")
    return MathExample(problem=problem, gold=gold, form=AnswerForm.INTEGER, level=level, subject=subject)


def grade(answer: str | None, gold: str, span: tuple[int, int] | None = None) -> Grade:
    read_from = ReadFrom.NOWHERE if answer is None else ReadFrom.BOXED
    return Grade(answer=answer, is_right=answer == gold, read_from=read_from, span=span)


def completion(
    of: MathExample,
    number: int,
    answer: str | None,
    *,
    lenient: str | None = None,
    depth: int | None = None,
    text: str | None = None,
    finish: FinishReason = FinishReason.STOP,
    halting: float | None = None,
    num_tokens: int = 20,
    seconds: float = 2.0,
) -> Completion:
    """One sample; its text boxes the answer, and its span is the box, if no other text is given."""
    said = f"So it is $\\boxed{{{answer}}}$." if answer is not None else "I do not know."
    span = (said.index("\\boxed"), said.index("}") + 1) if text is None and answer is not None else None
    strict = grade(answer, of.gold, span)
    return Completion(
        problem=of.problem.key,
        number=number,
        depth=depth,
        sample=Sample(
            text=said if text is None else text,
            num_tokens=num_tokens,
            finish=finish,
            seconds=seconds,
            seed=number,
            depth=depth,
            halting=halting,
        ),
        strict=strict,
        lenient=strict if lenient is None else grade(lenient, of.gold),
    )


def run(
    examples: Sequence[MathExample],
    completions: Sequence[Completion],
    *,
    num_samples: int = 1,
    depths: tuple[int | None, ...] = (None,),
    **head: Any,
) -> EvalRun:
    return EvalRun(
        head={**HEAD, **head},
        examples=tuple(examples),
        completions=tuple(completions),
        depths=depths,
        num_samples=num_samples,
    )


def answered(answers_PG: Sequence[Sequence[str | None]], **head: Any) -> EvalRun:
    """A run of P problems with gold 7 and G samples each, by their answers."""
    examples = [example(number) for number in range(len(answers_PG))]
    completions = [
        completion(of, number, answer)
        for of, answers in zip(examples, answers_PG, strict=True)
        for number, answer in enumerate(answers)
    ]
    return run(examples, completions, num_samples=max(map(len, answers_PG), default=1), **head)
