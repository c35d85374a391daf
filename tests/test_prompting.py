from __future__ import annotations

import json

import pytest

from kit.answers.extraction import extract
from kit.problem import Problem
from kit.prompting import PLAIN, VARIANTS, build_prompt
from kit.tools.formats import TOOL_FORMATS

PROBLEM = Problem("p1", "What is $1+1$?")
FULL = [name for name, variant in VARIANTS.items() if variant.modulus_rule]


def user_text(name: str, **more: int) -> str:
    return build_prompt(PROBLEM, variant=VARIANTS[name], **more).messages[-1].content


def test_the_default_is_the_prompt_that_the_tiny_model_was_trained_with() -> None:
    prompt = build_prompt(PROBLEM)
    assert prompt == build_prompt(PROBLEM, variant=PLAIN) == build_prompt(PROBLEM, modulus=7)
    (message,) = prompt.messages
    assert (message.role, prompt.tools) == ("user", ())
    assert message.content == (
        "What is $1+1$?\nPlease reason step by step, and put your final answer within \\boxed{}."
    )


def test_every_variant_is_found_by_its_name_and_speaks_a_format_that_there_is() -> None:
    assert {"plain", "short", "boxed", "brief", "python", "tools"} == set(VARIANTS)
    assert all(VARIANTS[name].name == name for name in VARIANTS)
    assert {variant.tool_format for variant in VARIANTS.values()} == set(TOOL_FORMATS)


@pytest.mark.parametrize("name", FULL)
def test_a_full_variant_says_range_modulus_and_evaluation_after_the_problem(name: str) -> None:
    text = user_text(name)
    assert text.startswith(PROBLEM.text + "\n")
    for rule in ("from 0 to 99999", "\\boxed{}", "states a modulus, apply it", "Otherwise do not reduce", "completely"):
        assert rule in text


@pytest.mark.parametrize("name", FULL)
def test_a_known_modulus_is_said_plainly(name: str) -> None:
    assert "reduced modulo 99991." in user_text(name, modulus=99991)
    assert "99991" not in user_text(name)


@pytest.mark.parametrize("name", VARIANTS)
def test_no_instruction_reads_as_an_answer(name: str) -> None:
    """A model that repeats its instructions must not have answered by that."""
    prompt = build_prompt(PROBLEM, variant=VARIANTS[name], modulus=1000)
    assert [extract(message.content) for message in prompt.messages] == [None] * len(prompt.messages)


def test_python_asks_as_qwen_was_trained_to_be_asked() -> None:
    system, user = build_prompt(PROBLEM, variant=VARIANTS["python"]).messages
    assert (system.role, system.content) == (
        "system",
        "Please integrate natural language reasoning with programs to solve the problem above, and put your final "
        "answer within \\boxed{}.",
    )
    assert "```python" in user.content


def test_only_the_native_format_is_offered_a_tool_and_its_schema_wants_code() -> None:
    offered = {name: build_prompt(PROBLEM, variant=variant).tools for name, variant in VARIANTS.items()}
    assert {name for name, tools in offered.items() if tools} == {"tools"}
    (tool,) = offered["tools"]
    schema = json.loads(tool.parameters)
    assert (tool.name, schema["required"], schema["properties"]["code"]["type"]) == ("python", ["code"], "string")


def test_braces_in_a_problem_are_left_as_they_are() -> None:
    problem = Problem("p", "Find $\\frac{1}{2}\\{x\\}$ {modulus}.")
    text = build_prompt(problem, variant=VARIANTS["boxed"], modulus=5).messages[-1].content
    assert text.startswith(problem.text)
