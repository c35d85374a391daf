"""Thoughts that a text breaks off in, in tags and in gpt-oss's channels."""

from __future__ import annotations

import pytest

from kit.models.thoughts import breaks_off_in_thought, thought_closed


@pytest.mark.parametrize(
    ("text", "is_open"),
    [
        ("", False),
        ("words", False),
        ("<think>a", True),
        ("<think>a</think>b", False),
        ("<think>a</think>b<think>c", True),
        ("<|channel|>analysis<|message|>a", True),
        ("<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b", False),
        ("analysisWe add", True),
        ("analysisWe add.assistantfinalIt is", False),
        ("analysis of the problem", False),
    ],
)
def test_a_text_that_breaks_off_in_a_thought_is_told_from_one_that_does_not(text: str, is_open: bool) -> None:
    assert breaks_off_in_thought(text) is is_open


def test_an_open_thought_is_closed_and_a_closed_one_is_left() -> None:
    assert thought_closed("<think>a") == "<think>a\n</think>"
    assert thought_closed("<think>a</think>b") == "<think>a</think>b"
