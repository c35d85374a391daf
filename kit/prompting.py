"""Problem in, Prompt out: the one place that words what the model is asked.

Variants are data, each for one format of `kit.tools.formats`. The chat template is the engine's (ChatML for
Qwen); nothing here writes special tokens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from kit.problem import ANSWER_MAX, Problem
from kit.sampling import Message, Prompt, Tool

INSTRUCTION = "Please reason step by step, and put your final answer within \\boxed{}."
"""Qwen2.5-Math's own instruction, word for word; the shipped tiny model is trained with it too.
Source: model card of Qwen2.5-Math (arXiv 2409.12122)."""

SHORT_INSTRUCTION = "Put your final answer in \\boxed{}."
"""For models of some hundred million parameters: asked to reason step by step, SmolLM2-135M goes on past an answer that
was right (benchmarks/results/small_model_prompts_2026-11-26.md)."""

TIR_INSTRUCTION = (
    "Please integrate natural language reasoning with programs to solve the problem above, and put your final "
    "answer within \\boxed{}."
)
"""Qwen2.5-Math's own instruction for tool-integrated reasoning, word for word. Source: as INSTRUCTION."""

ANSWER_RULES = f"""\
The final answer is one integer from 0 to {ANSWER_MAX}.
- Put the final answer in \\boxed{{}}, once, at the end: nothing but its digits, and no other result in a box.
- If the problem asks for a remainder or states a modulus, apply it before you box the answer. Otherwise do not \
reduce the answer by any modulus.
- Evaluate the answer completely: leave no power, factorial, binomial, fraction, root, sum or product in the box.
- If your result is not an integer from 0 to {ANSWER_MAX}, something was missed: read the question again."""
"""What an answer must look like. The runner-up of AIMO3 calls stating range and modulus his highest-leverage
change; before it, unevaluated 20-digit answers scored nothing (docs/peers.md#second-place-of-aimo3)."""

BRIEF_RULES = f"""\
Answer with one integer from 0 to {ANSWER_MAX}.
- If the problem asks for a remainder or states a modulus, apply it. Otherwise do not reduce the answer by any modulus.
- Evaluate the answer completely."""
"""ANSWER_RULES without a word of what else must not be in the box: asked for "only the answer" in it, Qwen3.5 looped to
the limit in 7 % of its samples (docs/vllm.md#families)."""

MODULUS_RULE = "- This problem asks for a remainder: box the answer reduced modulo {modulus}."

FENCED_RULES = """\
Write the Python to run as a block that begins with ```python and ends with ```, and wait for its ```output; never \
write the output yourself.
- Print what you want to see. Variables stay from block to block. A block may run for a few seconds only.
- Use exact arithmetic (integers, fractions, sympy), and check the result on small cases where you can."""

NATIVE_RULES = """\
You may call the tool python as often as it helps.
- Print what you want to see. Variables stay from call to call. A call may run for a few seconds only.
- Use exact arithmetic (integers, fractions, sympy), and check the result on small cases where you can."""


PYTHON_TOOL = Tool(
    name="python",
    description=(
        "Runs Python 3 and returns what it printed, and the value of a last expression. Variables and imports "
        "stay from call to call. There is no network, and a call may take a few seconds."
    ),
    parameters=json.dumps(
        {
            "type": "object",
            "properties": {"code": {"type": "string", "description": "The Python code to run."}},
            "required": ["code"],
        }
    ),
)
"""What a prompt for native tool calls offers to the model."""

ToolFormatName = Literal["plain", "fenced", "native"]
"""Of kit.tools.formats: no Python, blocks of it in the text, calls in the chat template's own form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptVariant:
    """One wording of the request.

    tool_format: the key in kit.tools.formats.TOOL_FORMATS that the wording is made for.
    instruction: follows the problem's text, on a new line.
    modulus_rule: follows the instruction where the problem's modulus is known, as `{modulus}`; empty: none.
    system: the system message; empty leaves it to the engine's chat template, as its model was trained.
    """

    name: str
    tool_format: ToolFormatName
    instruction: str
    modulus_rule: str = ""
    system: str = ""
    tools: tuple[Tool, ...] = ()


PLAIN = PromptVariant(name="plain", tool_format="plain", instruction=INSTRUCTION)
SHORT = PromptVariant(name="short", tool_format="plain", instruction=SHORT_INSTRUCTION)
BOXED = PromptVariant(
    name="boxed", tool_format="plain", instruction=f"{INSTRUCTION}\n\n{ANSWER_RULES}", modulus_rule=MODULUS_RULE
)
BRIEF = PromptVariant(
    name="brief", tool_format="plain", instruction=f"{INSTRUCTION}\n\n{BRIEF_RULES}", modulus_rule=MODULUS_RULE
)
PYTHON = PromptVariant(
    name="python",
    tool_format="fenced",
    system=TIR_INSTRUCTION,  # else the template's own, which in Qwen2.5-Math's asks for reasoning without programs
    instruction=f"\n{FENCED_RULES}\n\n{ANSWER_RULES}",
    modulus_rule=MODULUS_RULE,
)
TOOLS = PromptVariant(
    name="tools",
    tool_format="native",
    instruction=f"\n{INSTRUCTION}\n\n{NATIVE_RULES}\n\n{ANSWER_RULES}",
    modulus_rule=MODULUS_RULE,
    tools=(PYTHON_TOOL,),
)
VARIANTS: Mapping[str, PromptVariant] = MappingProxyType(
    {variant.name: variant for variant in (PLAIN, SHORT, BOXED, BRIEF, PYTHON, TOOLS)}
)


def build_prompt(problem: Problem, *, variant: PromptVariant = PLAIN, modulus: int | None = None) -> Prompt:
    """The chat for one attempt: the problem's text, then the instruction, as one user message.

    modulus: what the problem asks its answer to be reduced by, if it is known (kit.answers.modulus); the variant may
    then say so plainly.
    """
    content = f"{problem.text}\n{variant.instruction}"
    if modulus is not None and variant.modulus_rule:
        content += "\n" + variant.modulus_rule.format(modulus=modulus)
    system = (Message("system", variant.system),) if variant.system else ()
    return Prompt(messages=(*system, Message("user", content)), tools=variant.tools)
