"""Problem in, Prompt out: the one place that words what the model is asked.

The chat template is the engine's (ChatML for Qwen); nothing here writes special tokens.
"""

from __future__ import annotations

from kit.problem import Problem
from kit.sampling import Message, Prompt

INSTRUCTION = "Please reason step by step, and put your final answer within \\boxed{}."
"""Qwen2.5-Math's own instruction, word for word; the shipped tiny model is trained with it too.
Source: model card of Qwen2.5-Math (arXiv 2409.12122)."""


def build_prompt(problem: Problem) -> Prompt:
    """The chat for one attempt: the problem's text, then the instruction, as one user message.

    There is no system message: the engine's chat template supplies the one its model was trained with.
    """
    return Prompt(messages=(Message(role="user", content=f"{problem.text}\n{INSTRUCTION}"),))
