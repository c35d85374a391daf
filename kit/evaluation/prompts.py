r"""What a model is asked in an evaluation: an example and a style in, a Prompt out.

`boxed` is the kit's own: the problem and Qwen2.5-Math's instruction to box the answer, through the model's chat
template, with no worked examples or with some as earlier turns of the chat. `lm-eval` is lm-evaluation-harness's prompt
for GSM8K, character for character, a raw text without a chat: examples are the first of the train split, with the
calculator marks that the set writes. The harness's own task draws other examples for each problem; it shows these with
`fewshot_config: {sampler: first_n}`, and only then, or without examples, are the prompts the same.
Source: lm_eval/tasks/gsm8k/gsm8k.yaml of lm-evaluation-harness 0.4.13.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from kit.data.examples import MathExample
from kit.data.solutions import clean_solution
from kit.errors import InputError
from kit.prompting import build_prompt
from kit.sampling import Message, Prompt


class PromptStyle(StrEnum):
    """How a problem is put."""

    BOXED = "boxed"
    LM_EVAL = "lm-eval"

    @property
    def is_chat(self) -> bool:
        """Whether the model is asked by its chat template; else it completes a raw text."""
        return self is PromptStyle.BOXED


_LM_EVAL_STOPS = ("Question:", "</s>", "<|im_end|>")


def prompt_of(example: MathExample, style: PromptStyle, shots: Sequence[MathExample] = ()) -> Prompt:
    """The prompt for one problem. shots: worked examples, shown in their order; they need solutions.

    Raises: InputError for a shot without a solution, or one that is the problem itself.
    """
    check_shots(example, shots)
    return _boxed(example, shots) if style is PromptStyle.BOXED else _lm_eval(example, shots)


def stops_of(style: PromptStyle) -> tuple[str, ...]:
    """The texts that end a completion in this style, for SamplingParams.stop."""
    return _LM_EVAL_STOPS if style is PromptStyle.LM_EVAL else ()


def check_shots(example: MathExample, shots: Sequence[MathExample]) -> None:
    """Raise InputError for a shot without a solution, or one that is the problem itself."""
    for shot in shots:
        if not shot.solution:
            raise InputError(
                f"problem {shot.problem.id!r} has no worked solution to show as an example; "
                "use a set with solutions (gsm8k, math), or no examples (--num-shots 0)"
            )
        if shot.problem.text == example.problem.text:
            raise InputError(f"problem {example.problem.id!r} is among its own worked examples; take them from `train`")


def _boxed(example: MathExample, shots: Sequence[MathExample]) -> Prompt:
    turns: list[Message] = []
    for shot in shots:
        turns += [*build_prompt(shot.problem).messages, Message("assistant", clean_solution(shot.solution))]
    return Prompt(messages=(*turns, *build_prompt(example.problem).messages))


def _lm_eval(example: MathExample, shots: Sequence[MathExample]) -> Prompt:
    asked = [f"{_question(shot)} {shot.solution}\n\n" for shot in shots]
    return Prompt.raw("".join(asked) + _question(example))


def _question(example: MathExample) -> str:
    return f"Question: {example.as_written or example.problem.text}\nAnswer:"
